"""What the toy base model is taught before the method begins.

The base has the skill of every step and lacks the habits: asked a question it guesses at once; asked by a phase-1
prompt for a step it performs that step, slipping at a known rate; it never checks itself. Functional tokens do not
occur here.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from rftt.toy.prompts import TOY
from rftt.toy.world import MODULUS, Definition, ToyProblem, draw, evaluate, raw_result
from search.asking import user_text

SLIP_EASY = 0.03  # probability that a step's result is off by one
SLIP_WRAP = 0.25  # … when the result has to be reduced modulo 10

# How often each lesson is taught.
LESSONS = {
    "guess": 12,
    "next_step": 36,
    "direct_answer": 14,
    "clarify": 4,
    "analyze": 8,
    "subquestion": 8,
    "verify": 12,
}


@dataclass
class Notebook:
    """Steps written so far, with the values a reader of them would hold."""

    problem: ToyProblem
    values: dict[str, int]
    lines: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, problem: ToyProblem) -> Notebook:
        return cls(problem, {problem.first: problem.value})

    @property
    def pending(self) -> list[Definition]:
        return [d for d in self.problem.definitions if d.name not in self.values]

    def copy(self) -> Notebook:
        return Notebook(self.problem, dict(self.values), list(self.lines))

    def write(self, line: str) -> None:
        self.lines.append(line)


def slipped(d: Definition, values: dict[str, int], rng: random.Random) -> int:
    """The result of one definition as the base writes it: right, or off by one at the known rate."""
    rate = SLIP_EASY if 0 <= raw_result(d, values) < MODULUS else SLIP_WRAP
    right = evaluate(d, values)
    return (right + rng.choice((-1, 1))) % MODULUS if rng.random() < rate else right


def working(d: Definition, values: dict[str, int], result: int) -> str:
    return f"{d.name}={d.left}{d.op}{d.right}={values[d.left]}{d.op}{d.right}={result}"


def clarify(book: Notebook) -> str:
    return f"Given:{book.problem.first}. Wanted:{book.problem.asked}"


def analyze(book: Notebook) -> str:
    return f"Plan:{','.join(d.name for d in book.pending) or book.problem.asked}"


def subquestion(book: Notebook) -> str:
    return f"Next:{book.pending[0].name if book.pending else book.problem.asked}=?"


def next_step(book: Notebook, rng: random.Random) -> str:
    """Compute the first pending definition; with nothing pending, state the result."""
    if not book.pending:
        return f"{book.problem.asked}={book.problem.answer_from(book.values)}"
    d = book.pending[0]
    line = working(d, book.values, result := slipped(d, book.values, rng))
    book.values[d.name] = result
    return line


def remark(d: Definition, values: dict[str, int], truth: int) -> str:
    """What a check says about a wrong step."""
    return f"Wrong:{d.name}. Right:{working(d, values, truth)}"


def finish(book: Notebook) -> str:
    """The answer that follows from the notebook, without further slips."""
    values = dict(book.values)
    for d in book.pending:
        values[d.name] = evaluate(d, values)
    return book.problem.answer_from(values)


def direct_answer(book: Notebook) -> str:
    return stated(book.problem, finish(book))


def stated(problem: ToyProblem, answer: str) -> str:
    return f"{problem.asked}={answer}. The answer is \\boxed{{{answer}}}."


def fill(book: Notebook, steps: int, rng: random.Random) -> None:
    """Write `steps` computing steps, sometimes with a plan or a sub-question in front of one."""
    if rng.random() < 0.15:
        book.write(clarify(book))
    if rng.random() < 0.2:
        book.write(analyze(book))
    for _ in range(steps):
        if rng.random() < 0.2:
            book.write(subquestion(book))
        book.write(next_step(book, rng))


def correction(book: Notebook, rng: random.Random) -> None:
    """A step that was checked and written again: later steps use the last value."""
    name = rng.choice([d.name for d in book.problem.definitions if d.name in book.values])
    d = next(d for d in book.problem.definitions if d.name == name)
    names = [x.name for x in book.problem.definitions]
    wrong = (book.values[name] + rng.choice((-1, 1))) % MODULUS
    book.write(working(d, book.values, wrong))
    book.write(remark(d, book.values, evaluate(d, book.values)))
    for later in names[names.index(name) :]:
        book.values.pop(later, None)
    book.write(next_step(book, rng))


def comparison(problem: ToyProblem, rng: random.Random) -> tuple[list[str], str, str]:
    """A wrong solution, the correct rest, and what a reader says who compares the two.

    Returns:
        lines of the wrong solution, text of the correct rest, the comparison.
    """
    start = Notebook.open(problem)
    fill(start, rng.randrange(0, len(problem.definitions)), rng)
    wrong, right = start.copy(), start.copy()
    found = ""
    for _ in range(rng.randrange(0, len(wrong.pending) + 1)):
        d = wrong.pending[0]
        truth = evaluate(d, wrong.values)
        wrong.write(next_step(wrong, rng))
        if wrong.values[d.name] != truth and not found:
            found = remark(d, wrong.values, truth)
        if found and rng.random() < 0.5:
            break
    if not found:  # the steps are right, the answer is not what follows from them
        last = problem.definitions[-1]
        for pending in wrong.pending:
            wrong.values[pending.name] = evaluate(pending, wrong.values)
        wrong.values[last.name] = (wrong.values[last.name] + rng.randrange(1, MODULUS)) % MODULUS
    wrong.write(direct_answer(wrong))
    while right.pending and rng.random() < 0.7:
        d = right.pending[0]
        right.write(working(d, right.values, value := evaluate(d, right.values)))
        right.values[d.name] = value
    right.write(direct_answer(right))
    rest = "\n".join(right.lines[len(start.lines) :])
    return wrong.lines, rest, found or f"Wrong:{problem.asked}. Work out the steps."


def worked(problem: ToyProblem, rng: random.Random, marked: bool) -> str:
    """A question with all its steps, as a text to read rather than a conversation.

    Args:
        problem: problem to solve.
        rng: source of all choices.
        marked: whether each line stands between random marks, so that the skill does not hang on the distance of lines.
    """
    book = Notebook.open(problem)
    fill(book, len(problem.definitions), rng)
    if marked and rng.random() < 0.3:
        correction(book, rng)
        fill(book, len(book.pending), rng)
    lines = [*book.lines, direct_answer(book)]
    if marked:
        lines = [f"{mark(rng)}\n{line}\n{mark(rng)}" for line in lines]
    return "\n".join([problem.question, *lines])


def drill(rng: random.Random) -> str:
    """Calculations in a row, without slips."""
    lines = []
    for _ in range(12):
        d, values = Definition("", "a", rng.choice("+-*"), rng.randrange(2, MODULUS)), {"a": rng.randrange(MODULUS)}
        lines.append(f"{values['a']}{d.op}{d.right}={evaluate(d, values)}")
    return "\n".join(lines)


def mark(rng: random.Random) -> str:
    """One to three random printable characters."""
    return "".join(rng.choices("<>[]{}()#*~|/_^$&%@!;", k=rng.randint(1, 3)))


def lesson(rng: random.Random, most: int, reading: float, marked: float = 0.0, drills: float = 0.0) -> tuple[str, str]:
    """One text to learn from.

    Args:
        rng: source of all choices.
        most: largest number of definitions (the curriculum).
        reading: probability of a worked solution to read instead of a conversation.
        marked: probability that the lines of such a solution stand between random marks.
        drills: probability of bare calculations instead of either.

    Returns:
        user turn and assistant turn; the assistant turn is empty for a text to read.
    """
    if rng.random() < drills:
        return drill(rng), ""
    while (problem := draw(rng, rng.randint(1, most))).split != "train":
        pass
    if rng.random() < reading:
        return worked(problem, rng, bool(marked) and rng.random() < marked), ""
    kind = rng.choices(list(LESSONS), list(LESSONS.values()))[0]
    if kind == "guess":
        return problem.question, f"The answer is \\boxed{{{problem.answer}}}."
    if kind == "verify":
        lines, rest, remark = comparison(problem, rng)
        return user_text(problem.question, lines, TOY.merge_prompt.format(reference=rest)), remark
    book = Notebook.open(problem)
    done = len(problem.definitions) if kind == "direct_answer" and rng.random() < 0.6 else None
    fill(book, rng.randint(0, len(problem.definitions)) if done is None else done, rng)
    if len(book.values) > 1 and rng.random() < 0.15:
        correction(book, rng)
    replies = {
        "next_step": lambda: next_step(book.copy(), rng),
        "direct_answer": lambda: direct_answer(book),
        "clarify": lambda: clarify(book),
        "analyze": lambda: analyze(book),
        "subquestion": lambda: subquestion(book),
    }
    return user_text(problem.question, book.lines, TOY[kind].prompt), replies[kind]()
