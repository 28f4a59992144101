"""Every token counts the same: plain SFT, to the last bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rftt.weighting.interface import Tokens, Weighting

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Plain(Weighting):
    """Weights of 1."""

    def __call__(self, tokens: Tokens) -> Tensor:
        import torch

        return torch.ones_like(tokens.losses)
