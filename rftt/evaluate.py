"""Measure a model on held-out questions: plain samples, search at several budgets, votes at equal generated tokens.

    rftt eval CONFIG

pass@1 is the mean over independent samples. The search knows no gold: its paths are valued by agreement, its answer is
the majority of its paths, and the answer after k rollouts is that of the tree when it had k. maj@k is the majority over
so many plain samples as cost the tokens of the search with the largest budget (RFTT, section 3.4; arXiv 2510.20272 asks for
this comparison). Every sample and tree is kept; a killed evaluation goes on with the questions that are missing.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewards import grade, grade_async
from rftt.config import Config
from rftt.intervals import measured
from rftt.metrics import MetricsLog
from rftt.problems import Problem
from rftt.progress import progress_bar
from search import Question, SearchConfig, Tree, search_many
from search.accounting import CountedEngine
from search.chain import well_formed
from search.engines import Engine, Sampling
from search.functional import question_ids
from search.journal import Journal
from search.judging import Scorer
from search.mcts import derived_seed
from search.voting import majority

SAMPLE_SCHEMA = "rftt.sample/1"
IN_FLIGHT = 256  # questions whose samples wait at the engine at once


@dataclass(frozen=True)
class Job:
    """One model under measurement.

    Args:
        model: its name in the results: base, sft or rl.
        engine: serves it.
        problems: the held-out questions.
        config: the run's settings.
        folder: where samples and trees are kept.
        scorer: a process reward model that guides the search; None leaves it to agreement.
    """

    model: str
    engine: Engine
    problems: Sequence[Problem]
    config: Config
    folder: Path
    scorer: Scorer | None = None


async def evaluate_model(job: Job) -> dict[str, Any]:
    """Measure one model.

    Returns:
        ``{"metrics": {METRIC: result}, "curve": [...], "majority": [...], "verdicts": {...}}``, see `design` of
        ``summary.json``; results as in `rftt.intervals.measured`.
    """
    settings = job.config.eval
    greedy = await _samples(job, "greedy", 1, temperature=0.0)
    searched = job.problems[: settings.search_limit]
    trees = await _search(job, searched)
    samples = await _samples(job, "samples", settings.samples)
    metrics = {
        "greedy": _share(greedy, _correct),
        "pass@1": _share(samples, _correct),
        "format_rate": _share(samples, lambda sample: sample["well_formed"]),
    }
    mean_tokens = _mean(s["tokens"] for group in samples.values() for s in group)
    curve, votes = [], []
    budgets = [(r, _search_result(trees, r)) for r in settings.rollouts]
    counts = [max(1, round(result["tokens"] / max(mean_tokens, 1.0))) for _, result in budgets]
    pool = await _samples(job, "votes", max(counts), problems=searched)
    for (rollouts, result), count in zip(budgets, counts, strict=True):
        metrics[f"search@{rollouts}"] = result
        curve.append({"rollouts": rollouts, **result})
        votes.append({"k": count, "rollouts": rollouts, **_vote_result(pool, count)})
    metrics[f"maj@{counts[-1]}"] = {k: v for k, v in votes[-1].items() if k not in ("k", "rollouts")}
    return {"metrics": metrics, "curve": curve, "majority": votes, "verdicts": _verdicts(samples)}


async def _samples(
    job: Job, name: str, count: int, *, temperature: float | None = None, problems: Sequence[Problem] | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Independent chains of every question, by question id; kept in ``{name}-{model}.jsonl``."""
    settings, tokenizer = job.config.eval, job.engine.tokenizer
    problems = job.problems if problems is None else problems
    journal = Journal(job.folder / f"{name}-{job.model}.jsonl", key="sample_id")
    order = [f"{p.id}#{k}" for p in problems for k in range(count)]
    special = frozenset(tokenizer.all_special_ids) | job.engine.eos_ids
    temperature = settings.temperature if temperature is None else temperature
    gate = asyncio.Semaphore(max(1, IN_FLIGHT // count))

    async def sample(problem: Problem) -> None:
        seed = derived_seed(job.config.seed, "eval", name, problem.id)
        sampling = Sampling(settings.max_tokens, count, temperature, settings.top_p, seed)
        async with gate:
            generations = await job.engine.generate(question_ids(tokenizer, problem.question), sampling)
        for k, generation in enumerate(generations):
            text = tokenizer.decode([i for i in generation.ids if i not in special])
            verdict = await grade_async(problem.answer, text, extract="boxed")
            if f"{problem.id}#{k}" not in journal:
                journal.append({
                    "schema": SAMPLE_SCHEMA, "sample_id": f"{problem.id}#{k}", "question_id": problem.id,
                    "question": problem.question, "gold": problem.answer, "level": problem.level, "text": text,
                    "answer": verdict.answer,
                    "verdict": verdict.status, "well_formed": generation.stopped and well_formed(text),
                    "tokens": len(generation.ids), "stopped": generation.stopped, "temperature": temperature,
                    "top_p": settings.top_p, "seed": seed,
                })  # fmt: skip
        bar.update()

    if not journal.finished:
        todo = [p for p in problems if any(f"{p.id}#{k}" not in journal for k in range(count))]
        bar = progress_bar(len(problems), f"{job.model}: {name}", "questions", len(problems) - len(todo))
        async with asyncio.TaskGroup() as group:
            for problem in todo:
                group.create_task(sample(problem))
        bar.close()
        journal.finish(order)
    found: dict[str, list[dict[str, Any]]] = {p.id: [] for p in problems}
    for record in journal.read(order):
        found[record["question_id"]].append(record)
    return found


async def _search(job: Job, problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """One tree a question, grown to the largest budget without gold; kept in ``trees-{model}.jsonl``.

    Returns:
        Per question: the vote's verdict and the tokens spent at each budget.
    """
    settings = job.config.eval
    asked = {p.id: p for p in problems}
    journal = Journal(job.folder / f"trees-{job.model}.jsonl")
    search = SearchConfig(
        rollouts=settings.rollouts[-1], max_depth=settings.max_depth, exploration=settings.exploration,
        temperature=settings.temperature, top_p=settings.top_p, max_step_tokens=settings.max_step_tokens,
        min_prior=settings.min_prior, live_trees=job.config.search.live_trees,
        seed=derived_seed(job.config.seed, "eval", "search"),
    )  # fmt: skip

    engine = CountedEngine(job.engine)

    async def keep(tree: Tree) -> None:
        problem = asked[tree.question_id]
        votes = await asyncio.to_thread(_votes, tree, problem.answer, settings.rollouts)
        about = {"model": job.model, "gold": problem.answer, "level": problem.level, "votes": votes}
        journal.append({**tree.to_json(), **about})
        engine.finished(tree)
        bar.update()
        bar.set_postfix(**engine.progress(), refresh=False)

    if not journal.finished:
        todo = [p for p in problems if p.id not in journal]
        bar = progress_bar(len(problems), f"{job.model}: search", "questions", len(problems) - len(todo))
        questions = [Question(p.id, p.question) for p in todo]
        # A model that was never tuned has no functional tokens: it searches by prompting.
        policy = "prompted" if job.model == "base" else "functional"
        await search_many(questions, engine, search, keep, policy=policy, scorer=job.scorer)
        bar.close()
        MetricsLog(job.config.folder / "metrics.jsonl", f"eval {job.model}").write(len(problems), engine.figures())
        journal.finish([p.id for p in problems])
    return [record["votes"] for record in journal.read([p.id for p in problems])]


def _votes(tree: Tree, gold: str, budgets: Sequence[int]) -> dict[str, Any]:
    """The majority answer and its verdict when the tree had each number of rollouts."""
    leaves, found = tree.leaves(), {}
    for leaf in leaves:
        leaf.verdict = grade(gold, leaf.text, extract="boxed").status if leaf.status == "answered" else "no_answer"
    for budget in budgets:
        answer = majority(leaf.answer for leaf in leaves[:budget])
        # An exhausted tree has fewer rollouts than the budget allows: it spent what it spent.
        spent = tree.spent[min(budget, len(tree.spent)) - 1] if tree.spent else 0
        correct = answer is not None and grade(gold, answer, extract="none").correct
        found[str(budget)] = {"answer": answer, "correct": correct, "tokens": spent}
    return found


def _search_result(trees: list[dict[str, Any]], rollouts: int) -> dict[str, float]:
    votes = [votes[str(rollouts)] for votes in trees]
    return measured([float(v["correct"]) for v in votes], _mean(v["tokens"] for v in votes))


def _vote_result(pool: dict[str, list[dict[str, Any]]], count: int) -> dict[str, float]:
    correct = []
    for group in pool.values():
        answer = majority(s["answer"] for s in group[:count])
        correct.append(float(answer is not None and grade(group[0]["gold"], answer, extract="none").correct))
    return measured(correct, _mean(s["tokens"] for group in pool.values() for s in group[:count]) * count)


def _share(samples: dict[str, list[dict[str, Any]]], holds: Callable[[dict[str, Any]], bool]) -> dict[str, float]:
    """The share of samples for which something holds, by questions."""
    values = [_mean(float(holds(s)) for s in group) for group in samples.values()]
    return measured(values, _mean(s["tokens"] for group in samples.values() for s in group))


def _correct(sample: dict[str, Any]) -> bool:
    return bool(sample["verdict"] == "correct")


def _verdicts(samples: dict[str, list[dict[str, Any]]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for group in samples.values():
        for sample in group:
            counts[sample["verdict"]] = counts.get(sample["verdict"], 0) + 1
    return counts


def _mean(values: Any) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed) if listed else 0.0
