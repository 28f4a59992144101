"""Paired differences between the models of a run, and between the same model of several runs, question by question.

Two metrics only; ``rftt compare RUN_A RUN_B`` tells all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cache
from itertools import pairwise
from pathlib import Path

from rftt.report.lines import Record, benchmark_folders, by_model, is_number, line_spans, records_at

METRICS = ("pass@1", "greedy")
Place = tuple[int, str]  # number of the run, model


def comparisons_of(runs: Sequence[Path]) -> list[Record]:
    """What changed from model to model of one run, or from the first run to each other one.

    Returns:
        ``{"benchmark", "metric", "from": [run, model], "to": [run, model], "n"}`` and the fields of
        `rftt.evaluate.intervals.Difference`, over the questions that both sides have; nothing where an evaluation kept no
        questions.
    """
    folders = [benchmark_folders(run) for run in runs]
    found = []
    for benchmark in dict.fromkeys(name for folder in folders for name in folder):
        files = [by_model(folder[benchmark], "questions") if benchmark in folder else {} for folder in folders]
        read = cache(_questions)
        for before, after in _pairs(files):
            first, second = (read(files[run][model]) for run, model in (before, after))
            for metric in METRICS:
                common = [key for key in first if metric in first[key] and metric in second.get(key, {})]
                if common:
                    sides = [[side[key][metric] for key in common] for side in (first, second)]
                    found.append(
                        {"benchmark": benchmark, "metric": metric, "from": before, "to": after, "n": len(common)}
                        | _difference(*sides)
                    )
    return found


def _pairs(files: Sequence[dict[str, Path]]) -> Iterator[tuple[Place, Place]]:
    if len(files) == 1:
        yield from (((0, a), (0, b)) for a, b in pairwise(files[0]))
    for number, others in enumerate(files[1:], 1):
        yield from (((0, model), (number, model)) for model in files[0] if model in others)


def _difference(first: list[float], second: list[float]) -> Record:
    from rftt.evaluate.intervals import paired_difference

    return asdict(paired_difference(first, second))


def _questions(path: Path) -> dict[tuple[str, str], dict[str, float]]:
    """(question id, question) → metric → value: two questions with one id are two questions."""
    found = {}
    for record in records_at(path, line_spans(path)):
        values = record.get("values") if record else None
        if record and isinstance(values, dict):
            kept = {name: value for name, value in values.items() if is_number(value)}
            found[str(record.get("question_id")), str(record.get("question"))] = kept
    return found
