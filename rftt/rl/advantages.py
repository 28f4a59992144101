"""Advantage estimators: outcome rewards and token KL in, per-token (B, T) advantages out.

Pure functions on tensors that know neither the trainer nor the engine. Rows of one question stand together,
`group_size` of them. An estimator sees the batch of all ranks at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

MIN_VARIANCE = 1e-8  # below it a batch says nothing, and whitening must not blow up rounding errors


@dataclass(frozen=True)
class ScoredBatch:
    """Finished paths with their rewards.

    Args:
        rewards_B: outcome reward of each path, shape (B,).
        kl_BT: log π_old(token) − log π_ref(token), the k1 estimate of the KL to the reference, shape (B, T).
        mask_BT: 1 for tokens that the policy wrote, 0 for padding and for what is left out of the loss, shape (B, T).
        group_size: paths per question; B is a multiple of it.
        beta: weight of the KL, ≥ 0.

    Raises:
        ValueError: shapes that do not fit.
    """

    rewards_B: torch.Tensor
    kl_BT: torch.Tensor
    mask_BT: torch.Tensor
    group_size: int
    beta: float = 0.0

    def __post_init__(self) -> None:
        if self.kl_BT.shape != self.mask_BT.shape or self.rewards_B.shape != self.mask_BT.shape[:1]:
            raise ValueError(
                f"rewards {tuple(self.rewards_B.shape)}, KL {tuple(self.kl_BT.shape)} and mask "
                f"{tuple(self.mask_BT.shape)} do not fit: expected (B,), (B, T) and (B, T)"
            )
        if self.group_size < 1 or len(self.rewards_B) % self.group_size:
            raise ValueError(f"group_size {self.group_size} does not divide the batch of {len(self.rewards_B)} paths")

    @property
    def penalty_BT(self) -> torch.Tensor:
        """β · KL of each valid token."""
        return self.beta * self.kl_BT * self.mask_BT


def reinforce_plus_plus(batch: ScoredBatch) -> torch.Tensor:
    """REINFORCE++ (RFTT, section 3.3; Hu 2025, arXiv 2501.03262): no critic, returns whitened over the whole batch.

        r_t = −β · kl_t + [t is the path's last token] · R
        G_t = Σ_{s ≥ t} r_s                                  (γ = 1)
        A_t = (G_t − mean G) / std G                         (over all valid tokens of the batch, population std)

    Returns:
        Advantages, shape (B, T); 0 where the mask is 0.
    """
    mask_BT = batch.mask_BT.to(batch.rewards_B.dtype)
    token_rewards_BT = -batch.penalty_BT + batch.rewards_B[:, None] * _last_token(mask_BT)
    returns_BT = token_rewards_BT.flip(1).cumsum(1).flip(1)
    count = mask_BT.sum().clamp(min=1)
    mean = (returns_BT * mask_BT).sum() / count
    centred_BT = (returns_BT - mean) * mask_BT
    variance = (centred_BT**2).sum() / count
    return centred_BT * variance.clamp(min=MIN_VARIANCE).rsqrt()


def grpo(batch: ScoredBatch) -> torch.Tensor:
    """GRPO (Shao et al. 2024, arXiv 2402.03300, section 4.1): rewards normalised within the question's group.

        A_t = (R − mean_group R) / (std_group R + 10⁻⁴)      (sample std, as TRL)

    The KL is no part of it: GRPO has it in the loss.

    Returns:
        Advantages, shape (B, T), the same for all tokens of a path; 0 where the mask is 0.
    """
    rewards_QG = batch.rewards_B.view(-1, batch.group_size)
    spread_Q1 = rewards_QG.std(dim=1, keepdim=True) if batch.group_size > 1 else torch.zeros_like(rewards_QG)
    advantages_QG = (rewards_QG - rewards_QG.mean(dim=1, keepdim=True)) / (spread_Q1 + 1e-4)
    return advantages_QG.view(-1, 1) * batch.mask_BT


def rloo(batch: ScoredBatch) -> torch.Tensor:
    """RLOO (Ahmadian et al. 2024, arXiv 2402.14740, section 3): the other paths of the group are the baseline.

        R' = R − β · Σ_t kl_t
        A_t = R'_i − mean_{j ≠ i} R'_j

    Returns:
        Advantages, shape (B, T), the same for all tokens of a path; 0 where the mask is 0.

    Raises:
        ValueError: a group of one path has no others.
    """
    if batch.group_size < 2:
        raise ValueError("rloo needs groups of two paths or more")
    shaped_QG = (batch.rewards_B - batch.penalty_BT.sum(dim=1)).view(-1, batch.group_size)
    others_QG = (shaped_QG.sum(dim=1, keepdim=True) - shaped_QG) / (batch.group_size - 1)
    return (shaped_QG - others_QG).view(-1, 1) * batch.mask_BT


@dataclass(frozen=True)
class Estimator:
    """An estimator, and where its KL stands: in the reward, or in the loss where TRL puts it."""

    compute: Callable[[ScoredBatch], torch.Tensor]
    kl_in_reward: bool


ESTIMATORS: Mapping[str, Estimator] = {
    "reinforce++": Estimator(reinforce_plus_plus, kl_in_reward=True),
    "grpo": Estimator(grpo, kl_in_reward=False),
    "rloo": Estimator(rloo, kl_in_reward=True),
}


def _last_token(mask_BT: torch.Tensor) -> torch.Tensor:
    """1 at the last valid token of each row, shape (B, T); a row without any has none."""
    after_BT = mask_BT.flip(1).cumsum(1).flip(1)  # valid tokens from here on
    return mask_BT * (after_BT == 1)
