"""A server in a thread of its own, on an engine that tests can hold, break and count."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from aiohttp import web

from rftt.serve.app import Server
from rftt.serve.limits import Limits
from rftt.serve.protocol import Offer
from rftt.serve.searches import Searches
from search.config import SearchConfig
from search.engines import FakeEngine
from tests.search.fakes import TOKENIZER, functional_script

QUESTION = [{"role": "user", "content": "What is 1 + 1?"}]
SEARCH = SearchConfig(rollouts=4, max_depth=6, parallel_rollouts=4)


class HeldEngine(FakeEngine):
    """Answers when it is let go on, or after `pause` seconds; counts who waits and who was cancelled."""

    def __init__(self, pause: float = 0.0, **options: Any) -> None:
        super().__init__(functional_script, TOKENIZER, eos_ids=frozenset({0}), **options)
        self.pause = pause
        self.go = threading.Event()
        self.go.set()
        self.error: Exception | None = None
        self.in_flight = self.most_in_flight = self.cancelled = 0

    async def generate(self, prompt_ids, sampling):
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.pause:
                await asyncio.sleep(self.pause)
            while not self.go.is_set():
                await asyncio.sleep(0.002)
            if self.error is not None:
                raise self.error
            return await super().generate(prompt_ids, sampling)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1


def until(condition: Callable[[], Any], seconds: float = 5.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.002)


class Running:
    """A server that listens.

    Args:
        server: the server.
        loop: its event loop.
    """

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop, port: int) -> None:
        self.server, self.loop = server, loop
        self.url = f"http://127.0.0.1:{port}"

    def do(self, work: Any) -> Any:
        """Run a coroutine in the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)


@contextlib.contextmanager
def running(engine: Any, *, api_key: str | None = None, search: SearchConfig = SEARCH, strategy: str = "mcts",
            loading: threading.Event | None = None, **limits: Any) -> Iterator[Running]:  # fmt: skip
    """A server on an engine.

    Args:
        engine: answers the searches.
        api_key: see `Server`.
        search, strategy: defaults of the offer.
        loading: the engine is there when this is set.
        limits: of `Limits`.
    """

    @contextlib.contextmanager
    def opened():
        if loading is not None:
            loading.wait()
        yield engine, None

    async def listen():
        runner = server.runner()
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    searches = Searches(opened)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = None

    async def make():
        return Server(searches, Offer("fake", strategy, search), Limits(**limits), api_key)

    try:
        server = asyncio.run_coroutine_threadsafe(make(), loop).result(10)
        runner = asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
        searches.start()
        if loading is None:
            searches.ready.result(10)
        yield Running(server, loop, runner.addresses[0][1])
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        assert searches.close(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
