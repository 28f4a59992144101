"""A JSONL file that many questions write to, that survives a kill at any byte, and that ends in a fixed order."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Journal:
    """Records of finished questions, appended as they come to ``path.partial``.

    A torn last line is dropped when the journal is opened again; `finish` writes all records in the wanted order to a
    temporary file and renames it to `path`, so that `path` is whole or absent.

    Args:
        path: the final file.
        key: field of a record that names its question.
    """

    def __init__(self, path: Path, key: str = "question_id") -> None:
        self.path = path
        self.key = key
        self._partial = path.with_name(path.name + ".partial")
        self._offsets: dict[str, int] = {}
        if path.exists():
            self._file = None
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self._partial, "a+b")  # noqa: SIM115 (stays open for the journal's life)
        self._recover()

    @property
    def finished(self) -> bool:
        return self._file is None

    def __contains__(self, name: str) -> bool:
        return name in self._offsets

    def __len__(self) -> int:
        return len(self._offsets)

    def append(self, record: dict[str, Any]) -> None:
        """Write one record and hand it to the operating system.

        Raises:
            ValueError: the journal is finished.
        """
        if self._file is None:
            raise ValueError(f"{self.path} is finished")
        line = json_bytes(record) + b"\n"
        self._offsets[record[self.key]] = self._file.seek(0, os.SEEK_END)
        self._file.write(line)
        self._file.flush()

    def read(self, order: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Records in the given order of keys; keys without a record are passed over."""
        if self._file is None:
            yield from read_jsonl(self.path)
            return
        for name in order:
            if name in self._offsets:
                self._file.seek(self._offsets[name])
                yield json.loads(self._file.readline())

    def finish(self, order: Iterable[str]) -> None:
        """Write the final file. A finished journal stays as it is."""
        if self._file is None:
            return
        write_jsonl(self.path, self.read(order))
        self._file.close()
        self._file = None
        self._partial.unlink()

    def close(self) -> None:
        """Close the file without finishing it."""
        if self._file is not None:
            self._file.close()

    def _recover(self) -> None:
        """Find the records; cut off what follows the last whole line."""
        assert self._file is not None
        self._file.seek(0)
        end = 0
        for line in self._file:
            try:
                record = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                record = None
            if not isinstance(record, dict) or self.key not in record:
                break
            self._offsets[record[self.key]] = end
            end += len(line)
        self._file.truncate(end)


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Records of a whole file."""
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def json_bytes(record: Any) -> bytes:
    """A record as UTF-8, with a question mark for each half of a character that Unicode cannot write alone."""
    return json.dumps(record, ensure_ascii=False).encode(errors="replace")


def write_jsonl(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write a whole file and flush it to the disk."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        for record in records:
            file.write(json_bytes(record) + b"\n")
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The name of a temporary file that takes the place of `path` once it is written, and goes if that fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")  # several processes may write the same
    try:
        yield temporary
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
