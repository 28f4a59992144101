"""What a training tells of its steps, as JSON lines: ``metrics.jsonl`` in the run folder, ``rl/rollouts.jsonl``."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

from rftt.model.checkpoints import write_whole


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
        line = json.dumps(record, ensure_ascii=False)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def _trim(self, after: int | None) -> None:
        """Drop a torn last line, and this phase's lines after step `after`."""
        kept = []
        lines = self.path.read_text(encoding="utf-8").splitlines()
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if after is None or record["phase"] != self.phase or record["step"] <= after:
                kept.append(line)
        if kept != lines:  # another process may be writing: leave a file alone that is in order
            write_whole(self.path, "".join(f"{line}\n" for line in kept))


class MetricsLog(StepLog):
    """Keeps the numbers among the values."""

    def write(self, step: int, values: dict[str, Any]) -> None:
        super().write(step, {k: v for k, v in values.items() if isinstance(v, (int, float)) and math.isfinite(v)})
