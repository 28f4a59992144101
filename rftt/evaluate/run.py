"""The result of one model on one benchmark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rftt.data.benchmarks import find_benchmark, read_benchmarks, unreadable_golds
from rftt.data.overlap import contamination
from rftt.evaluate.about import about
from rftt.evaluate.budgets import run_strategies
from rftt.evaluate.job import Job
from rftt.evaluate.measured import asked_strategies
from rftt.evaluate.metrics import (
    Groups,
    Outcome,
    by_group,
    correct,
    correct_in_any_form,
    lengths,
    mean,
    passes,
    powers_of_two,
    share,
    statuses,
    tokens_per_correct,
)
from rftt.evaluate.samples import draw, vote
from rftt.evaluate.tree_search import at_budget, grow_trees
from search.journal import write_jsonl

SCHEMA = "rftt.eval/1"
QUESTION_SCHEMA = "rftt.question/1"
EXAMPLES = 5  # overlaps that a result shows


async def evaluate_model(job: Job) -> dict[str, Any]:
    """Measure one model.

    Returns:
        What stands in ``eval/{model}.json``: ``metrics`` {METRIC: result}, ``any_form`` for metrics that would be others if
        malformed chains gave answers too, ``curve`` and ``majority`` of the search and of
        votes at equal tokens, ``verdicts`` of the samples, and beside these pass@k, groups, lengths, costs, statuses,
        contamination and the conditions (`about`). Results are as in `rftt.evaluate.intervals.measured`. The values of every
        question are kept in ``questions-{model}.jsonl``.
    """
    settings = job.config.eval
    greedy = await draw(job, "greedy", 1, temperature=0.0)
    trees = await grow_trees(job)
    samples = await draw(job, "samples", settings.samples)
    outcomes = {
        "greedy": share(greedy, correct),
        "pass@1": share(samples, correct),
        "format_rate": share(samples, lambda sample: sample["well_formed"]),
    }
    drawn = {"greedy": greedy, "samples": samples}
    found = {name: [s["verdict"] for group in groups.values() for s in group] for name, groups in drawn.items()}

    mean_tokens = mean(s["tokens"] for group in samples.values() for s in group)
    curve, votes, counts = [], [], []
    for rollouts in settings.rollouts:
        outcome, found[f"search@{rollouts}"] = at_budget(trees, rollouts)
        outcomes[f"search@{rollouts}"] = outcome
        curve.append({"rollouts": rollouts, **outcome.result()})
        # Rounded up: a vote at equal tokens never gets fewer than the search.
        counts.append(max(1, math.ceil(outcome.result()["tokens"] / max(mean_tokens, 1.0))))
    hot = settings.search.vote_temperature
    pool = await draw(job, "votes", max(counts), temperature=hot, problems=job.searched)
    for rollouts, count in zip(settings.rollouts, counts, strict=True):
        outcome, verdicts = vote(pool, count)
        spent = outcome.result()["tokens"]
        ratio = spent / max(outcomes[f"search@{rollouts}"].result()["tokens"], 1.0)
        votes.append({"k": count, "rollouts": rollouts, "token_ratio": round(ratio, 3), **outcome.result()})
    outcomes[f"maj@{count}"], found[f"maj@{count}"] = outcome, verdicts

    arms, skipped = await run_strategies(job)
    outcomes |= {arm.name: arm.outcome for arm in arms}
    found |= {arm.name: list(arm.verdicts) for arm in arms}
    metrics = {name: outcome.result() for name, outcome in outcomes.items()}
    ks = powers_of_two(settings.samples)
    _keep_questions(job, outcomes)
    return {
        "schema": SCHEMA,
        "model": job.model,
        "benchmark": _benchmark(job),
        "metrics": metrics,
        "any_form": _any_form(outcomes, {"greedy": greedy, "pass@1": samples}),
        "curve": curve,
        "majority": votes,
        "verdicts": {k: v for k, v in statuses(found["samples"]).items() if v},
        "pass_at_k": [{"k": k, **passes(samples, k).result()} for k in ks],
        "maj_at_k": [{"k": k, **vote(samples, k)[0].result()} for k in ks],
        "strategies": [arm.to_json() for arm in arms],
        "asked": asked_strategies(job.config.eval),
        "skipped": skipped,
        "tokens_per_correct": {name: tokens_per_correct(r) for name, r in metrics.items() if name != "format_rate"},
        "groups": _groups(job, outcomes["pass@1"]),
        "statuses": {name: statuses(verdicts) for name, verdicts in found.items()},
        "lengths": {name: lengths(groups) for name, groups in drawn.items()},
        "golds": {"unreadable": unreadable_golds(job.problems)},
        "contamination": _contamination(job, outcomes["pass@1"]),
        "about": about(job),
    }


def _any_form(outcomes: Mapping[str, Outcome], drawn: Mapping[str, Groups]) -> dict[str, Any]:
    """What counted if chains that are malformed or cut off gave answers too, where that is another figure."""
    found = {name: share(groups, correct_in_any_form).result() for name, groups in drawn.items()}
    return {name: result for name, result in found.items() if result["value"] != outcomes[name].result()["value"]}


def _benchmark(job: Job) -> dict[str, Any]:
    data, questions = job.config.data, {"questions": len(job.problems)}
    benchmark = job.benchmark
    if benchmark is None and data.eval in read_benchmarks(data.table):
        benchmark = find_benchmark(data.eval, root=data.root, table=data.table)
    if benchmark is None:
        return {"name": "eval", "source": data.eval, "split": data.eval_split} | questions
    return benchmark.about() | questions


def _groups(job: Job, outcome: Outcome) -> dict[str, Any]:
    """pass@1 by level and by subject, where the questions have these."""
    names: Mapping[str, dict[str, str | None]] = {
        "level": {p.id: p.level for p in job.problems},
        "subject": {p.id: p.subject for p in job.problems},
    }
    return {kind: groups for kind, of in names.items() if (groups := by_group(outcome, of))}


def _contamination(job: Job, outcome: Outcome) -> dict[str, Any]:
    """What the training questions share with the held-out ones, and pass@1 on those that share nothing."""
    shared = contamination(job.train, job.problems)
    spoilt = set(shared.evaluation)
    clean = outcome.among(p.id for p in job.problems if p.id not in spoilt)
    return {
        "n": 13,
        "train": len(job.train),
        "evaluation": len(job.problems),
        "train_overlaps": len(shared.train),
        "eval_overlaps": len(shared.evaluation),
        "left_out": job.left_out,
        "examples": [overlap.__dict__ for overlap in shared.examples(EXAMPLES)],
        "clean": clean.result() if clean.values else None,
    }


def _keep_questions(job: Job, outcomes: Mapping[str, Outcome]) -> None:
    """One line a question with its value and its tokens for every metric."""

    def of(id: str, part: str, digits: int) -> dict[str, float]:
        parts: Sequence[tuple[str, Mapping[str, float]]] = [(name, getattr(o, part)) for name, o in outcomes.items()]
        return {name: round(values[id], digits) for name, values in parts if id in values}

    write_jsonl(
        job.folder / f"questions-{job.model}.jsonl",
        (
            {
                "schema": QUESTION_SCHEMA, "question_id": p.id, "question": p.question, "gold": p.answer, "level": p.level,
                "subject": p.subject, "values": of(p.id, "values", 9), "tokens": of(p.id, "tokens", 3),
            }
            for p in job.problems
        ),
    )  # fmt: skip
