"""Rows put together by length or by what they share: nothing is lost, nothing changes but the padding."""

from __future__ import annotations

from itertools import combinations, pairwise

import torch

from rftt.rl.batches import by_length, equal_cuts, of_equal_work, of_one_length, of_one_tree, regroup, trim


def micro_batch(prompts: list[int], completions: list[int], width: int = 6) -> dict:
    prompt_mask = torch.tensor([[0] * (width - n) + [1] * n for n in prompts])
    completion_mask = torch.tensor([[1] * n + [0] * (width - n) for n in completions])
    return {
        "prompt_ids": prompt_mask * 7,
        "prompt_mask": prompt_mask,
        "completion_ids": completion_mask * torch.tensor(completions)[:, None],
        "completion_mask": completion_mask,
        "advantages": completion_mask * 0.5,
        "importance_sampling_ratio": torch.tensor(completions)[:, None].float(),
        "num_items_in_batch": torch.tensor(sum(completions)),
    }


def test_trim_cuts_only_columns_that_are_padding_in_every_row():
    trimmed = trim(micro_batch([2, 3], [1, 4]))
    assert trimmed["prompt_ids"].shape == (2, 3) and trimmed["prompt_mask"].sum() == 5
    assert trimmed["completion_ids"].shape == trimmed["advantages"].shape == (2, 4)
    assert trimmed["importance_sampling_ratio"].shape == (2, 1) and trimmed["num_items_in_batch"].dim() == 0


def test_regroup_sorts_within_a_step_and_never_across_steps():
    parts = [micro_batch([1, 1], lengths) for lengths in ([1, 5], [6, 2], [3, 1], [1, 4])]
    found = regroup(parts, 2, of_one_length)
    assert [b["completion_mask"].sum(1).tolist() for b in found] == [[6, 5], [2, 1], [4, 3], [1, 1]]
    for b in found:  # ids, ratios and masks of a row stay together
        lengths = b["completion_mask"].sum(1)
        assert b["completion_ids"].max(1).values.tolist() == lengths.tolist()
        assert b["importance_sampling_ratio"][:, 0].tolist() == lengths.tolist()


def test_by_length_covers_every_token_once():
    generator = torch.Generator().manual_seed(0)
    left = torch.randint(0, 5, (9,), generator=generator)
    right = torch.randint(6, 12, (9,), generator=generator)
    columns = torch.arange(12)
    mask = ((columns >= left[:, None]) & (columns < right[:, None])).long()
    seen = torch.zeros_like(mask)
    for rows, first, end in by_length(mask, 4):
        seen[rows, first:end] += mask[rows, first:end]
    assert (seen == mask).all()


def whole_of(rows: list[list[int]]) -> dict:
    """A batch whose prompts are the first two ids of each row."""
    width = max(map(len, rows)) - 2
    completions = torch.tensor([row[2:] + [0] * (width - len(row) + 2) for row in rows])
    mask = torch.tensor([[1] * (len(row) - 2) + [0] * (width - len(row) + 2) for row in rows])
    prompts = torch.tensor([row[:2] for row in rows])
    return {"prompt_ids": prompts, "prompt_mask": torch.ones_like(prompts), "completion_ids": completions,
            "completion_mask": mask}  # fmt: skip


def test_rows_of_one_tree_stand_together():
    rows = [[1, 2, 5, 5], [3, 4, 6], [1, 2, 5, 9], [3, 4, 6, 8]]
    assert [chunk.tolist() for chunk in of_one_tree(whole_of(rows), 2)] == [[0, 2], [1, 3]]


def test_equal_work_leaves_no_part_empty_and_none_much_larger():
    rows = [[1, 2, *range(10, 40)], [1, 2, 3], [1, 2, 4], [1, 2, 5]]
    found = [chunk.tolist() for chunk in of_equal_work(whole_of(rows), 2)]
    assert found == [[1, 2, 3], [0]], "one long row weighs as much as all the others"
    for count in range(1, 5):
        parts = of_equal_work(whole_of(rows), count)
        assert len(parts) == count and sorted(torch.cat(list(parts)).tolist()) == [0, 1, 2, 3]


def test_cuts_make_the_largest_part_as_small_as_it_can_be():
    whole, further = [5, 9, 3, 8, 4, 7], [4, 6, 1, 8, 2, 3]

    def largest(cuts: list[int]) -> int:
        bounds = [0, *cuts, len(whole)]
        return max(whole[a] + sum(further[a + 1 : b]) for a, b in pairwise(bounds))

    for count in range(1, 7):
        best = min(largest(list(cuts)) for cuts in combinations(range(1, 6), count - 1))
        assert largest(equal_cuts(whole, further, count)) == best
