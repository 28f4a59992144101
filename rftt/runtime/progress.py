"""Progress of a long job: rate and time left, on the terminal and in logs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any


def progress_bar(total: int, label: str, unit: str, done: int = 0) -> Any:
    """A tqdm bar; where nobody watches a terminal it prints a line every ten seconds.

    Args:
        total: number of units.
        label: what is done.
        unit: of what.
        done: how many were done before a resume.
    """
    from tqdm import tqdm

    watched = sys.stderr.isatty()
    return tqdm(
        total=total, desc=label, unit=f" {unit}", initial=done, mininterval=0.5 if watched else 10.0,
        dynamic_ncols=watched, file=sys.stderr, smoothing=0.1,
    )  # fmt: skip


@asynccontextmanager
async def shown_meanwhile(bar: Any, figures: Callable[[], dict[str, Any]]) -> AsyncIterator[None]:
    """Keep a bar's figures fresh while its next unit is on the way, at the pace at which the bar prints.

    Args:
        bar: of `progress_bar`.
        figures: what it shows beside its count.
    """

    async def keep_fresh() -> None:
        while True:
            await asyncio.sleep(bar.mininterval)
            bar.set_postfix(figures(), refresh=True)

    task = asyncio.create_task(keep_fresh())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
