"""Intervals against a reference implementation."""

import random

import numpy as np
import pytest

from rftt.evaluate.intervals import interval, measured, paired_difference, wilson


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


def test_a_bootstrap_interval_is_scipys():
    stats = pytest.importorskip("scipy.stats")
    rng = random.Random(3)
    values = [rng.choice([0.0, 0.25, 0.5, 0.75, 1.0]) for _ in range(300)]
    reference = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", random_state=0)
    assert interval(values) == pytest.approx(tuple(reference.confidence_interval), abs=0.006)


def test_right_and_wrong_answers_are_compared_by_mcnemars_exact_test():
    stats = pytest.importorskip("scipy.stats")
    first = [1.0] * 50 + [1.0] * 4 + [0.0] * 15 + [0.0] * 31
    second = [1.0] * 50 + [0.0] * 4 + [1.0] * 15 + [0.0] * 31
    found = paired_difference(first, second)
    assert (found.only_first, found.only_second, found.test) == (4, 15, "McNemar")
    assert found.value == pytest.approx(0.11)
    assert found.p == pytest.approx(2 * stats.binom(19, 0.5).cdf(4))
    assert found.low < found.value < found.high and found.low > 0


def test_shares_are_compared_by_a_paired_bootstrap():
    stats = pytest.importorskip("scipy.stats")
    rng = random.Random(5)
    first = [rng.choice([0.0, 0.25, 0.5]) for _ in range(200)]
    second = [min(1.0, v + rng.choice([-0.25, 0.0, 0.0, 0.25, 0.25])) for v in first]
    found = paired_difference(first, second)
    assert found.test == "paired bootstrap"
    # With 200 questions the mean is as good as normal, so that the paired t test says the same.
    reference = stats.ttest_rel(second, first)
    assert found.p == pytest.approx(reference.pvalue, abs=0.01)
    low, high = reference.confidence_interval()
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.004)


def test_of_few_questions_little_is_known():
    assert interval([0.5]) == interval([0.5, 0.5]) == (0, 1)
    found = paired_difference([0.5], [0.75])
    assert (found.p, found.low, found.high, found.test) == (1, -1, 1, "sign flips")
    found = paired_difference([0.25] * 4, [0.5, 0.75, 0.5, 1.0])
    assert found.p == 2 / 16 and 0 < found.low < found.value < found.high < 0.9
    assert paired_difference([0.1, 0.0, 0.5], [0.3, 0.2, 0.5]).p == 0.5


def test_few_shares_are_compared_as_scipy_does():
    stats = pytest.importorskip("scipy.stats")
    rng = random.Random(2)
    first, second = ([rng.choice([0.0, 0.25, 0.5, 1.0]) for _ in range(12)] for _ in range(2))
    found = paired_difference(first, second)
    flips = stats.permutation_test(
        (first, second), lambda a, b: np.mean(b) - np.mean(a), permutation_type="samples", n_resamples=np.inf
    )
    reference = stats.ttest_rel(second, first).confidence_interval()
    assert found.p == pytest.approx(flips.pvalue) and (found.low, found.high) == pytest.approx(tuple(reference))
    assert interval(first) == pytest.approx(tuple(stats.ttest_1samp(first, 0).confidence_interval()))


def test_a_paired_bootstrap_keeps_its_level():
    rng = random.Random(7)
    found = []
    for seed in range(200):
        first, second = ([rng.choice([0.0, 0.5, 1.0]) for _ in range(60)] for _ in range(2))
        found.append(paired_difference(first, second, seed).p)
    assert 0.01 <= sum(p < 0.05 for p in found) / len(found) <= 0.10


def test_two_equal_sides_differ_by_nothing():
    for values in ([1.0, 0.0, 1.0], [0.5, 0.0, 1.0]):
        found = paired_difference(values, values)
        assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_unpaired_values_are_refused():
    with pytest.raises(ValueError, match="one pair a question"):
        paired_difference([1.0], [1.0, 0.0])
