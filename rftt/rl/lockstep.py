"""Full and always equal batches for an engine that generates batch by batch."""

from __future__ import annotations

import asyncio

from search.engines import Engine, Generation, Sampling
from search.engines.engine import EngineAround

Request = tuple[list[int], int, "asyncio.Future[None]"]  # prompt, seed, what it waits for


class Lockstep(EngineAround):
    """Hands requests on once every live tree waits for one, in an order that does not depend on who came first.

    An engine that pads a batch rounds a row's log-probs differently in different company. Grading runs beside the
    search, so without this a batch would hold whoever happened to be ready, and no run could be repeated to the bit.
    It also fills the batches.

    Args:
        engine: gets the requests.
        live: number of trees, each with one request at a time.
    """

    def __init__(self, engine: Engine, live: int) -> None:
        super().__init__(engine)
        self.live = live
        self._waiting: list[Request] = []

    async def generate(self, prompt_ids: list[int], sampling: Sampling) -> list[Generation]:
        """See `Engine`."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((prompt_ids, sampling.seed or 0, turn))
        self._release()
        await turn
        return await super().generate(prompt_ids, sampling)

    def finished(self) -> None:
        """One tree will ask for nothing more."""
        self.live -= 1
        self._release()

    def _release(self) -> None:
        if len(self._waiting) >= self.live:
            waiting, self._waiting = self._waiting, []
            # Later, when the one that came last waits as well: it would else be the first to go on.
            asyncio.get_running_loop().call_soon(_wake, sorted(waiting, key=lambda request: request[:2]))


def _wake(requests: list[Request]) -> None:
    for _, _, turn in requests:
        if not turn.done():
            turn.set_result(None)
