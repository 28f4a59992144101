"""Process rewards as differences of potentials (methods of RFTT, section 3.3, made safe).

A process reward model gives step k the score σ_k. Paying the scores themselves pays for length; their differences

    r_k = w · (σ_k − σ_{k−1})

telescope. The last step of a path brings the potential back to σ_0, where all paths of the question began, since its worth
is known from the outcome (Ng, Harada and Russell 1999): whatever the model says, the process rewards of a path add up to 0.
So no path earns more by being longer, by repeating a step or by pleasing the model, and a token's return is the outcome
minus w times what the model had come to expect before its step, compared with the start.
"""

from __future__ import annotations

from collections.abc import Sequence

from rewards.prm.process import potential_differences


def start_potential(scores: Sequence[Sequence[float]]) -> float:
    """σ_0 of a question: the mean score of its paths' first steps; 0 where no path has one that is not its last.

    Args:
        scores: of the steps of each path of the question, in [0, 1].
    """
    first = [path[0] for path in scores if len(path) > 1]
    return sum(first) / len(first) if first else 0.0


def process_returns(scores: Sequence[float], start: float, weight: float) -> list[float]:
    """Process rewards from each step to the end of the path.

    Args:
        scores: σ_1 … σ_K of the path's steps, in [0, 1]; that of the last one is not used.
        start: σ_0.
        weight: w, ≥ 0.

    Returns:
        Σ_{j ≥ k} r_j = −w · (σ_{k−1} − σ_0) for k = 1 … K.
    """
    rewards = potential_differences([*scores[:-1], start], start) if scores else []
    returns, later = [], 0.0
    for reward in reversed(rewards):
        later += weight * reward
        returns.append(later)
    return returns[::-1]
