"""Rows of a data file or of a data set on the hub, each with the line it came from."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sys
import zlib
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
    if ending(path) in READERS:
        if not path.is_file():
            raise UsageError(f"there is no file {source}; check the path")
        try:
            return list(READERS[ending(path)](path))
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise UsageError(f"{path}: not a whole gzip file ({error}); fetch it again") from error
    if path.is_dir():
        return _read_hub(str(path), split, name)
    if path.is_file():
        raise UsageError(
            f"{source}: the ending {path.suffix!r} is unknown; give a file that ends in {', '.join(READERS)}, all but the "
            "last also with .gz"
        )
    if isinstance(source, Path) or str(source).startswith((".", "/", "~")):
        raise UsageError(f"there is no {source}; check the path, or give the name of a data set on the hub")
    return _read_hub(str(source), split, name)


def ending(path: Path) -> str:
    """What kind of file it is: its ending, below that of a gzip file."""
    return Path(path.stem).suffix if path.suffix == ".gz" else path.suffix


def _bytes(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def _whole_text(value: Any) -> Any:
    """The value with halves of surrogate pairs, which no encoding takes, replaced in its texts."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole_text(part) for part in value]
    if isinstance(value, dict):
        return {_whole_text(key): _whole_text(part) for key, part in value.items()}
    return value


def _json(content: bytes) -> Any:
    value = json.loads(content)
    return _whole_text(value) if b"\\ud" in content.lower() else value


def _read_jsonl(path: Path) -> Iterator[Row]:
    # Split at newlines only: text may hold other characters that Python counts as line ends.
    for line, content in enumerate(_bytes(path).removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not content.strip():
            continue
        try:
            values = _json(content)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}:{line}: not JSON ({error}); mend or remove the line") from error
        yield Row(line, _record(path, line, values))


def _read_json(path: Path) -> Iterator[Row]:
    try:
        content = _json(_bytes(path).removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):
        # Published .json files are often one object a line; reading them so also finds the line that is broken.
        yield from _read_jsonl(path)
        return
    if isinstance(content, dict):
        content = _records(content)
    for number, values in enumerate(content if isinstance(content, list) else [content], start=1):
        yield Row(number, _record(path, number, values))


def _records(content: dict[str, Any]) -> Any:
    """The records in an object: those of its only list, or of what pandas writes (columns, index, split, or lists)."""
    values = list(content.values())
    if {"columns", "data"} <= set(content) and isinstance(content["data"], list):
        return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]
    if values and all(isinstance(value, dict) for value in values) and len({tuple(value) for value in values}) == 1:
        if all(str(key).isdecimal() for key in content):
            return values
        if all(str(key).isdecimal() for key in values[0]):
            return [{column: cells[key] for column, cells in content.items()} for key in values[0]]
    lists = [value for value in values if isinstance(value, list)]
    if len(lists) > 1 and len(lists) == len(values) and len({len(value) for value in lists}) == 1:
        return [dict(zip(content, row, strict=True)) for row in zip(*lists, strict=True)]
    return lists[0] if len(lists) == 1 else content


def _read_csv(path: Path) -> Iterator[Row]:
    with io.TextIOWrapper(io.BytesIO(_bytes(path)), encoding="utf-8-sig", newline="") as file:
        reader: csv.DictReader[str] | None = None
        before = csv.field_size_limit(sys.maxsize)  # cells may hold whole solutions
        try:
            delimiter = "\t" if ending(path) == ".tsv" else _delimiter(file.readline())
            file.seek(0)
            reader = csv.DictReader(file, delimiter=delimiter)
            for values in reader:
                if None in values or None in values.values():
                    raise UsageError(
                        f"{path}:{reader.line_num}: not as many cells as the header has; quote cells that hold "
                        f"{'tabs' if delimiter == chr(9) else f'a {delimiter!r}'}"
                    )
                yield Row(reader.line_num, values)
        except (csv.Error, UnicodeDecodeError) as error:
            line = reader.line_num if reader else 1
            raise UsageError(f"{path}:{line}: not CSV in UTF-8 ({error}); mend the file") from error
        finally:
            csv.field_size_limit(before)


def _delimiter(header: str) -> str:
    """What separates the names of columns; a comma where none does."""
    bare = re.sub(r'"[^"]*"', "", header)
    return max(",;\t|", key=bare.count) if any(c in bare for c in ",;\t|") else ","


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
