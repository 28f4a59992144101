"""Grading that cannot hang the caller: a quick decision in the calling process, hard pairs in killable worker
processes.

`grade` and `grade_many` may be called from the main thread, any other thread, an event loop, a DataLoader worker,
every rank of a distributed run and after a fork. The quick decision is exact arithmetic on bounded input; what it
leaves open goes to a worker that is killed at its deadline. Workers start when they are first needed and end with the
process that started them.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rewards.equivalence import Undecided, decide
from rewards.extraction import extract_answer
from rewards.pool import Pool, StatusCache

STATUSES = ("correct", "wrong", "no_answer", "unparseable", "timeout")
# Of a gold and of an answer; keeps every request below the size of a pipe's buffer, so that sending never blocks.
MAX_CHARS = 4000
CACHE_ENTRIES = 65536


@dataclass(frozen=True)
class Verdict:
    """What the grader found.

    Attributes:
        status: "correct", "wrong", "no_answer" (the rule found none), "unparseable" (an answer that is not
            mathematics), or "timeout" (the time or memory allowed was not enough to decide).
        answer: the extracted answer, None when there is none.
        seconds: wall time the decision took, without waiting for a free worker; 0 when it came from the cache.
    """

    status: str
    answer: str | None
    seconds: float

    @property
    def correct(self) -> bool:
        return self.status == "correct"


def grade(gold: str, text: str, *, extract: str = "boxed", timeout: float = 3.0) -> Verdict:
    """Is the answer in `text` equal to `gold`?

    Args:
        gold: the reference answer, bare or in a box.
        text: what the model wrote.
        extract: "boxed" (RL: the last closed box after the last `</think>`), "lenient" (evaluation: also "the answer
            is", "####", a lone final formula) or "none" (`text` is a bare answer).
        timeout: seconds of wall time, counted from the moment a worker takes the pair up.

    Raises:
        ValueError: the gold is empty, or `extract` names no rule.
    """
    _require_gold(gold)
    answer = extract_answer(text, extract)
    if answer is None:
        return Verdict("no_answer", None, 0.0)
    status, seconds = _decide_here(gold, answer) or _decide_there(gold, answer, timeout)
    return Verdict(status, answer, seconds)


async def grade_async(gold: str, text: str, *, extract: str = "boxed", timeout: float = 3.0) -> Verdict:
    """`grade` for an event loop: the quick decision at once, what needs a worker without blocking the loop.

    A thread for every pair would cost more than most decisions, and its Python would hold up whatever else runs.
    """
    import asyncio

    _require_gold(gold)
    answer = extract_answer(text, extract)
    if answer is None:
        return Verdict("no_answer", None, 0.0)
    decided = _decide_here(gold, answer)
    if decided is None:
        decided = await asyncio.to_thread(_decide_there, gold, answer, timeout)
    return Verdict(decided[0], answer, decided[1])


def grade_many(pairs: Iterable[tuple[str, str]], *, extract: str = "boxed", timeout: float = 3.0) -> list[Verdict]:
    """`grade` for many `(gold, text)` pairs; hard ones in parallel, equal ones once. The order is kept."""
    questions: list[tuple[str, str | None]] = []
    for gold, text in pairs:
        _require_gold(gold)
        questions.append((gold, extract_answer(text, extract)))
    decided: dict[tuple[str, str], tuple[str, float]] = {}
    hard: list[tuple[str, str]] = []
    for gold, answer in questions:
        if answer is None or (gold, answer) in decided:
            continue
        result = _decide_here(gold, answer)
        if result is None:
            hard.append((gold, answer))
        decided[gold, answer] = result or ("timeout", 0.0)
    if hard:
        with ThreadPoolExecutor(min(len(hard), _pool("numeric").size), thread_name_prefix="grade_many") as threads:
            for pair, result in zip(
                hard, threads.map(lambda pair: _decide_there(pair[0], pair[1], timeout), hard), strict=True
            ):
                decided[pair] = result
    verdicts = []
    for gold, answer in questions:
        if answer is None:
            verdicts.append(Verdict("no_answer", None, 0.0))
        else:
            status, seconds = decided[gold, answer]
            verdicts.append(Verdict(status, answer, seconds))
    return verdicts


def _require_gold(gold: str) -> None:
    if not isinstance(gold, str) or not gold.strip():
        raise ValueError(
            f"gold answer is empty or not text: {gold!r}; every problem needs a reference answer to be graded"
        )


def unboxed(gold: str) -> str:
    """A gold without the box it may come in."""
    return (extract_answer(gold) or gold) if "\\boxed" in gold or "\\fbox" in gold else gold


def _decide_here(gold: str, answer: str) -> tuple[str, float] | None:
    """The decision where exact, bounded arithmetic suffices; None where a worker has to look."""
    if gold.strip() == answer.strip():
        return "correct", 0.0
    if len(gold) > MAX_CHARS or len(answer) > MAX_CHARS:
        return "unparseable", 0.0
    started = time.perf_counter()
    try:
        status = decide(unboxed(gold), answer, "quick")
    except Undecided:
        return None
    return status, time.perf_counter() - started


def _decide_there(gold: str, answer: str, timeout: float) -> tuple[str, float]:
    cached = _cache.get((gold, answer), timeout)
    if cached is not None:
        return cached, 0.0
    status, seconds = _pool("numeric").decide(unboxed(gold), answer, timeout)
    if status == "undecided":
        status, more = _pool("symbolic").decide(unboxed(gold), answer, max(timeout - seconds, 0.1))
        seconds += more
    _cache.put((gold, answer), status, timeout)
    return status, seconds


_cache = StatusCache(CACHE_ENTRIES)
_pools: dict[str, Pool] = {}  # by depth
_pool_lock = threading.Lock()


def _pool(depth: str) -> Pool:
    with _pool_lock:
        if depth not in _pools:
            _pools[depth] = Pool(depth)
        return _pools[depth]


def shutdown() -> None:
    """End every worker of this process. The next hard pair starts new ones."""
    with _pool_lock:
        pools = list(_pools.values())
        _pools.clear()
    for pool in pools:
        pool.close()


def _forget_inherited() -> None:
    """In a forked child: the workers belong to the parent, and locks may have been copied while held."""
    global _pool_lock, _cache
    _pool_lock = threading.Lock()
    _cache = StatusCache(CACHE_ENTRIES)
    for pool in _pools.values():
        pool.disown()
    _pools.clear()


atexit.register(shutdown)
os.register_at_fork(after_in_child=_forget_inherited)
