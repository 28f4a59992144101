"""Rows in one row: nothing is lost, nothing is shared that is not the same."""

from __future__ import annotations

import pytest
import torch

from rftt.model.prefix_sharing.pack import IGNORED, order, pack, unique_tokens
from tests.rftt.model.prefix_sharing.trees import forest


def test_each_target_is_predicted_by_a_place_whose_path_is_its_row():
    prompts, completions = forest()
    rows = [p + c for p, c in zip(prompts, completions, strict=True)]
    packed = pack(rows, [len(p) for p in prompts])
    path_of = {int(path.places[-1]): path.places for path in packed.paths}
    ids = packed.ids_N.numpy()
    for row, completion in enumerate(completions):
        sources = packed.source_BT[row]
        assert (sources >= 0).sum() == len(completion)
        assert packed.label_N[sources[: len(completion)]].tolist() == completion
        last = int(sources[len(completion) - 1])
        holder = next(places for places in path_of.values() if last in places)
        seen = holder[: holder.tolist().index(last) + 1]
        assert ids[seen].tolist() == rows[row][:-1] and packed.depth_N[seen].tolist() == list(range(len(seen)))
    assert packed.tokens < packed.rows_tokens / 2


def test_a_fork_has_a_place_for_each_of_its_labels():
    packed = pack([[1, 2, 3, 4], [1, 2, 5]], [1, 1])
    assert packed.ids_N.tolist() == [1, 2, 3, 2] and packed.label_N.tolist() == [2, 3, 4, 5]
    assert packed.depth_N.tolist() == [0, 1, 2, 1]
    assert packed.source_BT.tolist() == [[0, 1, 2], [0, 3, -1]]
    assert [(path.own, path.places.tolist()) for path in packed.paths] == [(3, [0, 1, 2]), (1, [0, 3])]


def test_equal_rows_and_rows_that_begin_another_cost_nothing():
    packed = pack([[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3]], [2, 2, 1])
    assert packed.tokens == 3 and len(packed.paths) == 2 and packed.rows_tokens == 11
    assert packed.source_BT.tolist() == [[1, 2], [1, 2], [0, 1]]


def test_context_of_one_row_may_be_the_target_of_another():
    packed = pack([[1, 2, 3, 4], [1, 2, 3, 5]], [3, 1])
    assert packed.label_N[packed.source_BT[1]].tolist() == [2, 3, 5]
    assert packed.source_BT[0, 1] == -1


def test_positions_without_targets_have_no_label():
    packed = pack([[9, 8, 7, 1, 2]], [3])
    assert packed.label_N.tolist() == [IGNORED, IGNORED, 1, 2]


def test_unique_tokens_add_up_to_the_packed_row():
    prompts, completions = forest(5)
    rows = [p + c for p, c in zip(prompts, completions, strict=True)]
    placed = [rows[i] for i in order(rows)]
    assert sum(unique_tokens(placed)) == pack(rows, [len(p) for p in prompts]).tokens


def test_values_go_back_to_every_row_with_their_gradient():
    packed = pack([[1, 2, 3, 4], [1, 2, 5]], [1, 1])
    values = torch.arange(1.0, 5.0, requires_grad=True)
    spread = packed.spread(values)
    assert spread.tolist() == [[1.0, 2.0, 3.0], [1.0, 4.0, 0.0]]
    spread.sum().backward()
    assert values.grad.tolist() == [2.0, 1.0, 1.0, 1.0], "a shared token has the gradient of each of its rows"


def test_rows_without_context_are_refused():
    for rows, starts in (([[]], [1]), ([[1, 2]], [0])):
        with pytest.raises(ValueError, match="before their targets"):
            pack(rows, starts)
