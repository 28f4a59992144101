"""What is measured of a generation batch, and the lines of ``metrics.jsonl``."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from search.chain import well_formed
from search.functions import FunctionSet

PHASE = "rl"


def path_metrics(rows: Sequence[Mapping[str, Any]], rewards: Sequence[float], group_size: int) -> dict[str, float]:
    """Means over the paths of this rank.

    Args:
        rows: with the fields of `rollout.Path`; groups of a question together.
        rewards: one a row.
        group_size: paths per question.
    """
    groups = [rewards[i : i + group_size] for i in range(0, len(rewards), group_size)]
    lengths = [len(row["completion_ids"]) for row in rows]
    return {
        "accuracy": _mean([row["verdict"] == "correct" for row in rows]),
        "length": _mean(lengths),
        "depth": _mean([row["depth"] for row in rows]),
        "truncated": _mean([row["status"] == "truncated" for row in rows]),
        "malformed": _mean([row["status"] == "malformed" for row in rows]),
        "refilled": _mean([row["refilled"] for row in rows]),
        "exhausted": _mean([any(row["refilled"] for row in rows[i : i + group_size]) for i in range(0, len(rows), group_size)]),
        "agreeing_trees": _mean([len(set(group)) == 1 for group in groups]),
    }  # fmt: skip


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


class MetricsFile:
    """Appends one JSON line a step, and forgets the steps that are done again.

    Args:
        path: the file; other phases may have lines in it, which are left alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def rewind(self, step: int) -> None:
        """Drop the RL lines of later steps than `step`, and a torn last line."""
        if not self.path.exists():
            return
        kept = [line for line in self.path.read_bytes().splitlines(keepends=True) if _stays(line, step)]
        temporary = self.path.with_name(self.path.name + ".tmp")
        with open(temporary, "wb") as file:
            file.writelines(kept)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self.path)

    def append(self, step: int, values: Mapping[str, Any]) -> None:
        """Write ``{"phase": "rl", "step": …, "time": …, **values}``; what is no finite number becomes null."""
        line = {"phase": PHASE, "step": step, "time": round(time.time(), 3)}
        line |= {name: value if _finite(value) else None for name, value in values.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _stays(line: bytes, step: int) -> bool:
    if not line.endswith(b"\n"):
        return False
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return not (isinstance(record, dict) and record.get("phase") == PHASE and record.get("step", 0) > step)


def _finite(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
