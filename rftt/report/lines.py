"""Lines of JSON in a run folder: where they stand, and how few of them the page needs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from search.journal import json_bytes

Record = dict[str, Any]

MODELS = ("base", "sft", "rl")
MAX_CHARS = 6000  # of one text


def line_spans(path: Path) -> list[tuple[int, int]]:
    """(offset, length) of each line that is not blank, without a last line that a crash tore."""
    spans, at = [], 0
    with path.open("rb") as file:
        for line in file:
            if line.strip() and (line.endswith(b"\n") or _parsed(line) is not None):
                spans.append((at, len(line)))
            at += len(line)
    return spans


def records_at(path: Path, spans: Iterable[tuple[int, int]]) -> Iterator[Record | None]:
    """The record of each span; None where it is not a JSON object."""
    with path.open("rb") as file:
        for offset, length in spans:
            file.seek(offset)
            yield _parsed(file.read(length))


def _parsed(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def by_model(folder: Path, kind: str) -> dict[str, Path]:
    """Model → file ``{kind}-{model}.jsonl`` in a folder, in the order in which models come about."""
    files = {
        path.stem.removeprefix(f"{kind}-"): path for path in sorted(folder.glob(f"{kind}-*.jsonl")) if path.is_file()
    }
    return {model: files[model] for model in sorted(files, key=lambda m: (m not in MODELS, (*MODELS, m).index(m)))}


def benchmark_folders(run: Path) -> dict[str, Path]:
    """Benchmark → folder of its results; the run's own held-out questions have the name ""."""
    own = run / "eval"
    if not own.is_dir():
        return {}
    return {"": own} | {path.name: path for path in sorted(own.iterdir()) if path.is_dir()}


def evenly(items: Sequence[Any], count: int) -> list[Any]:
    """`count` of the items at even distances, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    if count == 1:
        return [items[0]]
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def fitted(records: list[Record], limit: int) -> list[Record]:
    """As many of the records, evenly, as fit into `limit` bytes of JSON; at least one."""
    while len(records) > 1 and (size := sum(map(_size, records))) > limit:
        records = evenly(records, max(1, min(len(records) - 1, len(records) * limit // size)))
    return records


def _size(record: Record) -> int:
    return len(json_bytes(record))


def clip(text: Any, limit: int = MAX_CHARS) -> str:
    """The text, cut where it is longer than `limit` characters; JSON of what is no text."""
    text = text if isinstance(text, str) else "" if text is None else json.dumps(text, ensure_ascii=False)
    return text if len(text) <= limit else f"{text[:limit]} … ({len(text) - limit} more characters)"


def is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def note_broken(notes: list[str], name: str, broken: int) -> None:
    """Tell the reader of the page of lines that could not be read."""
    if broken:
        notes.append(f"{name}: {broken} unreadable {'line was' if broken == 1 else 'lines were'} left out")
