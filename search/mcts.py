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
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Set
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from search.functions import FunctionSet
from search.step_counts import Counts, add_counts
from search.together import cancel_all
from search.tree import Node, Tree

REPEATS = 2  # siblings in vain after which a function gets no further ones
VALUE_SCALE = 8.0  # of the mean value beside log priors in sequential halving
Judge = Callable[[Tree, Node], Awaitable[float]]
Decided = Callable[[int], bool]


@dataclass(frozen=True)
class Rule:
    """How rollouts choose their way.

    Args:
        exploration: c of the formula.
        seed: breaks ties between equal choices.
        puct: weigh exploration with the prior (PUCT) instead of visiting every child once first (UCT).
        gumbel: try functions in the order of log prior + Gumbel noise, which samples them without replacement, instead of
            the likeliest first; with UCT.
        halving: rollouts are shared out at the root by sequential halving among its functions (Gumbel search,
            ReSCALE, arXiv 2603.21162) instead of UCT or PUCT.
        widening: further siblings of a node that was visited N times: widening · √N of them, and more where all that is
            below is explored, instead of closing it (progressive widening); 0 adds none.
        rollouts: wanted in all; what sequential halving shares out.
    """

    exploration: float
    seed: int
    puct: bool = False
    gumbel: bool = False
    halving: bool = False
    widening: float = 0.0
    rollouts: int = 0


@dataclass(frozen=True)
class Expansion:
    """What a policy generated.

    Args:
        children: children that are not in the tree yet; where none is of the function that was asked for, the node does
            without it.
        tokens: number of tokens that it took.
        steps: counts of the steps that were asked for (`search.step_counts`).
    """

    children: list[Node]
    tokens: int
    steps: Counts = field(default_factory=dict)


class Policy(Protocol):
    """Proposes the functions that may follow a node and generates the children of one of them."""

    name: str
    functions: FunctionSet

    async def start(self, tree: Tree) -> int:
        """Fill the prompt and the root's options; returns the number of tokens generated."""
        ...

    async def expand(self, tree: Tree, node: Node, function: str) -> Expansion:
        """Generate the children of `function` below `node`, or further ones; the tree stays as it is."""
        ...

    def width(self, function: str) -> int:
        """How many siblings the first `expand` adds."""
        ...


@dataclass
class Flight:
    """What the rollouts in flight hold of a tree.

    Args:
        visits: rollouts, by node id, that walked through it and have not come back: each counts as a visit that earned
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
    if rule.halving and node.parent is None:
        chosen = _halved(tree, rule, flight, {*unasked, *(c.function for c in children)})
        unasked, children = [f for f in unasked if f in chosen], [c for c in children if c.function in chosen]
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
        choices += [(_appeal(tree, node, function, rule), function) for function in unasked]
    if rule.widening and (not choices or rule.puct) and (wider := _wider(tree, node, rule, width, flight, visits)):
        return wider
    if not choices:
        return max(children, key=lambda c: uct(c, visits, rule.exploration, flight.visits[c.id]), default=None)
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


def _appeal(tree: Tree, node: Node, function: str, rule: Rule) -> float:
    """By how much an untried function comes before others."""
    prior = (node.options or {})[function]
    if not rule.gumbel:
        return prior
    # In the order of log prior + Gumbel noise, functions are sampled without replacement.
    return prior * math.exp(gumbel(rule.seed, tree.question_id, tree.key(node), function))


def gumbel(*place: object) -> float:
    """Standard Gumbel noise that belongs to a place."""
    uniform = (derived_seed(*place, "gumbel") + 0.5) / (1 << 31)
    return -math.log(-math.log(uniform))


def _halved(tree: Tree, rule: Rule, flight: Flight, open_functions: Set[str]) -> Set[str]:
    """The root's functions that the next rollout may take: those of the present round with the fewest rollouts.

    Sequential halving: in each of ⌈log₂ m⌉ rounds the functions that are left get equally many rollouts; then the better
    half goes on, by Gumbel noise + log prior + mean value.
    """
    root = tree.root
    options = root.options or {}
    counts: Counter[str] = Counter()
    values: dict[str, float] = defaultdict(float)
    for child in tree.children(root):
        counts[child.function] += child.visits + flight.visits[child.id]
        values[child.function] += child.value
    for node, function in flight.asked:
        if node == root.id:
            counts[function] += 1
    left = sorted(options, key=lambda f: -options[f])
    rounds = max(1, math.ceil(math.log2(max(len(left), 1))))
    due = 0
    for _ in range(rounds):
        due += max(1, rule.rollouts // (rounds * len(left)))
        waiting = [f for f in left if counts[f] < due and f in open_functions]
        if waiting:
            least = min(counts[f] for f in waiting)
            return {f for f in waiting if counts[f] == least}
        left = sorted(left, key=lambda f: -_promise(tree, f, rule, counts[f], values[f]))[: max(1, len(left) // 2)]
    return {f for f in left if f in open_functions} or open_functions


def _promise(tree: Tree, function: str, rule: Rule, visits: int, value: float) -> float:
    """Gumbel noise + log prior + mean value, in which halving trusts more the more often the function was visited."""
    prior = (tree.root.options or {})[function]
    noise = gumbel(rule.seed, tree.question_id, "", function) if rule.gumbel else 0.0
    return noise + math.log(max(prior, 1e-12)) + VALUE_SCALE * (value / visits if visits else 0.0)


def _wider(tree: Tree, node: Node, rule: Rule, width: Callable[[str], int], flight: Flight, visits: int) -> str | None:
    """The function that gets a further sibling: where few were added for so many visits, or all else is explored.

    The likeliest function comes first, each further sibling of it halves its turn. A function that said again what it said
    before, `REPEATS` times, is left alone.
    """
    options = node.options or {}
    counts = Counter(tree.nodes[i].function for i in node.children)
    fresh = [f for f in counts if node.repeats.get(f, 0) < REPEATS and (node.id, f) not in flight.asked]
    if not fresh:
        return None
    added = sum(counts[f] - width(f) for f in counts) + sum(node.repeats.values())
    explored = all(c.closed for c in tree.children(node))
    if not explored and added >= int(rule.widening * math.sqrt(visits)):
        return None
    return max(fresh, key=lambda f: (options[f] / (1 + counts[f] + node.repeats.get(f, 0)), f))


def back_up(tree: Tree, leaf: Node, reward: float, *, widening: bool = False) -> None:
    """Add `reward` to every node of the path, the root included, and close what is exhausted.

    Args:
        tree: the tree.
        leaf: leaf at which a rollout ended.
        reward: reward of the rollout.
        widening: whether what is explored may get further siblings, as long as these say something new.
    """
    leaf.closed = True
    for node in [*reversed(tree.path(leaf)), tree.root]:
        node.visits += 1
        node.value += reward
        if not node.terminal:
            node.closed = _exhausted(tree, node, widening)


def _exhausted(tree: Tree, node: Node, widening: bool) -> bool:
    children = tree.children(node)
    expanded = {c.function for c in children}
    return (
        node.options is not None
        and set(node.options) <= expanded
        and all(c.closed for c in children)
        and not (widening and any(node.repeats.get(f, 0) < REPEATS for f in node.options))
    )


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
    on_path: Callable[[Tree], None] | None = None,
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
        on_path: told of the tree whenever a path of it is finished.

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
                _take_in(tree, flight, rollout, await rollout.request, bool(rule.widening))
            if budget_tokens is not None and tree.tokens >= budget_tokens and tree.root.visits:
                tree.stopped = tree.stopped or "budget"
            _walk(tree, policy, rule, flight, rollout, may_ask=not tree.stopped)
            if rollout.node.terminal:
                reward = await judge(tree, rollout.node)
                rollout.node.rollout = tree.root.visits + 1
                _come_back(tree, flight, rollout)
                back_up(tree, rollout.node, reward, widening=bool(rule.widening))
                tree.spent.append(tree.tokens)
                if on_path is not None:
                    on_path(tree)
                if decided is not None and not tree.stopped and decided(rollouts - tree.root.visits):
                    tree.stopped = "decided"
            elif rollout.node.closed or (tree.stopped and rollout.request is None):
                _come_back(tree, flight, rollout)  # others finished what was left below, or nothing more may be asked
            else:
                turns.append(rollout)
    finally:
        await cancel_all([rollout.request for rollout in turns if rollout.request is not None])
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


def _take_in(tree: Tree, flight: Flight, rollout: _Rollout, expansion: Expansion, widening: bool) -> None:
    """Put what a rollout asked for into the tree; with widening only what no sibling says already."""
    node = rollout.node
    known = {tuple(c.ids) for c in tree.children(node)} if widening else set()
    for child in expansion.children:
        if widening and tuple(child.ids) in known:
            node.repeats[child.function] = node.repeats.get(child.function, 0) + 1
            continue
        tree.attach(node, child)
        known.add(tuple(child.ids))
    had = any(child.function == rollout.function for child in (*expansion.children, *tree.children(node)))
    if node.options and not had:
        del node.options[rollout.function]
    if widening or not had:  # a sibling in vain may have been the last that the node could get
        for above in [*reversed(tree.path(node)), tree.root]:
            above.closed = _exhausted(tree, above, widening)
    add_counts(tree.steps, expansion.steps)
    flight.asked.remove((rollout.node.id, rollout.function))
    rollout.request = None
    tree.rounds = max(tree.rounds, rollout.round)
    tree.tokens += expansion.tokens


def _come_back(tree: Tree, flight: Flight, rollout: _Rollout) -> None:
    """Take the rollout's virtual loss off its path."""
    for node in [tree.root, *tree.path(rollout.node)]:
        flight.visits[node.id] -= 1
