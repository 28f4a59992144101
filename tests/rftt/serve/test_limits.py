"""The gate: so many at once, the others in their order, and no further ones when too many wait."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from rftt.serve.limits import Gate, Limits, Pace
from rftt.serve.protocol import ApiError


@asynccontextmanager
async def patient():
    yield


async def pass_through(gate, name, log, hold):
    async with gate.place(patient()):
        log.append(name)
        await hold.wait()


def test_searches_run_so_many_at_once_in_the_order_in_which_they_came():
    async def run():
        gate, log, hold = Gate(Limits(concurrent=2, queue=3)), [], asyncio.Event()
        tasks = [asyncio.ensure_future(pass_through(gate, i, log, hold)) for i in range(5)]
        await asyncio.sleep(0.01)
        assert log == [0, 1] and (gate.running, gate.waiting) == (2, 3)
        with pytest.raises(ApiError) as caught:
            await pass_through(gate, 5, log, hold)
        assert caught.value.status == 429 and 1 <= int(caught.value.headers["Retry-After"]) <= 60
        tasks[2].cancel()
        hold.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert log == [0, 1, 3, 4] and (gate.running, gate.waiting) == (0, 0)

    asyncio.run(run())


def test_a_wait_that_is_too_long_gives_up_its_place_in_the_queue():
    async def run():
        gate, hold = Gate(Limits(concurrent=1)), asyncio.Event()
        first = asyncio.ensure_future(pass_through(gate, 0, [], hold))
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with gate.place(asyncio.timeout(0.01)):
                raise AssertionError("there is no place")
        assert (gate.running, gate.waiting) == (1, 0)
        hold.set()
        await first

    asyncio.run(run())


def test_a_closed_gate_lets_nobody_in():
    async def run():
        gate = Gate(Limits())
        gate.closed = True
        with pytest.raises(ApiError) as caught:
            await pass_through(gate, 0, [], asyncio.Event())
        assert caught.value.status == 503

    asyncio.run(run())


def test_large_bodies_are_let_in_at_a_pace_and_those_that_would_wait_too_long_are_refused():
    async def run():
        pace, loop = Pace(Limits(pace=1000.0, body_seconds=0.35)), asyncio.get_running_loop()
        begun, log = loop.time(), []

        async def body(name):
            await pace.take(100)
            log.append((name, loop.time() - begun))

        tasks = [asyncio.ensure_future(body(i)) for i in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(ApiError) as caught:
            await pace.take(1)
        assert caught.value.status == 429 and caught.value.headers["Retry-After"] == "1"
        await asyncio.gather(*tasks)
        assert [name for name, _ in log] == [0, 1, 2, 3]
        assert all(seconds >= 0.1 * i - 0.01 for i, (_, seconds) in enumerate(log))

    asyncio.run(run())


def test_the_place_of_a_large_body_whose_client_hangs_up_is_free_again():
    async def run():
        pace = Pace(Limits(pace=1000.0, body_seconds=0.2))
        await pace.take(100)
        for _ in range(20):
            gone = asyncio.ensure_future(pace.take(100))
            await asyncio.sleep(0)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
        await asyncio.wait_for(pace.take(100), 0.19)

    asyncio.run(run())


def test_what_was_let_in_before_waits_for_its_place_in_a_full_queue_and_at_the_end():
    async def run():
        gate, hold = Gate(Limits(concurrent=1, queue=0)), asyncio.Event()
        first = asyncio.ensure_future(pass_through(gate, 0, [], hold))
        await asyncio.sleep(0)
        gate.closed = True
        hold.set()
        async with gate.place(patient(), admitted=True):
            assert first.done() and gate.running == 1

    asyncio.run(run())


@pytest.mark.parametrize(
    "limits", [{"concurrent": 0}, {"queue": -1}, {"body": 0}, {"seconds": 0}, {"keep_alive": -1}, {"pace": 0}]
)
def test_a_limit_out_of_its_range_is_named(limits):
    with pytest.raises(ValueError, match=next(iter(limits))):
        Limits(**limits)
