"""Further strategies of `search.strategies` at several budgets, on the same engine and the same questions.

Majority, best of n and MCTS run once with the largest budget: what a smaller one would have answered, in chains or in
tokens, is read off the order in which the candidates were finished. Beams depend on their width and run once for every
budget in chains; they are finished all at once, so that there is nothing to read off for budgets in tokens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from rftt.data.problems import Problem
from rftt.evaluate.job import Job
from rftt.evaluate.metrics import Outcome, elected
from rftt.evaluate.solving import solve_all
from rftt.runtime.progress import progress_bar
from search import Candidate, Question, Solution, Solver
from search.grading import grade_now
from search.journal import Journal
from search.mcts import derived_seed

WIDE = ("beam", "dvts")  # their candidates depend on the budget
Budgets = dict[str, dict[str, Any]]  # "16" or "1000tok" → {"answer", "verdict", "tokens"}


@dataclass(frozen=True)
class Arm:
    """A strategy at one budget.

    Args:
        strategy: its name.
        vote: rule of its vote.
        budget: budget in chains or tokens.
        unit: ``"rollouts"`` or ``"tokens"``.
        outcome: question by question.
        verdicts: status of the elected answer of each question.
    """

    strategy: str
    vote: str
    budget: int
    unit: str
    outcome: Outcome
    verdicts: Sequence[str]

    @property
    def name(self) -> str:
        """Its name among the metrics."""
        return f"{self.strategy}@{_key(self.budget, self.unit)}"

    def to_json(self) -> dict[str, Any]:
        shown = ("strategy", "vote", "budget", "unit")
        return {**{name: getattr(self, name) for name in shown}, **self.outcome.result()}


async def run_strategies(job: Job) -> tuple[list[Arm], dict[str, str]]:
    """Every strategy of the settings at every budget.

    Returns:
        The arms, and why a strategy was skipped: a model without functional tokens cannot do beams.
    """
    settings, arms, skipped = job.config.eval, [], {}
    for strategy in settings.strategies:
        runs = settings.budgets if strategy in WIDE else settings.budgets[-1:]
        try:
            solvers = [_solver(job, strategy, rollouts) for rollouts in runs]
        except ValueError as error:
            skipped[strategy] = str(error)
            continue
        for rollouts, solver in zip(runs, solvers, strict=True):
            chains = (rollouts,) if strategy in WIDE else settings.budgets
            tokens = () if strategy in WIDE else settings.token_budgets
            found = await _run(job, solver, rollouts, chains, tokens)
            vote = next((record["vote"] for record in found), solver.config.vote)
            for unit, budgets in (("rollouts", chains), ("tokens", tokens)):
                arms += [_arm(strategy, vote, budget, unit, found) for budget in budgets]
    return arms, skipped


def _solver(job: Job, strategy: str, rollouts: int) -> Solver:
    seed = derived_seed(job.config.seed, "eval", "strategies")
    config = job.config.eval.search_config(seed=seed, rollouts=rollouts)
    if strategy in WIDE:
        config = replace(config, vote="majority" if job.scorer is None else "prm")
    return Solver(job.engine, config, strategy, functions=job.functions, scorer=job.scorer)


async def _run(
    job: Job, solver: Solver, rollouts: int, chains: Sequence[int], tokens: Sequence[int]
) -> list[dict[str, Any]]:
    """Solutions of all questions, kept in ``solutions-{strategy}@{rollouts}-{model}.jsonl``; without their candidates."""
    name = f"{solver.strategy}@{rollouts}"
    journal = Journal(job.folder / f"solutions-{name}-{job.model}.jsonl")
    asked = {p.id: p for p in job.searched}

    async def keep(solution: Solution) -> None:
        problem = asked[solution.question_id]
        record = await asyncio.to_thread(_graded, solution, job, problem)
        for shown, candidate in zip(record["candidates"], solution.candidates, strict=True):
            shown["ids"] = list(candidate.ids)
        record["question"] = problem.question
        record |= {"model": job.model, "gold": problem.answer, "level": problem.level, "subject": problem.subject}
        record["budgets"] = await asyncio.to_thread(_at_budgets, record, chains, tokens)
        journal.append(record)
        bar.update()

    if not journal.finished:
        todo = [p for p in job.searched if p.id not in journal]
        bar = progress_bar(len(asked), job.label(name), "questions", len(asked) - len(todo))
        questions = [Question(p.id, p.question if solver.strategy == "mcts" else job.asked(p)) for p in todo]
        await solve_all(questions, solver, keep, job.label(name))
        bar.close()
        journal.finish(list(asked))
    found = []
    for record in journal.read(list(asked)):
        if not {_key(b, unit) for unit, of in (("rollouts", chains), ("tokens", tokens)) for b in of} <= set(
            record["budgets"]
        ):
            record["budgets"] = await asyncio.to_thread(_at_budgets, record, chains, tokens)  # asked for since
        found.append({name: record[name] for name in ("question_id", "vote", "budgets")})
    return found


def _graded(solution: Solution, job: Job, problem: Problem) -> dict[str, Any]:
    """The record of a solution whose candidates have a verdict. What was cut off has no answer."""
    record = solution.to_json()
    for shown, candidate in zip(record["candidates"], solution.candidates, strict=True):
        shown["verdict"] = "no_answer"
        if candidate.answer is not None:
            shown["verdict"] = grade_now(job.grading, job.problem(problem), candidate.answer, "none").status
    return record


def _at_budgets(record: dict[str, Any], chains: Iterable[int], tokens: Iterable[int]) -> Budgets:
    """What the strategy had answered, and spent, when a budget was used up."""
    names = [f.name for f in fields(Candidate) if f.name != "ids"]
    candidates = [Candidate(**{n: shown[n] for n in names if n in shown}) for shown in record["candidates"]]
    found = {}
    kinds = [("rollouts", budget, candidates[:budget]) for budget in chains]
    kinds += [("tokens", t, [c for c in candidates if c.spent <= t] or candidates[:1]) for t in tokens]
    for unit, budget, done in kinds:
        answer = Solution(record["question_id"], "", record["strategy"], record["vote"], done).elect().answer
        graded = (c["verdict"] for c in record["candidates"] if c["answer"] == answer)
        whole = unit == "rollouts" and len(done) == len(candidates)
        spent = record["tokens"] if whole else max((c.spent for c in done), default=record["tokens"])
        verdict = "no_answer" if answer is None else next(graded)
        found[_key(budget, unit)] = {"answer": answer, "verdict": verdict, "tokens": spent}
    return found


def _arm(strategy: str, vote: str, budget: int, unit: str, records: Sequence[dict[str, Any]]) -> Arm:
    found = {record["question_id"]: record["budgets"][_key(budget, unit)] for record in records}
    statuses = {id: v["verdict"] for id, v in found.items()}
    outcome = elected(statuses, {id: float(v["tokens"]) for id, v in found.items()})
    return Arm(strategy, vote, budget, unit, outcome, list(statuses.values()))


def _key(budget: int, unit: str) -> str:
    return str(budget) if unit == "rollouts" else f"{budget}tok"
