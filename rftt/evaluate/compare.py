"""Two evaluations of the same questions side by side: ``rftt compare RUN_A RUN_B``.

Every metric that both have is compared question by question: McNemar's exact test where each question is right or wrong, a
paired bootstrap over questions, or the exact test of sign flips of few, where it has several samples.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rftt.errors import UsageError
from rftt.evaluate.intervals import Difference, paired_difference
from search.journal import read_jsonl

MODELS = ("base", "sft", "rl")
DEFAULT = "eval"  # what the questions of data.eval are called
# Conditions that must agree, or figures are not of the same measurement.
CONDITIONS = ("instruction", "sampling", "search", "guide", "extract", "grader", "template_sha256")
INDIFFERENT = ("seed", "live_trees")  # of them, what may be another


@dataclass(frozen=True)
class Side:
    """One model of one run on one benchmark.

    Args:
        name: name for the reader.
        result: result of ``eval/{model}.json``.
        questions: question id → its line in ``questions-{model}.jsonl``.
    """

    name: str
    result: Mapping[str, Any]
    questions: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Comparison:
    """One metric of two sides.

    Args:
        metric: its name; of votes at equal tokens, whose k differs, both names.
        first, second: means over the questions that both have.
        tokens: generated tokens per question of both.
        n: number of these questions.
        difference: second minus first.
    """

    metric: str
    first: float
    second: float
    tokens: tuple[float, float]
    n: int
    difference: Difference

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(first: Side, second: Side) -> list[Comparison]:
    """Every metric that both sides have.

    Raises:
        UsageError: they have no question in common, or one id stands for two questions.
    """
    common = [id for id in first.questions if id in second.questions]
    if not common:
        raise UsageError(
            f"{first.name} and {second.name} have no question in common; compare runs on the same benchmark"
        )
    for id in common:
        if first.questions[id]["question"] != second.questions[id]["question"]:
            raise UsageError(
                f"question {id} is another one in {second.name} than in {first.name}; compare the same questions"
            )
    found = []
    for ours, theirs in _metrics(first, second):
        ids = [
            id for id in common if ours in first.questions[id]["values"] and theirs in second.questions[id]["values"]
        ]
        if not ids:
            continue
        pairs = [(first.questions[id]["values"][ours], second.questions[id]["values"][theirs]) for id in ids]
        a, b = (list(side) for side in zip(*pairs, strict=True))
        spent = (
            sum(first.questions[id]["tokens"][ours] for id in ids) / len(ids),
            sum(second.questions[id]["tokens"][theirs] for id in ids) / len(ids),
        )
        metric = ours if ours == theirs else f"{ours} / {theirs}"
        found.append(Comparison(metric, sum(a) / len(a), sum(b) / len(b), spent, len(ids), paired_difference(a, b)))
    return found


def sides(spec: str, model: str | None, benchmark: str | None) -> dict[tuple[str, str], Side]:
    """What a run has measured.

    Args:
        spec: ``RUN`` or ``RUN:MODEL``.
        model: only this one; that of `spec` wins.
        benchmark: only this one; ``eval`` is that of `data.eval`.

    Returns:
        (benchmark, model) → side; the model is ``""`` where one was asked for, so that runs can be compared across models.

    Raises:
        UsageError: there is no such run, model or benchmark, or it was measured by an older version.
    """
    path, _, named = spec.rpartition(":")
    if named not in MODELS or not path:
        path, named = spec, model or ""
    folder = Path(path) / "eval"
    if not folder.is_dir():
        raise UsageError(f"{path}: no evaluation in it ({folder} is not there); run `rftt eval CONFIG` first")
    found: dict[tuple[str, str], Side] = {}
    for result in sorted([*folder.glob("*.json"), *folder.glob("*/*.json")], key=lambda p: (p.parent != folder, p)):
        place, measured = DEFAULT if result.parent == folder else result.parent.name, result.stem
        if measured not in MODELS or (named and measured != named) or (benchmark and place != benchmark):
            continue
        lines = result.with_name(f"questions-{measured}.jsonl")
        if not lines.exists():
            raise UsageError(
                f"{lines}: not there; remove {result} and run `rftt eval CONFIG` again, which keeps all samples"
            )
        questions = {line["question_id"]: line for line in read_jsonl(lines)}
        side = Side(f"{path}:{measured}", json.loads(result.read_text(encoding="utf-8")), questions)
        found[place, "" if named else measured] = side
    if not found:
        wanted = " ".join(filter(None, (named, benchmark and f"on {benchmark}")))
        raise UsageError(f"{path}: nothing measured of {wanted or 'any model'}; run `rftt eval CONFIG` first")
    return found


def compare_runs(
    first: str, second: str, *, model: str | None = None, benchmark: str | None = None
) -> Iterator[tuple[str, Side, Side, list[Comparison]]]:
    """Everything that two runs both measured: benchmark, the two sides, their metrics.

    Raises:
        UsageError: as `sides` and `compare`; or they have nothing in common.
    """
    ours, theirs = sides(first, model, benchmark), sides(second, model, benchmark)
    common = [key for key in ours if key in theirs]
    if not common:
        raise UsageError(
            f"{first} and {second} have measured nothing in common: {_listed(ours)} against {_listed(theirs)}; "
            "name models with RUN:MODEL"
        )
    for key in common:
        yield key[0], ours[key], theirs[key], compare(ours[key], theirs[key])


def shown(benchmark: str, first: Side, second: Side, found: list[Comparison]) -> str:
    """A comparison as a text table, with what is not the same on both sides."""
    lines = [f"{benchmark}: A = {first.name}, B = {second.name}"]
    apart = len(set(first.questions) ^ set(second.questions))
    if apart:
        lines.append(f"  {apart} questions that only one side has are left out")
    if changed := different_conditions(first, second):
        lines.append(f"  not measured in the same way: {', '.join(changed)}")
    lines.append(f"  {'':22}{'n':>6}{'A':>8}{'B':>8}   {'B − A [95 %]':24}{'p':>8}  test")
    for c in found:
        d = c.difference
        spread = f"{100 * d.value:+6.1f} [{100 * d.low:+5.1f}, {100 * d.high:+5.1f}]"
        p = "<0.001" if d.p < 0.001 else f"{d.p:.3f}"
        lines.append(
            f"  {c.metric:22}{c.n:6}{100 * c.first:8.1f}{100 * c.second:8.1f}   {spread:24}{p:>8}  {d.test}, "
            f"{d.only_first} better in A, {d.only_second} in B"
        )
    return "\n".join(lines)


def different_conditions(first: Side, second: Side) -> list[str]:
    """Names of the conditions, such as ``sampling.temperature``, that are not those of the other side."""
    ours, theirs = first.result.get("about", {}), second.result.get("about", {})
    found = []
    for name in CONDITIONS:
        a, b = ours.get(name), theirs.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found += [f"{name}.{key}" for key in {**a, **b} if key not in INDIFFERENT and a.get(key) != b.get(key)]
        elif a != b:
            found.append(name)
    return found


def _metrics(first: Side, second: Side) -> Iterator[tuple[str, str]]:
    ours, theirs = first.result["metrics"], second.result["metrics"]
    for name in ours:
        if name in theirs:
            yield name, name
    # k is chosen for equal tokens, so that it may differ.
    votes = [[name for name in side if name.startswith("maj@")] for side in (ours, theirs)]
    if all(len(names) == 1 for names in votes) and votes[0] != votes[1]:
        yield votes[0][0], votes[1][0]


def _listed(found: Mapping[tuple[str, str], Side]) -> str:
    return ", ".join(f"{side.name} on {benchmark}" for (benchmark, _), side in found.items())
