"""Trees and what fills their groups up, together: on a policy whose expected reward is known.

The trees of this policy have 5 or 11 paths, and those with more of them are worth more.
"""

from __future__ import annotations

import asyncio
import math

import pytest

from rftt.rl import branches
from search import Tree
from search.engines import Sampling
from search.mcts import Rule, grow
from search.shared_prefix import draw, known_tokens
from search.token_trie import TokenTrie
from tests.search import enumerable
from tests.search.tabular import Means, Tabular, estimate, exact_gradient, tokens_of

GROUP = 16


def in_sigma(values: list[float]) -> float:
    """Standard errors between the mean and the expected reward of the policy."""
    mean = sum(values) / len(values)
    error = math.sqrt(sum((v - mean) ** 2 for v in values)) / len(values)
    return (mean - enumerable.value()) / error


@pytest.mark.gradient
def test_a_tree_filled_up_is_unbiased_by_strata_and_was_not_by_plain_samples_beside_importance():
    engine = enumerable.engine()
    before: list[float] = []
    strata: list[float] = []
    fills: list[float] = []

    async def run() -> None:
        for seed in range(1200):
            tree = await enumerable.grown(engine, seed, GROUP)
            assert tree.stopped == "exhausted" and len(tree.leaves()) < GROUP
            weights = branches.weights(tree, math.inf)
            of_tree = sum(weights[leaf.id] * leaf.value for leaf in tree.leaves())
            missing = GROUP - len(tree.leaves())
            plain = enumerable.write(len(tree.prompt_ids), tree.prompt_ids, Sampling(60, n=missing, seed=seed))
            before.append((of_tree + sum(enumerable.reward(g.ids) for g in plain)) / GROUP)

            half = await enumerable.grown(engine, seed, GROUP // 2)
            paths = [tuple(half.path_ids(leaf)) for leaf in half.leaves()]
            trie = known_tokens(half, enumerable.OPENING_IDS)
            of_paths, of_sample = branches.strata(trie, paths, GROUP)
            drawn = await draw(trie, engine, half.prompt_ids, Sampling(60, seed=seed), GROUP - len(paths), at_once=4)
            samples = [one.generation.ids for one in drawn]
            assert not set(samples) & set(paths)
            total = sum(w * enumerable.reward(p) for w, p in zip(of_paths, paths, strict=True))
            strata.append((total + of_sample * sum(map(enumerable.reward, samples))) / GROUP)
            walked = await draw(known_tokens(half, enumerable.OPENING_IDS), engine, half.prompt_ids,
                                Sampling(60, seed=seed), 2)  # fmt: skip
            fills.append(sum(enumerable.reward(one.generation.ids) for one in walked) / 2)

    asyncio.run(run())
    assert in_sigma(before) > 4, "the number of paths goes with their worth"
    assert abs(in_sigma(strata)) < 2.5
    assert abs(in_sigma(fills)) < 2.5


def test_paths_of_the_tree_weigh_their_probability_and_samples_what_is_left():
    trie = TokenTrie()
    trie.add((1,), (math.log(0.5),), ended=True)
    trie.add((2,), (math.log(0.1),), ended=True)
    of_paths, of_sample = branches.strata(trie, [(1,), (2,)], 6)
    assert of_paths == pytest.approx([3.0, 0.6]) and of_sample == pytest.approx(6 * 0.4 / 4)
    twice, of_sample = branches.strata(trie, [(1,), (1,)], 4)
    assert twice == pytest.approx([1.0, 1.0]) and of_sample == pytest.approx(4 * 0.4 / 2), "siblings that say the same"
    sure = TokenTrie()
    sure.add((1,), (-1e-8,), ended=True)
    assert branches.strata(sure, [(1,)], 2)[1] == 0.0, "rounding is not explored"
    with pytest.raises(ValueError, match="room"):
        branches.strata(TokenTrie(), [(1,), (2,)], 2)


@pytest.mark.gradient
@pytest.mark.parametrize(("rollouts", "biased"), [(8, True), (40, False)])
def test_importance_is_the_policy_gradient_only_of_trees_that_tried_everything(rollouts, biased):
    means = Means(exact_gradient(Tabular(3, functions=("a", "b", "c"))))

    async def one(policy: Tabular, seed: int) -> Tree:
        async def judge(tree: Tree, leaf) -> float:
            return policy.reward(tokens_of(tree, leaf))

        return await grow(Tree("q", "q"), policy, judge, Rule(1.0, seed), rollouts=rollouts)

    for seed in range(600):
        policy = Tabular(3, seed, functions=("a", "b", "c"))
        tree = asyncio.run(one(policy, seed))
        weights = branches.weights(tree, math.inf)
        means.add(estimate(policy, tree, lambda leaf: weights[leaf.id] / len(tree.leaves())))  # noqa: B023
    if biased:
        assert means.squared_error() > 5 and means.relative_error() > 0.5
    else:
        assert means.squared_error() < 1.4
