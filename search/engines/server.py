"""vLLM servers as the engine: any number of OpenAI-compatible servers of one model, on this node or on others.

What goes over the wire is token ids, in both directions: ``/v1/completions`` takes them as the prompt and returns them with
``return_token_ids``, the one that stopped a continuation included. ``logprob_token_ids`` has the server compute the watched
log-probabilities at every position beside the sampled one, so one request gives all and nothing comes from a top-k. The
servers must run with vLLM's default ``--logprobs-mode raw_logprobs``.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from search.engines.apart import Apart, kind_of
from search.engines.completions import error_message, one_line, read_generations, request_body
from search.engines.engine import EngineError, EngineStats, Generation, Sampling
from search.engines.fleet import Fleet, Server
from search.engines.models import agree_on_model, list_models, serves
from search.loading import CodeRefused, load_model_config, load_tokenizer
from search.prompt import end_ids

if TYPE_CHECKING:
    from aiohttp import ClientSession

PROBE_TIMEOUT = 5.0  # seconds
# Less than the 5 s after which vLLM closes an idle connection, or a request now and then meets one that is closing.
KEEP_ALIVE = 2.0


class ServerFailure(Exception):
    """A server did not serve a request that another one, or the same one later, may serve."""


@dataclass
class Running:
    """What belongs to one event loop while requests are in flight.

    Args:
        loop: that loop.
        session: its connections.
        users: requests in flight.
        counted_until: moment up to which the time in flight is in the statistics.
    """

    loop: asyncio.AbstractEventLoop
    session: ClientSession
    users: int
    counted_until: float


class ServerEngine:
    """Speaks to vLLM servers.

    A request that fails for a reason of the server's (no connection, no answer in time, HTTP 5xx or 429, an answer that
    makes no sense) is sent again, to another server if there is one. The statistics count cached tokens where servers run
    with ``--enable-prompt-tokens-details``; of several continuations of one prompt vLLM tells those of one.

    Args:
        urls: URLs of the servers, with or without ``/v1``.
        model: name under which the model is served; by default the one that the servers list.
        tokenizer: a tokenizer, or the model folder or hub name that holds it and the generation config.
        max_model_len: longest prompt plus continuation; by default what every server takes.
        timeout: seconds until an answer must be complete.
        attempts: how often a request is sent in all.
        backoff: seconds before the second attempt, doubled before each further one, with up to a quarter of jitter.
        give_up: seconds without any live server after which the engine is gone.
        max_in_flight: requests of one server at once.
        api_key: key of the servers; by default the environment variable VLLM_API_KEY.
        seed: seed of the jitter.
        trust_remote_code: run code that comes with the tokenizer.

    Raises:
        EngineError: no server answers, they disagree on the model, or they take shorter texts than `max_model_len`.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        tokenizer: Any,
        model: str | None = None,
        max_model_len: int | None = None,
        timeout: float = 600.0,
        attempts: int = 4,
        backoff: float = 0.5,
        give_up: float = 60.0,
        max_in_flight: int = 256,
        api_key: str | None = None,
        seed: int = 0,
        trust_remote_code: bool = False,
    ) -> None:
        key = api_key or os.environ.get("VLLM_API_KEY")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        bare = list(dict.fromkeys(_bare(url) for url in ([urls] if isinstance(urls, str) else urls)))
        listed, silent = list_models(bare, self._headers, PROBE_TIMEOUT)
        if not listed:
            raise EngineError(
                f"no server answers ({'; '.join(f'{u}: {r}' for u, r in silent.items())}): start them with "
                "launch/servers.sh or correct engine.servers"
            )
        found = agree_on_model(listed, model, max_model_len)
        self.model = found.name
        self.served = found.names
        self.max_model_len = found.max_model_len
        self.tokenizer, self.eos_ids = _tokenizer(tokenizer, trust_remote_code)
        self.stats = EngineStats()
        self._timeout = timeout
        self._attempts = attempts
        self._backoff = backoff
        self._apart = Apart()
        self._jitter = random.Random(seed)
        self._running: Running | None = None
        self._fleet = Fleet(bare, max_in_flight=max_in_flight, backoff=backoff, give_up=give_up)
        for server in self._fleet.servers:
            if server.url in silent:
                self._fleet.set_aside(server, silent[server.url])

    async def generate(self, prompt_ids: list[int], sampling: Sampling) -> list[Generation]:
        """See `Engine`. A prompt that leaves no room yields empty continuations that are not stopped.

        A cancelled call closes its connection, which has the server abort the request.

        Raises:
            EngineError: a server calls the request bad, or every attempt failed.
            EngineGone: there was no live server for `give_up` seconds.
        """
        room = min(sampling.max_tokens, self.max_model_len - len(prompt_ids))
        if room <= 0:
            return [Generation((), False)] * sampling.n
        body = request_body(self.model, prompt_ids, sampling, room, self.eos_ids)
        async with self._apart.turn(kind_of(sampling)):
            return await self._generate(sampling, body)

    async def _generate(self, sampling: Sampling, body: dict[str, Any]) -> list[Generation]:
        failed: dict[Server, str] = {}
        async with self._connected() as session:
            for attempt in range(self._attempts):
                if attempt:
                    await asyncio.sleep(self._backoff * 2 ** (attempt - 1) * (1 + self._jitter.random() / 4))
                async with self._fleet.slot(sampling.tree, failed) as server:
                    try:
                        return await self._ask(session, server, body, sampling)
                    except ServerFailure as failure:
                        failed[server] = reason = str(failure)
                        self._fleet.set_aside(server, reason)
        reasons = "; ".join(f"{server.url}: {reason}" for server, reason in failed.items())
        raise EngineError(
            f"tree {sampling.tree or '(unnamed)'}: {self._attempts} attempts failed ({reasons}); the logs of the servers "
            "say why (engine.options.attempts and timeout allow more)"
        )

    async def _ask(
        self, session: ClientSession, server: Server, body: dict[str, Any], sampling: Sampling
    ) -> list[Generation]:
        answer = await self._post(session, server.url, body)
        try:
            generations = read_generations(answer, sampling, body["max_tokens"])
            usage = answer["usage"]
            cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ServerFailure(
                f"its answer is not that of a vLLM server with return_token_ids and logprob_token_ids ({error!r})"
            ) from error
        server.failures = 0
        self.stats.count(len(body["prompt"]), generations, cached)
        return generations

    async def _post(self, session: ClientSession, url: str, body: dict[str, Any]) -> Any:
        import aiohttp

        limit = aiohttp.ClientTimeout(total=self._timeout, sock_connect=min(10.0, self._timeout))
        try:
            async with session.post(f"{url}/v1/completions", json=body, timeout=limit) as response:
                content = await response.read()
                status = response.status
        except TimeoutError as error:
            raise ServerFailure(one_line(str(error)) or f"no answer within {self._timeout:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            if getattr(error, "errno", None) == errno.EMFILE:  # no server is to blame
                raise EngineError(
                    "too many open files: lower engine.options.max_in_flight or raise ulimit -n"
                ) from error
            raise ServerFailure(one_line(f"{type(error).__name__}: {error}")) from error
        if status >= 500 or status == 429:
            raise ServerFailure(f"HTTP {status}: {error_message(content)}")
        if status >= 400:
            raise EngineError(f"{url} refuses a request: HTTP {status}: {error_message(content)}")
        try:
            return json.loads(content)
        except ValueError as error:
            raise ServerFailure(f"its answer is not JSON: {one_line(content.decode(errors='replace'))}") from error

    async def _probe(self, session: ClientSession, url: str) -> str | None:
        """Why a server that was set aside cannot be used; None if it can."""
        import aiohttp

        limit = aiohttp.ClientTimeout(total=PROBE_TIMEOUT)
        try:
            async with session.get(f"{url}/v1/models", timeout=limit) as response:
                content = await response.read()
                if response.status != 200:
                    return f"HTTP {response.status}: {error_message(content)}"
                return serves(json.loads(content), self.model, self.max_model_len)
        except TimeoutError:
            return f"no answer within {PROBE_TIMEOUT:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return one_line(f"{type(error).__name__}: {error}")

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[ClientSession]:
        """Connections that are there while anything is in flight: they belong to a loop and are closed in it."""
        import aiohttp

        loop = asyncio.get_running_loop()
        running = self._running
        if running is None or running.loop is not loop:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE)
            session = aiohttp.ClientSession(connector=connector, headers=self._headers)
            self._running = running = Running(loop, session, 0, time.perf_counter())
            self._fleet.begin(partial(self._probe, session))
        running.users += 1
        try:
            yield running.session
        finally:
            now = time.perf_counter()
            self.stats.seconds += now - running.counted_until
            running.counted_until = now
            running.users -= 1
            if not running.users:
                if self._running is running:
                    self._running = None
                    await self._fleet.end()
                await running.session.close()

    def close(self) -> None:
        """Close what an event loop left open that was stopped with requests in flight; the servers go on."""
        running, self._running = self._running, None
        if running is not None and not running.loop.is_running() and not running.loop.is_closed():
            running.loop.run_until_complete(running.session.close())


def _bare(url: str) -> str:
    url = url.strip().rstrip("/").removesuffix("/v1").rstrip("/")
    return url if "://" in url else f"http://{url}"


def _tokenizer(source: Any, trust_remote_code: bool) -> tuple[Any, frozenset[int]]:
    """The tokenizer and the end-of-sequence ids, those of the model's generation config included."""
    if not isinstance(source, str):
        return source, end_ids(source, None)
    from transformers import GenerationConfig

    try:
        tokenizer = load_tokenizer(source, trust_remote_code)
    except CodeRefused as error:
        raise EngineError(str(error)) from error
    except (OSError, ValueError) as error:
        raise EngineError(
            f"no tokenizer at {source}: {one_line(str(error))}; give the folder of the served model"
        ) from error
    try:
        listed = GenerationConfig.from_pretrained(source).eos_token_id
    except OSError:  # it has none of its own
        listed = GenerationConfig.from_model_config(load_model_config(source, trust_remote_code)).eos_token_id
    return tokenizer, end_ids(tokenizer, listed)
