"""Regression gate over the labelled case files: breaks when agreement with other people's labels falls."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rewards import check_golds, grade, grade_many
from tests.rewards.cases import Case, load_cases

DEADLINE = 3.0


def _accepted(cases: list[Case]) -> list[bool]:
    accepted = [False] * len(cases)
    for rule in ("none", "boxed", "lenient"):
        chosen = [i for i, case in enumerate(cases) if case.rule == rule and case.gold.strip()]
        for i, verdict in zip(chosen, grade_many([(cases[i].gold, cases[i].text) for i in chosen], extract=rule)):
            accepted[i] = verdict.correct
    return accepted


def _share(flags: list[bool]) -> float:
    return sum(flags) / len(flags)


@pytest.mark.parametrize("name", ["gold_identity", "gold_equiv", "gold_equiv_algebra", "gold_self_chains"])
def test_rewritten_golds_are_accepted(shared_data: Path, name: str) -> None:
    cases = load_cases(shared_data / "grader_cases", name)
    assert _share(_accepted(cases)) >= 0.995


@pytest.mark.parametrize("name", ["gold_negative", "gold_mismatch"])
def test_changed_golds_are_refused(shared_data: Path, name: str) -> None:
    cases = [case for case in load_cases(shared_data / "grader_cases", name) if case.expected is False]
    assert _share(_accepted(cases)) <= 0.002


def test_hardverify(shared_data: Path) -> None:
    cases = load_cases(shared_data / "grader_cases", "hardverify_math")
    agree = [accepted == case.expected for accepted, case in zip(_accepted(cases), cases)]
    assert _share(agree) >= 0.86


def test_other_projects_tests(shared_data: Path) -> None:
    folder = shared_data / "grader_cases"
    cases = [
        case
        for name in ("math_verify_tests", "other_grader_tests")
        for case in load_cases(folder, name)
        if not case.contested
    ]
    lenient = [
        Case(c.id, "text" if c.kind == "chain" else c.kind, c.gold, c.text, c.expected, c.contested) for c in cases
    ]
    agree = [accepted == case.expected for accepted, case in zip(_accepted(lenient), lenient)]
    assert _share(agree) >= 0.93


def test_hacks(shared_data: Path) -> None:
    cases = [case for case in load_cases(shared_data / "grader_cases", "hacks") if not case.contested]
    accepted = _accepted(cases)
    assert _share([ok for ok, case in zip(accepted, cases) if not case.expected]) <= 0.01
    assert _share([ok for ok, case in zip(accepted, cases) if case.expected]) >= 0.95


def test_adversarial_inputs_come_back_in_time(shared_data: Path) -> None:
    grade(r"\sqrt{8}", r"\boxed{2\sqrt{2}}")  # start-up is not the case's time
    late = []
    for case in load_cases(shared_data / "grader_cases", "adversarial"):
        for rule in ("boxed", "lenient"):
            started = time.monotonic()
            verdict = grade(case.gold, case.text, extract=rule, timeout=DEADLINE)
            if time.monotonic() - started > DEADLINE + 0.5:
                late.append((case.id, verdict))
    assert not late


@pytest.mark.parametrize("name", ["math500_test", "aime24_test"])
def test_published_golds_equal_themselves(shared_data: Path, name: str) -> None:
    from tests.benchmarks.grader import published_golds

    golds = published_golds(shared_data / "math")[name]
    assert check_golds([gold for _, gold in golds]) == []
