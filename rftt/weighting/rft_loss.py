"""L_RFT as an auxiliary loss of RL: λ·L_RFT on the tokens of right paths, from log-probs that are at hand anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rftt.weighting.interface import BOILERPLATE, NO_ROLE, REASONING
from rftt.weighting.rft import RFT

if TYPE_CHECKING:
    from torch import Tensor


def rft_loss(logps_BT: Tensor, roles_BT: Tensor, weighting: RFT) -> Tensor:
    """Sum over samples of ω_b·L_b + ω_r·L_r (arXiv 2412.14780, section 4.2).

    Args:
        logps_BT: log-probs of the sampled tokens, with gradient; shape (B, T).
        roles_BT: ``BOILERPLATE`` or ``REASONING``; ``NO_ROLE`` for tokens that do not count. Shape (B, T), int.
        weighting: τ, detach, or fixed weights.

    Returns:
        A scalar; a zero with gradient where no token counts.
    """
    import torch

    counted_BT = roles_BT != NO_ROLE
    total = logps_BT.sum() * 0.0
    for row in counted_BT.any(1).nonzero().flatten().tolist():
        losses_T, roles_T = -logps_BT[row][counted_BT[row]], roles_BT[row][counted_BT[row]]
        groups_GT = torch.stack([roles_T == BOILERPLATE, roles_T == REASONING])
        means_G = (groups_GT * losses_T).sum(1) / groups_GT.sum(1).clamp(min=1)
        total = total + (weighting.omega(losses_T, groups_GT) * means_G).sum()
    return total


def coefficient(step: int, steps: int, value: float, schedule: Literal["constant", "linear"] = "constant") -> float:
    """λ at an optimiser step.

    Args:
        step: number of the step, from 0.
        steps: number of steps of the whole training.
        value: λ at the start.
        schedule: ``linear`` falls to 0 at the end.
    """
    return value if schedule == "constant" else value * max(0.0, 1.0 - step / steps)
