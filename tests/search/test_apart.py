"""Requests of two kinds never share a step of the engine."""

import asyncio
import random

from search.engines.apart import Apart


def test_only_one_kind_is_inside_and_nobody_is_left_out():
    inside, most, served = [], 0, []

    async def request(apart, number, kind):
        nonlocal most
        rng = random.Random(number)
        await asyncio.sleep(rng.random() / 200)
        async with apart.turn(kind):
            inside.append(kind)
            assert len(set(inside) - {""}) <= 1
            most = max(most, len(inside))
            await asyncio.sleep(rng.random() / 200)
            inside.remove(kind)
        served.append(number)

    async def run():
        apart = Apart()
        await asyncio.gather(*(request(apart, i, ("top", "watched", "")[i % 3]) for i in range(60)))

    asyncio.run(run())
    assert sorted(served) == list(range(60)) and most > 5


def test_who_gives_up_waiting_keeps_nobody_waiting():
    async def run():
        apart = Apart()

        async def wait(kind):
            async with apart.turn(kind):
                return kind

        async with apart.turn("top"):
            given_up = asyncio.ensure_future(wait("watched"))
            await asyncio.sleep(0)
            later = asyncio.ensure_future(wait("top"))  # comes after one of the other kind: no overtaking
            await asyncio.sleep(0)
            assert not later.done()
            given_up.cancel()
        async with asyncio.timeout(1):
            assert await later == "top"
            assert await wait("watched") == "watched"

    asyncio.run(run())
