"""``rftt serve --model M``: options, start, and an orderly end."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from rftt.answering.arguments import add_answering, answering_config

if TYPE_CHECKING:
    from rftt.config import Config
    from rftt.serve.app import Server
    from rftt.serve.searches import Searches
    from search.engines.engine import Engine
    from search.functions import FunctionSet
    from search.judging import Scorer

API_KEY = "RFTT_API_KEY"
LIMITS: dict[str, Any] = {
    "--max-concurrent": 64, "--max-queue": 256, "--max-body": 1 << 20, "--max-rollouts": 64, "--max-budget": 65536,
    "--timeout": 300.0, "--grace": 30.0,
}  # fmt: skip
LOOPBACK = ("localhost", "::1", "127.")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.epilog = "Strategy, rollouts, budget and seed are for requests that do not name others."
    add = parser.add_argument
    add_answering(parser)
    add("--name", help="name under which it is served (default: as given with --model)")
    add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine only)")
    add("--port", type=int, default=8000, help="0 takes a free one (default: 8000)")
    for option, text in (
        ("--max-concurrent", "searches at once"),
        ("--max-queue", "requests that may wait for one to end; further ones get 429"),
        ("--max-body", "bytes of a request"),
        ("--max-rollouts", "most that a request may ask for"),
        ("--max-budget", "tokens after which a request begins nothing more"),
        ("--timeout", "seconds of a request; then 504"),
        ("--grace", "seconds for searches in flight after SIGTERM or ctrl-C; a second one ends at once"),
    ):
        default = LIMITS[option]
        add(option, type=type(default), default=default, metavar="N", help=f"{text} (default: {default:g})")
    add("--api-key", metavar="KEY", help=f"what clients must give (default: {API_KEY} of the environment, else none)")


def run(arguments: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        UsageError: a setting does not fit, the model cannot be found, or the address cannot be had.
        EngineError: the engine cannot start.
    """
    from rftt.errors import UsageError
    from rftt.model.function_sets import choose

    if find_spec("prometheus_client") is None:
        raise UsageError("serve: prometheus-client is not installed; pip install 'rftt[serve]'")
    from rftt.serve.app import Server
    from rftt.serve.limits import Limits
    from rftt.serve.protocol import Offer
    from rftt.serve.searches import Searches
    from search.strategies import AUTO, STRATEGIES

    if arguments.strategy not in (known := (*STRATEGIES, AUTO)):
        raise UsageError(f"--strategy {arguments.strategy!r}: expected one of {', '.join(known)}")
    key = arguments.api_key if arguments.api_key is not None else os.environ.get(API_KEY)
    if key is not None and not key.strip():
        raise UsageError(f"--api-key or {API_KEY} is empty; give a key, or leave it out")
    config = answering_config(arguments)
    try:
        limits = Limits(
            concurrent=arguments.max_concurrent,
            queue=arguments.max_queue,
            body=arguments.max_body,
            seconds=arguments.timeout,
        )
    except ValueError as error:
        raise UsageError(f"serve: {error}") from error
    offer = Offer(
        arguments.name or arguments.model, arguments.strategy, config.search,
        max(arguments.max_rollouts, config.search.rollouts), max(arguments.max_budget, config.search.budget_tokens or 1),
    )  # fmt: skip
    if key is None and not arguments.host.startswith(LOOPBACK):
        print(
            f"rftt: anybody who reaches {arguments.host} may use this server; --api-key keeps others out",
            file=sys.stderr,
        )
    functions = choose(config.model.functions, config.model.path)
    searches = Searches(lambda: opened(config, arguments.strategy, functions), functions)
    server = Server(searches, offer, limits, key)
    asyncio.run(serve(server, arguments.host, arguments.port, arguments.grace))
    if not searches.close(30.0 if searches.ready.done() else 2.0):
        # The engine is still loading or stuck in a step; it cannot be waited for.
        sys.stdout.flush()
        os._exit(0)
    if searches.ready.done():
        searches.ready.result()  # raises why the engine could not start


@contextmanager
def opened(config: Config, strategy: str, functions: FunctionSet) -> Iterator[tuple[Engine, Scorer | None]]:
    """The engine of a config, and its process reward model if it has one.

    Raises:
        UsageError: the strategy does not fit the settings or the model.
    """
    from rftt.errors import UsageError
    from rftt.runtime.running_engine import running_engine
    from rftt.runtime.running_scorer import running_scorer
    from search.strategies import Solver

    with running_scorer(config) as scorer, running_engine(config, config.model.path) as engine:
        try:
            Solver(engine, config.search, strategy, functions=functions, scorer=scorer)
        except ValueError as error:
            raise UsageError(f"serve: {error}") from error
        yield engine, scorer


async def serve(server: Server, host: str, port: int, grace: float) -> None:
    """Listen, open the engine, and serve until told to end or until the engine cannot start.

    Args:
        server: not yet listening.
        host, port: where; port 0 takes a free one.
        grace: seconds for the searches in flight at the end.

    Raises:
        UsageError: the address cannot be had.
    """
    from aiohttp import web

    from rftt.errors import UsageError

    told, told_twice = asyncio.Event(), asyncio.Event()

    def tell(*_: Any) -> None:
        (told_twice if told.is_set() else told).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, tell)
    runner = server.runner()
    await runner.setup()
    try:
        try:
            await (site := web.TCPSite(runner, host, port)).start()
        except (OSError, OverflowError) as error:
            raise UsageError(f"{host}:{port}: cannot listen there ({error}); give another --host or --port") from error
        address = runner.addresses[0]
        url = f"http://{f'[{address[0]}]' if ':' in address[0] else address[0]}:{address[1]}/v1"
        print(f"rftt: {url} is there, {server.offer.model} is being loaded", flush=True)
        server.searches.start()
        end = asyncio.ensure_future(told.wait())
        ready = asyncio.ensure_future(_ready(server.searches))
        await asyncio.wait({end, ready}, return_when=asyncio.FIRST_COMPLETED)
        if ready.done() and not ready.result():
            return
        if not end.done():
            print(f"rftt: ready, {server.offer.model} at {url}", flush=True)
        await end
        print("rftt: shutting down", flush=True)
        await site.stop()
        draining = asyncio.ensure_future(server.drain(grace))
        await asyncio.wait({draining, at_once := asyncio.ensure_future(told_twice.wait())},
                           return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
        if not draining.done():
            await server.drain(0)
        for task in (draining, at_once, ready):
            task.cancel()
    finally:
        await runner.cleanup()


async def _ready(searches: Searches) -> bool:
    """Whether the engine could be opened, once that is known."""
    await asyncio.wait({future := asyncio.wrap_future(searches.ready)})
    return future.exception() is None
