"""Branch correction on trees whose exact policy gradient is known."""

from __future__ import annotations

import asyncio
import math

import pytest

from rftt.rl import branches
from search import Tree
from search.mcts import Rule, grow
from search.tree import Node
from tests.search.tabular import Means, Tabular, Token, add_score, exact_gradient, tokens_of


def grown(policy: Tabular, rollouts: int) -> Tree:
    async def judge(tree: Tree, leaf: Node) -> float:
        return policy.reward(tokens_of(tree, leaf))

    return asyncio.run(grow(Tree("q", "q"), policy, judge, Rule(1.0, 0), rollouts=rollouts))


def estimated_gradient(policy: Tabular, tree: Tree, correction: str) -> dict[Token, float]:
    """The gradient of one tree's paths, with its rewards as advantages."""
    gradient: dict[Token, float] = {}
    leaves = tree.leaves()
    weights = branches.weights(tree, cap=math.inf)
    for leaf in leaves:
        path = tokens_of(tree, leaf)
        for step, node in enumerate(tree.path(leaf)):
            branch = text = weights[leaf.id] if correction == "importance" else 1.0
            if correction == "last branch":
                parent = tree.nodes[node.parent]
                drawn = math.exp(parent.branch_logprobs[node.function]) / policy.siblings
                branch = drawn * parent.visits / node.visits
            for position, weight in ((2 * step, branch), (2 * step + 1, text)):
                add_score(gradient, policy, path, position, weight * policy.reward(path) / len(leaves))
    return gradient


def errors_in_sigma(levels: int, siblings: int, rollouts: int, correction: str, trees: int = 1500) -> list[float]:
    """How many standard errors the mean estimate is off the exact gradient, for each token."""
    means = Means(exact_gradient(Tabular(levels)))
    for seed in range(trees):
        policy = Tabular(levels, seed, siblings)
        means.add(estimated_gradient(policy, grown(policy, rollouts), correction))
    return [abs(z) for z in means.in_sigma()]


@pytest.mark.gradient
@pytest.mark.parametrize(("levels", "siblings", "rollouts"), [(1, 1, 2), (2, 1, 4), (2, 2, 16)])
def test_importance_gives_the_exact_policy_gradient_within_sampling_error(levels, siblings, rollouts):
    assert max(errors_in_sigma(levels, siblings, rollouts, "importance")) < 4.5


@pytest.mark.gradient
def test_without_correction_the_gradient_is_wrong():
    assert max(errors_in_sigma(2, 2, 16, "none", trees=500)) > 10


@pytest.mark.gradient
def test_the_factor_of_one_branch_alone_is_not_enough_for_two():
    assert max(errors_in_sigma(2, 2, 16, "last branch", trees=500)) > 10


def test_a_branch_weighs_its_probability_over_its_share_of_visits():
    tree = Tree("q", "q")
    tree.root.branch_logprobs = {"a": math.log(0.6), "b": math.log(0.2)}
    first, second = tree.add(tree.root, "a", 0, visits=3), tree.add(tree.root, "b", 0, visits=1)
    first.branch_logprobs = {"a": math.log(0.01)}
    only = tree.add(first, "a", 0, visits=3)
    untried = tree.add(tree.root, "b", 1)
    found = branches.weights(tree, cap=10.0)
    assert found[first.id] == pytest.approx(0.75 * 4 / 3) and found[second.id] == pytest.approx(0.25 * 4)
    assert found[only.id] == found[first.id], "all that was tried stands for all there is"
    assert untried.id not in found
    assert (3 * found[first.id] + found[second.id]) / 4 == pytest.approx(1.0)


def test_weights_are_capped():
    tree = Tree("q", "q")
    tree.root.branch_logprobs = {"a": math.log(0.9), "b": math.log(0.1)}
    often, once = tree.add(tree.root, "a", 0, visits=1), tree.add(tree.root, "b", 0, visits=9)
    once.branch_logprobs = {"a": math.log(0.5), "b": math.log(0.5)}
    below = tree.add(once, "a", 0, visits=1), tree.add(once, "b", 0, visits=8)
    found = branches.weights(tree, cap=2.0)
    assert found[often.id] == 2.0
    assert found[below[0].id] == pytest.approx(1 / 9 * 0.5 * 9), "what is below the cap keeps its weight"
