"""SFTKey's single-stage variant (arXiv 2512.21017): tokens of the answer part weigh more.

The two-stage method itself needs no weights: its second stage leaves only the answer part in the labels (`trainer`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rftt.weighting.interface import Tokens, Weighting

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class KeyWeight(Weighting):
    """`key_weight` for tokens of the answer part, 1 for others.

    Args:
        key_weight: 0 or more.
    """

    key_weight: float = 4.0

    def __post_init__(self) -> None:
        if self.key_weight < 0:
            raise ValueError(f"key_weight: {self.key_weight} is not allowed, expected 0 or more")

    def __call__(self, tokens: Tokens) -> Tensor:
        import torch

        return torch.ones_like(tokens.losses).masked_fill(tokens.key, self.key_weight)
