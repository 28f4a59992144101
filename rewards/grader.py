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
from dataclasses import dataclass, replace

from rewards.equivalence import Undecided, decide
from rewards.extraction import extract_answer
from rewards.golds import Gold, gold_text, unboxed
from rewards.place import Place
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
        seconds: wall time from reading the text to the decision, without waiting for a free worker.
    """

    status: str
    answer: str | None
    seconds: float

    @property
    def correct(self) -> bool:
        return self.status == "correct"


def grade(
    gold: Gold,
    text: str,
    *,
    extract: str = "boxed",
    timeout: float = 3.0,
    within: Place | tuple[str, str] | None = None,
) -> Verdict:
    """Is the answer in `text` equal to `gold`?

    Args:
        gold: the reference answer: text, bare or in a box, a number, or a list of those.
        text: what the model wrote.
        extract: "boxed" (RL: the last closed box after the last `</think>`), "lenient" (evaluation: also "the answer
            is", "####", a lone final formula) or "none" (`text` is a bare answer).
        timeout: seconds of wall time for everything, from reading `text` to the decision. Only waiting for a worker
            that others keep busy, or that starts, does not count.
        within: the part that answers, e.g. `("<answer>", "</answer>")`; by default the shape of the text decides.

    Raises:
        ValueError: the gold is empty or no answer, `text` is no text, or `extract` names no rule.
    """
    task = _Task(gold, text, extract, within, timeout)
    return task.verdict or task.decide_there()


async def grade_async(
    gold: Gold,
    text: str,
    *,
    extract: str = "boxed",
    timeout: float = 3.0,
    within: Place | tuple[str, str] | None = None,
) -> Verdict:
    """`grade` for an event loop: the quick decision at once, what needs a worker without blocking the loop.

    A thread for every pair would cost more than most decisions, and its Python would hold up whatever else runs.
    """
    import asyncio

    task = _Task(gold, text, extract, within, timeout)
    if task.verdict is None:
        return await asyncio.to_thread(task.decide_there)
    return task.verdict


def grade_many(
    pairs: Iterable[tuple[Gold, str]],
    *,
    extract: str = "boxed",
    timeout: float = 3.0,
    within: Place | tuple[str, str] | None = None,
) -> list[Verdict]:
    """`grade` for many `(gold, text)` pairs; hard ones in parallel, equal ones once. The order is kept."""
    tasks: list[_Task] = []
    first: dict[tuple[str, str | None], _Task] = {}
    for gold, text in pairs:
        task = _Task(gold, text, extract, within, timeout, first)
        first.setdefault((task.gold, task.answer), task)
        tasks.append(task)
    hard = [task for task in first.values() if task.verdict is None]
    if hard:
        with ThreadPoolExecutor(min(len(hard), _pool("numeric").size), thread_name_prefix="grade_many") as threads:
            for task, verdict in zip(hard, threads.map(_Task.decide_there, hard), strict=True):
                task.verdict = verdict
    return [task.verdict or replace(first[task.gold, task.answer].result, seconds=task.spent) for task in tasks]


class _Task:
    """One pair with the time it has taken; decided at once where exact, bounded arithmetic suffices.

    Args:
        gold, text, extract, within, timeout: as in `grade`.
        known: tasks by (gold, answer); of two equal ones only the first is decided.

    Attributes:
        verdict: None where a worker has to look.
    """

    def __init__(
        self,
        gold: Gold,
        text: str,
        extract: str,
        within: Place | tuple[str, str] | None,
        timeout: float,
        known: dict[tuple[str, str | None], _Task] | None = None,
    ) -> None:
        started = time.perf_counter()
        self.timeout = timeout
        self.gold = gold_text(gold)
        self.answer = extract_answer(text, extract, within)
        self.verdict: Verdict | None = None
        if known is None or (self.gold, self.answer) not in known:
            status = self._decide_here()
            self.spent = time.perf_counter() - started
            self.verdict = Verdict(status, self.answer, self.spent) if status else None
        else:
            self.spent = time.perf_counter() - started

    @property
    def result(self) -> Verdict:
        assert self.verdict is not None
        return self.verdict

    def _decide_here(self) -> str | None:
        if self.answer is None:
            return "no_answer"
        if self.gold.strip() == self.answer.strip():
            return "correct"
        if len(self.gold) > MAX_CHARS or len(self.answer) > MAX_CHARS:
            return "unparseable"
        try:
            return decide(unboxed(self.gold), self.answer, "quick")
        except Undecided:
            return None
        except Exception:  # a hostile answer can make anything raise; the worker is where that is counted
            return None

    def decide_there(self) -> Verdict:
        """The decision of a worker, in the time that is left."""
        assert self.answer is not None
        pair = (self.gold, self.answer)
        status, seconds = _cache.get(pair, self.timeout), 0.0
        if status is None:
            status = "undecided"
            for depth in ("numeric", "symbolic"):
                left = self.timeout - self.spent - seconds
                if left <= 0:
                    status = "timeout"
                    break
                status, more = _pool(depth).decide(unboxed(self.gold), self.answer, left)
                seconds += more
                if status != "undecided":
                    break
            _cache.put(pair, status, self.timeout)
        return Verdict(status, self.answer, self.spent + seconds)


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
