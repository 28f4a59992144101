"""Files cut into pieces, for a way to another machine that takes only so much at a time; and joined again there.

All files become one tar stream. The stream is cut into pieces, each piece is compressed where that makes it smaller, and
the pieces are put into folders, the loads, none of which is larger than the way allows. A load says which pieces it holds
and what their SHA-256 sums are. Python's standard library suffices.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import tarfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

PIECE = 8 << 20  # bytes of the stream in one piece
INDEX = "index.json"
INDEX_ROOM = 64 << 10  # bytes of a load that are kept for its index


class _Cutter:
    """A file object that is written to as a stream and hands it on in pieces.

    Args:
        loads: folder of the loads.
        most: largest size of a load in bytes.
    """

    def __init__(self, loads: Path, most: int) -> None:
        if most < PIECE + INDEX_ROOM:
            raise ValueError(f"most: {most} bytes is not allowed, expected {PIECE + INDEX_ROOM} or more")
        self.loads, self.most = loads, most
        self.sums: list[dict[str, str]] = [{}]
        self._waiting = bytearray()
        self._pieces = self._filled = 0

    def write(self, data: bytes) -> int:
        self._waiting += data
        while len(self._waiting) >= PIECE:
            self._put(bytes(self._waiting[:PIECE]))
            del self._waiting[:PIECE]
        return len(data)

    def finish(self) -> list[Path]:
        """Write what is left and the indexes; returns the loads."""
        if self._waiting:
            self._put(bytes(self._waiting))
        for number, sums in enumerate(self.sums):
            index = {"pieces": self._pieces, "loads": len(self.sums), "sha256": sums}
            (self._load(number) / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
        return [self._load(number) for number in range(len(self.sums))]

    def _load(self, number: int) -> Path:
        return self.loads / f"load-{number + 1:02}"

    def _put(self, raw: bytes) -> None:
        packed = lzma.compress(raw, preset=0)
        data, kind = (packed, "xz") if len(packed) < len(raw) else (raw, "raw")
        if self._filled + len(data) > self.most - INDEX_ROOM:
            self.sums.append({})
            self._filled = 0
        folder = self._load(len(self.sums) - 1)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{self._pieces:05}.{kind}"
        (folder / name).write_bytes(data)
        self.sums[-1][name] = hashlib.sha256(data).hexdigest()
        self._filled += len(data)
        self._pieces += 1


def cut(files: Mapping[str, Path], loads: Path, most: int) -> list[Path]:
    """Cut files and folders into loads.

    Args:
        files: names that they get where they are joined, with the file or folder of each.
        loads: folder for the loads, which must not exist yet.
        most: largest size of a load in bytes.

    Returns:
        The folders of the loads, ``load-01`` and so on.

    Raises:
        FileExistsError: `loads` exists.
        ValueError: `most` is smaller than a piece.
    """
    loads.mkdir(parents=True)
    cutter = _Cutter(loads, most)
    with tarfile.open(fileobj=cutter, mode="w|", dereference=True) as archive:  # type: ignore[call-overload]
        for name, path in files.items():
            archive.add(path, arcname=name)
    return cutter.finish()


def join(loads: Path, out: Path) -> int:
    """Join all loads of a folder.

    Args:
        loads: folder that holds the loads.
        out: folder to write the files into.

    Returns:
        Bytes that were joined, as they came.

    Raises:
        ValueError: a load or a piece is missing or damaged; says which.
    """
    sums: dict[str, str] = {}
    places: dict[str, Path] = {}
    expected: dict[str, Any] = {}
    for index in sorted(loads.glob(f"load-*/{INDEX}")):
        found = json.loads(index.read_text(encoding="utf-8"))
        if expected and found["pieces"] != expected["pieces"]:
            raise ValueError(f"{index.parent} belongs to other loads; empty {loads} and carry all of them again")
        expected = found
        sums |= found["sha256"]
        places |= {name: index.parent / name for name in found["sha256"]}
    if not expected:
        raise ValueError(f"{loads}: there is no load in it; expected folders such as load-01 with {INDEX}")
    numbers = {int(name.partition(".")[0]) for name in sums}
    if missing := sorted(set(range(expected["pieces"])) - numbers):
        raise ValueError(
            f"{loads}: {len(missing)} of {expected['pieces']} pieces are missing, the first is {missing[0]:05}; "
            f"carry all {expected['loads']} loads"
        )

    def read(name: str) -> bytes:
        data = places[name].read_bytes() if places[name].exists() else b""
        if hashlib.sha256(data).hexdigest() != sums[name]:
            raise ValueError(f"{places[name]} is damaged or missing; carry this load again")
        return lzma.decompress(data) if name.endswith(".xz") else data

    out.mkdir(parents=True, exist_ok=True)
    order = sorted(sums)
    with tarfile.open(fileobj=_Stream(_in_order(order, read)), mode="r|") as archive:  # type: ignore[call-overload]
        archive.extractall(out, filter="data")
    return sum(places[name].stat().st_size for name in order)


def _in_order(names: list[str], read: Any) -> Iterator[bytes]:
    """Contents of the pieces in order, unpacked on all cores, a few at a time."""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as threads:
        for start in range(0, len(names), 2 * workers):
            yield from threads.map(read, names[start : start + 2 * workers])


class _Stream:
    """A file object that is read as a stream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._waiting = bytearray()

    def read(self, size: int) -> bytes:
        while len(self._waiting) < size and (piece := next(self._pieces, None)) is not None:
            self._waiting += piece
        found = bytes(self._waiting[:size])
        del self._waiting[:size]
        return found
