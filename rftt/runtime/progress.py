"""Progress of a long job, reported to whoever shows it: rate and time left, on the terminal and in logs."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from rftt.runtime import terminal
from rftt.runtime.status import Note
from search.together import cancel_all

PAUSE = 0.2  # seconds between two reports
_numbers = itertools.count()


class Progress:
    """Counts what is done of a job.

    Args:
        total: number of units.
        label: name of the job; jobs of several processes with one label are shown as one.
        unit: plural name of a unit.
        done: number of units done before, in a job that goes on.
    """

    def __init__(self, total: int, label: str, unit: str, done: int = 0) -> None:
        self.n = done
        self._event: dict[str, Any] = {
            "part": f"{os.getpid()}.{next(_numbers)}",
            "label": label,
            "unit": unit,
            "total": total,
        }
        self._note: Note = {}
        self._told = 0.0
        self._reporter = terminal.reporter()
        self._tell()

    def update(self, count: int = 1) -> None:
        """Count further units as done."""
        self.n += count
        if time.monotonic() - self._told >= PAUSE:
            self._tell()

    def note(self, **values: float | str) -> None:
        """Show values beside the count; numbers of several processes are added up."""
        self._note = values
        if time.monotonic() - self._told >= PAUSE:
            self._tell()

    def close(self) -> None:
        """The job is done, or given up."""
        self._tell(end=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, **more: Any) -> None:
        self._told = time.monotonic()
        self._reporter.tell({**self._event, "done": self.n, "note": self._note, **more})


def progress_bar(total: int, label: str, unit: str, done: int = 0) -> Progress:
    """Begin to count a job; the arguments are those of `Progress`."""
    return Progress(total, label, unit, done)


def training_progress(label: str, *shown: str) -> Any:
    """A transformers trainer callback that reports optimiser steps.

    Args:
        label: name of the training.
        shown: values of the trainer's log to show, e.g. ``loss``.
    """
    from transformers import TrainerCallback

    class ReportSteps(TrainerCallback):
        bar: Progress | None = None

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.is_world_process_zero:
                self.bar = Progress(state.max_steps, label, "steps", state.global_step)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self.bar is not None:
                self.bar.update(state.global_step - self.bar.n)

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
            found = {name: float(logs[name]) for name in shown if name in logs} if logs else {}
            if self.bar is not None and found:
                self.bar.note(**found)

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self.bar is not None:
                self.bar.close()

    return ReportSteps()


def course(history: list[dict[str, Any]], name: str) -> str:
    """How a logged value went, e.g. ``loss 0.62 → 0.11``; empty where it was never logged.

    Args:
        history: a trainer's log, entry by entry.
        name: name of the value.
    """
    values = [float(entry[name]) for entry in history if name in entry]
    return f"{name} {values[0]:.3g} → {values[-1]:.3g}" if values else ""


@asynccontextmanager
async def shown_meanwhile(bar: Progress, figures: Callable[[], dict[str, float]]) -> AsyncIterator[None]:
    """Keep a job's figures fresh while its next unit is on the way.

    Args:
        bar: count of the job.
        figures: function that returns the values to show beside the count.
    """

    async def keep_fresh() -> None:
        while True:
            await asyncio.sleep(PAUSE)
            bar.note(**figures())

    task = asyncio.create_task(keep_fresh())
    try:
        yield
    finally:
        await cancel_all([task])
