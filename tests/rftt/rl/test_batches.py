"""Rows put together by length: nothing is lost, nothing changes but the padding."""

from __future__ import annotations

import torch

from rftt.rl.batches import by_length, regroup, trim


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
    found = regroup(parts, window=2)
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
