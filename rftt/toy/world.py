"""The embedded world: chains of small definitions modulo 10, with exact answers and exact steps.

    Work modulo 10:k=3,l=k+4,m=l*2.(l,m)=?

A solver computes one definition a step (``l=k+4=3+4=7``). Each definition uses the one before it, so nothing can be
skipped, and a pair is asked for, so a guess is right once in a hundred times. The split of a problem is a hash of its
text, so train, validation and test are disjoint by construction.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

MODULUS = 10
NAMES = "abcdefghijklmnopqrstuvwxyz"
SPLITS = {"train": range(2, 10), "validation": range(1, 2), "test": range(0, 1)}
LEVELS = range(3, 6)  # number of definitions to compute


@dataclass(frozen=True)
class Definition:
    """``name=left op right``; `left` is the name defined before, `right` a digit."""

    name: str
    left: str
    op: str
    right: int


@dataclass(frozen=True)
class ToyProblem:
    """``first=value`` followed by definitions; the last two names are asked for."""

    first: str
    value: int
    definitions: tuple[Definition, ...]

    @property
    def question(self) -> str:
        body = ",".join(f"{d.name}={d.left}{d.op}{d.right}" for d in self.definitions)
        return f"Work modulo {MODULUS}:{self.first}={self.value},{body}.{self.asked}=?"

    @property
    def asked(self) -> str:
        return f"({self.definitions[-1].left},{self.definitions[-1].name})"

    @property
    def answer(self) -> str:
        values = {self.first: self.value}
        for d in self.definitions:
            values[d.name] = evaluate(d, values)
        return self.answer_from(values)

    def answer_from(self, values: dict[str, int]) -> str:
        """The pair that is asked for, by the values that someone holds."""
        return f"({values[self.definitions[-1].left]},{values[self.definitions[-1].name]})"

    @property
    def split(self) -> str:
        bucket = int(hashlib.sha256(self.question.encode()).hexdigest(), 16) % 10
        return next(name for name, buckets in SPLITS.items() if bucket in buckets)


def raw_result(d: Definition, values: dict[str, int]) -> int:
    """The integer result before it is reduced; outside 0…9 it has to wrap."""
    left = values[d.left]
    return {"+": left + d.right, "-": left - d.right, "*": left * d.right}[d.op]


def evaluate(d: Definition, values: dict[str, int]) -> int:
    return raw_result(d, values) % MODULUS


def draw(rng: random.Random, definitions: int) -> ToyProblem:
    """A problem with that many definitions: letters in alphabetical order, each defined by the one before it."""
    names = sorted(rng.sample(NAMES, definitions + 1))
    steps = tuple(
        Definition(name, before, rng.choices("+-*", (4, 4, 2))[0], rng.randrange(2, MODULUS))
        for before, name in pairwise(names)
    )
    return ToyProblem(names[0], rng.randrange(MODULUS), steps)


def problems(split: str, seed: int, levels: range = LEVELS) -> Iterator[ToyProblem]:
    """An endless stream of problems without repetition, with the levels in turn.

    Args:
        split: name of the split: ``"train"``, ``"validation"`` or ``"test"``.
        seed: seed of the generator; splits are disjoint whatever the seed.
        levels: possible numbers of definitions.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r}: expected one of {', '.join(SPLITS)}")
    rng = random.Random(f"{seed}/{split}")
    seen: set[str] = set()
    while True:
        for level in levels:
            while (problem := draw(rng, level)).split != split or problem.question in seen:
                pass
            seen.add(problem.question)
            yield problem


def rows(split: str, count: int, seed: int) -> list[dict]:
    """`count` problems in the project's problem schema."""
    stream = problems(split, seed)
    return [
        {
            "id": f"toy-{split}-{seed}-{i}",
            "question": (p := next(stream)).question,
            "answer": p.answer,
            "level": str(len(p.definitions)),
            "subject": "modular chains",
            "source": "toy",
        }
        for i in range(count)
    ]
