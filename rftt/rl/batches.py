"""Micro-batches of rows that go well together, and no column in which nothing stands.

TRL pads a generation batch to its longest completion and cuts it into micro-batches as it comes. Paths of a tree search
differ much in length, so most of that work would be padding; and where shared beginnings are computed once, rows that share
them belong into one micro-batch. Losses that add up over rows or tokens do not change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from rftt.model.prefix_sharing.pack import order, unique_tokens
from rftt.model.prefix_sharing.scoring import rows_of

Batch = dict[str, Any]
Arrange = Callable[[Batch, int], Sequence[torch.Tensor]]  # all rows, micro-batches wanted → rows of each


def regroup(micro_batches: Sequence[Batch], window: int, arrange: Arrange) -> list[Batch]:
    """Share the rows of an optimiser step out to its micro-batches anew, and trim each of them.

    Args:
        micro_batches: one key set; rows stand along the first dimension of each tensor.
        window: micro-batches of one optimiser step; rows never leave their step.
        arrange: tells which rows go together.
    """
    regrouped: list[Batch] = []
    for start in range(0, len(micro_batches), window):
        part = micro_batches[start : start + window]
        whole = {key: _join([batch[key] for batch in part]) for key in part[0]}
        for rows in arrange(whole, len(part)):
            regrouped.append(trim({key: _rows(value, rows) for key, value in whole.items()}))
    return regrouped


def of_one_length(whole: Batch, count: int) -> Sequence[torch.Tensor]:
    """Equally many rows of similar length in each micro-batch."""
    lengths_B = whole["prompt_mask"].sum(1) + whole["completion_mask"].sum(1)
    return lengths_B.argsort(stable=True, descending=True).chunk(count)


def of_one_tree(whole: Batch, count: int) -> Sequence[torch.Tensor]:
    """Equally many rows in each micro-batch, those with a common beginning together."""
    return torch.tensor(order(_rows_of(whole))).chunk(count)


def of_equal_work(whole: Batch, count: int) -> Sequence[torch.Tensor]:
    """Rows with a common beginning together, and about equally many tokens to compute in each micro-batch.

    Only for losses that add up over all tokens of a step, since micro-batches differ in their number of rows.
    """
    rows = _rows_of(whole)
    placed = order(rows)
    placed_rows = [rows[row] for row in placed]
    cuts = equal_cuts([len(row) for row in placed_rows], unique_tokens(placed_rows), count)
    return [torch.tensor(placed[a:b]) for a, b in zip([0, *cuts], [*cuts, len(placed)], strict=True)]


def equal_cuts(whole: Sequence[int], further: Sequence[int], count: int) -> list[int]:
    """Where to cut rows into parts, so that the largest part is as small as it can be.

    Args:
        whole: tokens of each row, which the first one of a part costs.
        further: tokens that it adds to the rows before it, which any other costs.
        count: parts; at most as many as there are rows.

    Returns:
        Index of the first row of each part but the first.
    """

    def parts(capacity: int) -> list[int]:
        cuts: list[int] = []
        filled = 0
        for row, (alone, more) in enumerate(zip(whole, further, strict=True)):
            must = row and len(whole) - row <= count - 1 - len(cuts)  # one row each for the parts that are left
            if must or (row and filled + more > capacity):
                cuts.append(row)
                filled = alone
            else:
                filled += more if row else alone
        return cuts

    low, high = max(whole), sum(whole)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if len(parts(middle)) < count else (middle + 1, high)
    return parts(low)


def trim(batch: Batch) -> Batch:
    """Cut off columns that are padding in every row: on the left of prompts, on the right of completions."""
    left = _leading_empty(batch["prompt_mask"])
    longest = batch["completion_mask"].shape[1]
    kept = max(longest - _leading_empty(batch["completion_mask"].flip(1)), 1)
    trimmed = {}
    for key, value in batch.items():
        if key in ("prompt_ids", "prompt_mask"):
            value = value[:, left:]
        elif isinstance(value, torch.Tensor) and value.dim() == 2 and value.shape[1] == longest:
            value = value[:, :kept]
        trimmed[key] = value
    return trimmed


def by_length(mask_BT: torch.Tensor, chunk: int) -> list[tuple[torch.Tensor, int, int]]:
    """Chunks of rows of similar length, and the columns in which each of them stands.

    Args:
        mask_BT: 1 where a row has a token; rows may be padded on both sides, shape (B, T).
        chunk: rows in a chunk.

    Returns:
        (rows, first column, one past the last column) of each chunk.
    """
    chunks = []
    for rows in mask_BT.sum(1).argsort(stable=True, descending=True).split(chunk):
        part = mask_BT[rows]
        chunks.append((rows, _leading_empty(part), part.shape[1] - _leading_empty(part.flip(1))))
    return chunks


def _rows_of(whole: Batch) -> list[list[int]]:
    ids, mask = (torch.cat([whole[f"prompt_{kind}"], whole[f"completion_{kind}"]], 1) for kind in ("ids", "mask"))
    return rows_of(ids, mask, whole["completion_ids"].shape[1])[0]


def _leading_empty(mask_BT: torch.Tensor) -> int:
    used_T = mask_BT.any(dim=0)
    return int(used_T.int().argmax()) if used_T.any() else 0


def _join(values: list[Any]) -> Any:
    if isinstance(values[0], torch.Tensor) and values[0].dim():
        return torch.cat(values)
    return [v for value in values for v in value] if isinstance(values[0], list) else values[0]


def _rows(value: Any, rows: torch.Tensor) -> Any:
    if isinstance(value, torch.Tensor):
        return value[rows] if value.dim() else value
    return [value[i] for i in rows.tolist()] if isinstance(value, list) else value
