"""A process reward model behind vLLM servers, seen with vLLM 0.31.

Models with a head of two labels: ``vllm serve MODEL --runner pooling``; ``/pooling`` with the task ``token_classify`` gives
the probabilities of both labels at every token, or, for Qwen2.5-Math-PRM, at every separator. Language models in the
Math-Shepherd format: an ordinary server; ``/v1/completions`` with ``logprob_token_ids`` returns the log-probabilities of the
two signs behind each mark: one continuation of one token a mark, which prefix caching makes cheap.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from rewards.prm.formats import Format, PRMError, PRMGone, Row

if TYPE_CHECKING:
    from aiohttp import ClientSession


class Refused(Exception):
    """A server did not serve a request that another one, or the same one later, may serve."""


class ServerPRM:
    """Scores rows on servers, which take turns; a request that fails goes to the next one after a pause.

    Args:
        urls: URLs of the servers, with or without ``/v1``.
        model: name under which the model is served.
        form: the format that the rows have.
        batch_size: rows in flight at once.
        max_length: longest row in tokens; by default what the server says when it refuses.
        timeout: seconds until an answer must be complete.
        attempts: how often a request is sent in all.
        backoff: seconds before the second attempt, doubled before each further one, with up to a quarter of jitter.
        api_key: key of the servers; by default the environment variable VLLM_API_KEY.
        seed: seed of the jitter.

    Raises:
        PRMError: there is no URL.
    """

    def __init__(
        self,
        urls: Sequence[str],
        model: str,
        form: Format,
        *,
        batch_size: int = 64,
        max_length: int | None = None,
        timeout: float = 120.0,
        attempts: int = 5,
        backoff: float = 0.5,
        api_key: str | None = None,
        seed: int = 0,
    ) -> None:
        if not urls or attempts < 1:
            raise PRMError(f"prm.servers: {list(urls)} with {attempts} attempts, expected URLs and 1 attempt or more")
        self.urls = [url.strip().rstrip("/").removesuffix("/v1") for url in urls]
        self.urls = [url if "://" in url else f"http://{url}" for url in self.urls]
        self.model, self.form, self.batch_size = model, form, batch_size
        self.max_length = max_length or 1 << 30
        self._timeout, self._attempts, self._backoff = timeout, attempts, backoff
        key = api_key or os.environ.get("VLLM_API_KEY")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._jitter, self._turn = random.Random(seed), 0
        self._session: ClientSession | None = None

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Connections belong to an event loop: they are open while something is scored, and closed in the same loop."""
        import aiohttp

        limit = aiohttp.ClientTimeout(total=self._timeout, sock_connect=min(10.0, self._timeout))
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), headers=self._headers, timeout=limit
        ) as self._session:
            yield

    async def score_rows(self, rows: Sequence[Row]) -> list[list[float] | PRMError]:
        """See `rewards.prm.process.Model`; within `connected`.

        Raises:
            PRMGone: every attempt at a row failed.
        """
        one = self._classified if self.form.pair is None else self._signs

        async def scored(row: Row) -> list[float] | PRMError:
            try:
                return await one(row)
            except PRMGone:
                raise
            except PRMError as error:
                return error

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(scored(row)) for row in rows]
        except ExceptionGroup as errors:  # the first error cancelled the others
            raise errors.exceptions[0] from errors
        return [task.result() for task in tasks]

    async def _classified(self, row: Row) -> list[float]:
        body = {"model": self.model, "input": row.ids, "task": "token_classify", "encoding_format": "float",
                "use_activation": True}  # fmt: skip
        # Where a server returns the separators only, all of them count, those of the text before included.
        separators = [i for i, token in enumerate(row.ids) if row.marks and token == row.ids[row.marks[-1]]]

        def read(answer: Any) -> list[float]:
            [item] = answer["data"]
            places = {len(row.ids): range(len(row.ids)), len(separators): separators}.get(len(item["data"]))
            if places is None:
                raise ValueError(f"{len(item['data'])} outputs for {len(row.ids)} tokens")
            by_place = dict(zip(places, item["data"], strict=True))
            return [_probability(by_place[mark]) for mark in row.marks]

        return await self._ask("/pooling", body, read)

    async def _signs(self, row: Row) -> list[float]:
        good, bad = self.form.pair or (0, 0)

        def read(answer: Any) -> list[float]:
            choices = sorted(answer["choices"], key=lambda choice: choice["index"])
            if len(choices) != len(row.marks):
                raise ValueError(f"{len(choices)} continuations for {len(row.marks)} marks")
            found = []
            for choice in choices:
                said = choice["logprobs"]["top_logprobs"][0]
                # softmax over the two: a logistic function of the difference
                found.append(_logistic(float(said[f"token_id:{good}"]) - float(said[f"token_id:{bad}"])))
            return found

        body = {"model": self.model, "prompt": [row.ids[: mark + 1] for mark in row.marks], "max_tokens": 1,
                "temperature": 0.0, "logprobs": 0, "logprob_token_ids": [good, bad],
                "return_tokens_as_token_ids": True}  # fmt: skip
        return await self._ask("/v1/completions", body, read)

    async def _ask(self, path: str, body: dict[str, Any], read: Any) -> list[float]:
        failed, first = "", self._turn
        self._turn += 1
        for attempt in range(self._attempts):
            if attempt:
                await asyncio.sleep(self._backoff * 2 ** (attempt - 1) * (1 + self._jitter.random() / 4))
            url = self.urls[(first + attempt) % len(self.urls)]
            try:
                answer = await self._post(f"{url}{path}", body)
                try:
                    return list(read(answer))
                except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
                    raise Refused(f"its answer does not fit the request ({error!r})") from error
            except Refused as reason:
                failed = f"{url}{path}: {reason}"
        raise PRMGone(
            f"prm.servers: {self._attempts} attempts failed, the last at {failed}; start the server (a classifier with "
            "--runner pooling) or correct prm.servers, the same command goes on"
        )

    async def _post(self, url: str, body: dict[str, Any]) -> Any:
        import aiohttp

        if self._session is None:
            raise PRMError("prm: no connection; score within connected()")
        try:
            async with self._session.post(url, json=body) as response:
                status, content = response.status, await response.read()
        except TimeoutError as error:
            raise Refused(f"no answer within {self._timeout:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Refused(_line(f"{type(error).__name__}: {error}")) from error
        if status >= 500 or status == 429:
            raise Refused(f"HTTP {status}: {_message(content)}")
        if status >= 400:
            raise PRMError(
                f"{url} refuses a request: HTTP {status}: {_message(content)}; see prm.format and prm.max_length"
            )
        try:
            return json.loads(content)
        except ValueError as error:
            raise Refused(f"its answer is not JSON: {_line(content.decode(errors='replace'))}") from error


def _logistic(difference: float) -> float:
    small = math.exp(-abs(difference))
    score = 1 / (1 + small) if difference > 0 else small / (1 + small)
    if not 0 <= score <= 1:
        raise ValueError("the log-probabilities of the signs are not numbers")
    return score


def _probability(pair: Any) -> float:
    wrong, right = (float(p) for p in pair)
    if not (0 <= right <= 1 and abs(wrong + right - 1) < 0.05):
        raise ValueError(f"{pair} are not the probabilities of two labels")
    return right


def _message(content: bytes) -> str:
    """What a server says is wrong."""
    try:
        return _line(str(json.loads(content)["error"]["message"]))
    except (ValueError, KeyError, TypeError):
        return _line(content.decode(errors="replace")) or "(no message)"


def _line(text: str, width: int = 300) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else f"{text[:width]}…"
