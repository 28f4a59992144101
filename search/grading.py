"""What a final text is worth against its gold: by the grader of mathematics, or by a reward function of the user's own.

The judge of a search with gold, the reward of RL and the measure of an evaluation grade through the same `Grading`.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rewards import Verdict, extract_answer, grade, grade_async
from search.engines.engine import EngineGone
from search.named import load_named


@dataclass(frozen=True)
class Asked:
    """The problem that a text answers.

    Args:
        id: id of the question.
        question: question as it was asked.
        gold: its reference answer; several alternatives as `any_of` writes them.
    """

    id: str
    question: str
    gold: str


@dataclass(frozen=True)
class Graded:
    """What a text is worth.

    Args:
        status: status of the verdict: correct, wrong, no_answer, unparseable or timeout.
        answer: answer that stands in the text; None where there is none.
        score: score of a reward function, in [0, 1]; None where the status says all.
    """

    status: str
    answer: str | None
    score: float | None = None

    @property
    def correct(self) -> bool:
        return self.status == "correct"

    @property
    def value(self) -> float:
        """What a search with gold gives a path for it (RFTT, section 3.2)."""
        return float(self.correct) if self.score is None else self.score


class Grading(Protocol):
    """Grades texts."""

    async def __call__(self, asked: Asked, text: str, extract: str = "boxed") -> Graded:
        """Args:
        asked: the problem.
        text: what the model wrote, as far as it may answer.
        extract: rule of `rewards.grade`: boxed, lenient, or none for a bare answer.
        """
        ...


async def grade_math(asked: Asked, text: str, extract: str = "boxed") -> Graded:
    """The grader of mathematics; of several alternatives the best verdict counts."""
    verdicts = [await grade_async(gold, text, extract=extract) for gold in alternatives(asked.gold)]
    return _graded(best(verdicts))


def grade_now(grading: Grading, asked: Asked, text: str, extract: str = "boxed") -> Graded:
    """Grade in a thread that has no event loop."""
    if grading is grade_math:
        return _graded(best([grade(gold, text, extract=extract) for gold in alternatives(asked.gold)]))
    return asyncio.run(grading(asked, text, extract))


def load_grading(function: str | None, threshold: float = 1.0) -> Grading:
    """The grading that settings ask for.

    Args:
        function: ``module:function`` or ``file.py:function`` of a `RewardFunction`; None for the grader of mathematics.
        threshold: score from which on an answer counts as correct.

    Raises:
        ValueError: there is no such function, or it does not take two arguments.
    """
    if function is None:
        return grade_math
    found = load_named(function, {}, "reward function", "reward.function")
    if not callable(found):
        raise ValueError(f"reward.function: {function} is {found!r:.80}, expected a function of (gold, answer)")
    try:
        inspect.signature(found).bind(None, None)
    except TypeError as error:
        raise ValueError(
            f"reward.function: {function} does not take (gold, answer) or (row, answer): {error}"
        ) from error
    return RewardFunction(found, function, threshold)


class RewardError(EngineGone):
    """A reward function failed, or returned what is no reward; the message is one line."""


class RewardFunction:
    """Grades by a function of the user's own.

    Args:
        function: takes ``(gold, answer)``, or ``(row, answer)`` where its first parameter is called ``row``: a dict with id,
            question and answer. Returns a score in [0, 1], a truth value, or a `rewards.Verdict` or its status. It may be a
            coroutine function; a plain one is called in a thread.
        name: name as the user wrote it, for messages.
        threshold: least score that makes an answer correct, in (0, 1].
    """

    def __init__(self, function: Callable[..., Any], name: str = "reward", threshold: float = 1.0) -> None:
        self._function, self._name, self._threshold = function, name, threshold
        first = next(iter(inspect.signature(function).parameters), None)
        self._takes_row = first == "row"

    async def __call__(self, asked: Asked, text: str, extract: str = "boxed") -> Graded:
        """Raises:
        RewardError: the function failed, or returned what is no reward.
        """
        answer = text if extract == "none" else extract_answer(text, rule=extract)
        if answer is None:
            return Graded("no_answer", None, 0.0)
        row = {"id": asked.id, "question": asked.question, "answer": asked.gold}
        given = row if self._takes_row else asked.gold
        try:
            if inspect.iscoroutinefunction(self._function):
                found = await self._function(given, answer)
            else:
                found = await asyncio.to_thread(self._function, given, answer)
        except Exception as error:  # a user's code may raise anything
            raise RewardError(
                f"reward.function {self._name} failed on question {asked.id}: {type(error).__name__}: {error}"
            ) from error
        return self._graded(found, answer, asked)

    def _graded(self, found: Any, answer: str, asked: Asked) -> Graded:
        if isinstance(found, Verdict):
            found = found.status
        if isinstance(found, str) and found in ("correct", "wrong", "no_answer", "unparseable", "timeout"):
            return Graded(found, answer, float(found == "correct"))
        if isinstance(found, bool | int | float) and not math.isnan(found) and 0 <= found <= 1:
            return Graded("correct" if found >= self._threshold else "wrong", answer, float(found))
        raise RewardError(
            f"reward.function {self._name} returned {found!r:.80} on question {asked.id}, expected a score between 0 and 1, "
            "True or False, or a verdict"
        )


def any_of(golds: Sequence[str]) -> str:
    """A gold as text that several answers match; one alone is itself."""
    if not golds:
        return ""
    return golds[0] if len(golds) == 1 else json.dumps({"any": list(golds)}, ensure_ascii=False)


def alternatives(gold: str) -> list[str]:
    """The answers that a gold accepts."""
    if gold.startswith('{"any": ['):
        try:
            record: Mapping[str, Any] = json.loads(gold)
        except ValueError:
            return [gold]
        return [str(one) for one in record["any"]]
    return [gold]


def best(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict of an answer, by those against each alternative of its gold."""
    return next((verdict for verdict in verdicts if verdict.correct), verdicts[0])


def _graded(verdict: Verdict) -> Graded:
    return Graded(verdict.status, verdict.answer)
