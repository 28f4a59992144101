"""What is known by step, spread over tokens."""

from __future__ import annotations

import torch

from rftt.rl import columns
from rftt.rl.rollout import Rollout


def rollout(length: int, starts: list[int], returns: list[float], nodes: tuple[int, ...] = ()) -> Rollout:
    return Rollout(
        prompt_ids=[1], completion_ids=[1] * length, logprobs=[0.0] * length, question_id="q", answer="1",
        status="answered", verdict="correct", origin="tree", starts=starts, texts=[], nodes=list(nodes),
        process_returns=returns,
    )  # fmt: skip


def test_each_token_has_the_value_of_its_step():
    rows = [rollout(5, [0, 2], [-0.1, -0.2], (3, 7)), rollout(3, [1], [-0.4]), rollout(3, [], [])]
    assert columns.nodes(rows, 6).tolist() == [[3, 3, 7, 7, 7, -1], [-1] * 6, [-1] * 6]
    torch.testing.assert_close(
        columns.process_returns(rows, 6),
        torch.tensor([[-0.1, -0.1, -0.2, -0.2, -0.2, 0.0], [-0.4, -0.4, -0.4, 0, 0, 0], [0.0] * 6]),
    )
