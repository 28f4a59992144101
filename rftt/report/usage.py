"""Which functional tokens are used at which depth: of the warm-up chains and of each model's answers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from rftt.report.lines import Record, by_model, line_spans, records_at
from search.functions import FunctionSet

DEEPEST = 24  # steps beyond it are counted together


class Depths:
    """Counts functions by the place of their step in a chain, from 1.

    Args:
        functions: functions whose opening tags are counted.
    """

    def __init__(self, functions: FunctionSet) -> None:
        self._opening = re.compile("|".join(f"<({re.escape(name)})>" for name in functions.names))
        self.counts: dict[str, Counter[int]] = {name: Counter() for name in functions.names}
        self.chains = 0

    def add(self, text: object) -> None:
        """Count the steps of one chain."""
        if not isinstance(text, str):
            return
        self.chains += 1
        for depth, match in enumerate(self._opening.finditer(text), 1):
            self.counts[match[match.lastindex or 0]][min(depth, DEEPEST)] += 1

    def table(self) -> dict[str, list[int]]:
        """Function → count at depth 1, 2, …; those that occur."""
        deepest = max((max(counter) for counter in self.counts.values() if counter), default=0)
        return {
            name: [counter[depth] for depth in range(1, deepest + 1)]
            for name, counter in self.counts.items()
            if counter
        }


def usage_of(run: Path, functions: FunctionSet) -> list[Record]:
    """One part for the warm-up chains and one for the sampled answers of each model, over whole files.

    Returns:
        ``{"source": "chains" | model, "path", "chains", "functions": {name: [count at depth 1, 2, …]}}``; parts
        without a functional token (a base that was never tuned) are left out.
    """
    chains = run / "search" / "chains.jsonl"
    files = {"chains": chains} if chains.is_file() else {}
    parts = []
    for source, path in (files | by_model(run / "eval", "samples")).items():
        depths = Depths(functions)
        for record in records_at(path, line_spans(path)):
            for text in _texts(record or {}):
                depths.add(text)
        if table := depths.table():
            where = path.relative_to(run).as_posix()
            parts.append({"source": source, "path": where, "chains": depths.chains, "functions": table})
    return parts


def _texts(record: Record) -> Iterable[object]:
    messages = record.get("messages")
    if isinstance(messages, list):
        return [m.get("content") for m in messages if isinstance(m, dict) and m.get("role") == "assistant"]
    return [record.get("text")]
