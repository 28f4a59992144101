"""Advantage estimators by name.

A further estimator is one file with a function from `rftt.rl.advantages.ScoredBatch` to advantages of shape (B, T), and one
row of `ESTIMATORS`. A user's own is named ``module:function`` in ``rl.advantage``; where it takes the KL penalty into its
reward (`ScoredBatch.penalty_BT`), it says so by an attribute: ``my_estimator.kl_in_reward = True``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.named import load_named

if TYPE_CHECKING:
    import torch

    from rftt.rl.advantages import ScoredBatch

Compute = Callable[["ScoredBatch"], "torch.Tensor"]


@dataclass(frozen=True)
class Estimator:
    """An estimator and where its KL stands.

    Args:
        compute: function from a scored batch to advantages, shape (B, T).
        kl_in_reward: whether the KL is part of the reward; else it is in the loss, where TRL puts it.
    """

    compute: Compute
    kl_in_reward: bool


@dataclass(frozen=True)
class Row:
    """Args:
    place: ``module:function`` of the estimator, imported when it is used.
    kl_in_reward: as in `Estimator`.
    """

    place: str
    kl_in_reward: bool


ESTIMATORS: Mapping[str, Row] = {
    "reinforce++": Row("rftt.rl.advantages:reinforce_plus_plus", kl_in_reward=True),
    "grpo": Row("rftt.rl.advantages:grpo", kl_in_reward=False),
    "dr_grpo": Row("rftt.rl.advantages:dr_grpo", kl_in_reward=False),
    "rloo": Row("rftt.rl.advantages:rloo", kl_in_reward=True),
    "tree": Row("rftt.rl.advantages:tree", kl_in_reward=False),
    "treerl": Row("rftt.rl.advantages:treerl", kl_in_reward=False),
}


def load_estimator(name: str) -> Estimator:
    """The estimator that ``rl.advantage`` names.

    Raises:
        ValueError: there is none of this name, or it is no function.
    """
    places = {key: row.place for key, row in ESTIMATORS.items()}
    compute = load_named(places.get(name, name), {}, "advantage")
    if not callable(compute):
        raise ValueError(f"advantage {name!r} is {type(compute).__name__}, expected a function of a ScoredBatch")
    in_reward = ESTIMATORS[name].kl_in_reward if name in ESTIMATORS else bool(getattr(compute, "kl_in_reward", False))
    return Estimator(compute, in_reward)
