"""Figures against definitions and reference implementations."""

import itertools
import random

import numpy as np
import pytest

from rftt.evaluate.metrics import (
    by_group,
    lengths,
    pass_at_k,
    passes,
    powers_of_two,
    quantile,
    share,
    statuses,
    tokens_per_correct,
)


def sample(verdict="correct", tokens=10, stopped=True):
    return {"verdict": verdict, "tokens": tokens, "stopped": stopped}


def published(n, c, k):
    """The estimator as its authors published it (Chen et al. 2021, section 2.1)."""
    return 1.0 if n - c < k else 1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1))


def test_pass_at_k_is_the_published_estimator():
    for n in (1, 2, 5, 16, 200):
        for c, k in itertools.product(range(0, n + 1, max(1, n // 7)), (1, 2, 8, n)):
            if k <= n:
                assert pass_at_k(n, c, k) == pytest.approx(published(n, c, k), abs=1e-12)


def test_pass_at_k_is_scipys_hypergeometric_distribution():
    stats = pytest.importorskip("scipy.stats")
    for n, c, k in ((8, 3, 2), (64, 5, 16), (100, 99, 1), (10, 0, 4)):
        assert pass_at_k(n, c, k) == pytest.approx(1 - stats.hypergeom(n, c, k).pmf(0), abs=1e-12)


def test_pass_at_k_is_the_mean_over_all_subsets():
    verdicts = [True, False, False, True, False, False]
    for k in range(1, 7):
        subsets = list(itertools.combinations(verdicts, k))
        assert pass_at_k(6, 2, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_pass_at_k_is_unbiased():
    rng, p, k = random.Random(0), 0.2, 3
    found = [pass_at_k(6, sum(rng.random() < p for _ in range(6)), k) for _ in range(20_000)]
    assert sum(found) / len(found) == pytest.approx(1 - (1 - p) ** k, abs=0.006)


@pytest.mark.parametrize(("n", "c", "k"), [(4, 1, 5), (4, 5, 1), (4, 1, 0), (4, -1, 1)])
def test_impossible_counts_are_refused(n, c, k):
    with pytest.raises(ValueError, match="expected 1 ≤ k"):
        pass_at_k(n, c, k)


def test_a_share_is_the_mean_of_the_questions_shares():
    groups = {"a": [sample(), sample("wrong", 30)], "b": [sample("timeout", 20), sample("wrong", 20)]}
    outcome = share(groups, lambda s: s["verdict"] == "correct")
    assert outcome.values == {"a": 0.5, "b": 0.0} and outcome.mean_tokens == 20 and outcome.tokens == {"a": 20, "b": 20}
    assert outcome.result()["value"] == 0.25
    assert passes(groups, 2).values == {"a": 1.0, "b": 0.0} and passes(groups, 2).mean_tokens == 40


def test_every_status_is_counted_even_if_it_never_occurred():
    counts = statuses(["wrong", "timeout", "wrong"])
    assert counts == {"correct": 0, "wrong": 2, "no_answer": 0, "unparseable": 0, "timeout": 1}


def test_lengths_of_right_and_other_answers():
    group = [sample(tokens=t) for t in range(1, 20)] + [sample("wrong", 1000, stopped=False)]
    found = lengths({"a": group})
    assert found == {
        "mean": 59.5,
        "median": 10,
        "p95": 19,
        "max": 1000,
        "truncated": 0.05,
        "correct": 10,
        "other": 1000,
    }
    assert lengths({"a": [sample()]})["other"] is None


def test_quantiles_are_numpys():
    values = sorted(random.Random(1).choices(range(50), k=41))
    for q in (0.05, 0.5, 0.95, 1.0):
        assert quantile(values, q) == np.quantile(values, q, method="inverted_cdf")


def test_groups_come_in_the_order_of_their_numbers_and_leave_out_who_has_none():
    outcome = share(
        {id: [sample("correct" if id in "ac" else "wrong")] for id in "abcd"}, lambda s: s["verdict"] == "correct"
    )
    found = by_group(outcome, {"a": "10", "b": "9", "c": "10", "d": None})
    assert (
        list(found) == ["9", "10"] and found["10"]["n"] == 2 and found["10"]["value"] == 1 and found["9"]["value"] == 0
    )
    assert list(by_group(outcome, {"a": "Geometry", "b": "Algebra"})) == ["Algebra", "Geometry"]
    assert by_group(outcome, dict.fromkeys("abcd")) == {}


def test_tokens_per_correct_answer():
    assert tokens_per_correct({"value": 0.25, "tokens": 100.0}) == 400
    assert tokens_per_correct({"value": 0.0, "tokens": 100.0}) is None


@pytest.mark.parametrize(("most", "expected"), [(1, [1]), (4, [1, 2, 4]), (6, [1, 2, 4, 6])])
def test_budgets_of_pass_at_k(most, expected):
    assert powers_of_two(most) == expected
