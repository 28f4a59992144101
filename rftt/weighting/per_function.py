"""Weights by functional token: ``{verify: 2}`` lets every token of a `<verify>` step count twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rftt.weighting.interface import Tokens, Weighting
from search.functions import RFTT

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PerFunction(Weighting):
    """The weight of a token is that of the step it belongs to; 1 for functions that are not named and outside of steps.

    Args:
        weights: by name of a function, 0 or more.
    """

    weights: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            if name not in RFTT.names:
                raise ValueError(f"weights: {name} is not a function, expected some of {', '.join(RFTT.names)}")
            if not isinstance(weight, (int, float)) or weight < 0:
                raise ValueError(f"weights: {name} is {weight!r}, expected 0 or more")

    def __call__(self, tokens: Tokens) -> Tensor:
        import torch

        table = torch.tensor([float(self.weights.get(name, 1)) for name in RFTT.names] + [1.0])
        return table.to(tokens.losses)[tokens.functions]  # the last entry, which −1 means, is for no function
