"""A token weighting: the first tokens of a chain, which decide how it goes on, count more.

sft.weighting.name=docs/examples/weighting.py:Beginning sft.weighting.options.first=8
"""

from dataclasses import dataclass

import torch

from rftt.weighting.interface import Tokens, Weighting


@dataclass(frozen=True)
class Beginning(Weighting):
    """Args:
    first: number of tokens that count more, 1 or more.
    weight: weight of these tokens; that of the others is 1.
    """

    first: int = 16
    weight: float = 3.0

    def __post_init__(self) -> None:
        if self.first < 1:
            raise ValueError(f"first: {self.first} is not allowed, expected 1 or more")

    def __call__(self, tokens: Tokens) -> torch.Tensor:
        weights = torch.ones_like(tokens.losses)
        weights[: self.first] = self.weight
        return weights
