"""What is known by step, spread over tokens."""

from __future__ import annotations

import torch

from rftt.rl import columns

TREE = {"completion_ids": [1] * 5, "starts": [0, 2], "nodes": [3, 7], "process_returns": [-0.1, -0.2]}
PLAIN = {"completion_ids": [1] * 3, "starts": [1], "nodes": [], "process_returns": [-0.4]}
EMPTY = {**PLAIN, "starts": [], "process_returns": []}


def test_each_token_has_the_value_of_its_step():
    rows = [TREE, PLAIN, EMPTY]
    assert columns.nodes(rows, 6).tolist() == [[3, 3, 7, 7, 7, -1], [-1] * 6, [-1] * 6]
    torch.testing.assert_close(
        columns.process_returns(rows, 6),
        torch.tensor([[-0.1, -0.1, -0.2, -0.2, -0.2, 0.0], [-0.4, -0.4, -0.4, 0, 0, 0], [0.0] * 6]),
    )
