"""What a process reward model adds to the return of a step (RFTT, section 3.3, made safe).

A process reward model gives step k of a path the score σ_k. Three ways to credit it, with a weight w:

``potential`` pays differences, r_k = w · (σ_k − σ_{k−1}), and sums them from a step to the end. They telescope, and the last
step brings the potential back to σ_0, where all paths of the question began, since its worth is known from the outcome (Ng,
Harada and Russell 1999): a token's credit is −w · (σ_{k−1} − σ_0), what the model had come to expect before its step. That
depends on what came before the step and not on the step: it is a baseline. It can lower the variance, it changes nothing in
expectation, and nothing can be gained by pleasing the model.

``step`` pays the difference to its own step alone, w · (σ_k − σ_{k−1}), with no sum over later steps. A step that the model
holds for an advance is made likelier, one that it holds for a mistake less likely, whatever the outcome: this does change
what is learnt, and a step that only pleases the model gains by it, though neither length nor repetition does (all steps of a
path together get w · (σ_{K−1} − σ_0)). The last step gets nothing, since its worth is known from the outcome.

``paper`` pays the scores themselves, r_k = w · σ_k at each step but the last, and sums them to the end. It pays for length:
a path of many steps that the model likes earns more than a short one, and a wrong one may earn more than a right one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

from rewards.prm.process import potential_differences

Credit = Callable[[Sequence[float], float, float], list[float]]  # σ_1 … σ_K, σ_0 and w → credit of each step


def start_potential(scores: Sequence[Sequence[float]]) -> float:
    """σ_0 of a question: the mean score of its paths' first steps; 0 where no path has one that is not its last.

    Args:
        scores: scores of the steps of each path of the question, in [0, 1].
    """
    first = [path[0] for path in scores if len(path) > 1]
    return sum(first) / len(first) if first else 0.0


def process_returns(scores: Sequence[float], start: float, weight: float) -> list[float]:
    """``potential``: process rewards from each step to the end of the path.

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


def step_credits(scores: Sequence[float], start: float, weight: float) -> list[float]:
    """``step``: w · (σ_k − σ_{k−1}) for k < K, and 0 for the last step; arguments as for `process_returns`."""
    if not scores:
        return []
    return [weight * difference for difference in potential_differences(scores[:-1], start)] + [0.0]


def score_returns(scores: Sequence[float], start: float, weight: float) -> list[float]:
    """``paper``: w · Σ_{k ≤ j < K} σ_j for k = 1 … K; arguments as for `process_returns`, σ_0 is not used."""
    if not scores:
        return []
    return [weight * total for total in accumulate(reversed(scores[:-1]), initial=0.0)][::-1]


CREDITS: Mapping[str, Credit] = {"potential": process_returns, "step": step_credits, "paper": score_returns}
