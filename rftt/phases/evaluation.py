"""The evaluation: every model of `eval.models` on the held-out questions and on further benchmarks."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from rftt.config import Config
from rftt.data.benchmarks import Benchmark
from rftt.data.problems import Problem
from rftt.data.questions import benchmark_problems, benchmarks, problems
from rftt.errors import PhaseFailed
from rftt.evaluate.measured import is_measured, unmeasured
from rftt.model.checkpoints import write_json
from rftt.model.function_sets import functions_of_run
from rftt.run_folder import MODELS, results_of, trained_model
from rftt.runtime.children import run_children
from rftt.runtime.own_grading import grading_of
from rftt.runtime.running_engine import running_engine
from rftt.runtime.terminal import conclude, say


def evaluate(config: Config) -> None:
    """Measure the models of ``eval.models``.

    Raises:
        PhaseFailed: a process that measured one of them ended with an error.
    """
    left = unmeasured(config)
    if config.eval.processes == 1 or len(left) < 2:
        for name in left:
            measure(config, name)
        conclude(_measured(left))
        return
    # The results of those who take longest are waited for last: the base has the shortest chains.
    left.sort(key=lambda name: name == "base")
    path = str(config.folder / "config.yaml")
    commands = [[sys.executable, "-m", "rftt.cli", "eval", path, "--model", name] for name in left]
    for name, code in zip(left, run_children(commands, config.eval.processes), strict=True):
        if code:
            raise PhaseFailed(f"measuring {name}", code)
    conclude(_measured(left))


def _measured(names: Sequence[str]) -> str:
    return f"measured: {', '.join(sorted(names, key=list(MODELS).index))}" if names else "all models measured before"


def measure(config: Config, name: str) -> None:
    """Measure the model ``base``, ``sft`` or ``rl`` on everything it lacks a result on, with one start of the engine."""
    from rftt.evaluate import Job, evaluate_model
    from rftt.runtime.running_scorer import running_scorer

    train, held_out = problems(config)
    model = trained_model(config, name)
    places: list[tuple[Benchmark | None, Sequence[Problem]]] = [(None, held_out)]
    places += [(benchmark, benchmark_problems(config, benchmark)) for benchmark in benchmarks(config)]
    left = [(b, asked) for b, asked in places if not is_measured(config, name, b.name if b else "")]
    if not left:
        say(f"{name}: measured before")
        return
    counts = config.folder / "data" / "counts.json"
    left_out = json.loads(counts.read_text())["overlaps_left_out"] if counts.exists() else 0
    shared: dict[str, Any] = {"functions": functions_of_run(config, model), "train": train, "left_out": left_out,
                              "grading": grading_of(config)}  # fmt: skip
    guided = config.eval.guide == "prm"
    with (
        running_scorer(config) if guided else nullcontext() as scorer,
        running_engine(config, model) as engine,
    ):
        for benchmark, asked in left:
            result = results_of(config, name, benchmark.name if benchmark else "")
            job = Job(name, engine, asked, config, result.parent, scorer, benchmark, **shared)
            write_json(result, asyncio.run(evaluate_model(job)))
