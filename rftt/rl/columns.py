"""What is known of a path by step, spread over its tokens: rows of a rollout → (B, T) tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

Row = Mapping[str, Any]


def nodes(rows: Sequence[Row], length: int) -> torch.Tensor:
    """Node id of each token; −1 for tokens of a path that shares nothing, and for padding.

    Args:
        rows: with the fields of `sample.Sample`.
        length: T.

    Returns:
        Shape (B, T), int64.
    """
    found_BT = torch.full((len(rows), length), -1, dtype=torch.int64)
    for row, tokens_T in zip(rows, found_BT, strict=True):
        if row["nodes"]:
            _spread(tokens_T, row["starts"], row["nodes"], len(row["completion_ids"]))
    return found_BT


def process_returns(rows: Sequence[Row], length: int) -> torch.Tensor:
    """Process rewards from the step of each token to the end of its path, shape (B, T); 0 for padding."""
    found_BT = torch.zeros(len(rows), length)
    for row, tokens_T in zip(rows, found_BT, strict=True):
        if row["process_returns"]:
            # What a malformed path holds before its first step earns what the step does.
            starts = [0, *row["starts"][1:]]
            _spread(tokens_T, starts, row["process_returns"], len(row["completion_ids"]))
    return found_BT


def _spread(tokens_T: torch.Tensor, starts: Sequence[int], values: Sequence[float], end: int) -> None:
    for start, stop, value in zip(starts, [*starts[1:], end], values, strict=True):
        tokens_T[start:stop] = value
