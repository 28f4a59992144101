"""Priority sampling on trees whose exact policy gradient is known."""

from __future__ import annotations

import asyncio
import math
import random

import pytest

from search import SearchConfig, Tree
from search.driver import make_policy
from search.priority import conditional_gumbels, inclusion, sample
from tests.search import enumerable
from tests.search.fakes import functional_engine
from tests.search.tabular import Means, Tabular, estimate, exact_gradient, tokens_of

LEVELS, FUNCTIONS = 3, ("a", "b", "c")  # 27 leaves


def sampled(policy: Tabular, rollouts: int, seed: int, parallel: int = 1) -> tuple[Tree, dict[int, float]]:
    async def judge(tree: Tree, leaf) -> float:
        return policy.reward(tokens_of(tree, leaf))

    tree = Tree("q", "q")
    weights = asyncio.run(sample(tree, policy, judge, rollouts=rollouts, seed=seed, parallel=parallel))
    return tree, weights


@pytest.mark.gradient
@pytest.mark.parametrize("parallel", [1, 8])
@pytest.mark.parametrize("rollouts", [4, 8, 16])
def test_the_mean_gradient_is_the_exact_one_for_any_number_of_rollouts(rollouts, parallel):
    means = Means(exact_gradient(Tabular(LEVELS, functions=FUNCTIONS)))
    for seed in range(1000):
        policy = Tabular(LEVELS, seed, functions=FUNCTIONS)
        tree, weights = sampled(policy, rollouts, seed, parallel)
        assert len(weights) == rollouts == len(tree.leaves())
        means.add(estimate(policy, tree, lambda leaf: weights[leaf.id]))  # noqa: B023
    assert abs(means.along_in_sigma()) < 2
    assert means.squared_error() < 1.3


@pytest.mark.gradient
def test_without_the_weights_the_gradient_is_wrong():
    means = Means(exact_gradient(Tabular(LEVELS, functions=FUNCTIONS)))
    for seed in range(800):
        policy = Tabular(LEVELS, seed, functions=FUNCTIONS)
        tree, _ = sampled(policy, 8, seed)
        means.add(estimate(policy, tree, lambda leaf: 1 / 8))
    assert means.squared_error() > 3


def test_siblings_share_the_probability_of_their_function():
    means = Means(exact_gradient(Tabular(2, functions=FUNCTIONS)))
    for seed in range(1000):
        policy = Tabular(2, seed, siblings=2, functions=FUNCTIONS)
        tree, weights = sampled(policy, 5, seed)
        means.add(estimate(policy, tree, lambda leaf: weights[leaf.id]))  # noqa: B023
    assert abs(means.along_in_sigma()) < 3 and means.squared_error() < 1.3


def test_paths_and_weights_do_not_depend_on_what_is_in_flight():
    policy = Tabular(LEVELS, 5, functions=FUNCTIONS)
    for seed in range(30):
        (one, alone), (many, together) = sampled(policy, 6, seed), sampled(policy, 6, seed, parallel=8)
        first, second = ({tree.key(tree.nodes[i]): w for i, w in weights.items()} for tree, weights in
                         ((one, alone), (many, together)))  # fmt: skip
        assert list(first) == list(second) and first == pytest.approx(second)
        assert one.requests <= many.requests
        on_paths = {node.id for leaf in one.leaves() for node in one.path(leaf)}
        assert len(on_paths) == len(one.nodes) - 1, "one at a time, every step lies on a path of the sample"


def test_a_tree_with_fewer_paths_is_taken_whole_with_its_probabilities():
    policy = Tabular(1, 0, functions=FUNCTIONS)
    tree, weights = sampled(policy, 8, 0)
    assert tree.stopped == "exhausted" and len(weights) == 3
    assert {tree.nodes[i].function: w for i, w in weights.items()} == pytest.approx(tree.root.options)


def test_conditional_gumbels_have_their_highest_where_it_is_given_and_their_own_distribution_around_it():
    rng, logprobs = random.Random(0), [math.log(p) for p in (0.6, 0.3, 0.1)]
    wins, above = [0, 0, 0], [0, 0, 0]
    for _ in range(20_000):
        highest = -math.log(-math.log(rng.random()))
        found = conditional_gumbels(logprobs, highest, rng)
        assert max(found) == pytest.approx(highest)
        wins[found.index(max(found))] += 1
        for k, value in enumerate(found):
            above[k] += value > 0.5
    for k, logprob in enumerate(logprobs):
        for count, p in ((wins[k], math.exp(logprob)), (above[k], inclusion(logprob, 0.5))):
            assert abs(count / 20_000 - p) < 4.5 * math.sqrt(p * (1 - p) / 20_000)


@pytest.mark.gradient
def test_texts_that_are_sampled_are_averaged_over_as_well():
    """Tokens of a policy with many texts: the mean of Σ weight · reward is the policy's expected reward."""
    engine, found = enumerable.engine(), []

    async def judge(tree: Tree, leaf) -> float:
        return enumerable.reward(tuple(tree.path_ids(leaf)))

    async def run() -> None:
        for seed in range(1500):
            policy = enumerable.policy(engine, seed, least=0.0)
            tree = Tree("q", "q")
            weights = await sample(tree, policy, judge, rollouts=4, seed=seed)
            found.append(sum(w * tree.nodes[i].value for i, w in weights.items()))

    asyncio.run(run())
    mean = sum(found) / len(found)
    error = math.sqrt(sum((x - mean) ** 2 for x in found) / len(found) ** 2)
    assert abs(mean - enumerable.value()) < 2.5 * error and error < 0.02


def test_requests_of_one_tree_fly_together():
    engine = functional_engine(turns=3)

    async def judge(tree: Tree, leaf) -> float:
        return 0.0

    async def rounds(parallel: int) -> tuple[int, int]:
        policy = make_policy("functional", engine, SearchConfig(max_depth=6, seed=1))
        tree = Tree("q", "q")
        await sample(tree, policy, judge, rollouts=8, seed=1, parallel=parallel)
        return len(tree.leaves()), tree.rounds

    (leaves, together), (same, one_by_one) = asyncio.run(rounds(8)), asyncio.run(rounds(1))
    assert leaves == same == 8 and together < 0.6 * one_by_one
