"""What a training tells of its steps, as JSON lines: ``metrics.jsonl`` in the run folder, ``rl/rollouts.jsonl``."""

from __future__ import annotations

import fcntl
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from search.journal import json_bytes


class StepLog:
    """Appends one line for each call: ``{"phase", "step", "time", …}``.

    Args:
        path: file to append to; several phases share it.
        phase: name of the phase in the lines that are written.
        after: step of the checkpoint that a phase goes on from; its lines of later steps are dropped.
    """

    def __init__(self, path: Path, phase: str, *, after: int | None = None) -> None:
        self.path = path
        self.phase = phase
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            self._trim(after)

    def write(self, step: int, values: dict[str, Any]) -> None:
        record = {"phase": self.phase, "step": step, "time": round(time.time(), 3), **values}
        with _alone(self.path, "ab") as file:
            file.write(json_bytes(record) + b"\n")

    def _trim(self, after: int | None) -> None:
        """Drop a torn last line, and this phase's lines after step `after`; end the last line."""
        with _alone(self.path, "r+b") as file:
            lines = file.readlines()
            kept = [line.removesuffix(b"\n") + b"\n" for line in lines if self._stays(line, after)]
            if kept == lines:
                return
            same = next((i for i, (old, new) in enumerate(zip(lines, kept, strict=False)) if old != new), len(kept))
            # In place, since another process may be waiting to append to this very file.
            file.seek(sum(map(len, kept[:same])))
            file.writelines(kept[same:])
            file.truncate()

    def _stays(self, line: bytes, after: int | None) -> bool:
        try:
            record = json.loads(line)
        except ValueError:
            return False
        return bool(after is None or record["phase"] != self.phase or record["step"] <= after)


@contextmanager
def _alone(path: Path, mode: str) -> Iterator[IO[bytes]]:
    """The file, open, while no other process of the run writes to it."""
    with open(path, mode) as file:
        with suppress(OSError):  # on a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file


class MetricsLog(StepLog):
    """Keeps the numbers among the values."""

    def write(self, step: int, values: dict[str, Any]) -> None:
        super().write(step, {k: v for k, v in values.items() if isinstance(v, (int, float)) and math.isfinite(v)})
