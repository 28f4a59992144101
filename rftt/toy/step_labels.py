"""Which steps of a solution are right: in this world every step can be decided."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from rftt.errors import UsageError
from rftt.toy.world import Definition, ToyProblem, evaluate

QUESTION = re.compile(r"Work modulo 10:([a-z])=(\d)((?:,[a-z]=[a-z][-+*]\d)+)\.\([a-z],[a-z]\)=\?")
WORKING = r"([a-z])=([a-z])([-+*])(\d)=(\d)([-+*])(\d)=(\d)"


def read_problem(question: str) -> ToyProblem:
    """The problem that a question asks.

    Raises:
        UsageError: it is no question of this world.
    """
    found = QUESTION.fullmatch(question)
    if found:
        parts = found[3].lstrip(",").split(",")
        problem = ToyProblem(found[1], int(found[2]), tuple(Definition(p[0], p[2], p[3], int(p[4])) for p in parts))
        if problem.question == question:
            return problem
    raise UsageError(f"{question[:80]!r}: no question of the embedded world; give a run on `data.train: toy`")


class Reader:
    """Reads a solution step by step and says of each whether it is right.

    A statement is right if it is true in the world, whatever it was derived from; a plan or a sub-question if it names what
    is left to compute; a check if it names a step that was wrong and puts it right.
    """

    def __init__(self, problem: ToyProblem) -> None:
        self.problem = problem
        self.definitions = {d.name: d for d in problem.definitions}
        self.values = {problem.first: problem.value}
        for d in problem.definitions:
            self.values[d.name] = evaluate(d, self.values)
        self.said: dict[str, bool] = {}  # what was stated, by name, and whether it was true
        self.kinds: list[tuple[re.Pattern[str], Callable[..., bool]]] = [
            (re.compile(WORKING), self._working),
            (re.compile(r"(\([a-z],[a-z]\))=(\(\d,\d\))(?:\. The answer is \\boxed\{(\(\d,\d\))\}\.)?"), self._result),
            (re.compile(r"\\boxed\{(.*)\}"), lambda answer: answer == problem.answer),
            (re.compile(r"Given:(.*)\. Wanted:(.*)"), lambda *names: names == (problem.first, problem.asked)),
            (re.compile(r"Plan:(.*)"), lambda names: names == (",".join(self._pending()) or problem.asked)),
            (re.compile(r"Next:(.*)=\?"), lambda name: name == [*self._pending(), problem.asked][0]),
            (re.compile(rf"Wrong:([a-z])\. Right:{WORKING}"), self._check),
            (re.compile(r"Wrong:(.*)\. Work out the steps\."), lambda name: self.said.get(name) is False),
        ]

    def __call__(self, step: str) -> bool:
        for pattern, decide in self.kinds:
            if found := pattern.fullmatch(step.strip()):
                return decide(*found.groups())
        return False

    def _pending(self) -> list[str]:
        return [name for name in self.definitions if name not in self.said]

    def _true(self, name: str, left: str, op: str, right: str, value: str, op2: str, right2: str, result: str) -> bool:
        same = self.definitions.get(name) == Definition(name, left, op, int(right)) and (op2, right2) == (op, right)
        return same and (int(value), int(result)) == (self.values[left], self.values[name])

    def _working(self, name: str, *rest: str) -> bool:
        self.said[name] = self._true(name, *rest)
        return self.said[name]

    def _result(self, asked: str, pair: str, boxed: str | None) -> bool:
        right = asked == self.problem.asked and pair == self.problem.answer and boxed in (None, pair)
        self.said[asked] = right
        return right

    def _check(self, name: str, *working: str) -> bool:
        return working[0] == name and self.said.get(name) is False and self._true(*working)


def label_steps(problem: ToyProblem, steps: Sequence[str]) -> list[bool]:
    """Whether each step of a solution is right, given those before it."""
    read = Reader(problem)
    return [read(step) for step in steps]
