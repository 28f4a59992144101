"""Less padding: rows of similar length together, and no column in which nothing stands.

TRL pads a generation batch to its longest completion and cuts it into micro-batches as it comes. Paths of a tree search
differ much in length, so most of that work would be padding. Losses and gradients do not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

Batch = dict[str, Any]


def regroup(micro_batches: Sequence[Batch], window: int) -> list[Batch]:
    """Sort rows by length among the micro-batches that go into one optimiser step, and trim each of them.

    Args:
        micro_batches: equal in size, one key set; rows stand along the first dimension of each tensor.
        window: micro-batches of one optimiser step; rows never leave their step.
    """
    regrouped: list[Batch] = []
    for start in range(0, len(micro_batches), window):
        part = micro_batches[start : start + window]
        whole = {key: _join([batch[key] for batch in part]) for key in part[0]}
        lengths_B = whole["prompt_mask"].sum(1) + whole["completion_mask"].sum(1)
        for rows in lengths_B.argsort(stable=True, descending=True).chunk(len(part)):
            regrouped.append(trim({key: _rows(value, rows) for key, value in whole.items()}))
    return regrouped


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
