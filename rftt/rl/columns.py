"""What is known of a rollout by step, spread over its tokens: rollouts → (B, T) tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rftt.rl.rollout import Rollout


def nodes(rollouts: Sequence[Rollout], length: int) -> torch.Tensor:
    """Node id of each token; −1 for tokens of a path that shares nothing, and for padding.

    Args:
        rollouts: B of them.
        length: T.

    Returns:
        Shape (B, T), int64.
    """
    found_BT = torch.full((len(rollouts), length), -1, dtype=torch.int64)
    for rollout, tokens_T in zip(rollouts, found_BT, strict=True):
        if rollout.nodes:
            _spread(tokens_T, rollout.starts, rollout.nodes, len(rollout.completion_ids))
    return found_BT


def process_returns(rollouts: Sequence[Rollout], length: int) -> torch.Tensor:
    """Process rewards from the step of each token to the end of its path, shape (B, T); 0 for padding."""
    found_BT = torch.zeros(len(rollouts), length)
    for rollout, tokens_T in zip(rollouts, found_BT, strict=True):
        if rollout.process_returns:
            # What a malformed path holds before its first step earns what the step does.
            starts = [0, *rollout.starts[1:]]
            _spread(tokens_T, starts, rollout.process_returns, len(rollout.completion_ids))
    return found_BT


def _spread(tokens_T: torch.Tensor, starts: Sequence[int], values: Sequence[float], end: int) -> None:
    for start, stop, value in zip(starts, [*starts[1:], end], values, strict=True):
        tokens_T[start:stop] = value
