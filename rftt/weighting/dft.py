"""Dynamic fine-tuning (Wu et al., arXiv 2508.05629): a token weighs what its probability is. The same as TRL's own, to the
last bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rftt.weighting.interface import Tokens, Weighting

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class DFT(Weighting):
    """exp(−loss)."""

    def __call__(self, tokens: Tokens) -> Tensor:
        return (-tokens.losses).exp()
