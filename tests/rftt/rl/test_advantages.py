"""Advantage estimators against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from rftt.rl.advantages import ESTIMATORS, ScoredBatch, grpo, reinforce_plus_plus, rloo

MASK = torch.tensor([[1.0, 1.0], [1.0, 0.0]])


def batch(rewards, kl=None, mask=None, group_size=2, beta=0.0) -> ScoredBatch:
    mask_BT = torch.ones(len(rewards), 2) if mask is None else mask
    kl_BT = torch.zeros_like(mask_BT) if kl is None else torch.tensor(kl)
    return ScoredBatch(torch.tensor(rewards), kl_BT, mask_BT, group_size, beta)


def test_reinforce_plus_plus_whitens_returns_over_all_valid_tokens():
    # Returns 1, 1 and 0: mean 2/3, population std √2/3.
    found = reinforce_plus_plus(batch([1.0, 0.0], mask=MASK))
    torch.testing.assert_close(found, torch.tensor([[0.5**0.5, 0.5**0.5], [-(2**0.5), 0.0]]))


def test_reinforce_plus_plus_has_the_kl_of_the_rest_of_the_path_in_each_return():
    # r = (−0.5·2, −0.5·4 + 1), (−0.5·(−2) + 0): returns −2, −1, 1; mean −2/3, variance 14/9.
    found = reinforce_plus_plus(batch([1.0, 0.0], kl=[[2.0, 4.0], [-2.0, 9.0]], mask=MASK, beta=0.5))
    std = (14 / 9) ** 0.5
    torch.testing.assert_close(found, torch.tensor([[-4 / 3 / std, -1 / 3 / std], [5 / 3 / std, 0.0]]))


def test_reinforce_plus_plus_says_nothing_where_all_returns_agree():
    noise = [[1e-7, -1e-7], [2e-7, 0.0]]
    assert reinforce_plus_plus(batch([0.1, 0.1], kl=noise, beta=0.01)).abs().max() < 1e-3


def test_the_outcome_reward_stands_at_the_last_valid_token_even_before_masked_ones():
    mask = torch.tensor([[1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    found = reinforce_plus_plus(batch([1.0, 0.0], mask=mask))
    assert (found[0] > 0).tolist() == [True, False, True, False]
    assert found[0, 1] == found[0, 3] == 0


def test_a_row_without_valid_tokens_takes_no_part():
    mask = torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]])
    found = reinforce_plus_plus(batch([1.0, 5.0, 0.0], mask=mask, group_size=1))
    torch.testing.assert_close(found, torch.tensor([[1.0, 1.0], [0.0, 0.0], [-1.0, -1.0]]))


def test_grpo_normalises_within_groups():
    # Groups (1, 0) and (0.1, 0.1): sample std √½ and 0.
    found = grpo(batch([1.0, 0.0, 0.1, 0.1]))
    expected = 0.5 / (0.5**0.5 + 1e-4)
    torch.testing.assert_close(found, torch.tensor([[expected] * 2, [-expected] * 2, [0.0] * 2, [0.0] * 2]))


def test_rloo_compares_with_the_others_and_has_the_kl_in_the_reward():
    # R' = 1 − 0.1·(1 + 2) = 0.7, 0.4, 0: each against the mean of the other two.
    kl = [[1.0, 2.0], [1.0, -5.0], [0.0, 0.0]]
    found = rloo(batch([1.0, 0.0, 0.0], kl=kl, group_size=3, beta=0.1))
    torch.testing.assert_close(found[:, 0], torch.tensor([0.5, 0.05, -0.55]))
    torch.testing.assert_close(found[:, 0], found[:, 1])


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_every_estimator_prefers_the_right_path_and_leaves_padding_at_zero(name):
    found = ESTIMATORS[name].compute(batch([1.0, 0.1], kl=[[0.1, 0.0], [0.0, 7.0]], mask=MASK, beta=0.01))
    assert found.shape == MASK.shape
    assert (found[0] > 0).all() and found[1, 0] < 0 and found[1, 1] == 0


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="group_size 3"):
        batch([1.0, 0.0], group_size=3)
    with pytest.raises(ValueError, match="do not fit"):
        ScoredBatch(torch.zeros(2), torch.zeros(2, 3), torch.zeros(2, 2), 1)
    with pytest.raises(ValueError, match="two paths"):
        rloo(batch([1.0, 0.0], group_size=1))
