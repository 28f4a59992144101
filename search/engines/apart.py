"""Requests of different kinds that must not share an engine's step.

In a step in which one request watches ids (``logprob_token_ids``), vLLM 0.31 tells the others nothing of their likeliest
ids: its sampler gathers the watched ones for the whole batch and drops the rest.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from search.engines.engine import Sampling


def kind_of(sampling: Sampling) -> str:
    """What a request wants to know at every position; empty for one that goes with any other."""
    return "top" if sampling.top_logprobs else "watched" if sampling.watch_ids else ""


class Apart:
    """Lets requests of only one kind in at a time; kinds take turns in the order in which they came."""

    def __init__(self) -> None:
        self._kind = ""
        self._inside = 0
        self._waiting: deque[tuple[str, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def turn(self, kind: str) -> AsyncIterator[None]:
        """Hold a place while a request is served.

        Args:
            kind: kind of the request; the empty kind goes with every other.
        """
        if not kind:
            yield
            return
        if self._inside and (kind != self._kind or self._waiting):
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((kind, future))
            try:
                await future
            except asyncio.CancelledError:
                if future.done() and not future.cancelled():
                    self._leave()
                raise
        else:
            self._kind, self._inside = kind, self._inside + 1
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        self._inside -= 1
        self._waiting = deque((kind, future) for kind, future in self._waiting if not future.cancelled())
        if self._inside or not self._waiting:
            return
        self._kind = self._waiting[0][0]
        admitted = [future for kind, future in self._waiting if kind == self._kind]
        self._waiting = deque((kind, future) for kind, future in self._waiting if kind != self._kind)
        self._inside = len(admitted)
        for future in admitted:
            future.set_result(None)
