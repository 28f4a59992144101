"""Rows of a data file or of a data set on the hub, each with the line it came from."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rftt.errors import UsageError


@dataclass(frozen=True)
class Row:
    """One record.

    Args:
        line: line number in a text file, row number elsewhere; from 1.
        values: column → value.
    """

    line: int
    values: dict[str, Any]


def read_table(source: str | Path, *, split: str = "train", name: str | None = None) -> list[Row]:
    """All rows of a source.

    Args:
        source: path of a data file, a folder of data files, or the name of a data set on the hub.
        split: split of a folder or a data set on the hub.
        name: configuration of a data set on the hub.

    Raises:
        UsageError: there is no such source, or it cannot be read. Says at which line.
    """
    path = Path(source).expanduser()
    if path.suffix in READERS:
        if not path.is_file():
            raise UsageError(f"there is no file {source}; check the path")
        return list(READERS[path.suffix](path))
    if path.is_dir():
        return _read_hub(str(path), split, name)
    if path.is_file():
        raise UsageError(
            f"{source}: the ending {path.suffix!r} is unknown; give a file that ends in {', '.join(READERS)}"
        )
    if isinstance(source, Path) or str(source).startswith((".", "/", "~")):
        raise UsageError(f"there is no {source}; check the path, or give the name of a data set on the hub")
    return _read_hub(str(source), split, name)


def _read_jsonl(path: Path) -> Iterator[Row]:
    # Split at newlines only: text may hold other characters that Python counts as line ends.
    for line, content in enumerate(path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not content.strip():
            continue
        try:
            values = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}:{line}: not JSON ({error}); mend or remove the line") from error
        yield Row(line, _record(path, line, values))


def _read_json(path: Path) -> Iterator[Row]:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        # Published .json files are often one object a line; reading them so also finds the line that is broken.
        yield from _read_jsonl(path)
        return
    if (
        isinstance(content, dict)
        and len(lists := [value for value in content.values() if isinstance(value, list)]) == 1
    ):
        content = lists[0]
    for number, values in enumerate(content if isinstance(content, list) else [content], start=1):
        yield Row(number, _record(path, number, values))


def _read_csv(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        try:
            for values in reader:
                if None in values or None in values.values():
                    raise UsageError(
                        f"{path}:{reader.line_num}: not as many cells as the header has; quote cells that hold commas"
                    )
                yield Row(reader.line_num, values)
        except (csv.Error, UnicodeDecodeError) as error:
            raise UsageError(f"{path}:{reader.line_num}: not CSV in UTF-8 ({error}); mend the file") from error


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        records = pyarrow.parquet.ParquetFile(path).read().to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise UsageError(f"{path}: not a Parquet file ({error}); fetch it again") from error
    for number, values in enumerate(records, start=1):
        yield Row(number, values)


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
}


def _read_hub(source: str, split: str, name: str | None) -> list[Row]:
    import datasets

    try:
        records = datasets.load_dataset(source, name, split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error).split())[:240]
        raise UsageError(
            f"cannot load data set {source} (name={name}, split={split}): {reason}; "
            "check name and split, go online, or give the path of a file with the problems"
        ) from error
    return [Row(number, values) for number, values in enumerate(records, start=1)]


def _record(path: Path, line: int, values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise UsageError(
            f"{path}:{line}: a {type(values).__name__}, not an object with columns; write one object a line"
        )
    return values
