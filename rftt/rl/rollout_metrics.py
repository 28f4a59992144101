"""What is measured of the rollouts of a generation batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from rftt.rl.rollout import Origin, Rollout
from search.chain import well_formed
from search.functions import FunctionSet


def rollout_measures(rollouts: Sequence[Rollout], rewards: Sequence[float], group_size: int) -> dict[str, float]:
    """Means over the rollouts of this rank.

    Args:
        rollouts: groups of a question together.
        rewards: one a rollout.
        group_size: rollouts per question.
    """
    return {
        "accuracy": _mean([r.verdict == "correct" for r in rollouts]),
        "length": _mean([len(r.completion_ids) for r in rollouts]),
        "depth": _mean([len(r.starts) for r in rollouts]),
        "truncated": _mean([r.status == "truncated" for r in rollouts]),
        "malformed": _mean([r.status == "malformed" for r in rollouts]),
        **{f"origin/{o}": _mean([r.origin == o and not r.replayed for r in rollouts]) for o in get_args(Origin)},
        "origin/replay": _mean([r.replayed for r in rollouts]),
        "weight/effective": _mean([effective(group) for group in _grouped(rollouts, group_size)]),
        "agreeing_trees": _mean([len(set(group)) == 1 for group in _grouped(rewards, group_size)]),
    }


def effective(group: Sequence[Rollout]) -> float:
    """Effective share of a group's rollouts, (Σ w)² / (G Σ w²): 1 where all weigh the same, 1/G where one has all weight."""
    weights = [rollout.weight for rollout in group]
    squares = sum(w * w for w in weights)
    return sum(weights) ** 2 / (len(weights) * squares) if squares else 0.0


def format_rate(texts: Sequence[str], functions: FunctionSet, extract: str) -> float:
    """Share of decoded completions, tags kept, that are well-formed chains with what `extract` takes for an answer."""
    return _mean([well_formed(text, functions, extract=extract) for text in texts])


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
