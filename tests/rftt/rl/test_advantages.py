"""Advantage estimators against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from rftt.rl.advantages import ScoredBatch, dr_grpo, grpo, reinforce_plus_plus, rloo, tree, treerl
from rftt.rl.estimators import ESTIMATORS, load_estimator

MASK = torch.tensor([[1.0, 1.0], [1.0, 0.0]])


def batch(rewards, kl=None, mask=None, group_size=2, beta=0.0, process=None, nodes=None, weights=None) -> ScoredBatch:
    mask_BT = torch.ones(len(rewards), 2) if mask is None else mask
    kl_BT = torch.zeros_like(mask_BT) if kl is None else torch.tensor(kl)
    process_BT = None if process is None else torch.tensor(process)
    node_BT = None if nodes is None else torch.tensor(nodes)
    weight_B = None if weights is None else torch.tensor(weights)
    return ScoredBatch(torch.tensor(rewards), kl_BT, mask_BT, group_size, beta, process_BT, node_BT, weight_B)


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


def test_dr_grpo_centres_and_does_not_scale():
    found = dr_grpo(batch([1.0, 0.0, 0.1, 0.1]))
    torch.testing.assert_close(found, torch.tensor([[0.5] * 2, [-0.5] * 2, [0.0] * 2, [0.0] * 2]))


def test_tree_credits_a_node_with_what_it_adds_to_the_root_and_to_its_parent():
    # Node 1 leads to 2 (right) and 3 (wrong), node 4 is wrong, the last path shares nothing and is right.
    # V: root ½, node 1 ½, node 2 1, node 3 0, node 4 0, last 1.
    nodes = [[1, 2], [1, 3], [4, 4], [-1, -1]]
    found = tree(batch([1.0, 0.0, 0.0, 1.0], group_size=4, nodes=nodes))
    expected = [[0.0, 0.5 + 0.5], [0.0, -0.5 - 0.5], [-0.5 - 0.5] * 2, [0.5 + 0.5] * 2]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_tree_keeps_the_trees_of_two_questions_apart():
    one = tree(batch([1.0, 0.0], nodes=[[1, 2], [1, 3]]))
    two = tree(batch([1.0, 0.0, 0.0, 0.0], nodes=[[1, 2], [1, 3], [1, 2], [1, 3]]))
    torch.testing.assert_close(two[:2], one)
    assert two[2:].abs().sum() == 0


def test_shared_tokens_have_one_credit_and_plain_groups_that_of_their_outcome():
    nodes = [[1, 2], [1, 3], [4, 5]]
    found = tree(batch([1.0, 0.1, 0.0], group_size=3, nodes=nodes))
    assert found[0, 0] == found[1, 0]
    plain = batch([1.0, 0.1, 0.0], group_size=3)
    torch.testing.assert_close(tree(plain), 2 * dr_grpo(plain))


def test_treerl_divides_by_the_root_of_the_number_of_leaves():
    nodes = [[1, 2], [1, 3], [4, 4], [-1, -1]]
    one = batch([1.0, 0.0, 0.0, 1.0], group_size=4, nodes=nodes)
    one.rewards_B[1] = 0.5  # so that the shared node is worth something
    plain, found = tree(one), treerl(one)
    torch.testing.assert_close(found[0, 0], plain[0, 0] / 2**0.5)
    torch.testing.assert_close(found[:, 1], plain[:, 1])
    assert plain[0, 0] > 0 and found[0, 0] == found[1, 0]


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_weights_make_the_baseline_that_of_the_policy(name):
    compute, rewards = load_estimator(name).compute, [1.0, 0.0, 0.3, 0.3]
    same = compute(batch(rewards, group_size=4, weights=[0.7] * 4))
    torch.testing.assert_close(same, compute(batch(rewards, group_size=4)))
    weights = torch.tensor([0.2, 2.0, 0.9, 0.9])
    found = compute(batch(rewards, group_size=4, weights=weights.tolist()))
    if name != "rloo":
        torch.testing.assert_close((weights[:, None] * found).sum(), torch.tensor(0.0), atol=1e-5, rtol=0)
    twice = compute(batch([1.0, 0.0, 0.0], group_size=3))
    once = compute(batch([1.0, 0.0, 9.0], group_size=3, weights=[1.0, 2.0, 0.0]))
    if (
        name != "rloo"
    ):  # which leaves a path out of its own baseline, and so cannot tell two paths from one that counts double
        factor = twice[0, 0] / once[0, 0]
        torch.testing.assert_close(once[:2] * factor, twice[:2])
    nothing = compute(batch(rewards, group_size=4, weights=[0.0] * 4))
    assert torch.isfinite(nothing).all()


def test_rloo_weighs_the_others():
    found = rloo(batch([1.0, 0.0, 0.4], group_size=3, weights=[1.0, 3.0, 1.0]))
    torch.testing.assert_close(found[:, 0], torch.tensor([1.0 - 0.1, 0.0 - 0.7, 0.4 - 0.25]))


@pytest.mark.parametrize("name", [n for n in ESTIMATORS if n != "reinforce++"])
def test_process_rewards_are_added_to_the_return_of_each_token(name):
    process = [[-0.3, 0.2], [0.0, 0.5]]
    compute = load_estimator(name).compute
    without, found = compute(batch([1.0, 0.0], mask=MASK)), compute(batch([1.0, 0.0], mask=MASK, process=process))
    torch.testing.assert_close(found, without + torch.tensor([[-0.3, 0.2], [0.0, 0.0]]))


def test_reinforce_plus_plus_whitens_process_rewards_with_the_rest():
    # Returns 1 − ½, 1 + ½ and 0: mean 2/3.
    found = reinforce_plus_plus(batch([1.0, 0.0], mask=MASK, process=[[-0.5, 0.5], [0.0, 9.0]]))
    returns = torch.tensor([0.5, 1.5, 0.0])
    white = (returns - returns.mean()) / returns.std(correction=0)
    torch.testing.assert_close(found, torch.tensor([[white[0], white[1]], [white[2], 0.0]]))


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_every_estimator_prefers_the_right_path_and_leaves_padding_at_zero(name):
    found = load_estimator(name).compute(batch([1.0, 0.1], kl=[[0.1, 0.0], [0.0, 7.0]], mask=MASK, beta=0.01))
    assert found.shape == MASK.shape
    assert (found[0] > 0).all() and found[1, 0] < 0 and found[1, 1] == 0


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="group_size 3"):
        batch([1.0, 0.0], group_size=3)
    with pytest.raises(ValueError, match="do not fit"):
        ScoredBatch(torch.zeros(2), torch.zeros(2, 3), torch.zeros(2, 2), 1)
    with pytest.raises(ValueError, match="node_BT"):
        batch([1.0, 0.0], nodes=[[1], [1]])
    with pytest.raises(ValueError, match="weight_B"):
        batch([1.0, 0.0], weights=[1.0])
    with pytest.raises(ValueError, match="two paths"):
        rloo(batch([1.0, 0.0], group_size=1))
