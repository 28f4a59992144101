"""Which credit is unbiased: samplers and corrections on policies whose expectation can be enumerated.

    python -m tests.benchmarks.credit_bias [--trees 4000] [--groups 20000] [--json OUT]

1. Policy gradient on a tree of 3 × 3 × 3 functions (27 leaves), raw rewards, 4, 8 and 16 rollouts: how far the mean over
   many trees is off the exact gradient (relative to its length), how many standard errors that is along the exact gradient,
   and how large the squared error is against what an unbiased estimate would have (1 where nothing but chance is left).
2. Expected reward of a policy over tokens from groups of 16, of which a tree yields 5 or 11: the mean of weight · reward
   against the exact value, for a tree that plain samples fill up and for what replaces that.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rftt.rl import branches
from search import Tree
from search.engines import Sampling
from search.mcts import Rule, grow
from search.priority import sample
from search.shared_prefix import draw, known_tokens
from search.token_trie import TokenTrie
from search.tree import Node
from tests.search import enumerable
from tests.search.tabular import Means, Tabular, estimate, exact_gradient, tokens_of

FUNCTIONS, LEVELS = ("a", "b", "c"), 3
GROUP = 16
Weigh = Callable[[Tree], Callable[[Node], float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trees", type=int, default=4000, help="of each row of the first table")
    parser.add_argument("--groups", type=int, default=20_000, help="of the second table")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    rows = gradients(options.trees) + asyncio.run(values(options.groups))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def gradients(trees: int) -> list[dict[str, Any]]:
    """The first table."""
    rows = []
    print(f"{'gradient':28}{'rollouts':>9}{'off by':>9}{'z along':>9}{'squared':>9}   (of {trees} trees)")
    for name, parallel, build, weigh in (
        ("uct, none", 1, searched, lambda tree: lambda leaf: 1 / len(tree.leaves())),
        ("uct, importance", 1, searched, _importance),
        ("priority", 1, prioritised, None),
        ("priority, 8 in flight", 8, prioritised, None),
    ):
        for rollouts in (4, 8, 16):
            means = Means(exact_gradient(Tabular(LEVELS, functions=FUNCTIONS)))
            for seed in range(trees):
                policy = Tabular(LEVELS, seed, functions=FUNCTIONS)
                tree, weights = asyncio.run(build(policy, rollouts, seed, parallel))
                means.add(estimate(policy, tree, weigh(tree) if weigh else lambda leaf: weights[leaf.id]))  # noqa: B023
            row = {"gradient": name, "rollouts": rollouts, "trees": trees, "off_by": means.relative_error(),
                   "z_along": means.along_in_sigma(), "squared": means.squared_error()}  # fmt: skip
            rows.append(row)
            print(f"{name:28}{rollouts:9}{row['off_by']:9.3f}{row['z_along']:9.2f}{row['squared']:9.2f}", flush=True)
    return rows


async def searched(policy: Tabular, rollouts: int, seed: int, parallel: int) -> tuple[Tree, dict[int, float]]:
    return await grow(Tree("q", "q"), policy, _judge(policy), Rule(1.0, seed), rollouts=rollouts, parallel=parallel), {}


async def prioritised(policy: Tabular, rollouts: int, seed: int, parallel: int) -> tuple[Tree, dict[int, float]]:
    tree = Tree("q", "q")
    return tree, await sample(tree, policy, _judge(policy), rollouts=rollouts, seed=seed, parallel=parallel)


def _judge(policy: Tabular) -> Any:
    async def judge(tree: Tree, leaf: Node) -> float:
        return policy.reward(tokens_of(tree, leaf))

    return judge


def _importance(tree: Tree) -> Callable[[Node], float]:
    weights = branches.weights(tree, math.inf)
    return lambda leaf: weights[leaf.id] / len(tree.leaves())


async def values(groups: int) -> list[dict[str, Any]]:
    """The second table."""
    engine, begun = enumerable.engine(), time.monotonic()
    found: dict[str, list[float]] = {}
    tokens: dict[str, int] = {}

    def keep(name: str, value: float, generated: int) -> None:
        found.setdefault(name, []).append(value)
        tokens[name] = tokens.get(name, 0) + generated

    for seed in range(groups):
        known_first: list[TokenTrie] = []

        def first_path(tree: Tree, known: list[TokenTrie] = known_first) -> None:
            if not known:
                known.append(known_tokens(tree, enumerable.OPENING_IDS))

        tree = await enumerable.grown(engine, seed, GROUP, first_path)
        leaves, missing = tree.leaves(), GROUP - len(tree.leaves())
        weights = branches.weights(tree, math.inf)
        of_tree = sum(weights[leaf.id] * leaf.value for leaf in leaves)
        keep("tree alone, importance", of_tree / len(leaves), tree.tokens)
        prompt = tree.prompt_ids
        plain = enumerable.write(len(prompt), prompt, Sampling(60, n=missing, seed=seed))
        filled = sum(enumerable.reward(g.ids) for g in plain)
        keep("tree and plain samples", (of_tree + filled) / GROUP, tree.tokens + sum(len(g.ids) for g in plain))
        for name, known in (("walks after the tree", known_tokens(tree, enumerable.OPENING_IDS)),
                            ("walks beside the tree", known_first[0])):  # fmt: skip
            walks = await draw(known, engine, prompt, Sampling(60, seed=seed), missing, at_once=8, growth=8)
            walked = sum(enumerable.reward(w.generation.ids) for w in walks)
            keep(name, walked / missing, sum(w.generated for w in walks))

        half = await enumerable.grown(engine, seed, GROUP // 2)
        paths = [tuple(half.path_ids(leaf)) for leaf in half.leaves()]
        trie = known_tokens(half, enumerable.OPENING_IDS)
        of_paths, of_sample = branches.strata(trie, paths, GROUP)
        rest = await draw(trie, engine, prompt, Sampling(60, seed=seed), GROUP - len(paths), at_once=4)
        total = sum(w * enumerable.reward(p) for w, p in zip(of_paths, paths, strict=True))
        total += of_sample * sum(enumerable.reward(r.generation.ids) for r in rest)
        keep("tree and walks, strata", total / GROUP, half.tokens + sum(r.generated for r in rest))

    exact = enumerable.value()
    about = f"(exact {exact:.4f}, {groups} groups of {GROUP}, {time.monotonic() - begun:.0f} s)"
    print(f"\n{'value':28}{'off by':>10}{'z':>8}{'spread':>9}{'tokens':>8}   {about}")
    rows = []
    for name, own in found.items():
        mean = sum(own) / len(own)
        spread = math.sqrt(sum((v - mean) ** 2 for v in own) / len(own))
        z = (mean - exact) / (spread / math.sqrt(len(own)))
        rows.append({"value": name, "groups": groups, "off_by": mean - exact, "z": z, "spread": spread,
                     "tokens": tokens[name] / groups})  # fmt: skip
        print(f"{name:28}{mean - exact:+10.5f}{z:+8.2f}{spread:9.4f}{tokens[name] / groups:8.0f}")
    return rows


if __name__ == "__main__":
    main()
