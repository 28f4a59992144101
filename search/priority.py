"""Distinct paths of a functional tree without replacement, with weights that are unbiased for any number of them.

Every path l of a tree has the probability ω(l), the product of the probabilities of the functions on its way (and of 1/c
where a function has c sibling steps). Each gets the priority

    log ω(l) + Gumbel(0, 1)

and the k paths with the highest priorities are a sample without replacement (Gumbel top-k). With κ, the highest priority
among all other paths, the probability that l is among the k given the rest is q(l) = 1 − exp(−exp(log ω(l) − κ)), and

    Σ_{l in the sample} ω(l) / q(l) · f(l)

has the expectation Σ_l ω(l) f(l) for every f and every k ≥ 1 (Kool et al. 2019, arXiv 1903.06059, section 4.2; priority
sampling). Without other paths κ is −∞ and the sum is exact.

The tree does not have to be there before: the highest priority below a node is a Gumbel around the node's own log ω, and
given it, those of its children can be drawn from the top down. A rollout follows the highest priority, so that every step
that one rollout at a time generates lies on a path of the sample, and κ is known without a further one.

What the weights cover is the choice of functions. The text of a step is a sample of the policy, drawn when the step is first
reached and shared by all paths through it; over texts the sum is an average as over any samples. So the mean over trees of
the weighted sum is the policy's expectation, functions and texts. Functions that may not follow, and functions that the
policy's options leave out, are taken to have the probability 0.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from dataclasses import dataclass, field

from search.mcts import Expansion, Judge, Policy, back_up, derived_seed
from search.together import cancel_all
from search.tree import Node, Tree


def conditional_gumbels(logprobs: list[float], highest: float, rng: random.Random) -> list[float]:
    """Gumbels around `logprobs` given that the largest of them is `highest` (Kool et al. 2019, appendix B.3).

    Args:
        logprobs: log-probabilities of the children, natural log.
        highest: the parent's priority.
        rng: one draw a child.
    """
    free = [logprob - math.log(-math.log(_inside(rng))) for logprob in logprobs]
    top = max(free)
    found = []
    for value in free:
        if value == top:
            found.append(highest)
            continue
        shift = highest - value + math.log1p(-math.exp(value - top))
        found.append(highest - max(0.0, shift) - math.log1p(math.exp(-abs(shift))))
    return found


def _inside(rng: random.Random) -> float:
    """Uniform in the open interval (0, 1)."""
    return rng.random() or 2.0**-54


@dataclass(eq=False)
class _Entry:
    """A part of the tree that no rollout has finished: a leaf, or a function whose step is still to be generated.

    Args:
        priority: the highest one of the paths in it.
        logprob: log ω of all paths in it.
        node: the leaf, or the parent of the step.
        function: function of the step; empty for a leaf.
    """

    priority: float
    logprob: float
    node: Node
    function: str = ""
    request: asyncio.Task[Expansion] | None = field(default=None, repr=False)
    round: int = 0  # of requests one after the other


async def sample(
    tree: Tree, policy: Policy, judge: Judge, *, rollouts: int, seed: int, parallel: int = 1
) -> dict[int, float]:
    """Grow a new tree to the paths with the highest priorities.

    Args:
        tree: new.
        policy: generates children.
        judge: value of a finished path; sets answer and verdict of its leaf.
        rollouts: k, number of paths wanted.
        seed: seed of the priorities, with the question and the place in the tree.
        parallel: requests in flight. Paths and weights do not depend on it, but with more than one some steps are generated
            that turn out to lie on no path of the sample.

    Returns:
        Leaf id → ω(l) / q(l), in the order of the priorities; fewer than `rollouts` where the tree has no more paths.
    """
    tree.tokens = await policy.start(tree)
    tree.requests = tree.rounds = int(tree.tokens > 0)
    waiting: list[_Entry] = []  # the highest priority first
    flying: deque[_Entry] = deque()  # in the order in which they were asked for
    finished: list[_Entry] = []
    _open(tree, waiting, tree.root, 0.0, _first_priority(tree, seed), seed)
    try:
        while len(finished) < rollouts and (waiting or flying):
            entries = sorted([*waiting, *flying], key=lambda e: -e.priority)
            if not entries[0].function:
                waiting.remove(entries[0])
                finished.append(entries[0])
                await _finish(tree, judge, entries[0].node)
                continue
            # Below the first so many entries there are as many paths as are wanted, all above the entries behind them.
            for entry in entries[: rollouts - len(finished)]:
                if entry.function and entry.request is None and len(flying) < parallel:
                    entry.request = asyncio.ensure_future(policy.expand(tree, entry.node, entry.function))
                    entry.round = tree.rounds + 1
                    tree.requests += 1
                    waiting.remove(entry)
                    flying.append(entry)
            entry = flying.popleft()
            assert entry.request is not None
            expansion = await entry.request
            tree.rounds = max(tree.rounds, entry.round)
            tree.tokens += expansion.tokens
            share = entry.logprob - math.log(len(expansion.children))
            rng = random.Random(derived_seed(seed, tree.question_id, tree.key(entry.node), entry.function, "siblings"))
            priorities = conditional_gumbels([share] * len(expansion.children), entry.priority, rng)
            for child, priority in zip(expansion.children, priorities, strict=True):
                tree.attach(entry.node, child)
                _open(tree, waiting, child, share, priority, seed)
    finally:
        await cancel_all([entry.request for entry in flying if entry.request is not None])
    tree.stopped = "rollouts" if len(finished) == rollouts else "exhausted"
    threshold = max((e.priority for e in [*waiting, *flying]), default=-math.inf)
    return {e.node.id: math.exp(e.logprob) / inclusion(e.logprob, threshold) for e in finished}


def inclusion(logprob: float, threshold: float) -> float:
    """Probability, in (0, 1], that a Gumbel around `logprob` is above `threshold`."""
    return -math.expm1(-math.exp(logprob - threshold)) if threshold > -math.inf else 1.0


def _first_priority(tree: Tree, seed: int) -> float:
    """The highest priority of the whole tree: a Gumbel around log 1."""
    return -math.log(-math.log(_inside(random.Random(derived_seed(seed, tree.question_id, "highest priority")))))


def _open(tree: Tree, waiting: list[_Entry], node: Node, logprob: float, priority: float, seed: int) -> None:
    """Put what is below a node among what waits."""
    if node.terminal:
        if node.parent is not None:
            waiting.append(_Entry(priority, logprob, node))
        return
    options = {f: p for f, p in (node.options or {}).items() if p > 0.0}
    total = math.log(sum(options.values()))
    logprobs = [logprob + math.log(p) - total for p in options.values()]
    rng = random.Random(derived_seed(seed, tree.question_id, tree.key(node), "functions"))
    for function, own, value in zip(options, logprobs, conditional_gumbels(logprobs, priority, rng), strict=True):
        waiting.append(_Entry(value, own, node, function))


async def _finish(tree: Tree, judge: Judge, leaf: Node) -> None:
    reward = await judge(tree, leaf)
    leaf.rollout = tree.root.visits + 1
    back_up(tree, leaf, reward)
    tree.spent.append(tree.tokens)
