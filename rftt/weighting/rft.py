"""Reasoning-highlighted fine-tuning (arXiv 2412.14780, section 4.2).

For one sample L = ω_b·L_b + ω_r·L_r, with L_b and L_r the mean losses of its boilerplate and its reasoning tokens, and
(ω_b, ω_r) = softmax((L_b, L_r) / τ): the group that is learnt worse weighs more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rftt.weighting.interface import BOILERPLATE, REASONING, Tokens, Weighting

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class RFT(Weighting):
    """A token of group g weighs ω_g · n / n_g, n tokens in the sample, n_g in the group, so that their mean loss is L.

    A sample counts by its number of tokens, as in plain SFT. Where one group is empty, the other has ω = 1: plain SFT.

    Args:
        tau: temperature τ > 0 of the adaptive weights; the paper finds 1/τ from 0.2 to 0.5 good and leaves a default open.
        detach: whether ω counts as a constant in the gradient, which the paper leaves open.
        fixed: (ω_b, ω_r) that add to 1, in the place of adaptive weights; the paper's ablation.
    """

    tau: float = 3.0
    detach: bool = True
    fixed: tuple[float, ...] | None = None
    needs_roles = True

    def __post_init__(self) -> None:
        if not self.tau > 0:
            raise ValueError(f"tau: {self.tau} is not allowed, expected more than 0")
        if self.fixed is not None and (len(self.fixed) != 2 or min(self.fixed) < 0 or abs(sum(self.fixed) - 1) > 1e-6):
            raise ValueError(
                f"fixed: {self.fixed} is not allowed, expected two weights (boilerplate, reasoning) that add to 1"
            )

    @property
    def through_losses(self) -> bool:
        return not self.detach and self.fixed is None

    def __call__(self, tokens: Tokens) -> Tensor:
        import torch

        assert tokens.roles is not None
        groups_GT = torch.stack([tokens.roles == BOILERPLATE, tokens.roles == REASONING])
        sizes_G = groups_GT.sum(1)
        omega_G = self.omega(tokens.losses, groups_GT)
        return (omega_G * len(tokens) / sizes_G.clamp(min=1)) @ groups_GT.to(omega_G.dtype)

    def omega(self, losses_T: Tensor, groups_GT: Tensor) -> Tensor:
        """(ω_b, ω_r) of one sample, shape (2,); an empty group has 0.

        Args:
            losses_T: cross-entropies in nats.
            groups_GT: which tokens are boilerplate, which reasoning; shape (2, T), bool.
        """
        import torch

        there_G = groups_GT.any(1)
        if self.fixed is not None:
            given_G = torch.tensor(self.fixed, dtype=losses_T.dtype, device=losses_T.device) * there_G
            return given_G if there_G.all() else there_G.to(losses_T.dtype)
        means_G = (groups_GT * losses_T).sum(1) / groups_GT.sum(1).clamp(min=1)
        scores_G = (means_G.detach() if self.detach else means_G) / self.tau
        return torch.softmax(scores_G.masked_fill(~there_G, -torch.inf), 0)
