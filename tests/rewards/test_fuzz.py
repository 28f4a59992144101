"""Generated input: no exception, no hang, whatever is thrown at the grader. `python -m tests.benchmarks.grader --fuzz
N` runs many more.
"""

from __future__ import annotations

import contextlib
import time

from hypothesis import HealthCheck, given, settings

from rewards import extract_answer, grade
from rewards.equivalence import Undecided, decide
from rewards.extraction import RULES
from rewards.grader import STATUSES
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
