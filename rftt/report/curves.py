"""What the phases logged, as curves (metrics.jsonl)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from rftt.report.lines import Record, is_number, line_spans, note_broken, records_at

POINTS = 300  # of one training curve


def curves_of(run: Path, notes: list[str]) -> tuple[list[Record], list[float]]:
    """Curves ``{"phase", "name", "points": [[step, value], …], "steps"}`` and the first and last time."""
    path = run / "metrics.jsonl"
    curves: dict[tuple[str, str], dict[float, float]] = {}
    times: list[float] = []
    broken = 0
    if not path.is_file():
        return [], []
    for record in records_at(path, line_spans(path)):
        step = record.get("step") if record else None
        if record is None or not is_number(step):
            broken += 1
            continue
        if is_number(record.get("time")):
            times.append(record["time"])
        for name, value in record.items():
            if name not in ("step", "time") and is_number(value):
                # A step that was done again after a resume counts once, as it was done last.
                curves.setdefault((str(record.get("phase", "")), name), {})[step] = value
    note_broken(notes, "metrics.jsonl", broken)
    found = [
        {"phase": phase, "name": name, "points": _binned(sorted(points.items())), "steps": len(points)}
        for (phase, name), points in curves.items()
    ]
    return found, [min(times), max(times)] if times else []


def _binned(points: Sequence[tuple[float, float]]) -> list[list[float]]:
    """At most `POINTS` points; each is the mean of as many neighbours."""
    size = math.ceil(len(points) / POINTS)
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [[g[-1][0], float(f"{sum(value for _, value in g) / len(g):.6g}")] for g in groups]
