"""Checkpoints, final models and small files that are whole or absent.

A checkpoint is written beside its place, gets a manifest of its files and their sizes, and is renamed. What was killed
in between, or was damaged later, is recognised and passed over.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from search.journal import replacing

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
SCHEMA = "rftt.checkpoint/1"
PARTIAL = ".partial"  # folder in which a checkpoint is written
ALMOST_FULL = 1 << 20  # free bytes below which a write that failed is taken to have filled the disk


def publish(partial: Path, target: Path) -> None:
    """Flush a finished folder to the disk, write its manifest and rename it to `target`, replacing what is there."""
    files = [path for path in sorted(partial.rglob("*")) if path.is_file()]
    for path in files:
        _flush(path)
    sizes = {str(path.relative_to(partial)): path.stat().st_size for path in files}
    manifest = partial / MANIFEST
    manifest.write_text(json.dumps({"schema": SCHEMA, "files": sizes}, indent=1) + "\n", encoding="utf-8")
    _flush(manifest)
    put_in_place(partial, target)
    _flush(target.parent)


def write_whole(path: Path, text: str) -> None:
    """Write a small file under a temporary name and rename it."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """`write_whole` for a value as indented JSON."""
    write_whole(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def put_in_place(partial: Path, target: Path) -> None:
    """Rename a finished folder to `target`; what stands there is only removed after that."""
    if target.exists():
        replaced = target.with_name(f".{target.name}.replaced")
        shutil.rmtree(replaced, ignore_errors=True)
        target.rename(replaced)
        partial.rename(target)
        shutil.rmtree(replaced)
    else:
        partial.rename(target)


def is_whole(folder: Path) -> bool:
    """Whether every file of the manifest is there in its size."""
    try:
        record = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return all((folder / name).stat().st_size == size for name, size in record["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def last_whole(folder: Path) -> Path | None:
    """The newest whole ``checkpoint-N`` of a folder; torn ones are removed with a message."""
    shutil.rmtree(folder / PARTIAL, ignore_errors=True)
    numbered = {int(m[1]): path for path in folder.glob("checkpoint-*") if (m := re.search(r"-(\d+)$", path.name))}
    for number in sorted(numbered, reverse=True):
        if is_whole(numbered[number]):
            return numbered[number]
        log.warning("%s is torn and is passed over", numbered[number])
        shutil.rmtree(numbered[number])
    return None


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def telling_a_full_disk(folder: Path) -> Iterator[None]:
    """Writers of weights tell of a full disk in their own words, or not at all: here it is an `OSError` that says so.

    Args:
        folder: written to.

    Raises:
        OSError: ENOSPC, or what the writer raised.
    """
    try:
        yield
    except Exception as error:  # safetensors, torch and pickle each have their own
        there = next(path for path in (folder, *folder.parents) if path.exists())
        said = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        full = "no space left" in str(error).lower() or "disk quota" in str(error).lower()
        if not said and (full or shutil.disk_usage(there).free < ALMOST_FULL):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
        raise


def step_of(checkpoint: Path | None) -> int:
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0


class _Finished(Exception):
    """The checkpoint that training was to go on from is that of its last step."""


def go_on(trainer: Any, checkpoint: Path | None) -> dict[str, float]:
    """Train a transformers trainer from a checkpoint, or from the beginning; returns its metrics.

    The checkpoint of the last step is only loaded, by the trainer's own way through `train`, which knows how it is spread
    over processes: transformers would make one step more.
    """
    from transformers import TrainerCallback

    class StopWhenFinished(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step >= state.max_steps:
                raise _Finished

    trainer.add_callback(StopWhenFinished())
    try:
        return trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None).metrics
    except _Finished:
        return {}


class WholeCheckpoints:
    """Mixed into a transformers `Trainer` before it: checkpoints are published whole, older ones go only after that."""

    _writing = False

    def _get_output_dir(self, trial: Any) -> str:
        folder = super()._get_output_dir(trial)  # type: ignore[misc]
        return os.path.join(folder, PARTIAL) if self._writing else folder

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, rotate_checkpoints

        trainer: Any = self
        folder = Path(self._get_output_dir(trial))
        name = f"{PREFIX_CHECKPOINT_DIR}-{trainer.state.global_step}"
        self._writing = True
        try:
            with telling_a_full_disk(folder):
                super()._save_checkpoint(model, trial)  # type: ignore[misc]
        finally:
            self._writing = False
        trainer.accelerator.wait_for_everyone()
        if trainer.args.should_save:
            publish(folder / PARTIAL / name, folder / name)
            shutil.rmtree(folder / PARTIAL)
            rotate_checkpoints(str(folder), trainer.args.save_total_limit, trainer.state.best_model_checkpoint)
        trainer.accelerator.wait_for_everyone()
