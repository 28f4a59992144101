"""Checkpoints of a trainer and final models: whole or not there at all."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)


def last_whole(folder: Path) -> Path | None:
    """The newest checkpoint in a trainer's output folder that was written to its end.

    A trainer writes ``trainer_state.json`` last. A checkpoint without a readable one, or without weights, was torn by a
    kill: it is removed with a message, and the one before it is taken.
    """
    found = sorted(folder.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]), reverse=True)
    for checkpoint in found:
        if _whole(checkpoint):
            return checkpoint
        log.warning("%s was torn by a kill; using the checkpoint before it", checkpoint)
        shutil.rmtree(checkpoint)
    return None


def step_of(checkpoint: Path | None) -> int:
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0


def save_final(out: Path, save: Callable[[str], None]) -> None:
    """Write a model folder under a temporary name with `save`, then rename it to `out`."""
    temporary = out.with_name(out.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save(str(temporary))
    shutil.rmtree(out, ignore_errors=True)
    temporary.rename(out)


def _whole(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / "trainer_state.json").read_text())
    except (OSError, ValueError):
        return False
    weights = [p for p in checkpoint.rglob("*") if p.suffix in {".safetensors", ".bin", ".pt"}]
    return any(p.stat().st_size for p in weights)
