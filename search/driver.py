"""Many trees on one engine: each tree is one coroutine, the engine batches whatever waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from search.config import SearchConfig
from search.engines.engine import Engine, EngineError, EngineGone
from search.functional import FunctionalPolicy
from search.functions import RFTT, FunctionSet
from search.grading import Grading, grade_math
from search.judging import AgreementJudge, GoldJudge, Scorer, ScorerJudge
from search.mcts import Decided, Judge, Policy, Rule, grow
from search.prompted import PromptedPolicy
from search.tree import Tree

POLICIES = {policy.name: policy for policy in (PromptedPolicy, FunctionalPolicy)}
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Question:
    """What a search is asked.

    Args:
        id: names it in files; part of every seed.
        text: the question.
        gold: the right answer; None makes the search guide itself by agreement or by a process reward model.
    """

    id: str
    text: str
    gold: str | None = None


def make_policy(name: str, engine: Engine, config: SearchConfig, functions: FunctionSet = RFTT) -> Any:
    """The policy ``"prompted"`` or ``"functional"`` with the settings of `config`.

    Raises:
        ValueError: there is no such policy, or the model lacks functional tokens.
    """
    if name not in POLICIES:
        raise ValueError(f"policy {name!r}: expected one of {', '.join(POLICIES)}")
    return POLICIES[name](engine, functions, config)


async def grow_tree(
    question: Question,
    policy: Policy,
    config: SearchConfig,
    scorer: Scorer | None = None,
    grading: Grading = grade_math,
    on_path: Callable[[Tree], None] | None = None,
) -> Tree:
    """The tree of one question, grown as `config` says.

    Args:
        question: question with gold where it may be used.
        policy: generates children.
        config: settings.
        scorer: without gold, a process reward model guides the search instead of agreement.
        grading: rule that says what an answer is worth, where gold is known.
        on_path: told of the tree whenever a path of it is finished.
    """
    shown = ("rollouts", "budget_tokens", "selection", "exploration", "temperature", "step_temperature", "untried", "root",
             "widening", "seed", "parallel_rollouts")  # fmt: skip
    about = {"policy": policy.name, **{name: getattr(config, name) for name in shown}}
    tree = Tree(question.id, question.text, question.gold, made_by=about)
    answers = config.answer_rule(policy.functions)
    judge: Judge
    decided: Decided | None = None
    if question.gold is not None:
        judge = GoldJudge(question.gold, answers, grading)
    else:
        judge = agreement = AgreementJudge(answers) if scorer is None else ScorerJudge(scorer, answers)
        decided = agreement.poll.decided if config.early_stop else None
    rule = Rule(
        config.exploration, config.seed, config.selection == "puct", config.untried == "gumbel", config.root == "halving",
        config.widening if policy.name == "functional" else 0.0, config.rollouts,
    )  # fmt: skip
    return await grow(
        tree, policy, judge, rule,
        rollouts=config.rollouts, budget_tokens=config.budget_tokens, decided=decided, parallel=config.parallel_rollouts,
        on_path=on_path,
    )  # fmt: skip


async def run_many(
    items: Iterable[Item],
    work: Callable[[Item], Awaitable[Result]],
    on_result: Callable[[Result], Awaitable[None] | None],
    *,
    at_once: int,
    on_failure: Callable[[Item, EngineError], None] | None = None,
) -> None:
    """Work on many items, at most `at_once` at a time and without a barrier between them.

    Args:
        items: items in any number; one is taken when there is room for it.
        work: what is done with one.
        on_result: receives each result when it is there; may be a coroutine function.
        at_once: bounds memory and what waits at the engine.
        on_failure: receives an item that the engine could not serve, and why; the others go on. Without it, such an error
            is raised.

    Raises:
        Exception: what `work` or `on_result` raises, and `EngineGone` always; the other items are cancelled.
    """
    pending = iter(items)

    async def worker() -> None:
        for item in pending:
            try:
                done = on_result(await work(item))
                if done is not None:
                    await done
            except EngineGone:
                raise
            except EngineError as error:
                if on_failure is None:
                    raise
                on_failure(item, error)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(worker())
    except ExceptionGroup as errors:
        # The first error cancelled the others.
        raise errors.exceptions[0] from errors


async def search_many(
    questions: Iterable[Question],
    engine: Engine,
    config: SearchConfig,
    on_tree: Callable[[Tree], Awaitable[None] | None],
    *,
    policy: str | Policy = "functional",
    functions: FunctionSet = RFTT,
    scorer: Scorer | None = None,
    grading: Grading = grade_math,
    on_failure: Callable[[Question, EngineError], None] | None = None,
) -> None:
    """Grow one tree a question, many at once, without a barrier between them.

    A tree does not depend on how many others are in flight: every request has its own seed.

    Args:
        questions: questions in any number; at most ``config.live_trees`` are in flight.
        engine: generates for all of them.
        config: settings.
        on_tree: receives each tree when it is done; may be a coroutine function.
        policy: ``"prompted"``, ``"functional"`` or an object with that interface.
        functions: the token set.
        scorer: a process reward model that guides the search where no gold is known.
        grading: says what an answer is worth where gold is known.
        on_failure: receives a question that the engine could not serve, and why; the others go on.

    Raises:
        Exception: what the engine, the policy or `on_tree` raises; the other trees are cancelled.
    """
    proposer = make_policy(policy, engine, config, functions) if isinstance(policy, str) else policy

    def work(question: Question) -> Awaitable[Tree]:
        return grow_tree(question, proposer, config, scorer, grading)

    await run_many(questions, work, on_tree, at_once=config.live_trees, on_failure=on_failure)
