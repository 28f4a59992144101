"""A policy of tables over (function, text) pairs whose policy gradient can be enumerated."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable

from search import Tree
from search.mcts import Expansion, derived_seed
from search.tree import Node

TEXTS = (0, 1)
State = tuple[object, ...]  # all choices that came before
Token = tuple[State, object]  # a choice after them


class Tabular:
    """A policy of `levels` × (function, text), each drawn from a table; a path ends after the last text.

    Args:
        levels: steps of every path.
        seed: of what is sampled; the tables are always the same.
        siblings: texts sampled for one function.
        functions: that may follow, at every step.
    """

    name = "tabular"

    def __init__(self, levels: int, seed: int = 0, siblings: int = 1, functions: tuple[str, ...] = ("a", "b")) -> None:
        self.levels, self.seed, self.siblings, self.functions = levels, seed, siblings, functions

    def width(self, function: str) -> int:
        return self.siblings

    def choices(self, position: int) -> tuple[object, ...]:
        return self.functions if position % 2 == 0 else TEXTS

    def probability(self, state: State, choice: object) -> float:
        return _table(state, self.choices(len(state)))[choice]

    def reward(self, path: State) -> float:
        return _reward(path)

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

    def _options(self, node: Node, state: State) -> dict[str, float]:
        options = {f: self.probability(state, f) for f in self.functions}
        node.branch_logprobs = {f: math.log(p) for f, p in options.items()}
        return options


@functools.cache
def _table(state: State, choices: tuple[object, ...]) -> dict[object, float]:
    rng = random.Random(f"table/{state}")
    weights = [rng.uniform(0.1, 0.9)]
    weights += [1 - weights[0]] if len(choices) == 2 else [rng.uniform(0.1, 0.9) for _ in choices[1:]]
    return {choice: weight / sum(weights) for choice, weight in zip(choices, weights, strict=True)}


@functools.cache
def _reward(path: State) -> float:
    return float(random.Random(f"reward/{path}").random() < 0.5)


def tokens_of(tree: Tree, node: Node) -> State:
    return tuple(choice for step in tree.path(node) for choice in (step.function, int(step.text)))


def add_score(gradient: dict[Token, float], policy: Tabular, path: State, position: int, weight: float) -> None:
    """weight · ∇ log π(token | what came before), for a softmax over the choices."""
    state, chosen = path[:position], path[position]
    for choice in policy.choices(position):
        score = (choice == chosen) - policy.probability(state, choice)
        gradient[state, choice] = gradient.get((state, choice), 0.0) + weight * score


def all_paths(policy: Tabular) -> list[tuple[State, float]]:
    """Every path with its probability."""
    paths: list[tuple[State, float]] = [((), 1.0)]
    for position in range(2 * policy.levels):
        paths = [((*s, c), p * policy.probability(s, c)) for s, p in paths for c in policy.choices(position)]
    return paths


def exact_gradient(policy: Tabular) -> dict[Token, float]:
    """∇ of the expected reward, by enumeration of every path."""
    gradient: dict[Token, float] = {}
    for path, probability in all_paths(policy):
        for position in range(len(path)):
            add_score(gradient, policy, path, position, probability * policy.reward(path))
    return gradient


class Means:
    """Mean of many estimates of a gradient, compared with the exact one."""

    def __init__(self, exact: dict[Token, float]) -> None:
        self.exact = exact
        self.count = 0
        self._sums = {token: [0.0, 0.0] for token in exact}
        self._seen = dict.fromkeys(exact, 0)
        self._along = [0.0, 0.0]

    def add(self, estimate: dict[Token, float]) -> None:
        self.count += 1
        for token, value in estimate.items():
            self._sums[token][0] += value
            self._sums[token][1] += value * value
            self._seen[token] += 1
        along = sum(value * self.exact[token] for token, value in estimate.items())
        self._along[0] += along
        self._along[1] += along * along

    def in_sigma(self) -> list[float]:
        """How many standard errors the mean is off the exact gradient, for each token that was often met."""
        return [(self._mean(s) - self.exact[t]) / self._error(s) for t, s in self._sums.items() if self._seen[t] > 50]

    def squared_error(self) -> float:
        """|mean − exact|² ÷ its expectation for an unbiased estimate, which is the sum of the squared standard errors."""
        off = sum((self._mean(s) - self.exact[t]) ** 2 for t, s in self._sums.items())
        return off / sum(self._error(s) ** 2 for s in self._sums.values())

    def along_in_sigma(self) -> float:
        """The same for the component along the exact gradient."""
        norm = sum(g * g for g in self.exact.values())
        return (self._mean(self._along) - norm) / self._error(self._along)

    def relative_error(self) -> float:
        """|mean − exact| / |exact|."""
        off = sum((self._mean(s) - self.exact[t]) ** 2 for t, s in self._sums.items())
        return math.sqrt(off / sum(g * g for g in self.exact.values()))

    def _mean(self, sums: list[float]) -> float:
        return sums[0] / self.count

    def _error(self, sums: list[float]) -> float:
        mean = self._mean(sums)
        return math.sqrt(max(sums[1] / self.count - mean * mean, 1e-12) / self.count)


def estimate(policy: Tabular, tree: Tree, weigh: Callable[[Node], float]) -> dict[Token, float]:
    """Σ over the leaves of weight · reward · ∇ log π(path)."""
    gradient: dict[Token, float] = {}
    for leaf in tree.leaves():
        path = tokens_of(tree, leaf)
        for position in range(len(path)):
            add_score(gradient, policy, path, position, weigh(leaf) * policy.reward(path))
    return gradient
