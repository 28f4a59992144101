"""What a token weighting is: the learnt tokens of one sample in, one weight for each of them out.

A user's own weighting is a class like those beside this file, named in the config as ``module:Class``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from search.functions import FunctionSet

BOILERPLATE, REASONING, NO_ROLE = 0, 1, -1  # roles of tokens (SHAD, arXiv 2412.14780); NO_ROLE: context
NO_FUNCTION = -1  # outside of every functional step


@dataclass(frozen=True)
class Tokens:
    """The T learnt tokens of one sample, in order; every field has shape (T,).

    Args:
        ids: token ids.
        functions: index into the names of the token set of the step that a token belongs to, tags included;
            ``NO_FUNCTION`` outside.
        key: whether the token belongs to the answer part (SFTKey).
        losses: cross-entropy in nats; without gradient, unless the weighting asks for it by `through_losses`.
        entropies: entropies of the model's distribution where it predicts the token, in nats.
        roles: ``BOILERPLATE`` or ``REASONING``; None where no roles were asked for.
    """

    ids: Tensor
    functions: Tensor
    key: Tensor
    losses: Tensor
    entropies: Tensor
    roles: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)


class Weighting:
    """Weights of the tokens of one sample; options are the fields of a frozen dataclass.

    A token's loss is multiplied by its weight and then averaged as TRL does, over all learnt tokens of the batch, so that
    weights of 1 are plain SFT.
    """

    needs_roles = False  # whether it cannot do without roles

    def for_functions(self, functions: FunctionSet) -> Weighting:
        """The weighting for a model with this token set; itself, unless it names functions.

        Raises:
            ValueError: it names a function that the set does not have.
        """
        return self

    @property
    def through_losses(self) -> bool:
        """Whether the gradient also flows through the weights' dependence on the losses."""
        return False

    def __call__(self, tokens: Tokens) -> Tensor:
        """Weights of shape (T,); T ≥ 1."""
        raise NotImplementedError
