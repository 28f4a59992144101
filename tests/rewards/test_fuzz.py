"""Generated input: no exception, no hang, whatever is thrown at the grader. `python -m tests.benchmarks.grader --fuzz
N` runs many more.
"""

from __future__ import annotations

import contextlib
import time
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings

from rewards import extract_answer, grade
from rewards.equivalence import Undecided, decide
from rewards.extraction import RULES
from rewards.grader import MAX_CHARS, STATUSES
from rewards.normalise import normalise, plain
from rewards.reading import read
from tests.rewards.hostile import any_texts, latex_texts

SETTINGS = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@SETTINGS
@given(gold=any_texts(), answer=any_texts())
def test_quick_decision_is_bounded(gold: str, answer: str) -> None:
    """It runs in the caller's process, where nothing can stop it."""
    started = time.process_time()
    with contextlib.suppress(Undecided):
        decide(gold[:4000], answer[:4000], "quick")
    assert time.process_time() - started < 0.5


@SETTINGS
@given(gold=latex_texts(), text=any_texts())
def test_grade_always_has_a_verdict(gold: str, text: str) -> None:
    if not gold.strip():
        return
    for rule in RULES:
        assert grade(gold, text, extract=rule, timeout=2.0).status in STATUSES


@SETTINGS
@given(answer=latex_texts())
def test_answer_equals_itself(answer: str) -> None:
    if answer.strip():
        assert grade(answer, answer, extract="none").correct


@SETTINGS
@given(text=any_texts())
def test_extraction_returns_a_part_of_the_text_or_nothing(text: str) -> None:
    for rule in RULES:
        answer = extract_answer(text, rule)
        assert answer is None or answer.strip()


def test_no_character_makes_a_number_another_one() -> None:
    """Whatever stands in the middle of a number breaks it, unless it cannot be seen; nothing raises."""
    accepted = set()
    for code in [*range(1, 0x3000), *range(0xFE00, 0xFFFE)]:
        character = chr(code)
        for text in ("1" + character + "7", "17" + character, character + "17"):
            with contextlib.suppress(Undecided):
                if decide("17", text, "quick") == "correct" and text[1] == character:
                    accepted.add(character)
    selectors = {*map(chr, range(0xFE00, 0xFE10)), "\u20e3", "\u034f"}
    assert {c for c in accepted - selectors if unicodedata.category(c) != "Cf"} == set()


@pytest.mark.parametrize(
    "fragment",
    ["1", "1 ", "1,234,", "½", "①", "x\u0304", "1'234'", "{", "\\\\", "\\$", "A) ", "one ", "1st", "1^{", "|x|>1,"],
)
def test_the_quick_decision_is_bounded_on_the_longest_answers(fragment: str) -> None:
    answer = (fragment * MAX_CHARS)[:MAX_CHARS]
    for gold in ("7", answer[:-1]):
        for cached in (read, normalise, plain):
            cached.cache_clear()
        started = time.process_time()
        with contextlib.suppress(Undecided):
            decide(gold, answer, "quick")
        assert time.process_time() - started < 0.5


HAIR = ["10^{-60}", "e^{-150}", r"\frac{1}{3^{200}}"]
SURROUNDINGS = [
    "7+{}",
    "7(1+{})",
    r"\sqrt{{49+{}}}",
    r"7\cos({})",
    r"7e^{{{}}}",
    r"7\cdot 2^{{{}}}",
    r"7+\arctan({})",
    r"7\cosh({})",
]


@pytest.mark.parametrize("hair", HAIR)
@pytest.mark.parametrize("surroundings", SURROUNDINGS)
def test_a_hair_is_a_difference(surroundings: str, hair: str) -> None:
    assert decide("7", surroundings.format(hair)) != "correct"
    assert decide("7", surroundings.format(f"{hair}-{hair}")) == "correct"
