"""Many requests of one search at once: all of them come back, or none is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Iterable
from typing import Any, TypeVar

Result = TypeVar("Result")


async def together(work: Iterable[Awaitable[Result]]) -> list[Result]:
    """What each returns, in their order.

    Raises:
        BaseException: the first that one of them raises; the others are cancelled and at their end before.
    """
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        await cancel_all(tasks)
        raise


async def cancel_all(tasks: Collection[asyncio.Future[Any]]) -> None:
    """Cancel what is not done, and wait until all are at their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
