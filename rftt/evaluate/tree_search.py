"""The functional search without gold: one run of a question serves all budgets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rftt.data.problems import Problem
from rftt.evaluate.job import Job
from rftt.evaluate.metrics import Outcome, elected
from rftt.evaluate.solving import solve_all
from rftt.runtime.progress import progress_bar
from rftt.runtime.step_log import MetricsLog
from search import Question, SearchConfig, Solution, Solver, Tree
from search.accounting import CountedEngine
from search.grading import grade_now
from search.journal import Journal
from search.mcts import derived_seed

Votes = dict[str, dict[str, Any]]  # budget → {"answer", "verdict", "correct", "tokens"}


def search_config(job: Job) -> SearchConfig:
    """The settings of the search that is measured."""
    seed = derived_seed(job.config.seed, "eval", "search")
    return job.config.eval.search_config(seed=seed)


def strategy_of(job: Job) -> str:
    """What searches: that of the settings. A model that was never tuned has no functional tokens: its trees are prompted."""
    return "mcts" if job.model == "base" else job.config.eval.strategy


async def grow_trees(job: Job) -> dict[str, Votes]:
    """One search for each question, grown to the largest budget; its tree is kept in ``trees-{model}.jsonl``.

    Returns:
        Question id → the vote at each budget.
    """
    problems = job.searched
    asked = {p.id: p for p in problems}
    journal = Journal(job.folder / f"trees-{job.model}.jsonl")
    engine = CountedEngine(job.engine)

    solver = Solver(engine, search_config(job), strategy_of(job), functions=job.functions, scorer=job.scorer)

    async def keep(solution: Solution) -> None:
        problem = asked[solution.question_id]
        tree = solution.tree or Tree(solution.question_id, solution.question)
        votes = await asyncio.to_thread(_votes, solution, job, problem)
        about = {"model": job.model, "gold": problem.answer, "level": problem.level, "votes": votes}
        journal.append({**tree.to_json(), **about})
        engine.finished(tree)
        bar.update()
        bar.note(**engine.progress())

    if not journal.finished:
        todo = [p for p in problems if p.id not in journal]
        bar = progress_bar(len(problems), job.label("search"), "questions", len(problems) - len(todo))
        await solve_all([Question(p.id, p.question) for p in todo], solver, keep, job.label("search"))
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


def _votes(solution: Solution, job: Job, problem: Problem) -> Votes:
    """The elected answer and its verdict when the search had each number of chains; verdicts of the tree's leaves."""
    rule, asked = job.answer_rule, job.problem(problem)
    for leaf in solution.tree.leaves() if solution.tree is not None else ():
        counts = rule.counts(leaf) and leaf.answer is not None
        leaf.verdict = grade_now(job.grading, asked, leaf.text, rule.extract).status if counts else "no_answer"
    found = {}
    for budget in job.config.eval.rollouts:
        done = solution.candidates[:budget]
        answer = replace(solution, candidates=done).elect().answer
        verdict = "no_answer" if answer is None else grade_now(job.grading, asked, answer, "none").status
        # The steps after its last chain, which led to no further one, cost tokens too.
        ended = len(done) < budget or budget == max(job.config.eval.rollouts)
        tokens = solution.tokens if ended else done[-1].spent
        found[str(budget)] = {"answer": answer, "verdict": verdict, "correct": verdict == "correct", "tokens": tokens}
    return found
