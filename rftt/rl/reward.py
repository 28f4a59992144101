"""What a path earns in the end: for its answer (RFTT, section 3.3), and perhaps for its form.

What a reward function of the user's own says is the outcome as it is. Without one, both follow the rules of
`rewards.outcome`: what a verdict earns, and that an answer must stand in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rewards.outcome import outcome
from rftt.rl.rollout import Rollout


def whole_reward(rollout: Rollout, wrong: float, form: float) -> float:
    """What a rollout earns in all.

    Args:
        rollout: rollout with its verdict and how it ended.
        wrong: reward of an answer that is not correct.
        form: further reward of a whole chain.
    """
    return OutcomeReward(wrong)(rollout=[rollout])[0] + form * FormatReward()(rollout=[rollout])[0]


class OutcomeReward:
    """A TRL reward function that reads the verdicts which the sampler reached already.

    A path that was cut off has the verdict ``"no_answer"`` and earns nothing, whatever it holds; so does one that is no
    chain, but with ``rl.answers: any``.

    Args:
        wrong: reward of an answer that is not correct, in [0, 1).
    """

    __name__ = "outcome"  # TRL's name for it in metrics

    def __init__(self, wrong: float = 0.1) -> None:
        self.wrong = wrong

    def __call__(self, *, rollout: Sequence[Rollout], **_: Any) -> list[float]:
        """Args: the rollouts, as TRL passes a column."""
        return [outcome(r.verdict, self.wrong) if r.score is None else r.score for r in rollout]


class FormatReward:
    """A TRL reward function: 1 for a path that is a whole chain, which ends in an answer in its place, else 0."""

    __name__ = "format"

    def __call__(self, *, rollout: Sequence[Rollout], **_: Any) -> list[float]:
        """Args: the rollouts, as TRL passes a column."""
        return [float(r.status == "answered" and r.verdict != "no_answer") for r in rollout]
