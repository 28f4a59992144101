"""L_RFT as an auxiliary loss of RL: λ·L_RFT on the tokens of correct paths, from log-probs that are at hand anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rftt.weighting.interface import BOILERPLATE, REASONING
from rftt.weighting.rft import RFT

if TYPE_CHECKING:
    from torch import Tensor


def rft_loss(logps_BT: Tensor, roles_BT: Tensor, mask_BT: Tensor, weighting: RFT) -> Tensor:
    """Mean over the samples with learnt tokens of ω_b·L_b + ω_r·L_r (arXiv 2412.14780, section 4.2).

    Args:
        logps_BT: log-probs of the sampled tokens, with gradient; shape (B, T).
        roles_BT: ``BOILERPLATE`` or ``REASONING``, shape (B, T), int.
        mask_BT: which tokens count, bool: those of correct paths, without padding.
        weighting: τ, detach, or fixed weights.

    Returns:
        A scalar; a zero with gradient where no token counts.

    Raises:
        ValueError: a token that counts has no role.
    """
    import torch

    if bool(((roles_BT != BOILERPLATE) & (roles_BT != REASONING) & mask_BT).any()):
        raise ValueError("roles_BT: a token that counts has no role")
    total = logps_BT.sum() * 0.0
    counted = mask_BT.any(1).nonzero().flatten().tolist()
    for row in counted:
        losses_T, roles_T = -logps_BT[row][mask_BT[row]], roles_BT[row][mask_BT[row]]
        groups_GT = torch.stack([roles_T == BOILERPLATE, roles_T == REASONING])
        means_G = (groups_GT * losses_T).sum(1) / groups_GT.sum(1).clamp(min=1)
        total = total + (weighting.omega(losses_T, groups_GT) * means_G).sum()
    return total / max(1, len(counted))


def coefficient(step: int, steps: int, value: float, schedule: Literal["constant", "linear"] = "constant") -> float:
    """λ at an optimiser step.

    Args:
        step: from 0.
        steps: of the whole training.
        value: λ at the start.
        schedule: ``linear`` falls to 0 at the end.
    """
    return value if schedule == "constant" else value * max(0.0, 1.0 - step / steps)
