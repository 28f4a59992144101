"""Weights by functional token: ``{verify: 2}`` lets every token of a `<verify>` step count twice."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rftt.weighting.interface import Tokens, Weighting
from search.functions import RFTT, FunctionSet

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PerFunction(Weighting):
    """The weight of a token is that of the step it belongs to; 1 for functions that are not named and outside of steps.

    Args:
        weights: weights by the name of the function, 0 or more.
    """

    weights: dict[str, Any] = field(default_factory=dict)
    _names = RFTT.names  # no field: it comes from the token set, not from the settings

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            if not isinstance(weight, (int, float)) or weight < 0:
                raise ValueError(f"weights: {name} is {weight!r}, expected 0 or more")

    def for_functions(self, functions: FunctionSet) -> PerFunction:
        for name in self.weights:
            if name not in functions.names:
                raise ValueError(f"weights: {name} is not a function, expected some of {', '.join(functions.names)}")
        bound = replace(self)
        object.__setattr__(bound, "_names", functions.names)
        return bound

    def __call__(self, tokens: Tokens) -> Tensor:
        import torch

        table = torch.tensor([float(self.weights.get(name, 1)) for name in self._names] + [1.0])
        return table.to(tokens.losses)[tokens.functions]  # the last entry, which −1 means, is for no function
