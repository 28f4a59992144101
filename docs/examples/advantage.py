"""An advantage estimator: a path is worth its rank within its question, which outliers of the reward cannot move.

rl.advantage=docs/examples/advantage.py:ranks
"""

import torch

from rftt.rl.advantages import ScoredBatch


def ranks(batch: ScoredBatch) -> torch.Tensor:
    """Advantages of shape (B, T): the share of worse paths of the group less the share of better ones, in [−1, 1]."""
    rewards_QG = batch.rewards_QG
    better_QGG = (rewards_QG[:, :, None] > rewards_QG[:, None, :]).to(rewards_QG.dtype)
    others = max(1, batch.group_size - 1)
    return batch.spread((better_QGG.sum(2) - better_QGG.sum(1)) / others)
