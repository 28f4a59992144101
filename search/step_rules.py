"""What counts as a valid step of phase 1: one table of rules, of which each function names its own (`Function.valid`).

A rule sees the step's text and what was there before it. It is mechanical: no gold, no model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property

from rewards import extract_answer
from search.arithmetic import calculations, numbers

# Smaller numbers are in too many questions to say where one was taken from.
TELLING = 13
_SENTENCE = re.compile(r"[^.!?]*(?:[.!?](?!\s|$)[^.!?]*)*[.!?]?(?:\s+|$)")
_WORD = re.compile(r"[^\W_]+")
# Between signs of dollars that no space follows or precedes within: a price is none.
_FORMULA = re.compile(r"\$(?=\S)[^$\n]*[^\s$]\$(?!\d)|\\\(.+?\\\)|\\\[.+?\\\]")
_RESULT = re.compile(r"=\s*-?\$?\s*([\d.,]*\d)")
_SAME_QUESTION = 0.85  # share of words in common, in order
_TIMES = frozenset(["second", "minute", "hour", "day", "week", "month", "year"])
_LEAST_PART = 5  # words; fewer may well be what a smaller question asks


@dataclass(frozen=True)
class Draft:
    """A step that a model wrote, with what its rules look at.

    Args:
        text: text of the step.
        whole: whether it ended by itself; False when its limit cut it.
        question: question that is being solved.
        before: texts of the steps before it.
        foreign: numbers that occur in the worked examples.
    """

    text: str
    whole: bool
    question: str = ""
    before: Sequence[str] = ()
    foreign: frozenset[str] = frozenset()

    @cached_property
    def known(self) -> frozenset[str]:
        """Numbers of the question and of the steps before."""
        return frozenset(n for text in (self.question, *self.before) for n in numbers(text))


@dataclass(frozen=True)
class StepRule:
    """Args:
    says: what a valid step does, for people.
    holds: whether a step does it.
    """

    says: str
    holds: Callable[[Draft], bool]


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def sentences(text: str) -> list[str]:
    """A text cut after each sentence; a point inside a number or a name ends none."""
    return [s for s in _SENTENCE.findall(text) if s.strip()]


def asked(question: str) -> str:
    """The last sentence of a question, which says what is asked."""
    found = sentences(question)
    return found[-1] if found else question


def _is_new(draft: Draft) -> bool:
    return words(draft.text) not in [words(text) for text in draft.before]


def _is_smaller(draft: Draft) -> bool:
    """Neither what is asked in much the same words, unless for another unit of time, nor the part of it that asks."""
    one, other = words(draft.text), words(asked(draft.question))
    times, wanted = ({w.rstrip("s") for w in found} & _TIMES for found in (one, other))
    if times != wanted and len(times) == len(wanted):
        return True
    part = len(one) >= _LEAST_PART and any(other[i : i + len(one)] == one for i in range(len(other)))
    return not part and SequenceMatcher(None, one, other, autojunk=False).ratio() < _SAME_QUESTION


def _computes(draft: Draft) -> bool:
    """A calculation or a formula in letters that was not there before, or a number that was not known."""
    done = {c.key for text in draft.before for c in calculations(text)}
    fresh = [c for c in calculations(draft.text) if c.key not in done]
    formulas = {f for text in (draft.question, *draft.before) for f in _formulas(text)}
    lettered = "=" in draft.text and not calculations(draft.text)
    new = any(n not in draft.known for n in numbers(draft.text)) or any(
        f not in formulas for f in _formulas(draft.text)
    )
    return bool(fresh) or lettered or new


def _is_concrete(draft: Draft) -> bool:
    """Holds a number, an equation or a formula in letters: more than the announcement of a step."""
    return bool(numbers(draft.text)) or "=" in draft.text or bool(_formulas(draft.text))


def _formulas(text: str) -> list[str]:
    """Formulas that hold a letter, without spaces."""
    return [
        re.sub(r"\s", "", f) for f in _FORMULA.findall(text) if re.search(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", f))
    ]


def _own_numbers(draft: Draft) -> bool:
    """A number that an equation comes to is the step's own, whatever it is."""
    results = {n for found in _RESULT.findall(draft.text) for n in numbers(found)}
    taken = (n for n in numbers(draft.text) if n in draft.foreign and n not in draft.known and n not in results)
    return not any(float(n) >= TELLING for n in taken)


RULES: dict[str, StepRule] = {
    "whole": StepRule("ends by itself", lambda d: d.whole and bool(d.text)),
    "new": StepRule("does not repeat a step word by word", _is_new),
    "short": StepRule("has at most three sentences", lambda d: len(sentences(d.text)) <= 3),
    "asks": StepRule("is one question", lambda d: d.text.endswith("?") and d.text.count("?") == 1),
    "smaller": StepRule("does not ask what the question asks", _is_smaller),
    "no_calculation": StepRule("calculates nothing", lambda d: not calculations(d.text)),
    "no_box": StepRule("states no final answer", lambda d: "\\boxed" not in d.text),
    "concrete": StepRule("holds a number or a formula", _is_concrete),
    "computes": StepRule("has a new calculation or a new number", _computes),
    "arithmetic": StepRule("calculates rightly", lambda d: all(c.right for c in calculations(d.text))),
    "own_numbers": StepRule("takes no number from the examples", _own_numbers),
    "boxed": StepRule("states a final answer in a box", lambda d: extract_answer(d.text, rule="boxed") is not None),
}


def broken(draft: Draft, rules: Sequence[str]) -> str:
    """The first of the named rules that a step breaks; empty for a valid one."""
    return next((name for name in rules if not RULES[name].holds(draft)), "")
