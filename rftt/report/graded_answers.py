"""Single answers of the evaluation, failures first, and counts over all of them by level and by function."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rftt.report.lines import (
    Record,
    benchmark_folders,
    by_model,
    clip,
    evenly,
    fitted,
    line_spans,
    note_broken,
    records_at,
)  # fmt: skip
from search.functions import FunctionSet

SAMPLE_BYTES = 1_000_000  # of JSON, for all files together
FAILURES, CORRECT = 150, 50  # of one file
SOLUTIONS = "solutions-"  # files of what a strategy answered, one for each strategy and model
KINDS = ("greedy", "samples")  # answers of one pass each; the pool of the vote is more of the second
LEFT_OUT = ("ids", "logprobs", "schema", "seed", "top_p", "temperature", "sample_id")


def samples_of(run: Path, functions: FunctionSet, notes: list[str], share: float = 1.0) -> list[Record]:
    """One part for each file of answers: counts over all of them, and an even sample of failures and of right answers.

    Args:
        run: the run folder.
        functions: functions whose use is counted.
        notes: gets a line for what could not be read.
        share: share of the bytes that all runs of the page have together.
    """
    files = [
        (benchmark, kind, model, path)
        for benchmark, folder in benchmark_folders(run).items()
        for kind in (*KINDS, *_strategies(folder))
        for model, path in by_model(folder, kind).items()
    ]
    limit = int(SAMPLE_BYTES * share / max(len(files), 1))
    return [
        {
            "benchmark": benchmark,
            "kind": kind.removeprefix(SOLUTIONS),
            "model": model,
            "path": path.relative_to(run).as_posix(),
        }
        | _part(path, path.relative_to(run).as_posix(), functions, notes, limit)
        for benchmark, kind, model, path in files
    ]


def _strategies(folder: Path) -> list[str]:
    """Kinds of file ``solutions-{strategy}`` in a folder."""
    names = (path.stem.rpartition("-")[0] for path in sorted(folder.glob(f"{SOLUTIONS}*-*.jsonl")))
    return list(dict.fromkeys(names))


def _read(record: Record | None) -> Record | None:
    """One answer; None where the record is none."""
    try:
        return _answer(record) if record else None
    except (AttributeError, TypeError):
        return None


def _answer(record: Record) -> Record:
    """The record of one answer; of a strategy's solution, its answer at the largest budget and the chain that gives it."""
    budgets = record.get("budgets")
    if not isinstance(budgets, dict) or not budgets:
        return record
    last = budgets[max(budgets, key=lambda name: (name.isdigit(), int(name) if name.isdigit() else 0))]
    candidates = [c for c in record.get("candidates") or () if isinstance(c, dict)]
    chosen = next((c for c in candidates if c.get("answer") == last.get("answer")), {})
    kept = ("question_id", "question", "gold", "level", "subject", "vote")
    about = {name: record[name] for name in kept if record.get(name) is not None}
    shown = {name: last.get(name) for name in ("answer", "verdict", "tokens")}
    return about | shown | {"text": chosen.get("text"), "candidates": len(candidates)}


def _part(path: Path, name: str, functions: FunctionSet, notes: list[str], limit: int) -> Record:
    opening = re.compile("|".join(f"<({re.escape(name)})>" for name in functions.names))
    spans = line_spans(path)
    verdicts: Counter[str] = Counter()
    tables: dict[str, dict[str, Counter[str]]] = {"levels": defaultdict(Counter), "functions": defaultdict(Counter)}
    places: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    well_formed = broken = 0
    for span, record in zip(spans, map(_read, records_at(path, spans))):
        if record is None:
            broken += 1
            continue
        verdict = str(record.get("verdict"))
        verdicts[verdict] += 1
        well_formed += record.get("well_formed") is True
        if record.get("level") is not None:
            tables["levels"][str(record["level"])][verdict] += 1
        for used in _functions(record.get("text"), opening):
            tables["functions"][used][verdict] += 1
        places[verdict == "correct"].append(span)
    note_broken(notes, name, broken)
    failures = _shown(path, evenly(places[False], FAILURES), opening)
    right = _shown(path, evenly(places[True], CORRECT), opening)
    failures = fitted(failures, limit * 3 // 4)
    return {
        "total": sum(verdicts.values()),
        "failures": len(places[False]),
        "verdicts": dict(verdicts.most_common()),
        "well_formed": well_formed,
        **{key: {value: dict(counts) for value, counts in sorted(table.items())} for key, table in tables.items()},
        "records": failures + fitted(right, limit // 4),
    }


def _shown(path: Path, spans: Sequence[tuple[int, int]], opening: re.Pattern[str]) -> list[Record]:
    kept = []
    for record in map(_read, records_at(path, spans)):
        if record is not None:
            shown: dict[str, Any] = {k: v for k, v in record.items() if k not in LEFT_OUT}
            shown |= {k: clip(record.get(k)) for k in ("question", "text")}
            kept.append(shown | {"functions": sorted(_functions(record.get("text"), opening))})
    return kept


def _functions(text: Any, opening: re.Pattern[str]) -> set[str]:
    """The functions whose opening tag stands in a text."""
    return {match[match.lastindex or 0] for match in opening.finditer(text)} if isinstance(text, str) else set()
