"""The HTTP side: routes, authorisation, errors in OpenAI's form, streams, and an end that loses no answer."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
import traceback
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

from rftt.serve import chat_answers as answers
from rftt.serve.chat_answers import Answer
from rftt.serve.limits import Gate, Limits, Pace
from rftt.serve.prometheus import CONTENT_TYPE, Metrics
from rftt.serve.protocol import ApiError, Ask, Offer, described, parse, parse_completions, read_json
from rftt.serve.searches import SHORT, Search, Searches
from search.chain import Step
from search.engines.engine import EngineError
from search.together import together

STATUS = web.RequestKey("status", int)  # that a stream could not send any more
HUNG_UP = 499  # not sent to anybody, but counted
BEARER = "bearer "
EVENT_STREAM = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}
INTERNAL = ApiError(500, "the server failed on this request; its log says why", code="internal_error")
T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Answers chat completions with searches.

    Args:
        searches: searches on the engine.
        offer: defaults and bounds of a request.
        limits: limits of the server.
        api_key: what ``/v1`` asks for as bearer; None lets everybody in.
    """

    def __init__(self, searches: Searches, offer: Offer, limits: Limits, api_key: str | None = None) -> None:
        self.searches, self.offer, self.limits = searches, offer, limits
        self.gate, self.pace = Gate(limits), Pace(limits)
        self.metrics = Metrics(
            self.gate,
            lambda: searches.engine.stats if searches.ready.done() and not searches.ready.exception() else None,
            lambda: searches.state == "ready",
        )
        self._key = api_key.strip().encode() if api_key is not None else None
        self._created = int(time.time())
        self._running: set[asyncio.Future[Answer]] = set()

    def runner(self) -> web.AppRunner:
        """What serves the routes; a handler whose client hangs up is cancelled."""
        app = web.Application(client_max_size=self.limits.body, middlewares=[self._count, self._explain])
        app.add_routes([
            web.get("/health", self.health),
            web.get("/metrics", self.show_metrics),
            web.get("/v1/models", self.models),
            web.get("/v1/models/{name:.+}", self.model),
            web.post("/v1/chat/completions", self.chat),
            web.post("/v1/completions", self.complete),
        ])  # fmt: skip
        quiet = logging.getLogger("rftt.serve.http")
        quiet.setLevel(logging.CRITICAL)  # that a client does not speak HTTP is told to the client
        return web.AppRunner(
            app, handler_cancellation=True, access_log=None, logger=quiet, shutdown_timeout=2.0, keepalive_timeout=75.0
        )

    async def drain(self, seconds: float) -> None:
        """Take no more searches and let those in flight end; what is left after so many seconds is cancelled."""
        self.gate.closed = True
        end = time.monotonic() + seconds
        while (self.gate.running or self.gate.waiting) and time.monotonic() < end:
            await asyncio.sleep(0.02)
        for search in list(self._running):
            search.cancel()

    async def health(self, request: web.Request) -> web.Response:
        """200 while searches are taken, else 503 with the reason."""
        state = "shutting down" if self.gate.closed else self.searches.state
        record: dict[str, Any] = {"status": state}
        if self.searches.gone:
            record["reason"] = self.searches.gone
        return web.json_response(record, status=200 if state == "ready" else 503)

    async def show_metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self.metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [self._card()]})

    async def model(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name != self.offer.model:
            raise ApiError(
                404, f"the model {described(name)} is not served here", param="model", code="model_not_found"
            )
        return web.json_response(self._card())

    def _card(self) -> dict[str, Any]:
        card = {"id": self.offer.model, "object": "model", "created": self._created, "owned_by": "rftt"}
        known = self.searches.state == "ready"
        return card | ({"max_model_len": self.searches.engine.max_model_len} if known else {})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """``POST /v1/chat/completions``."""
        ask = await self._read(request, parse)
        name = f"chatcmpl-{uuid.uuid4().hex}"
        deadline = asyncio.get_running_loop().time() + self.limits.seconds
        search = await self._prepared(ask, name, deadline)
        async with self.gate.place(self._until(deadline)):
            if ask.stream:
                return await self._stream(request, search, name, deadline)
            async with self._until(deadline):
                answer = await self._search(search)
        record = answers.completion(answer, name, int(time.time()), self.offer.model)
        return web.json_response(record, headers={"X-Request-Id": name})

    async def complete(self, request: web.Request) -> web.Response:
        """``POST /v1/completions``: each prompt is asked as a question and takes a place of its own.

        The request is let in or refused as a whole: its prompts stand in the queue one after the other.
        """
        asks = await self._read(request, parse_completions)
        name = f"cmpl-{uuid.uuid4().hex}"
        deadline = asyncio.get_running_loop().time() + self.limits.seconds

        searches = [await self._prepared(ask, name, deadline) for ask in asks]
        turn = asyncio.Lock()

        async def one(search: Search) -> Answer:
            async with AsyncExitStack() as place:
                async with turn:
                    admitted = search is not searches[0]
                    await place.enter_async_context(self.gate.place(self._until(deadline), admitted=admitted))
                async with self._until(deadline):
                    return await self._search(search)

        found = await together(map(one, searches))
        record = answers.text_completion(found, name, int(time.time()), self.offer.model)
        return web.json_response(record, headers={"X-Request-Id": name})

    async def _read(self, request: web.Request, understand: Callable[[dict[str, Any], Offer], T]) -> T:
        """What a body says; a large one is read beside the event loop."""
        data = await self._body(request)
        return await self.searches.aside(lambda: understand(read_json(data), self.offer), len(data))

    async def _prepared(self, ask: Ask, name: str, deadline: float) -> Search:
        """A search that only waits for its place; what would find none is refused before there is work with it.

        Raises:
            ApiError: 503 while the model is loaded; what `Gate.check` and `Searches.prepare` raise.
        """
        if self.searches.state == "starting":
            raise ApiError(503, "the model is being loaded", code="starting", headers={"Retry-After": "5"})
        self.gate.check()
        async with self._until(deadline):
            return await self.searches.prepare(ask, name)

    async def _body(self, request: web.Request) -> bytes:
        if request.content_type != "application/json":
            raise ApiError(
                415,
                f"Content-Type: {described(request.content_type)} is not allowed, expected application/json",
                code="unsupported_media_type",
            )
        if (request.content_length or 0) > self.limits.body:
            raise web.HTTPRequestEntityTooLarge(self.limits.body, request.content_length or 0)
        if (told := request.content_length or 0) > SHORT:
            await self.pace.take(told)  # until then the client is not read from either
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                data = await request.read()
        except TimeoutError:
            raise ApiError(408, f"the body was not there within {self.limits.body_seconds:g} s") from None
        except (HttpProcessingError, RequestPayloadError, ClientPayloadError) as error:
            raise ApiError(400, f"the body cannot be read: {' '.join(str(error).split())[:200]}") from None
        if told <= SHORT < len(data):  # sent in chunks, or packed
            await self.pace.take(len(data))
        return data

    async def _search(
        self,
        search: Search,
        every: float | None = None,
        on_wait: Callable[[], Awaitable[None]] | None = None,
        steps: asyncio.Queue[Step] | None = None,
        on_step: Callable[[Step], Awaitable[None]] | None = None,
    ) -> Answer:
        """Search, and on the way call `on_wait` every so many seconds, and `on_step` with what comes into `steps`.

        Raises:
            ApiError: 503: the engine failed, or the server shuts down.
        """
        begun = time.monotonic()
        work = asyncio.ensure_future(self.searches.run(search, steps.put_nowait if steps is not None else None))
        self._running.add(work)
        step = asyncio.ensure_future(steps.get()) if steps is not None else None
        try:
            while not work.done():
                waiting = {work} if step is None else {work, step}
                done, _ = await asyncio.wait(waiting, timeout=every, return_when=asyncio.FIRST_COMPLETED)
                if step is not None and step in done and on_step is not None and steps is not None:
                    await on_step(step.result())
                    step = asyncio.ensure_future(steps.get())
                elif not done and on_wait is not None:
                    await on_wait()
            answer = work.result()
            if step is not None and step.done() and on_step is not None:
                await on_step(step.result())
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) and task.cancelling():  # the client hung up, or it took too long
                raise
            raise ApiError(503, "the server is shutting down", code="shutting_down") from None
        except EngineError as error:
            raise ApiError(503, str(error), code="engine_error", headers={"Retry-After": "5"}) from error
        finally:
            work.cancel()
            if step is not None:
                step.cancel()
            self._running.discard(work)
        self.metrics.answered(answer, time.monotonic() - begun)
        return answer

    async def _stream(self, request: web.Request, search: Search, name: str, deadline: float) -> web.StreamResponse:
        """The role at once, the first chain and signs of life while the search goes on, then the answer's chain where it is
        another one, and the answer.

        What goes wrong once the stream has begun is told in an event.
        """
        about = (name, int(time.time()), self.offer.model)
        response = web.StreamResponse(headers=EVENT_STREAM | {"X-Request-Id": name})
        await response.prepare(request)

        async def write(data: bytes) -> None:
            try:
                async with asyncio.timeout(self.limits.write_seconds):
                    await response.write(data)
            except TimeoutError:
                if request.transport is not None:
                    request.transport.abort()
                raise ConnectionResetError("the client does not read") from None

        told: list[str] = []

        async def tell(step: Step) -> None:
            if piece := answers.shown(step, search.ask, self.searches.functions):
                told.append(piece)
                await write(answers.event(answers.chunk(*about, {"reasoning_content": piece})))

        async def alive() -> None:
            await write(f": searching, {search.turn.tokens} tokens so far\n\n".encode())

        try:
            await write(answers.event(answers.chunk(*about, {"role": "assistant", "content": ""})))
            async with self._until(deadline):
                answer = await self._search(search, self.limits.keep_alive, alive, asyncio.Queue(), tell)
            for record in answers.chunks(answer, *about, search.ask.include_usage, told):
                await write(answers.event(record))
        except ApiError as error:
            request[STATUS] = error.status
            await write(answers.event(error.to_json()))
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            traceback.print_exc()
            request[STATUS] = 500
            await write(answers.event(INTERNAL.to_json()))
        await write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    @asynccontextmanager
    async def _until(self, deadline: float) -> AsyncIterator[None]:
        """What is not done at the deadline is cancelled.

        Raises:
            ApiError: 504.
        """
        try:
            async with asyncio.timeout_at(deadline):
                yield
        except TimeoutError:
            raise ApiError(
                504,
                f"no answer within {self.limits.seconds:g} s; ask for fewer rollouts or a smaller budget_tokens",
                code="timeout",
            ) from None

    @web.middleware
    async def _count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "other"
        begun, status = time.monotonic(), HUNG_UP
        try:
            response = await handler(request)
            status = request.get(STATUS, response.status)
            return response
        finally:
            self.metrics.requests.labels(route, status).inc()
            self.metrics.request_seconds.labels(route).observe(time.monotonic() - begun)

    @web.middleware
    async def _explain(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Errors as JSON; what nobody expected is told on standard error too."""
        try:
            self._authorise(request)
            return await handler(request)
        except ApiError as error:
            found = error
        except web.HTTPException as error:
            headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
            text = {
                404: f"there is nothing at {described(request.path)}",
                405: f"{described(request.method)} is not allowed here",
                413: f"the body is larger than {self.limits.body} bytes",
            }
            found = ApiError(error.status, text.get(error.status, error.reason), headers=headers)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            traceback.print_exc()
            found = INTERNAL
        return web.Response(
            body=json.dumps(found.to_json()).encode(),
            status=found.status,
            headers={"Content-Type": "application/json", **found.headers},
        )

    def _authorise(self, request: web.Request) -> None:
        if self._key is None or not request.path.startswith("/v1/"):
            return
        given = request.headers.get("Authorization", "")
        bearer = given[len(BEARER) :] if given[: len(BEARER)].lower() == BEARER else ""
        if not hmac.compare_digest(bearer.strip().encode(errors="surrogateescape"), self._key):
            raise ApiError(
                401,
                "give the API key of this server as Authorization: Bearer KEY",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
