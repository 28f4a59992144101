"""Batches do not depend on who was ready first, and nobody waits for a tree that is done."""

from __future__ import annotations

import asyncio
import random

from rftt.rl.lockstep import Lockstep
from search.engines import FakeEngine, Generation, Sampling
from tests.search.fakes import TOKENIZER


def batches(delays_seed: int) -> list[list[int]]:
    """Three trees with 3, 2 and 4 requests whose grading takes random time; → prompts in the order of the engine."""
    rng = random.Random(delays_seed)
    engine = FakeEngine(lambda ids, _: [Generation((1,), True)], TOKENIZER, eos_ids=frozenset({0}))
    lockstep = Lockstep(engine, 3)

    async def tree(number: int, requests: int) -> None:
        for request in range(requests):
            await asyncio.sleep(rng.random() / 200)
            await lockstep.generate([request, number], Sampling(1, seed=number))
        lockstep.finished()

    async def run() -> None:
        await asyncio.wait_for(asyncio.gather(tree(0, 3), tree(1, 2), tree(2, 4)), timeout=5)

    asyncio.run(run())
    return [list(prompt) for prompt, _ in engine.log]


def test_requests_arrive_in_the_same_order_whatever_the_timing():
    expected = [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2], [2, 0], [2, 2], [3, 2]]
    assert [batches(seed) for seed in range(5)] == [expected] * 5
