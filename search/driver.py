"""Many trees on one engine: each tree is one coroutine, the engine batches whatever waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from rewards import extract_answer, grade
from search.config import SearchConfig
from search.engines.interface import Engine
from search.functional import FunctionalPolicy
from search.functions import RFTT, FunctionSet
from search.mcts import Judge, Policy, grow
from search.prompted import PromptedPolicy
from search.tree import Node, Tree
from search.voting import agreement

POLICIES = {"prompted": PromptedPolicy, "functional": FunctionalPolicy}


@dataclass(frozen=True)
class Question:
    """What a search is asked.

    Args:
        id: names it in files; part of every seed.
        text: the question.
        gold: the right answer; None makes the search guide itself by agreement.
    """

    id: str
    text: str
    gold: str | None = None


def make_policy(name: str, engine: Engine, config: SearchConfig, functions: FunctionSet = RFTT) -> Any:
    """The policy ``"prompted"`` or ``"functional"`` with the settings of `config` that it knows.

    Raises:
        ValueError: there is no such policy, or the model lacks functional tokens.
    """
    if name not in POLICIES:
        raise ValueError(f"policy {name!r}: expected one of {', '.join(POLICIES)}")
    shared = {k: getattr(config, k) for k in ("temperature", "top_p", "max_step_tokens", "max_depth", "seed")}
    own = {k: getattr(config, k) for k in ("min_prior", "siblings")} if name == "functional" else {}
    return POLICIES[name](engine, functions, **shared, **own)


async def judge_by_gold(tree: Tree, leaf: Node) -> float:
    """1 if the answer of a finished path equals gold, else 0; sets answer and verdict (RFTT, section 3.2)."""
    if leaf.status != "answered":
        leaf.verdict = "no_answer"
        return 0.0
    verdict = await asyncio.to_thread(grade, tree.gold or "", leaf.text, extract="boxed")
    leaf.answer, leaf.verdict = verdict.answer, verdict.status
    return float(verdict.correct)


async def judge_by_agreement(tree: Tree, leaf: Node) -> float:
    """Without gold: the share of the tree's answers that agree with this one (self-consistency)."""
    leaf.answer = extract_answer(leaf.text, rule="boxed") if leaf.status == "answered" else None
    return await agreement(tree, leaf)


async def search_many(
    questions: Iterable[Question],
    engine: Engine,
    config: SearchConfig,
    on_tree: Callable[[Tree], Awaitable[None] | None],
    *,
    policy: str | Policy = "functional",
    functions: FunctionSet = RFTT,
) -> None:
    """Grow one tree a question, many at once, without a barrier between them.

    A tree does not depend on how many others are in flight: every request has its own seed.

    Args:
        questions: in any number; at most ``config.live_trees`` are in flight.
        engine: generates for all of them.
        config: settings.
        on_tree: receives each tree when it is done; may be a coroutine function.
        policy: ``"prompted"``, ``"functional"`` or an object with that interface.
        functions: the token set.

    Raises:
        Exception: what the engine, the policy or `on_tree` raises; the other trees are cancelled.
    """
    proposer = make_policy(policy, engine, config, functions) if isinstance(policy, str) else policy
    made_by = {"policy": policy if isinstance(policy, str) else type(policy).__name__, "rollouts": config.rollouts,
               "exploration": config.exploration, "temperature": config.temperature, "seed": config.seed,
               "parallel_rollouts": config.parallel_rollouts}  # fmt: skip
    pending = iter(questions)

    async def worker() -> None:
        for question in pending:
            tree = Tree(question.id, question.text, question.gold, made_by=made_by)
            judge: Judge = judge_by_agreement if question.gold is None else judge_by_gold
            await grow(
                tree, proposer, judge,
                rollouts=config.rollouts, exploration=config.exploration, seed=config.seed,
                parallel=config.parallel_rollouts,
            )  # fmt: skip
            done = on_tree(tree)
            if done is not None:
                await done

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(config.live_trees):
                group.create_task(worker())
    except ExceptionGroup as errors:
        # The first error cancelled the other trees.
        raise errors.exceptions[0] from errors
