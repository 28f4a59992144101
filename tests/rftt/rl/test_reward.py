"""Rewards of a path: breaks when outcome or form follow another rule than `rewards.outcome`."""

from __future__ import annotations

import pytest

from rftt.rl.reward import FormatReward, OutcomeReward, whole_reward
from rftt.rl.rollout import Rollout


def _rollout(status, verdict):
    return Rollout([1], [2, 3], [-1.0, -1.0], "q", "7", status, verdict, "plain", [0], ["x"])


PATHS = [
    ("answered", "correct", 1.0, 1.0),
    ("answered", "wrong", 0.2, 1.0),
    ("answered", "unparseable", 0.0, 1.0),
    ("answered", "timeout", 0.0, 1.0),
    ("answered", "no_answer", 0.0, 0.0),
    ("malformed", "no_answer", 0.0, 0.0),
    ("truncated", "no_answer", 0.0, 0.0),
]


@pytest.mark.parametrize(("status", "verdict", "outcome", "form"), PATHS)
def test_outcome_and_form_of_a_path(status, verdict, outcome, form):
    path = _rollout(status, verdict)
    assert OutcomeReward(wrong=0.2)(rollout=[path]) == [outcome]
    assert FormatReward()(rollout=[path]) == [form]
    assert whole_reward(path, 0.2, 0.5) == outcome + 0.5 * form
