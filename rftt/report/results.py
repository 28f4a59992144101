"""What the evaluation measured on each benchmark: results, curves over the budget, groups, lengths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rftt.report.lines import Record, benchmark_folders

# Of eval/[NAME/]{model}.json, as the page uses them; files of older runs have only the first three.
TABLES = {"models": "metrics", "curves": "curve", "majority": "majority"}
MORE = ("strategies", "pass_at_k", "maj_at_k", "groups", "lengths", "tokens_per_correct", "contamination")


def measures_of(run: Path, summary: Record, notes: list[str]) -> list[Record]:
    """One part for each benchmark, the run's own held-out questions first, under the name "".

    Returns:
        ``{"name", "models": {model: metrics}, "curves": {model: […]}, "majority": {model: […]}, …}`` with a table by
        model for each of `MORE`. What ``summary.json`` says of a model and the run's own questions wins.
    """
    parts: dict[str, Record] = {}
    for name, folder in benchmark_folders(run).items():
        found = {path.stem: _read(path, run, notes) for path in sorted(folder.glob("*.json"))}
        for record in found.values():
            _mapping(record.get("contamination")).pop("examples", None)  # whole questions, which `rftt eval` lists
        parts[name] = {
            table: {model: record[key] for model, record in found.items() if record.get(key)}
            for table, key in (TABLES | {key: key for key in MORE}).items()
        }
    own = parts.setdefault("", {table: {} for table in (*TABLES, *MORE)})
    for table in TABLES:
        told = _mapping(summary.get(table))
        own[table] = told | own[table] | told  # in the order of the summary, then what was measured after it
    for name, models in _mapping(summary.get("benchmarks")).items():
        parts.setdefault(str(name), {table: {} for table in (*TABLES, *MORE)})["models"] |= _mapping(models)
    return [
        {"name": name, **part} for name, part in parts.items() if name == "" or any(part[table] for table in TABLES)
    ]


def _read(path: Path, run: Path, notes: list[str]) -> Record:
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        record = None
    if isinstance(record, dict):
        return record
    notes.append(f"{path.relative_to(run).as_posix()}: not a JSON object; it was left out")
    return {}


def _mapping(value: Any) -> Record:
    return value if isinstance(value, dict) else {}
