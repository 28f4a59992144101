"""Workers: breaks when a hostile pair can stall the caller, when a killed worker loses a request, or when a process is
left behind.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rewards
from rewards import grade, grade_async, grade_many, grader
from rewards.pool import Pool, StatusCache, Worker, WorkerDied

HARD = (r"\sqrt{8}", r"\boxed{2\sqrt{2}}")  # needs 40 digits, so it goes to a worker
SLACK = 0.5


@pytest.fixture(autouse=True)
def fresh_pool() -> Iterator[None]:
    grader._cache = StatusCache(grader.CACHE_ENTRIES)
    yield
    rewards.shutdown()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def _gone(pids: list[int], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(map(_alive, pids)):
            return True
        time.sleep(0.02)
    return False


def _family(pool: Pool) -> list[int]:
    return [pid for worker in pool.workers() for pid in (worker.supervisor, worker.server or worker.supervisor)]


def _stall(worker: Worker) -> None:
    """Stop the server, as an endless big-integer operation would: it neither answers nor listens to signals but
    SIGKILL.
    """
    assert worker.server is not None
    os.kill(worker.server, signal.SIGSTOP)


def test_hard_pair_is_decided_in_a_worker() -> None:
    assert grade(*HARD).correct
    assert grader._pool("numeric").workers()


def test_stalled_server_is_killed_at_the_deadline_and_the_next_pair_is_served() -> None:
    pool = Pool("numeric", 1)
    try:
        assert pool.decide(r"\sqrt{8}", r"2\sqrt{2}", 5.0)[0] == "correct"
        (worker,) = pool.workers()
        first = worker.server
        # The server takes the request up, then never comes back.
        started = time.monotonic()
        status, seconds = _decide_while_stopping(pool, worker)
        assert status == "timeout"
        assert time.monotonic() - started < 1.0 + SLACK + 0.5
        assert seconds < 1.0 + SLACK
        assert pool.decide(r"\sqrt{8}", r"2\sqrt{2}", 5.0)[0] == "correct"
        assert worker.server != first
        assert first is not None and _gone([first])
    finally:
        pool.close()


def _decide_while_stopping(pool: Pool, worker: Worker) -> tuple[str, float]:
    original = worker._hear_hello

    def stop_at_start(message: dict[str, object]) -> bool:
        if "start" in message:
            _stall(worker)
            worker._messages.clear()
        return original(message)

    worker._hear_hello = stop_at_start  # type: ignore[method-assign]
    worker_exchange_limit = 1.0
    try:
        # A pair that takes a while, so that the stop comes before the reply.
        return pool.decide(SLOW_GOLD, SLOW_ANSWER, worker_exchange_limit)
    finally:
        worker._hear_hello = original  # type: ignore[method-assign]


SLOW_GOLD = ",".join(rf"\sqrt{{{n}}}+\sqrt{{{n + 1}}}" for n in range(2, 60))
SLOW_ANSWER = ",".join(rf"\sqrt{{{n + 1}}}+\sqrt{{{n}}}+\sin(0)" for n in range(59, 1, -1))


@pytest.mark.parametrize("victim", ["server", "supervisor"])
def test_request_of_a_killed_worker_is_retried(victim: str) -> None:
    pool = Pool("numeric", 1)
    try:
        assert pool.decide(r"\sqrt{8}", r"2\sqrt{2}", 5.0)[0] == "correct"
        (worker,) = pool.workers()
        os.kill(getattr(worker, victim), signal.SIGKILL)
        assert pool.decide(r"\sqrt{12}", r"2\sqrt{3}", 5.0)[0] == "correct"
    finally:
        pool.close()


def test_worker_that_dies_twice_is_a_timeout_not_an_endless_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(self: Worker, gold: str, answer: str, timeout: float) -> tuple[str, float]:
        raise WorkerDied

    monkeypatch.setattr(Worker, "decide", die)
    pool = Pool("numeric", 1)
    try:
        assert pool.decide("1", "2", 1.0)[0] == "timeout"
    finally:
        pool.close()


def test_server_retires_and_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RFTT_GRADER_REQUESTS_PER_SERVER", "3")
    pool = Pool("numeric", 1)
    try:
        servers = set()
        for n in range(8):
            assert pool.decide(rf"\sqrt{{{4 * n + 8}}}", rf"2\sqrt{{{n + 2}}}", 5.0)[0] == "correct"
            servers.add(pool.workers()[0].server)
        assert len(servers) == 3
    finally:
        pool.close()


def test_memory_is_bounded() -> None:
    """The limit holds in the server itself, not in the caller."""
    pool = Pool("numeric", 1)
    try:
        pool.decide(r"\sqrt{8}", r"2\sqrt{2}", 5.0)
        limits = Path(f"/proc/{pool.workers()[0].server}/limits").read_text()
        (line,) = [line for line in limits.splitlines() if line.startswith("Max address space")]
        assert int(line.split()[3]) == 2 * 1024**3
    finally:
        pool.close()


def test_many_threads_share_the_pool() -> None:
    results: list[bool] = []

    def work(n: int) -> None:
        results.append(grade(rf"\sqrt{{{4 * n}}}", rf"\boxed{{2\sqrt{{{n}}}}}").correct)
        results.append(not grade(rf"\sqrt{{{4 * n}}}", rf"\boxed{{2\sqrt{{{n + 1}}}}}").correct)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2, 66)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 128 and all(results)
    assert len(grader._pool("numeric").workers()) <= grader._pool("numeric").size


def test_inside_an_event_loop() -> None:
    async def main() -> list[bool]:
        direct = grade(*HARD).correct
        others = await asyncio.gather(
            *(asyncio.to_thread(grade, rf"\sqrt{{{4 * n}}}", rf"\boxed{{2\sqrt{{{n}}}}}") for n in range(2, 10))
        )
        return [direct, *(verdict.correct for verdict in others)]

    assert all(asyncio.run(main()))


def _grade_in_child(connection, pair: tuple[str, str]) -> None:  # type: ignore[no-untyped-def]
    verdict = grade(*pair)
    connection.send((verdict.status, [pid for pid in _family(grader._pool("numeric"))]))
    connection.close()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_daemonic_child_process_has_workers_of_its_own(method: str) -> None:
    """As a DataLoader worker or a rank of a distributed run: the parent's workers are not touched, the child's end
    with it.
    """
    assert grade(*HARD).correct
    ours = _family(grader._pool("numeric"))
    context: Any = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_grade_in_child, args=(sender, (r"\sqrt{18}", r"\boxed{3\sqrt{2}}")), daemon=True)
    child.start()
    status, theirs = receiver.recv()
    child.join()
    assert status == "correct"
    assert theirs and not set(theirs) & set(ours)
    assert _gone(theirs)
    assert grade(r"\sqrt{32}", r"\boxed{4\sqrt{2}}").correct
    assert _family(grader._pool("numeric")) == ours


def test_shutdown_leaves_no_process() -> None:
    assert grade(*HARD).correct
    family = _family(grader._pool("numeric"))
    rewards.shutdown()
    assert _gone(family)
    assert grade(r"\sqrt{18}", r"\boxed{3\sqrt{2}}").correct  # and starts again when asked


@pytest.mark.parametrize(
    "ending", ["pass", "import os; os.kill(os.getpid(), 9)", "raise SystemExit(3)", "import os; os._exit(1)"]
)
def test_no_process_outlives_its_caller(ending: str) -> None:
    script = f"""
from rewards import grade, grader
assert grade({HARD[0]!r}, {HARD[1]!r}).correct
print(*[pid for w in grader._pool('numeric').workers() for pid in (w.supervisor, w.server)], flush=True)
{ending}
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    family = [int(pid) for pid in done.stdout.split()]
    assert len(family) == 2, done.stderr
    assert _gone(family)


def test_works_from_another_directory_with_rewards_on_a_relative_path(tmp_path: Path) -> None:
    root = Path(rewards.__file__).resolve().parents[1]
    script = (
        f"import sys; sys.path.insert(0, {os.path.relpath(root, tmp_path)!r}); "
        f"from rewards import grade; print(grade({HARD[0]!r}, {HARD[1]!r}).status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip() == "correct", done.stderr


def test_grade_many_keeps_order_and_decides_equal_pairs_once() -> None:
    pairs = [(rf"\sqrt{{{4 * n}}}", rf"\boxed{{2\sqrt{{{n + n % 2}}}}}") for n in range(2, 12)] * 3 + [
        ("7", "no box"),
        ("7", r"\boxed{7}"),
    ]
    verdicts = grade_many(pairs)
    assert [v.status for v in verdicts] == [grade(*pair).status for pair in pairs]
    assert verdicts[-2].status == "no_answer"


def test_cache_remembers_and_gives_timeouts_another_try_with_more_time() -> None:
    cache = StatusCache(2)
    cache.put(("a", "b"), "timeout", 1.0)
    assert cache.get(("a", "b"), 1.0) == "timeout"
    assert cache.get(("a", "b"), 2.0) is None
    cache.put(("c", "d"), "wrong", 1.0)
    cache.put(("e", "f"), "wrong", 1.0)
    assert cache.get(("a", "b"), 1.0) is None
    assert cache.get(("c", "d"), 9.0) == "wrong"


def test_import_is_light() -> None:
    """`import rewards` must not pay for sympy or torch: the heavy libraries live in the workers."""
    heavy = ("sympy", "mpmath", "math_verify", "torch", "trl", "numpy")
    script = f"import sys, rewards; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_an_event_loop_goes_on_while_a_worker_decides():
    async def run():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0.005)
                ticks += 1

        ticking = asyncio.create_task(tick())
        easy, hard = await asyncio.gather(
            grade_async("1/2", "\\boxed{0.5}"), grade_async("7", "9^{9^{9^9}}+x", extract="none", timeout=0.5)
        )
        slow = [grade_async(rf"\sqrt{{{4 * n}}}", rf"2\sqrt{{{n}}}", extract="none") for n in range(2001, 2041)]
        verdicts = await asyncio.gather(*slow)
        ticking.cancel()
        return easy, hard, verdicts, ticks

    easy, hard, verdicts, ticks = asyncio.run(run())
    assert easy.correct and not hard.correct and all(v.correct for v in verdicts)
    assert ticks


def test_what_is_decided_at_once_needs_no_thread(monkeypatch):
    async def never(*arguments):
        raise AssertionError("a thread was asked for")

    monkeypatch.setattr(asyncio, "to_thread", never)
    assert asyncio.run(grade_async("(1,2)", "(1,2.0)", extract="none")).correct
    assert asyncio.run(grade_async("1", "no box")).status == "no_answer"


def test_the_deadline_and_the_seconds_count_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the text takes its time out of what a worker may use."""
    assert grade(*HARD).correct  # start-up is nobody's time
    grader._cache = StatusCache(grader.CACHE_ENTRIES)
    extract = grader.extract_answer

    def slow(*args: Any) -> str | None:
        time.sleep(0.3)
        return extract(*args)

    monkeypatch.setattr(grader, "extract_answer", slow)
    assert 0.3 <= grade("7", r"\boxed{7}").seconds < 0.3 + SLACK
    verdict = grade(*HARD, timeout=0.2)
    assert verdict.status == "timeout" and 0.3 <= verdict.seconds < 0.3 + SLACK
    assert grade(*HARD).correct
    assert asyncio.run(grade_async(*HARD)).seconds >= 0.3
    assert [v.seconds >= 0.3 for v in grade_many([HARD, HARD])] == [True, True]


def test_a_decision_that_raises_is_a_verdict_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> str:
        raise ValueError("a digit of Ethiopia")

    monkeypatch.setattr(grader, "decide", broken)
    assert grade("7", r"\boxed{8}").status == "wrong"
