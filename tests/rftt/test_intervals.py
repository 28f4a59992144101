"""Intervals against a reference implementation."""

import random

import pytest

from rftt.intervals import interval, measured, wilson


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (371, 500)])
def test_wilson_is_scipys(k, n):
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_shares_are_bootstrapped_over_questions():
    rng = random.Random(0)
    values = [rng.choice([0.0, 0.25, 0.5, 1.0]) for _ in range(400)]
    low, high = interval(values)
    mean = sum(values) / len(values)
    spread = 1.96 * (sum((v - mean) ** 2 for v in values) / len(values) ** 2) ** 0.5
    assert (low, high) == pytest.approx((mean - spread, mean + spread), abs=0.01)
    assert interval(values) == (low, high)


def test_nothing_measured_is_an_error():
    with pytest.raises(ValueError, match="at least one"):
        interval([])


def test_a_result_holds_what_the_summary_promises():
    assert set(measured([1.0, 0.0], 12.5)) == {"value", "low", "high", "n", "tokens"}
