"""Functional Monte-Carlo tree search: select, expand, simulate, back up (RFTT, section 3.2 and 3.4).

A rollout walks from the root to the end of a path. With UCT it goes at each node to a child that no rollout has visited,
the one with the highest prior first, and else to the child with the highest UCT; with PUCT priors and visits decide
together. What is missing is generated on the way. Children are generated when they are first wanted, so none is paid for
that is never visited (but for siblings of one request). Finished subtrees are closed: no rollout walks an exhausted path
again.

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
from functools import lru_cache
from typing import Protocol

from search.step_counts import Counts, add_counts
from search.tree import Node, Tree

Judge = Callable[[Tree, Node], Awaitable[float]]
Decided = Callable[[int], bool]


@dataclass(frozen=True)
class Rule:
    """How rollouts choose their way.

    Args:
        exploration: c of the formula.
        seed: breaks ties between equal choices.
        puct: weigh exploration with the prior (PUCT) instead of visiting every child once first (UCT).
    """

    exploration: float
    seed: int
    puct: bool = False


@dataclass(frozen=True)
class Expansion:
    """What a policy generated.

    Args:
        children: that are not in the tree yet; where none is of the function that was asked for, the node does without it.
        tokens: that it took.
        steps: counts of the steps that were asked for (`search.step_counts`).
    """

    children: list[Node]
    tokens: int
    steps: Counts = field(default_factory=dict)


class Policy(Protocol):
    """Proposes the functions that may follow a node and generates the children of one of them."""

    name: str

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
    """One rollout on its way: where it stands, what it waits for there, and after how many waits one after the other."""

    node: Node
    function: str = ""
    request: asyncio.Task[Expansion] | None = None
    round: int = 0


@lru_cache(maxsize=1 << 14, typed=True)
def derived_seed(*parts: object) -> int:
    """A 31-bit seed from anything printable: the same for the same place in the same run, whatever else is in flight."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") & 0x7FFFFFFF


def uct(child: Node, parent_visits: int, exploration: float, in_flight: int = 0) -> float:
    """Q/N + c · sqrt(ln N_parent / N), where N counts the rollouts in flight through the child."""
    visits = child.visits + in_flight
    return child.value / visits + exploration * math.sqrt(math.log(max(parent_visits, 1)) / visits)


def puct(value: float, visits: int, prior: float, parent_visits: int, exploration: float) -> float:
    """Q/N + c · P · sqrt(N_parent) / (1 + N) (AlphaZero, arXiv 1712.01815); `value` is Q/N, or a guess where N is 0."""
    return value + exploration * prior * math.sqrt(parent_visits) / (1 + visits)


def select(
    tree: Tree, node: Node, rule: Rule, width: Callable[[str], int], flight: Flight | None = None
) -> Node | str | None:
    """Where a rollout goes from `node`.

    Args:
        tree: the tree.
        node: an open node whose options are known and which is not closed.
        rule: how to choose.
        width: number of siblings that expanding a function gives.
        flight: the other rollouts of this tree that are on their way.

    Returns:
        A child to walk to, or the name of the function to expand, or None: all that is left here is being expanded.
    """
    assert node.options is not None
    flight = flight or Flight()
    children = [c for c in tree.children(node) if not c.closed]
    expanded = {tree.nodes[i].function for i in node.children}
    unasked = [f for f in node.options if f not in expanded and (node.id, f) not in flight.asked]
    visits = node.visits + flight.visits[node.id]
    choices: list[tuple[float, Node | str]] = []
    if rule.puct:
        for child in children:
            count = child.visits + flight.visits[child.id]
            # What was never visited is taken to be worth what its parent is.
            value = child.value / count if count else node.mean
            choices.append((puct(value, count, child.prior / width(child.function), visits, rule.exploration), child))
        for function in unasked:
            prior = node.options[function] / width(function)
            choices.append((puct(node.mean, 0, prior, visits, rule.exploration), function))
    else:
        choices += [(c.prior, c) for c in children if not c.visits and not flight.visits[c.id]]
        choices += [(node.options[function], function) for function in unasked]
        if not choices:
            return max(children, key=lambda c: uct(c, visits, rule.exploration, flight.visits[c.id]), default=None)
    if not choices:
        return None
    best = max(score for score, _ in choices)
    equal = [target for score, target in choices if score == best]
    if len(equal) == 1:
        return equal[0]
    place = (rule.seed, tree.question_id, tree.key(node))

    def tie(target: Node | str) -> int:
        """A number that decides between equal choices: the same whatever else is in flight."""
        if isinstance(target, Node):
            return derived_seed(*place, target.function, target.sibling)
        return max(derived_seed(*place, target, i) for i in range(width(target)))

    return max(equal, key=tie)


def back_up(tree: Tree, leaf: Node, reward: float) -> None:
    """Add `reward` to every node of the path, the root included, and close what is exhausted."""
    leaf.closed = True
    for node in [*reversed(tree.path(leaf)), tree.root]:
        node.visits += 1
        node.value += reward
        _close(tree, node)


def _close(tree: Tree, node: Node) -> None:
    """Close a node below which nothing is left to explore."""
    if not node.terminal:
        children = tree.children(node)
        expanded = {c.function for c in children}
        node.closed = node.options is not None and set(node.options) <= expanded and all(c.closed for c in children)


async def grow(
    tree: Tree,
    policy: Policy,
    judge: Judge,
    rule: Rule,
    *,
    rollouts: int,
    budget_tokens: int | None = None,
    decided: Decided | None = None,
    parallel: int = 1,
) -> Tree:
    """Add rollouts to a tree until it has `rollouts` of them, is exhausted, or stops before.

    Args:
        tree: new, or one that was grown before: it goes on.
        policy: generates children.
        judge: value of a finished path; sets answer and verdict of its leaf.
        rule: how rollouts choose their way.
        rollouts: total number of rollouts wanted.
        budget_tokens: once so many tokens are generated, nothing more is asked for, but to finish a first path.
        decided: asked after every rollout with the number of rollouts that are left; True stops the search.
        parallel: rollouts in flight at once.

    Returns:
        The tree, with the reason why it stopped.
    """
    if tree.root.options is None:
        tree.tokens = await policy.start(tree)
        tree.requests = tree.rounds = int(tree.tokens > 0)
    flight = Flight()
    turns: deque[_Rollout] = deque()
    tree.stopped = ""
    try:
        while not tree.root.terminal:
            wanted = 0 if tree.stopped or tree.root.closed else min(parallel, rollouts - tree.root.visits)
            while len(turns) < wanted:
                turns.append(_Rollout(tree.root))
                flight.visits[tree.root.id] += 1
            if not turns:
                break
            rollout = turns.popleft()
            if rollout.request is not None:
                _take_in(tree, flight, rollout, await rollout.request)
            if budget_tokens is not None and tree.tokens >= budget_tokens and tree.root.visits:
                tree.stopped = tree.stopped or "budget"
            _walk(tree, policy, rule, flight, rollout, may_ask=not tree.stopped)
            if rollout.node.terminal:
                reward = await judge(tree, rollout.node)
                rollout.node.rollout = tree.root.visits + 1
                _come_back(tree, flight, rollout)
                back_up(tree, rollout.node, reward)
                tree.spent.append(tree.tokens)
                if decided is not None and not tree.stopped and decided(rollouts - tree.root.visits):
                    tree.stopped = "decided"
            elif rollout.node.closed or (tree.stopped and rollout.request is None):
                _come_back(tree, flight, rollout)  # others finished what was left below, or nothing more may be asked
            else:
                turns.append(rollout)
    finally:
        left = [rollout.request for rollout in turns if rollout.request is not None]
        for request in left:
            request.cancel()
        await asyncio.gather(*left, return_exceptions=True)
    if not tree.stopped:
        tree.stopped = "rollouts" if tree.root.visits >= rollouts else "exhausted"
    return tree


def _walk(tree: Tree, policy: Policy, rule: Rule, flight: Flight, rollout: _Rollout, may_ask: bool) -> None:
    """Go down to the end of a path, to a request, or to where all that is left is being expanded."""
    while not rollout.node.terminal and not rollout.node.closed:
        target = select(tree, rollout.node, rule, policy.width, flight)
        if isinstance(target, Node):
            rollout.node = target
            flight.visits[target.id] += 1
            continue
        if target is not None and may_ask:
            flight.asked.add((rollout.node.id, target))
            rollout.function = target
            rollout.request = asyncio.ensure_future(policy.expand(tree, rollout.node, target))
            rollout.round = tree.rounds + 1
            tree.requests += 1
        return


def _take_in(tree: Tree, flight: Flight, rollout: _Rollout, expansion: Expansion) -> None:
    """Put what a rollout asked for into the tree."""
    node = rollout.node
    for child in expansion.children:
        tree.attach(node, child)
    if node.options and all(child.function != rollout.function for child in expansion.children):
        del node.options[rollout.function]
        for above in [*reversed(tree.path(node)), tree.root]:
            _close(tree, above)
    add_counts(tree.steps, expansion.steps)
    flight.asked.remove((rollout.node.id, rollout.function))
    rollout.request = None
    tree.rounds = max(tree.rounds, rollout.round)
    tree.tokens += expansion.tokens


def _come_back(tree: Tree, flight: Flight, rollout: _Rollout) -> None:
    """Take the rollout's virtual loss off its path."""
    for node in [tree.root, *tree.path(rollout.node)]:
        flight.visits[node.id] -= 1
