"""Process rewards that cannot be gamed: whatever the model says, length and repetition earn nothing."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rftt.rl.reward import outcome
from rftt.rl.shaping import CREDITS, process_returns, score_returns, start_potential, step_credits
from tests.search.tabular import Tabular, add_score, all_paths

scores = st.lists(st.floats(0, 1), min_size=1, max_size=30)
weights = st.floats(0, 5)


def total(verdict: str, path: list[float], start: float, weight: float) -> float:
    """What a path earns in all."""
    return outcome(verdict, 0.1) + process_returns(path, start, weight)[0]


def test_a_step_earns_the_change_of_the_score_and_the_last_one_gives_it_back():
    # r = (0.5 − 0.2, 0.8 − 0.5, 0.2 − 0.8) · 2, summed from the end.
    assert process_returns([0.5, 0.8, 0.9], 0.2, 2.0) == pytest.approx([0.0, -0.6, -1.2])
    assert process_returns([], 0.2, 2.0) == []


@given(scores, scores, st.floats(0, 1), weights)
def test_a_short_correct_chain_beats_any_longer_wrong_one(right, wrong, start, weight):
    assert total("correct", right, start, weight) > total("wrong", wrong, start, weight) + 0.5


@given(scores, st.data(), st.floats(0, 1), weights)
def test_repeating_a_step_never_raises_a_return(path, data, start, weight):
    at = data.draw(st.integers(0, len(path) - 1))
    again = data.draw(st.floats(0, 1), label="what the model says of the repeated step")
    longer = [*path[: at + 1], again, *path[at + 1 :]]
    assert total("wrong", longer, start, weight) == pytest.approx(total("wrong", path, start, weight))
    assert process_returns(path, start, weight)[0] == pytest.approx(0.0, abs=1e-9), (
        "a path's process rewards add up to 0"
    )
    before = process_returns(path, start, weight)[: at + 1]
    assert process_returns(longer, start, weight)[: at + 1] == pytest.approx(before, abs=1e-9)


@given(scores, st.floats(0, 1), weights)
def test_a_token_is_credited_against_what_the_model_expected_before_its_step(path, start, weight):
    expected = [-weight * (s - start) for s in [start, *path[:-1]]]
    assert process_returns(path, start, weight) == pytest.approx(expected, abs=1e-9)


def test_the_start_is_worth_what_first_steps_are():
    assert start_potential([[0.2, 0.9], [0.6, 0.1], [0.9]]) == pytest.approx(0.4)
    assert start_potential([[0.7], []]) == 0.0


def test_step_credit_stays_with_its_step_and_the_last_one_has_none():
    assert step_credits([0.5, 0.8, 0.1, 0.9], 0.2, 2.0) == pytest.approx([0.6, 0.6, -1.4, 0.0])
    assert step_credits([0.7], 0.2, 2.0) == [0.0] and step_credits([], 0.2, 2.0) == []


def test_the_papers_form_sums_scores_to_the_end_and_pays_for_length():
    assert score_returns([0.5, 0.8, 0.9], 0.2, 2.0) == pytest.approx([2.6, 1.6, 0.0])
    assert score_returns([0.7], 0.2, 2.0) == [0.0] and score_returns([], 0.2, 2.0) == []
    assert score_returns([0.5] * 9, 0.0, 1.0)[0] > 1.0 + score_returns([0.5] * 2, 0.0, 1.0)[0]


@given(scores, st.data(), weights)
def test_neither_length_nor_repetition_earns_step_credit(path, data, weight):
    assert abs(sum(step_credits(path, 0.5, weight))) <= weight + 1e-9
    if len(path) > 1:
        at = data.draw(st.integers(0, len(path) - 2))
        longer = [
            *path[: at + 1],
            path[at],
            *path[at + 1 :],
        ]  # the model holds the repetition for neither better nor worse
        assert step_credits(longer, 0.5, weight)[at + 1] == 0.0
        assert sum(step_credits(longer, 0.5, weight)) == pytest.approx(sum(step_credits(path, 0.5, weight)))


@pytest.mark.parametrize(("credit", "changes"), [("potential", False), ("step", True), ("paper", True)])
def test_what_process_credit_adds_to_the_exact_policy_gradient(credit, changes):
    """By enumeration of a policy of 2 × 3 functions and texts: potentials with return-to-go add nothing in expectation."""
    policy = Tabular(3)
    added: dict = {}
    for path, probability in all_paths(policy):
        found = [random.Random(f"score/{path[: 2 * k]}").random() for k in range(1, 4)]
        for step, value in enumerate(CREDITS[credit](found, 0.4, 1.0)):
            for position in (2 * step, 2 * step + 1):
                add_score(added, policy, path, position, probability * value)
    largest = max(map(abs, added.values()))
    assert largest > 0.01 if changes else largest < 1e-15
