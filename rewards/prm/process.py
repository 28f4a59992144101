"""Process reward models: a score in [0, 1] for every step of a solution (RFTT, sections 3.2 to 3.4).

>>> scorer = ProcessScorer(load_local(path, build))          # doctest: +SKIP
>>> await scorer("What is 1 + 1?", ["1 + 1 = 2", "So 3."])    # doctest: +SKIP
[0.98, 0.04]

Many coroutines may ask at once; what they ask for is scored together, and no step of no path twice.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from rewards.prm.formats import FORMATS, Format, PRMError, PRMGone, Row, build_format
from rewards.prm.local import LocalPRM, load_local
from rewards.prm.served import ServerPRM

__all__ = ["FORMATS", "Format", "LocalPRM", "PRMError", "PRMGone", "ProcessScorer", "Row", "ScoringStats", "ServerPRM",
           "build_format", "load_local", "potential_differences"]  # fmt: skip

TURNS = 4  # of the event loop, in which every coroutine that can go on adds what it wants scored


def potential_differences(scores: Sequence[float], start: float) -> list[float]:
    """Shape process scores as differences of potentials: σ_t − σ_{t−1}, with σ_0 = `start`.

    The differences telescope: their sum over a path is σ_T − σ_0, however many steps the path has, so that neither more
    steps nor repeated ones are paid for. A sum of the scores themselves would pay for length. The paper leaves the
    shaping open (RFTT, section 3.3).

    Args:
        scores: scores of the steps of one path, in [0, 1].
        start: potential of the question itself, the same for all its paths, e.g. the mean score of first steps, or 0.5.

    Returns:
        One reward a step, in [-1, 1].
    """
    return [after - before for before, after in zip([start, *scores], scores, strict=False)]


@dataclass
class ScoringStats:
    """What scoring cost.

    Args:
        requests: paths that were asked for.
        rows: paths that a model read.
        nodes: distinct steps that were scored.
        tokens: number of tokens of those rows, without padding.
        batches: calls of the model.
    """

    requests: int = 0
    rows: int = 0
    nodes: int = 0
    tokens: int = 0
    batches: int = 0


class Model(Protocol):
    """What scores rows: in this process (`LocalPRM`) or behind HTTP (`ServerPRM`)."""

    form: Format
    batch_size: int
    max_length: int

    def connected(self) -> AbstractAsyncContextManager[None]:
        """Entered once for a series of calls of `score_rows`, in the event loop that makes them."""

    async def score_rows(self, rows: Sequence[Row]) -> list[list[float] | PRMError]:
        """For each row, the scores of its marks, or why this one row cannot be scored.

        Raises:
            PRMError: the batch cannot be scored; PRMGone if nothing can.
        """


@dataclass(eq=False)
class _Known:
    """What is known of a path: the score of its last step, and of longer paths by their next step."""

    score: float | None = None
    longer: dict[str, _Known] = field(default_factory=dict)


@dataclass(eq=False)
class _Wanted:
    """A path that a coroutine waits for, with its place in what is known."""

    question: str
    steps: tuple[str, ...]
    nodes: list[_Known]
    done: asyncio.Future[list[float]]


@dataclass
class _Job:
    """A row that the model reads, and the nodes that its marks give a score."""

    row: Row
    nodes: list[_Known]


class ProcessScorer:
    """Scores paths for many trees at once.

    What coroutines ask for in the same few turns of the event loop, or while the model is busy, is scored together: paths
    that are the beginning of others come along with these, the others are sorted by length and read in padded batches. A
    causal model's score of a step does not depend on the steps after it, so the score of every prefix is kept, and no
    distinct step is scored twice. It serves one event loop at a time.

    Args:
        model: a `LocalPRM` or `ServerPRM`.
        questions: number of questions whose scores are kept, the least recently used ones being forgotten first.

    Raises:
        ValueError: `questions` is below 1.
    """

    def __init__(self, model: Model, *, questions: int = 4096) -> None:
        if questions < 1:
            raise ValueError(f"questions: {questions} is not allowed, expected 1 or more")
        self.model = model
        self.stats = ScoringStats()
        self._questions = questions
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._waiting: list[_Wanted] = []
        self._pump: asyncio.Task[None] | None = None

    async def __call__(self, question: str, steps: Sequence[str]) -> list[float]:
        """Scores in [0, 1], one a step; those of an empty path are an empty list.

        Raises:
            PRMError: the path is too long for the model or is refused; other paths may be scored.
            PRMGone: the model cannot score anything any more.
        """
        self.stats.requests += 1
        loop = asyncio.get_running_loop()
        wanted = _Wanted(question, tuple(steps), self._path(question, steps), loop.create_future())
        if not _answer(wanted):
            self._waiting.append(wanted)
            if self._pump is None or self._pump.done() or self._pump.get_loop() is not loop:
                self._pump = loop.create_task(self._run())
        return await wanted.done

    def close(self) -> None:
        """Forget the model and all scores."""
        self._known.clear()
        del self.model

    def _path(self, question: str, steps: Sequence[str]) -> list[_Known]:
        """The nodes of a path; they are made where there are none."""
        node = self._known.setdefault(question, _Known())
        self._known.move_to_end(question)
        while len(self._known) > self._questions:
            self._known.popitem(last=False)
        nodes = []
        for step in steps:
            node = node.longer.setdefault(step, _Known())
            nodes.append(node)
        return nodes

    async def _run(self) -> None:
        """Score what waits until nothing does."""
        taken: list[_Wanted] = []
        try:
            while self._waiting:  # again, for those who came while connections were being closed
                async with self.model.connected():
                    while self._waiting:
                        for _ in range(TURNS):
                            await asyncio.sleep(0)
                        taken, self._waiting = self._waiting, []
                        await self._round(taken)
        except BaseException as error:
            # Whoever waits must hear of it, or the search hangs without a word.
            for wanted in [*taken, *self._waiting]:
                if wanted.done.done():
                    continue
                if isinstance(error, Exception):
                    wanted.done.set_exception(error)
                else:
                    wanted.done.cancel()
            self._waiting = []
            if not isinstance(error, Exception):
                raise

    async def _round(self, taken: list[_Wanted]) -> None:
        """Score the paths of `taken`, and answer each as soon as all of its steps have a score."""
        left = [wanted for wanted in taken if not _answer(wanted)]
        inner = {id(node) for wanted in left for node in wanted.nodes[:-1]}
        longest = {id(w.nodes[-1]): w for w in left if id(w.nodes[-1]) not in inner}
        jobs, refused = await asyncio.to_thread(self._jobs, list(longest.values()))
        size = self.model.batch_size
        for start in range(0, len(jobs), size):
            batch = jobs[start : start + size]
            found = await self.model.score_rows([job.row for job in batch])
            self.stats.batches += 1
            for job, scores in zip(batch, found, strict=True):
                self.stats.rows, self.stats.tokens = self.stats.rows + 1, self.stats.tokens + len(job.row.ids)
                if isinstance(scores, PRMError):
                    refused |= {id(node): scores for node in job.nodes}
                    continue
                for node, score in zip(job.nodes, scores, strict=True):
                    node.score = score
                self.stats.nodes += len(job.nodes)
            left = [wanted for wanted in left if not _answer(wanted)]
        for wanted in left:
            if not wanted.done.done():
                error = next(refused[id(n)] for n in wanted.nodes if n.score is None)
                wanted.done.set_exception(error)

    def _jobs(self, paths: Sequence[_Wanted]) -> tuple[list[_Job], dict[int, PRMError]]:
        """Rows for paths none of which begins another, longest first; and the nodes that no row can reach, by identity."""
        jobs: list[_Job] = []
        refused: dict[int, PRMError] = {}
        claimed: set[int] = set()
        encoded = sorted(
            ((self.model.form.encode(p.question, p.steps), p) for p in paths), key=lambda e: -len(e[0].ids)
        )
        for row, path in encoded:
            own = [
                (m, n) for m, n in zip(row.marks, path.nodes, strict=True) if n.score is None and id(n) not in claimed
            ]
            fitting = [(m, n) for m, n in own if m < self.model.max_length]
            for _, node in own[len(fitting) :]:
                refused[id(node)] = PRMError(
                    f"prm: question {path.question[:60]!r}: a solution of {len(path.steps)} steps has {len(row.ids)} "
                    f"tokens, the model takes {self.model.max_length}; give fewer or shorter steps, or another model"
                )
            if fitting:
                claimed |= {id(node) for _, node in fitting}
                marks = [mark for mark, _ in fitting]
                jobs.append(_Job(Row(row.ids[: marks[-1] + 1], marks), [node for _, node in fitting]))
        return jobs, refused


def _answer(wanted: _Wanted) -> bool:
    """Answer, if every step of the path has a score; true also for those who do not wait any more."""
    if wanted.done.done():
        return True
    scores = [node.score for node in wanted.nodes if node.score is not None]
    if len(scores) < len(wanted.nodes):
        return False
    wanted.done.set_result(scores)
    return True
