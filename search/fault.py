"""Which step of a wrong path is wrong, and why: the text of the `checking` step of a merged chain, by rule.

Small models cannot say it in their own words, even with the correct solution before them. What can be seen without a model:
a calculation whose result is not what it says, and a result that neither the question nor the correct path holds. The steps
that both paths share are not at fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rewards import extract_answer
from search.arithmetic import Calculation, calculations, numbers, written


@dataclass(frozen=True)
class Fault:
    """Args:
    step: number of the wrong step in its path, from 1.
    text: says which step is wrong and why.
    """

    step: int
    text: str


def find_fault(question: str, right: Sequence[str], wrong: Sequence[str], shared: int) -> Fault:
    """The first fault of a wrong path.

    Args:
        question: question that both paths solve.
        right: texts of the steps of a correct path.
        wrong: texts of the steps of a path with another answer.
        shared: how many first steps they have in common; fewer than either has.
    """
    known = {n for text in (question, *right) for n in numbers(text)}
    for place in range(shared, len(wrong)):
        for calculation in calculations(wrong[place]):
            if not calculation.right and calculation.value is not None:
                return Fault(place + 1, _miscalculated(place + 1, calculation))
            if calculation.stated not in known:
                return Fault(place + 1, _strayed(place + 1, calculation, right[shared:], wrong))
    return _last(right, wrong)


def _miscalculated(step: int, calculation: Calculation) -> str:
    assert calculation.value is not None
    said = f"{calculation.left} is {written(calculation.value)}, not {calculation.stated}"
    return f"Step {step} is wrong: {said}."


def _strayed(step: int, calculation: Calculation, rest: Sequence[str], wrong: Sequence[str]) -> str:
    """A calculation that does not belong to the solution, and the first that does and that the wrong path lacks."""
    done = {c.stated for text in wrong for c in calculations(text)}
    begins = (
        f"Step {step} is wrong: it calculates {calculation.left} = {calculation.stated}, which is not what is needed"
    )
    wanted = next((c for text in rest for c in calculations(text) if c.right and c.stated not in done), None)
    return f"{begins}; it should be {wanted.left} = {wanted.stated}." if wanted else f"{begins}."


def _last(right: Sequence[str], wrong: Sequence[str]) -> Fault:
    """No calculation tells: what is wrong is what the last step concludes."""
    stated, wanted = (extract_answer(texts[-1], rule="boxed") for texts in (wrong, right))
    step = len(wrong)
    said = f"it answers {stated}" if stated is not None else "it comes to no answer"
    return Fault(step, f"Step {step} is wrong: {said}, but what is asked for is {wanted}.")
