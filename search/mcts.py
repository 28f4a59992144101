"""Functional Monte-Carlo tree search: select, expand, simulate, back up (RFTT, section 3.2 and 3.4).

A rollout walks from the root to the end of a path. At each node it goes to a child that no rollout has visited, the one
with the highest prior first, and else to the child with the highest UCT; what is missing is generated on the way. Children
are generated when they are first wanted, so none is paid for that is never visited (but for siblings of one request).
Finished subtrees are closed: no rollout walks an exhausted path again.

Several rollouts of one tree may be in flight. They take turns in a fixed order, and what the engine answers enters the
tree only when it is the turn of who asked: a tree depends on the seed and the settings, never on the engine's timing.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from search.tree import Node, Tree

Judge = Callable[[Tree, Node], Awaitable[float]]


@dataclass(frozen=True)
class Expansion:
    """What a policy generated: children that are not in the tree yet, and the number of tokens it took."""

    children: list[Node]
    tokens: int


class Policy(Protocol):
    """Proposes the functions that may follow a node and generates the children of one of them."""

    async def start(self, tree: Tree) -> int:
        """Fill the prompt and the root's options; returns the number of tokens generated."""
        ...

    async def expand(self, tree: Tree, node: Node, function: str) -> Expansion:
        """Generate the children of `function` below `node`; the tree stays as it is."""
        ...

    def width(self, function: str) -> int:
        """How many siblings one `expand` adds."""
        ...


@dataclass
class Flight:
    """What the rollouts in flight hold of a tree.

    Args:
        visits: by node id, rollouts that walked through it and have not come back: each counts as a visit that earned
            nothing, so that the next rollout goes elsewhere (virtual loss).
        asked: (node id, function) that the engine is expanding.
    """

    visits: Counter[int] = field(default_factory=Counter)
    asked: set[tuple[int, str]] = field(default_factory=set)


@dataclass
class _Rollout:
    """One rollout on its way: where it stands, and what it waits for there."""

    node: Node
    function: str = ""
    request: asyncio.Task[Expansion] | None = None


def derived_seed(*parts: object) -> int:
    """A 31-bit seed from anything printable: the same for the same place in the same run, whatever else is in flight."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") & 0x7FFFFFFF


def uct(child: Node, parent_visits: int, exploration: float, in_flight: int = 0) -> float:
    """Q/N + c · sqrt(ln N_parent / N), where N counts the rollouts in flight through the child."""
    visits = child.visits + in_flight
    return child.value / visits + exploration * math.sqrt(math.log(max(parent_visits, 1)) / visits)


def select(
    tree: Tree, node: Node, exploration: float, width: Callable[[str], int], seed: int, flight: Flight | None = None
) -> Node | str | None:
    """Where a rollout goes from `node`.

    Args:
        tree: the tree.
        node: an open node whose options are known and which is not closed.
        exploration: c of the UCT formula.
        width: number of siblings that expanding a function gives.
        seed: breaks ties between equal priors.
        flight: the other rollouts of this tree that are on their way.

    Returns:
        A child to walk to, or the name of the function to expand, or None: all that is left here is being expanded.
    """
    assert node.options is not None
    flight = flight or Flight()
    children = tree.children(node)
    expanded = {c.function for c in children}
    place = tree.key(node)

    def tie(function: str, sibling: int) -> int:
        return derived_seed(seed, tree.question_id, place, function, sibling)

    fresh: list[tuple[float, int, Node | str]] = [
        (c.prior, tie(c.function, c.sibling), c) for c in children if not c.visits and not flight.visits[c.id]
    ]
    for function, prior in node.options.items():
        if function not in expanded and (node.id, function) not in flight.asked:
            fresh.append((prior, max(tie(function, i) for i in range(width(function))), function))
    if fresh:
        return max(fresh, key=lambda item: item[:2])[2]
    visits = node.visits + flight.visits[node.id]
    return max(
        (c for c in children if not c.closed),
        key=lambda c: uct(c, visits, exploration, flight.visits[c.id]),
        default=None,
    )


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


async def grow(
    tree: Tree,
    policy: Policy,
    judge: Judge,
    *,
    rollouts: int,
    exploration: float,
    seed: int,
    parallel: int = 1,
) -> Tree:
    """Add rollouts to a tree until it has `rollouts` of them or is exhausted.

    Args:
        tree: new, or one that was grown before: it goes on.
        policy: generates children.
        judge: value of a finished path; sets answer and verdict of its leaf.
        rollouts: total number of rollouts wanted.
        exploration: c of the UCT formula.
        seed: of the run.
        parallel: rollouts in flight at once.
    """
    spent = tree.spent[-1] if tree.spent else 0
    if tree.root.options is None:
        spent += await policy.start(tree)
    flight = Flight()
    turns: deque[_Rollout] = deque()
    try:
        while not tree.root.terminal:
            while len(turns) < min(parallel, rollouts - tree.root.visits) and not tree.root.closed:
                turns.append(_Rollout(tree.root))
                flight.visits[tree.root.id] += 1
            if not turns:
                break
            rollout = turns.popleft()
            if rollout.request is not None:
                spent += _take_in(tree, flight, rollout, await rollout.request)
            _walk(tree, policy, exploration, seed, flight, rollout)
            if rollout.node.terminal:
                reward = await judge(tree, rollout.node)
                rollout.node.rollout = tree.root.visits + 1
                _come_back(tree, flight, rollout)
                back_up(tree, rollout.node, reward)
                tree.spent.append(spent)
            elif rollout.node.closed:  # others finished what was left below
                _come_back(tree, flight, rollout)
            else:
                turns.append(rollout)
    finally:
        left = [rollout.request for rollout in turns if rollout.request is not None]
        for request in left:
            request.cancel()
        await asyncio.gather(*left, return_exceptions=True)
    return tree


def _walk(tree: Tree, policy: Policy, exploration: float, seed: int, flight: Flight, rollout: _Rollout) -> None:
    """Go down to the end of a path, to a request, or to where all that is left is being expanded."""
    while not rollout.node.terminal and not rollout.node.closed:
        target = select(tree, rollout.node, exploration, policy.width, seed, flight)
        if isinstance(target, Node):
            rollout.node = target
            flight.visits[target.id] += 1
            continue
        if target is not None:
            flight.asked.add((rollout.node.id, target))
            rollout.function = target
            rollout.request = asyncio.ensure_future(policy.expand(tree, rollout.node, target))
        return


def _take_in(tree: Tree, flight: Flight, rollout: _Rollout, expansion: Expansion) -> int:
    """Put what a rollout asked for into the tree; returns the tokens it took."""
    for child in expansion.children:
        tree.attach(rollout.node, child)
    flight.asked.remove((rollout.node.id, rollout.function))
    rollout.request = None
    return expansion.tokens


def _come_back(tree: Tree, flight: Flight, rollout: _Rollout) -> None:
    """Take the rollout's virtual loss off its path."""
    for node in [tree.root, *tree.path(rollout.node)]:
        flight.visits[node.id] -= 1
