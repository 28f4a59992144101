"""Branch correction on trees whose exact policy gradient is known."""

from __future__ import annotations

import asyncio
import math
import random

import pytest

from rftt.rl import branches
from search import Tree
from search.mcts import Expansion, Rule, derived_seed, grow
from search.tree import Node

FUNCTIONS, TEXTS = ("a", "b"), (0, 1)
Token = tuple[tuple, object]  # (state, choice): the state is all that came before


class Tabular:
    """A policy of `levels` × (function, text), each drawn from a table; a path ends after the last text.

    Args:
        seed: of what is sampled; the tables are always the same.
    """

    name = "tabular"

    def __init__(self, levels: int, seed: int = 0, siblings: int = 1) -> None:
        self.levels, self.seed, self.siblings = levels, seed, siblings

    def width(self, function: str) -> int:
        return self.siblings

    def probability(self, state: tuple, choice: object) -> float:
        first = random.Random(f"table/{state}").uniform(0.1, 0.9)
        return first if choice in (FUNCTIONS[0], TEXTS[0]) else 1 - first

    def reward(self, path: tuple) -> float:
        return float(random.Random(f"reward/{path}").random() < 0.5)

    async def start(self, tree: Tree) -> int:
        tree.root.options = self._options(tree.root, ())
        return 1

    async def expand(self, tree: Tree, node: Node, function: str) -> Expansion:
        before = (*tokens_of(tree, node), function)
        children = []
        for sibling in range(self.siblings):
            rng = random.Random(derived_seed(self.seed, before, tree.key(node), sibling))
            text = TEXTS[rng.random() > self.probability(before, TEXTS[0])]
            child = Node(-1, None, function, sibling, text=str(text), prior=(node.options or {})[function])
            if len(before) + 1 == 2 * self.levels:
                child.status = "answered"
            else:
                child.options = self._options(child, (*before, text))
            children.append(child)
        return Expansion(children, self.siblings)

    def _options(self, node: Node, state: tuple) -> dict[str, float]:
        options = {f: self.probability(state, f) for f in FUNCTIONS}
        node.branch_logprobs = {f: math.log(p) for f, p in options.items()}
        return options


def tokens_of(tree: Tree, node: Node) -> tuple:
    return tuple(choice for step in tree.path(node) for choice in (step.function, int(step.text)))


def add_score(gradient: dict[Token, float], policy: Tabular, path: tuple, position: int, weight: float) -> None:
    """weight · ∇ log π(token | what came before), for a softmax over two choices."""
    state, chosen = path[:position], path[position]
    for choice in FUNCTIONS if position % 2 == 0 else TEXTS:
        score = (choice == chosen) - policy.probability(state, choice)
        gradient[state, choice] = gradient.get((state, choice), 0.0) + weight * score


def exact_gradient(policy: Tabular) -> dict[Token, float]:
    """∇ of the expected reward, by enumeration of every path."""
    paths: list[tuple[tuple, float]] = [((), 1.0)]
    for position in range(2 * policy.levels):
        choices = FUNCTIONS if position % 2 == 0 else TEXTS
        paths = [((*path, c), p * policy.probability(path, c)) for path, p in paths for c in choices]
    gradient: dict[Token, float] = {}
    for path, probability in paths:
        for position in range(len(path)):
            add_score(gradient, policy, path, position, probability * policy.reward(path))
    return gradient


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
    exact = exact_gradient(Tabular(levels))
    sums = {token: [0.0, 0.0] for token in exact}
    for seed in range(trees):
        policy = Tabular(levels, seed, siblings)
        found = estimated_gradient(policy, grown(policy, rollouts), correction)
        for token, total in sums.items():
            value = found.get(token, 0.0)
            total[0] += value
            total[1] += value * value
    off = []
    for token, (total, squares) in sums.items():
        mean = total / trees
        error = math.sqrt(max(squares / trees - mean * mean, 1e-12) / trees)
        off.append(abs(mean - exact[token]) / error)
    return off


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
