"""Learning from uncertain tokens only: the share with the highest entropy (Wang et al., arXiv 2506.01939, there in RL)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rftt.weighting.interface import Tokens, Weighting

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TopEntropy(Weighting):
    """Of T tokens the k most uncertain weigh T ÷ k, the others nothing; of equal ones the earlier go first.

    Args:
        share: k ÷ T, above 0 and at most 1; at least one token is kept.
    """

    share: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share: {self.share} is not allowed, expected 0 < share ≤ 1")

    def __call__(self, tokens: Tokens) -> Tensor:
        import torch

        kept = max(1, round(self.share * len(tokens)))
        chosen = tokens.entropies.argsort(descending=True, stable=True)[:kept]
        weights_T = torch.zeros_like(tokens.losses)
        weights_T[chosen] = len(tokens) / kept
        return weights_T
