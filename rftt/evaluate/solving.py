"""Questions of a benchmark to a solver: one that is too long for the model fails alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from rftt.runtime.terminal import say
from search import Question, Solution, Solver, solve_many
from search.engines.engine import EngineError, TooLong


async def solve_all(
    questions: Iterable[Question], solver: Solver, keep: Callable[[Solution], Awaitable[None]], label: str
) -> None:
    """Answer questions. One that is too long for the model's context is told, and kept without an answer, as it is among
    samples.

    Args:
        questions: questions in any number.
        solver: answers them.
        keep: receives each solution.
        label: names the work where a question is told.

    Raises:
        EngineError: a question cannot be served for another reason; what was kept stays.
    """
    too_long: list[Question] = []

    def fail(question: Question, error: EngineError) -> None:
        if not isinstance(error, TooLong):
            raise error
        say(f"{label}: {error}; it counts as not answered", error=True)
        too_long.append(question)

    await solve_many(questions, solver, keep, on_failure=fail)
    for question in too_long:
        await keep(solver.begin(question))
