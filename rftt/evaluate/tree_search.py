"""The functional tree search without gold: one tree a question serves all budgets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from rewards import grade
from rftt.evaluate.job import Job
from rftt.evaluate.metrics import Outcome, elected
from rftt.runtime.progress import progress_bar
from rftt.runtime.step_log import MetricsLog
from search import Question, SearchConfig, Tree, search_many
from search.accounting import CountedEngine
from search.driver import make_policy
from search.journal import Journal
from search.mcts import derived_seed
from search.voting import majority

Votes = dict[str, dict[str, Any]]  # budget → {"answer", "verdict", "correct", "tokens"}


def search_config(job: Job) -> SearchConfig:
    """The settings of the search that is measured."""
    seed = derived_seed(job.config.seed, "eval", "search")
    return job.config.eval.search_config(seed=seed)


async def grow_trees(job: Job) -> dict[str, Votes]:
    """One tree for each question that is searched, grown to the largest budget; kept in ``trees-{model}.jsonl``.

    Returns:
        Question id → the vote at each budget.
    """
    problems = job.searched
    asked = {p.id: p for p in problems}
    journal = Journal(job.folder / f"trees-{job.model}.jsonl")
    engine = CountedEngine(job.engine)

    async def keep(tree: Tree) -> None:
        problem = asked[tree.question_id]
        votes = await asyncio.to_thread(_votes, tree, problem.answer, job.config.eval.rollouts)
        about = {"model": job.model, "gold": problem.answer, "level": problem.level, "votes": votes}
        journal.append({**tree.to_json(), **about})
        engine.finished(tree)
        bar.update()
        bar.note(**engine.progress())

    if not journal.finished:
        todo = [p for p in problems if p.id not in journal]
        bar = progress_bar(len(problems), job.label("search"), "questions", len(problems) - len(todo))
        questions = [Question(p.id, p.question) for p in todo]
        # A model that was never tuned has no functional tokens: it searches by prompting.
        settings = search_config(job)
        policy = make_policy("prompted" if job.model == "base" else "functional", engine, settings, job.functions)
        await search_many(questions, engine, settings, keep, policy=policy, functions=job.functions, scorer=job.scorer)
        bar.close()
        label = f"eval {job.model}" + (f" {job.benchmark.name}" if job.benchmark else "")
        MetricsLog(job.config.folder / "metrics.jsonl", label).write(len(problems), engine.figures())
        journal.finish([p.id for p in problems])
    return {record["question_id"]: record["votes"] for record in journal.read([p.id for p in problems])}


def at_budget(trees: dict[str, Votes], rollouts: int) -> tuple[Outcome, list[str]]:
    """Whether the vote of every tree is right when it had so many rollouts, and its status by the grader."""
    votes = {id: found[str(rollouts)] for id, found in trees.items()}
    statuses = {id: _status(v) for id, v in votes.items()}
    return elected(statuses, {id: float(v["tokens"]) for id, v in votes.items()}), list(statuses.values())


def _status(vote: Mapping[str, Any]) -> str:
    """Status of a voted answer; files written before it was kept only say whether it is right."""
    known = "correct" if vote["correct"] else "no_answer" if vote["answer"] is None else "wrong"
    return str(vote.get("verdict", known))


def _votes(tree: Tree, gold: str, budgets: Sequence[int]) -> Votes:
    """The majority answer and its verdict when the tree had each number of rollouts."""
    leaves, found = tree.leaves(), {}
    for leaf in leaves:
        leaf.verdict = grade(gold, leaf.text, extract="boxed").status if leaf.status == "answered" else "no_answer"
    for budget in budgets:
        answer = majority(leaf.answer for leaf in leaves[:budget])
        # An exhausted tree has fewer rollouts than the budget allows: it spent what it spent.
        spent = tree.spent[min(budget, len(tree.spent)) - 1] if tree.spent else 0
        verdict = "no_answer" if answer is None else grade(gold, answer, extract="none").status
        found[str(budget)] = {
            "answer": answer, "verdict": verdict, "correct": verdict == "correct", "tokens": spent,
        }  # fmt: skip
    return found
