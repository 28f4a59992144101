"""What is measured of the paths of a generation batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from rftt.rl.sample import Origin
from search.chain import well_formed
from search.functions import FunctionSet


def path_measures(rows: Sequence[Mapping[str, Any]], rewards: Sequence[float], group_size: int) -> dict[str, float]:
    """Means over the paths of this rank.

    Args:
        rows: with the fields of `rollout.Path`; groups of a question together.
        rewards: one a row.
        group_size: paths per question.
    """
    lengths = [len(row["completion_ids"]) for row in rows]
    return {
        "accuracy": _mean([row["verdict"] == "correct" for row in rows]),
        "length": _mean(lengths),
        "depth": _mean([len(row["starts"]) for row in rows]),
        "truncated": _mean([row["status"] == "truncated" for row in rows]),
        "malformed": _mean([row["status"] == "malformed" for row in rows]),
        **{f"origin/{origin}": _mean([row["origin"] == origin for row in rows]) for origin in get_args(Origin)},
        "agreeing_trees": _mean([len(set(group)) == 1 for group in _grouped(rewards, group_size)]),
    }


def format_rate(texts: Sequence[str], functions: FunctionSet) -> float:
    """Share of decoded completions, tags kept, that are well-formed chains."""
    return _mean([well_formed(text, functions) for text in texts])


def function_counts(completions: Sequence[Sequence[int]], open_ids: Mapping[str, int]) -> dict[str, float]:
    """How many steps of each function there are per path.

    Args:
        completions: token ids.
        open_ids: function → id of its opening tag.
    """
    counts = dict.fromkeys(open_ids.values(), 0)
    for ids in completions:
        for i in ids:
            if i in counts:
                counts[i] += 1
    return {name: counts[i] / max(len(completions), 1) for name, i in open_ids.items()}


def _grouped(values: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [values[i : i + size] for i in range(0, len(values), size)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
