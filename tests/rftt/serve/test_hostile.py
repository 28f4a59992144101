"""Malformed and hostile requests: each gets a status that is right for it, and the server is afterwards as it was."""

import asyncio
import threading
import time

import psutil
import requests

from tests.benchmarks._hostile import Attacker, send
from tests.rftt.serve.running import HeldEngine, running
from tests.search.fakes import CharTokenizer


class AnyText(CharTokenizer):
    """Reads what it has no character for as a question mark."""

    def __call__(self, text, add_special_tokens=True, split_special_tokens=False):
        known = self.vocabulary
        parts = text if split_special_tokens else self.pattern.findall(text)
        return {"input_ids": [known.get(t, known["?"]) for t in parts]}


def test_hostile_requests_get_the_right_status_and_leave_nothing_behind():
    engine = HeldEngine()
    engine.tokenizer = AnyText()
    with running(engine, api_key="key-of-the-test") as server:
        attacker, port = Attacker(0, "fake", "key-of-the-test"), int(server.url.rsplit(":", 1)[1])
        drawn = [attacker.draw() for _ in range(400)]

        async def attack(some):
            limit = asyncio.Semaphore(16)

            async def one(hostile):
                async with limit:
                    return hostile.kind, await send(port, hostile), hostile.right

            return await asyncio.gather(*(one(hostile) for hostile in some))

        asyncio.run(attack(drawn[:40]))
        before = psutil.Process().num_fds(), threading.active_count()
        answers = asyncio.run(attack(drawn[40:]))
        assert [answer for answer in answers if answer[1] not in answer[2]] == []
        assert len({kind for kind, _, _ in answers}) > 15
        end = time.monotonic() + 10
        while engine.in_flight or server.server.gate.running or psutil.Process().num_fds() > before[0] + 4:
            assert time.monotonic() < end, (
                engine.in_flight,
                server.server.gate.running,
                psutil.Process().num_fds(),
                before,
            )
            time.sleep(0.02)
        assert threading.active_count() <= before[1] + 8
        assert requests.get(f"{server.url}/health", timeout=5).status_code == 200
