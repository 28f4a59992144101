"""Functional Monte-Carlo tree search: select, expand, simulate, back up (RFTT, section 3.2 and 3.4).

A rollout walks from the root to the end of a path. At each node it goes to a child that no rollout has visited, the one
with the highest prior first, and else to the child with the highest UCT; what is missing is generated on the way. Children
are generated when they are first wanted, so none is paid for that is never visited (but for siblings of one request).
Finished subtrees are closed: no rollout walks an exhausted path again.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Awaitable, Callable
from typing import Protocol

from search.tree import Node, Tree

Judge = Callable[[Tree, Node], Awaitable[float]]


class Policy(Protocol):
    """Proposes the functions that may follow a node and generates the children of one of them."""

    async def start(self, tree: Tree) -> int:
        """Fill the prompt and the root's options; returns the number of tokens generated."""
        ...

    async def expand(self, tree: Tree, node: Node, function: str) -> int:
        """Add the children of `function` below `node`; returns the number of tokens generated."""
        ...

    def width(self, function: str) -> int:
        """How many siblings one `expand` adds."""
        ...


def derived_seed(*parts: object) -> int:
    """A 31-bit seed from anything printable: the same for the same place in the same run, whatever else is in flight."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") & 0x7FFFFFFF


def uct(child: Node, parent_visits: int, exploration: float) -> float:
    """Q/N + c · sqrt(ln N_parent / N)."""
    return child.mean + exploration * math.sqrt(math.log(max(parent_visits, 1)) / child.visits)


def select(tree: Tree, node: Node, exploration: float, width: Callable[[str], int], seed: int) -> Node | str:
    """Where a rollout goes from `node`.

    Args:
        tree: the tree.
        node: an open node whose options are known and which is not closed.
        exploration: c of the UCT formula.
        width: number of siblings that expanding a function gives.
        seed: breaks ties between equal priors.

    Returns:
        A child to walk to, or the name of the function to expand.
    """
    assert node.options is not None
    children = tree.children(node)
    expanded = {c.function for c in children}
    place = tree.key(node)

    def tie(function: str, sibling: int) -> int:
        return derived_seed(seed, tree.question_id, place, function, sibling)

    fresh: list[tuple[float, int, Node | str]] = [
        (c.prior, tie(c.function, c.sibling), c) for c in children if not c.visits
    ]
    for function, prior in node.options.items():
        if function not in expanded:
            fresh.append((prior, max(tie(function, i) for i in range(width(function))), function))
    if fresh:
        return max(fresh, key=lambda item: item[:2])[2]
    return max((c for c in children if not c.closed), key=lambda c: uct(c, node.visits, exploration))


def back_up(tree: Tree, leaf: Node, reward: float) -> None:
    """Add `reward` to every node of the path, the root included, and close what is exhausted."""
    leaf.closed = True
    for node in [*reversed(tree.path(leaf)), tree.root]:
        node.visits += 1
        node.value += reward
        if not node.terminal:
            children = tree.children(node)
            expanded = {c.function for c in children}
            node.closed = node.options is not None and set(node.options) <= expanded and all(c.closed for c in children)


async def grow(tree: Tree, policy: Policy, judge: Judge, *, rollouts: int, exploration: float, seed: int) -> Tree:
    """Add rollouts to a tree until it has `rollouts` of them or is exhausted.

    Args:
        tree: new, or one that was grown before: it goes on.
        policy: generates children.
        judge: value of a finished path; sets answer and verdict of its leaf.
        rollouts: total number of rollouts wanted.
        exploration: c of the UCT formula.
        seed: of the run.
    """
    spent = tree.spent[-1] if tree.spent else 0
    if tree.root.options is None:
        spent += await policy.start(tree)
    while tree.root.visits < rollouts and not tree.root.closed and not tree.root.terminal:
        node = tree.root
        while not node.terminal:
            target = select(tree, node, exploration, policy.width, seed)
            if isinstance(target, str):
                spent += await policy.expand(tree, node, target)
            else:
                node = target
        reward = await judge(tree, node)
        node.rollout = tree.root.visits + 1
        back_up(tree, node, reward)
        tree.spent.append(spent)
    return tree
