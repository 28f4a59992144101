"""How much at once: searches that run, requests that wait for their turn, seconds and bytes of one, large bodies."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from rftt.serve.protocol import ApiError


@dataclass(frozen=True)
class Limits:
    """Args:
    concurrent: searches at once.
    queue: requests that may wait for one of them to end.
    body: bytes of a body.
    pace: bytes of large bodies that are read in a second, so that they leave the rest of it to the others.
    seconds: seconds of a request, from its body to its answer, the wait included.
    body_seconds: seconds until a body must be there.
    write_seconds: seconds until a client must have taken a piece of a stream.
    keep_alive: seconds between two signs of life in a stream whose search goes on.

    Raises:
        ValueError: a limit is out of its range.
    """

    concurrent: int = 64
    queue: int = 256
    body: int = 1 << 20
    pace: float = 6e6
    seconds: float = 300.0
    body_seconds: float = 30.0
    write_seconds: float = 30.0
    keep_alive: float = 5.0

    def __post_init__(self) -> None:
        for name, low in (("concurrent", 1), ("queue", 0), ("body", 1)):
            if getattr(self, name) < low:
                raise ValueError(f"{name}: {getattr(self, name)} is not allowed, expected {low} or more")
        for name in ("pace", "seconds", "body_seconds", "write_seconds", "keep_alive"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: {getattr(self, name)} is not allowed, expected more than 0")


class Gate:
    """Lets in so many searches at once; the others wait in the order in which they came.

    Args:
        limits: how many.
    """

    def __init__(self, limits: Limits) -> None:
        self.running = self.waiting = 0
        self.closed = False
        self._limits = limits
        self._places = asyncio.Semaphore(limits.concurrent)
        self._mean = 1.0  # seconds of a search, the latest ones count most

    @asynccontextmanager
    async def place(self, until: AbstractAsyncContextManager[None], *, admitted: bool = False) -> AsyncIterator[None]:
        """A place for one search.

        Args:
            until: how long to wait for it.
            admitted: it belongs to a request that was let in before, and is not refused.

        Raises:
            ApiError: 503 when the gate is closed; 429 when too many wait; what `until` raises.
        """
        if not admitted:
            self.check()
        self.waiting += 1
        try:
            async with until:
                await self._places.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        begun = time.monotonic()
        try:
            yield
        finally:
            self.running -= 1
            self._places.release()
            self._mean += (time.monotonic() - begun - self._mean) / 16

    def check(self) -> None:
        """Refuse what would find no place.

        Raises:
            ApiError: 503 when the gate is closed; 429 when too many wait.
        """
        if self.closed:
            raise ApiError(503, "the server is shutting down", code="shutting_down", headers={"Retry-After": "5"})
        if self._places.locked() and self.waiting >= self._limits.queue:
            raise ApiError(
                429,
                f"{self.running} searches run and {self.waiting} wait; try again later",
                code="queue_full",
                headers={"Retry-After": str(self.retry_after())},
            )

    def retry_after(self) -> int:
        """Seconds after which a place in the queue should be free: 1 to 60."""
        return min(60, max(1, math.ceil(self._mean * (1 + self.waiting) / self._limits.concurrent)))


class Pace:
    """Lets large bodies in one after the other, so many bytes a second.

    Reading, understanding and refusing a megabyte takes the work of some searches of a small model. Clients that send them
    without end would have all of the processor.

    Args:
        limits: how many bytes; and `Limits.body_seconds` as the longest wait.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._free = 0.0  # when the next one may begin

    async def take(self, size: int) -> None:
        """Wait until a body of so many bytes may be read.

        Raises:
            ApiError: 429: too many stand before it.
        """
        now = asyncio.get_running_loop().time()
        begin = max(now, self._free)
        if begin - now > self._limits.body_seconds:
            raise ApiError(
                429,
                "too many large bodies wait to be read; try again later",
                code="queue_full",
                headers={"Retry-After": str(math.ceil(begin - now))},
            )
        taken = size / self._limits.pace
        self._free = begin + taken
        try:
            await asyncio.sleep(begin - now)
        except asyncio.CancelledError:  # the client has hung up
            self._free -= taken
            raise
