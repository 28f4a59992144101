"""Branch correction: what a path weighs whose functions were chosen by the search and not drawn from the policy.

A search goes where it has not been and where answers were right, so its paths are not samples of the policy, and a plain
policy gradient over them is biased (raised in the reviews of RFTT). With the visits N of the tree, a path through the
branches (s, a) is

    Π N(s,a) / N(s)     of the tree's rollouts, and in the policy    Π π(a|s) / Σ_tried π(·|s)

of what was tried. The ratio of the two is the path's weight. Summed over the paths of a tree, weight times reward is the
all-action expectation: every value below a node counts with the probability that the policy gives to what leads there.

The weight is the whole path's and not that of one branch alone, π(a|s) · N(s) / N(s,a): with more than one branch on a path,
the values below the first one would be those of the search and not of the policy, and the estimate stay biased (tests show
both).
"""

from __future__ import annotations

import math

from search.tree import Tree


def weights(tree: Tree, cap: float) -> dict[int, float]:
    """Weight of the path to each visited node.

    Siblings of one function are samples of the policy: they share the function's probability. Mass of the policy that nobody
    tried is taken to be worth what was tried.

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
