"""Independent chains of every question, kept as they come; and votes over them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rftt.data.problems import Problem
from rftt.evaluate.job import Job
from rftt.evaluate.metrics import Groups, Outcome, mean
from rftt.runtime.progress import progress_bar
from search.chain import well_formed
from search.engines import Sampling
from search.journal import Journal
from search.mcts import derived_seed
from search.prompt import question_ids
from search.voting import majority

SAMPLE_SCHEMA = "rftt.sample/1"
IN_FLIGHT = 256  # questions whose samples wait at the engine at once

Record = dict[str, Any]


async def draw(
    job: Job, name: str, count: int, *, temperature: float | None = None, problems: Sequence[Problem] | None = None
) -> dict[str, list[Record]]:
    """`count` chains of every question, by question id; kept in ``{name}-{model}.jsonl``.

    Args:
        job: model and questions.
        name: name of the file; part of every seed.
        count: chains of a question.
        temperature: temperature; by default that of the settings.
        problems: questions; by default all of the job's.

    Raises:
        EngineError: a question cannot be served, or the engine is gone; what is drawn is kept.
    """
    settings, tokenizer = job.config.eval, job.engine.tokenizer
    problems = job.problems if problems is None else problems
    journal = Journal(job.folder / f"{name}-{job.model}.jsonl", key="sample_id")
    order = [f"{p.id}#{k}" for p in problems for k in range(count)]
    special = frozenset(tokenizer.all_special_ids) | job.engine.eos_ids
    temperature = settings.search.temperature if temperature is None else temperature
    rule = job.answer_rule
    gate = asyncio.Semaphore(max(1, IN_FLIGHT // count))

    async def sample(problem: Problem) -> None:
        seed = derived_seed(job.config.seed, "eval", name, problem.id)
        sampling = Sampling(settings.search.max_tokens, count, temperature, settings.search.top_p, seed)
        async with gate:
            generations = await job.engine.generate(question_ids(tokenizer, job.asked(problem)), sampling)
        for k, generation in enumerate(generations):
            text = tokenizer.decode([i for i in generation.ids if i not in special])
            said = rule.part(text) if generation.stopped else ""
            asked = job.problem(problem)
            graded = await job.grading(asked, said, rule.extract)
            lax = await job.grading(asked, replace(rule, form="any").part(text), rule.extract)
            score = {} if graded.score is None else {"score": graded.score}
            if f"{problem.id}#{k}" not in journal:
                journal.append({
                    "schema": SAMPLE_SCHEMA, "sample_id": f"{problem.id}#{k}", "question_id": problem.id,
                    "question": problem.question, "gold": problem.answer, "level": problem.level,
                    "subject": problem.subject, "text": text, "answer": graded.answer, "verdict": graded.status,
                    "any_form": lax.status, **score,
                    "well_formed": generation.stopped and well_formed(text, job.functions, extract=rule.extract),
                    "tokens": len(generation.ids), "stopped": generation.stopped, "temperature": temperature,
                    "top_p": settings.search.top_p, "seed": seed, "ids": list(generation.ids),
                })  # fmt: skip
        bar.update()

    if not journal.finished:
        todo = [p for p in problems if any(f"{p.id}#{k}" not in journal for k in range(count))]
        bar = progress_bar(len(problems), job.label(name), "questions", len(problems) - len(todo))
        try:
            async with asyncio.TaskGroup() as group:
                for problem in todo:
                    group.create_task(sample(problem))
        except ExceptionGroup as errors:
            # The first error cancelled the others.
            raise errors.exceptions[0] from errors
        bar.close()
        journal.finish(order)
    found: dict[str, list[Record]] = {p.id: [] for p in problems}
    for record in journal.read(order):
        record.pop("ids", None)  # long, and nothing that is counted
        found[record["question_id"]].append(record)
    return found


def vote(groups: Groups, count: int) -> tuple[Outcome, list[str]]:
    """The majority over the first `count` samples of every question.

    Returns:
        Whether it is right, and its status by the grader: that of the sample which it was taken from.
    """
    found: dict[str, str] = {}
    for id, group in groups.items():
        answer = majority(s["answer"] for s in group[:count])
        found[id] = "no_answer" if answer is None else next(s["verdict"] for s in group if s["answer"] == answer)
    values = {id: float(status == "correct") for id, status in found.items()}
    tokens = {id: float(sum(s["tokens"] for s in group[:count])) for id, group in groups.items()}
    mean_tokens = mean(s["tokens"] for group in groups.values() for s in group[:count]) * count
    return Outcome(values, tokens, mean_tokens), list(found.values())
