"""Rows of a data file or of a data set on the hub, each with the line it came from."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rftt.data.parquet import read_records, records_of
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
        try:
            with _quiet():
                return _read_hub(str(path), split, name)
        except UsageError:
            for file in sorted(path.rglob("*")):  # one that cannot be read says more
                if ending(file) in READERS and file.is_file():
                    read_table(file)
            raise
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


def whole_text(value: Any) -> Any:
    """The value with halves of surrogate pairs, which no encoding takes, replaced in its texts."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [whole_text(part) for part in value]
    if isinstance(value, dict):
        return {whole_text(key): whole_text(part) for key, part in value.items()}
    return value


def parse_json(content: bytes) -> Any:
    """What a JSON text says, with halves of surrogate pairs replaced.

    Raises:
        ValueError: it is no JSON. RecursionError: it is nested too deep.
    """
    value = json.loads(content)
    return whole_text(value) if re.search(rb"\\u[dD]|\xed[\xa0-\xbf]", content) else value


def numbered_lines(content: bytes, first: int = 1) -> Iterator[tuple[int, bytes]]:
    """Lines that are not empty, each with its number; without the mark that some programs put before UTF-8."""
    # Split at newlines only: text may hold other characters that Python counts as line ends.
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=first):
        if line.strip():
            yield number, line


def read_jsonl_rows(path: Path) -> Iterator[Row]:
    """Raises:
    UsageError: a line is no JSON object. OSError: the file cannot be read.
    """
    for line, content in numbered_lines(_bytes(path)):
        try:
            values = parse_json(content)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}:{line}: not JSON ({error}); mend or remove the line") from error
        yield Row(line, _record(path, line, values))


def _read_json(path: Path) -> Iterator[Row]:
    try:
        content = parse_json(_bytes(path).removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):
        # Published .json files are often one object a line; reading them so also finds the line that is broken.
        yield from read_jsonl_rows(path)
        return
    if isinstance(content, dict):
        try:
            content = _records(content)
        except ValueError as error:
            raise UsageError(f"{path}: {error}; write one object for each row") from error
    for number, values in enumerate(content if isinstance(content, list) else [content], start=1):
        yield Row(number, _record(path, number, values))


def _records(content: dict[str, Any]) -> Any:
    """The records in an object: those of its only list, or of what pandas writes (columns, index, split, or lists).

    Raises:
        ValueError: rows of `data` are not as long as `columns`.
    """
    values = list(content.values())
    if {"columns", "data"} <= set(content) and isinstance(content["data"], list):
        columns, rows = content["columns"], content["data"]
        if all(isinstance(row, dict) for row in rows):
            return rows
        if not isinstance(columns, list) or not all(isinstance(column, str) for column in columns):
            raise ValueError("columns is no list of names")
        for number, row in enumerate(rows, 1):
            if not isinstance(row, list) or len(row) != len(columns):
                raise ValueError(f"row {number} of data is no list of {len(columns)} values, one for each of columns")
        return [dict(zip(columns, row, strict=True)) for row in rows]
    if values and all(isinstance(value, dict) for value in values) and len({tuple(value) for value in values}) == 1:
        if all(str(key).isdecimal() for key in content):
            return values
        if all(str(key).isdecimal() for key in values[0]):
            return [{column: cells[key] for column, cells in content.items()} for key in values[0]]
    lists = [value for value in values if isinstance(value, list)]
    if len(lists) > 1 and len(lists) == len(values) and len({len(value) for value in lists}) == 1:
        return [dict(zip(content, row, strict=True)) for row in zip(*lists, strict=True)]
    wraps = len(lists) == 1 and (len(content) == 1 or _are_records(lists[0]))
    return lists[0] if wraps else content


def _are_records(values: list[Any]) -> bool:
    """Whether a list beside other columns holds records, and not the parts of a cell: values, or the turns of a chat."""
    return bool(values) and all(isinstance(value, dict) and not ({"role", "from"} & set(value)) for value in values)


def _read_csv(path: Path) -> Iterator[Row]:
    with io.TextIOWrapper(io.BytesIO(_bytes(path)), encoding="utf-8-sig", newline="") as file:
        reader: csv.DictReader[str] | None = None
        before = csv.field_size_limit(sys.maxsize)  # cells may hold whole solutions
        try:
            delimiter = "\t" if ending(path) == ".tsv" else _delimiter(file.readline())
            file.seek(0)
            spaced = any(name.startswith(" ") for name in next(csv.reader(file, delimiter=delimiter), []))
            file.seek(0)
            reader = csv.DictReader(file, delimiter=delimiter, skipinitialspace=spaced)
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
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
    for number, values in enumerate(read_records(path), start=1):
        yield Row(number, values)


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": read_jsonl_rows,
    ".ndjson": read_jsonl_rows,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without progress bars and log lines of datasets, which a folder on this disk does not need."""
    import datasets

    level, bars = datasets.utils.logging.get_verbosity(), datasets.utils.are_progress_bars_disabled()
    datasets.utils.logging.set_verbosity(datasets.utils.logging.CRITICAL)
    datasets.utils.disable_progress_bars()
    try:
        yield
    finally:
        datasets.utils.logging.set_verbosity(level)
        if not bars:
            datasets.utils.enable_progress_bars()


def _read_hub(source: str, split: str, name: str | None) -> list[Row]:
    import datasets

    try:
        records = datasets.load_dataset(source, name, split=split)
    except (OSError, ValueError, zipfile.BadZipFile, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(f"{error} {error.__cause__ or ''}".split())[:240]
        raise UsageError(
            f"cannot load data set {source} (name={name}, split={split}): {reason}; "
            "check name and split, go online, or give the path of a file with the problems"
        ) from error
    return [Row(number, values) for number, values in enumerate(records_of(records.data.table), start=1)]


def _record(path: Path, line: int, values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise UsageError(
            f"{path}:{line}: a {type(values).__name__}, not an object with columns; write one object a line"
        )
    return values
