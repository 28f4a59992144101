"""Branch correction: what a path weighs whose functions were chosen by the search and not drawn from the policy.

A search goes where it has not been and where answers were right, so its paths are not samples of the policy, and a plain
policy gradient over them is biased (raised in the reviews of RFTT). Three corrections differ in what they cover.

``importance`` (`weights`): with the visits N of the tree, a path through the branches (s, a) is

    Π N(s,a) / N(s)     of the tree's rollouts, and in the policy    Π π(a|s) / Σ_tried π(·|s)

of what was tried; the ratio is the path's weight. Summed over the paths of a tree, weight times reward is the all-action
expectation *of what was tried*. It is the policy's only where every allowed function of every node on the way was tried,
that is for trees that were grown until they were exhausted. What was not tried is taken to be worth what was, and since a
search tries the likely and the promising first, that is a bias: on a tree of 3 × 3 × 3 functions the mean of the gradient
over 8 rollouts is off by about its own size. A group that plain samples fill up is biased beyond that, since the number of
paths of a tree goes with their worth. The weight is the whole path's and not that of one branch alone,
π(a|s) · N(s) / N(s,a): with more than one branch on a path the values below the first one would be those of the search.

``strata`` (`strata`): the paths L of the tree count with their probability in the policy, texts included, and samples of the
policy given that it takes none of them with what is left (`search.token_trie`). That is unbiased for every tree, whatever
rule grew it and however far, if there is at least one such sample. Where texts are long, the paths of the tree have next
to no probability, and the samples carry all the weight. A step that is cut off by its limit ends a path of the tree but not
a sample, which only the whole length limits: where that happens often, give longer steps.

The sampler ``priority`` (`search.priority`) draws its functions so that their weights are known: it needs no correction
afterwards and is unbiased for any number of rollouts.

All of this is about the sum of weight · f(path). What an estimator does with rewards in between, a baseline from the same
paths, whitening or clipping, is as biased as it is on independent samples.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from search.token_trie import TokenTrie
from search.tree import Tree

LEAST_OPEN = 1e-6  # below it, what is left of the policy is the rounding of its log-probabilities


def weights(tree: Tree, cap: float) -> dict[int, float]:
    """Weight of the path to each visited node, for ``importance``.

    Siblings of one function are samples of the policy: they share the function's probability. (Not so with ``widening``,
    where siblings that repeat others are left out; `strata` holds for such trees, too.) Mass of the policy that nobody tried
    is taken to be worth what was tried.

    Args:
        tree: grown with visits; nodes know the log-probability of the functions that may follow them.
        cap: largest weight, > 0; what is cut off is bias again.

    Returns:
        Node id → weight; those of the leaves have the mean 1 over all rollouts, but for the cap.
    """
    found = {tree.root.id: 1.0}
    for node in tree.nodes:  # parents come before their children
        children = [c for c in tree.children(node) if c.visits]
        if not children:
            continue
        siblings = {f: sum(c.function == f for c in children) for f in {c.function for c in children}}
        tried = sum(math.exp(node.branch_logprobs[f]) for f in siblings)
        visits = sum(c.visits for c in children)
        for child in children:
            drawn = math.exp(node.branch_logprobs[child.function]) / siblings[child.function] / tried
            found[child.id] = found[node.id] * drawn * visits / child.visits
    return {node: min(weight, cap) for node, weight in found.items()}


def strata(trie: TokenTrie, paths: Sequence[Sequence[int]], group_size: int) -> tuple[list[float], float]:
    """Weights of a group of paths of a tree and of samples of the policy beside them, for ``strata``.

        tree path l:  G · π(l)        sample:  G · (1 − Σ_l π(l)) / r          r = G − number of tree paths

    Siblings may say the same: paths that are equal share their weight.

    Args:
        trie: what is known below the prompt; the paths are set aside there, so that samples are drawn given that they are
            none of them.
        paths: ids of the paths of the tree.
        group_size: G, more than there are paths.

    Returns:
        The weights of the paths, and that of each of the r samples, which is 0 where the paths are all there is.

    Raises:
        ValueError: the tree's paths leave no room for a sample.
    """
    missing = group_size - len(paths)
    if missing < 1:
        raise ValueError(
            f"{len(paths)} paths of a tree in a group of {group_size}: expected room for a sample beside them"
        )
    times = Counter(map(tuple, paths))
    of_paths = [group_size * trie.exclude(path) / times[tuple(path)] for path in paths]
    left = trie.open if trie.open > LEAST_OPEN else 0.0
    return of_paths, group_size * left / missing
