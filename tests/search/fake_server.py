"""A server with vLLM's interface that misbehaves on demand, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Any

from aiohttp import web


class FakeServer:
    """Answers each completion with ids that are a function of prompt and seed.

    Args:
        model: its name.
        root: what was loaded.
        max_model_len: of the model.

    `script` holds what to do with the next requests; when it is empty, `always` counts. Both take: ok, 500, 429, 400, hang,
    torn, garbage, headless, cut.
    """

    def __init__(self, model: str = "m", root: str = "/models/m", max_model_len: int = 64) -> None:
        self.card = {"id": model, "root": root, "max_model_len": max_model_len, "parent": None}
        self.port = 0  # any that is free; the same again after a death
        self.script: deque[str] = deque()
        self.always = "ok"
        self.pause = 0.0
        self.bodies: list[dict[str, Any]] = []
        self.aborted = 0
        self.in_flight = self.most_in_flight = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._runner: web.AppRunner | None = None
        self.start()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._do(self._start())

    def die(self) -> None:
        """Tear all connections and listen no more."""
        self._do(self._die())

    def stop(self) -> None:
        self._do(self._die())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _do(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(5)

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/completions", self._complete)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def _die(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            for connection in list(runner.server.connections):
                if connection.transport is not None:
                    connection.transport.abort()
            await runner.cleanup()

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [self.card]})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.pause)
            return await self._behave(self.script.popleft() if self.script else self.always, request, body)
        except asyncio.CancelledError:
            self.aborted += 1
            raise
        finally:
            self.in_flight -= 1

    async def _behave(self, how: str, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if how.isdigit():
            error = {"error": {"message": f"no\n  such {how}", "code": int(how)}}
            return web.json_response(error, status=int(how))
        if how == "hang":
            await asyncio.sleep(30)
        if how == "torn":
            request.transport.abort()
            await asyncio.sleep(0.01)
        if how == "garbage":
            return web.Response(text="<html>gateway</html>")
        answer = completion(body)
        if how == "headless":
            del answer["choices"][0]["token_ids"]
        if how == "cut":
            answer["choices"][0]["finish_reason"] = "length"
        return web.json_response(answer)


def completion(body: dict[str, Any]) -> dict[str, Any]:
    """Three ids of continuation i: the seed, i, and the first stop id; log-probs -1, -2, -3; watched: −id at each place."""
    choices = []
    for i in range(body["n"]):
        ids = [body["seed"] or 0, i, body["stop_token_ids"][0]]
        logprobs = None
        if body.get("logprobs") is not None:
            watched = {f"token_id:{w}": -float(w) for w in body.get("logprob_token_ids", ())}
            logprobs = {"token_logprobs": [-1.0, -2.0, -3.0], "top_logprobs": [{}, {}, watched]}
            if body["logprobs"]:
                logprobs["top_logprobs"] = [
                    {f"token_id:{id}": -k - 1.0, **{f"token_id:{40 + j}": -5.0 - j for j in range(body["logprobs"])}}
                    for k, id in enumerate(ids)
                ]
        choices.append({"index": i, "token_ids": ids, "finish_reason": "stop", "logprobs": logprobs})
    usage = {"prompt_tokens": len(body["prompt"]), "prompt_tokens_details": {"cached_tokens": 1}}
    return {"choices": choices[::-1], "usage": usage}
