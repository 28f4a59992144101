"""Log-probs of padded rows, computed on the packed row that they share."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from rftt.model.prefix_sharing.attention import CannotShare, Plan
from rftt.model.prefix_sharing.pack import Packed, pack


@dataclass(frozen=True)
class Scored:
    """What a model says of the targets of its rows.

    Args:
        logps_BT: log-probs, shape (B, T); 0 where there is no target.
        entropy_BT: entropies of the distributions that they come from, in nats; None where the head does not compute it.
        padded: tokens of the rows with their padding.
        unique: tokens that were computed.
    """

    logps_BT: torch.Tensor
    entropy_BT: torch.Tensor | None
    padded: int
    unique: int


def rows_of(input_ids: torch.Tensor, attention_mask: torch.Tensor, kept: int) -> tuple[list[list[int]], list[int]]:
    """Rows without their padding, and where their completions begin.

    Args:
        input_ids: prompts padded on the left, completions padded on the right, shape (B, P + T).
        attention_mask: 1 where a row has a token.
        kept: T.
    """
    ids, mask = input_ids.tolist(), attention_mask.bool()
    rows = [[i for i, real in zip(row, reals) if real] for row, reals in zip(ids, mask.tolist(), strict=True)]
    return rows, mask[:, : mask.shape[1] - kept].sum(1).tolist()


def score(
    model: Any,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    kept: int,
    *,
    layers: int,
    context: AbstractContextManager[Any],
) -> Scored:
    """Log-probs of completions.

    Args:
        model: model with TRL's fused head and the attention `attention.NAME`.
        input_ids, attention_mask, kept: as in `rows_of`.
        layers: number of layers of the model.
        context: context in which the model computes, e.g. that of mixed precision.

    Raises:
        CannotShare: the model has not handed on how its rows attend, so that tokens saw what they should not.
    """
    rows, starts = rows_of(input_ids, attention_mask, kept)
    packed = pack(rows, starts)
    with context:
        found = forward(model, packed, input_ids.device, layers)
    padding = kept - packed.source_BT.shape[1]
    logps_BT, entropy_BT = (
        None if values is None else torch.nn.functional.pad(packed.spread(values[0]), (0, padding))
        for values in (found.log_probs, found.entropy)
    )
    assert logps_BT is not None
    return Scored(logps_BT, entropy_BT, attention_mask.numel(), packed.tokens)


def forward(model: Any, packed: Packed, device: torch.device, layers: int) -> Any:
    """One forward pass over a packed row: the output of TRL's fused head, whose fields have the shape (1, N).

    Raises:
        CannotShare: as in `score`.
    """
    plan = Plan(packed.paths, device)
    output = model(
        input_ids=packed.ids_N[None].to(device),
        position_ids=packed.depth_N[None].to(device),
        # A mask of four dimensions is handed on as it is: none is built, and nothing is guessed from the positions.
        attention_mask=torch.zeros(1, 1, 1, 1, dtype=torch.bool, device=device),
        shift_labels=packed.label_N[None].to(device),
        shared_prefixes=plan,
        fused_lm_head=True,
    )
    if plan.used != layers:
        raise CannotShare(f"{plan.used} of its {layers} layers call the attention that transformers registers")
    return output
