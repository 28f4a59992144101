"""What the page shows of a run folder, and what a phase that has not run would have left there."""

from __future__ import annotations

import datetime
from pathlib import Path

import yaml

from rftt.errors import UsageError
from rftt.report.chains import chains_of
from rftt.report.curves import curves_of
from rftt.report.lines import MODELS, Record
from rftt.report.rollouts import rollouts_of
from rftt.report.samples import samples_of
from rftt.report.settings import masked, read_config, read_summary, seeds
from rftt.report.trees import trees_of
from search.functions import RFTT, ROOT, FunctionSet

MARKS = ("config.yaml", "summary.json", "metrics.jsonl", "search", "sft", "rl", "eval")


def collect(run: Path, *, trees: int = 40, functions: FunctionSet = RFTT) -> Record:
    """What the page shows, as JSON data.

    Raises:
        UsageError: as in `write_report`.
    """
    if not run.is_dir():
        raise UsageError(f"there is no run folder {run}; check the path, or make it with: rftt run CONFIG")
    if not any((run / mark).exists() for mark in MARKS):
        raise UsageError(f"{run} holds no run (none of {', '.join(MARKS)}); check the path")
    config, summary = read_config(run / "config.yaml"), read_summary(run / "summary.json")
    notes: list[str] = []
    metrics, times = curves_of(run, notes)
    samples = samples_of(run, notes)
    levels = {r["question_id"]: r["level"] for s in samples for r in s["records"] if r.get("level") is not None}
    forest = trees_of(run, trees, levels, notes)
    names = list(functions.names)
    for node in (n for source in forest for tree in source["records"] for n in tree["nodes"]):
        if node["function"] not in (ROOT, *names):
            names.append(node["function"])
    data: Record = {
        "name": run.resolve().name,
        "written": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "times": times,
        "seeds": dict(seeds(config)),
        "config": yaml.safe_dump(masked(config), sort_keys=False, allow_unicode=True) if config else None,
        "summary": masked(summary),
        "order": [*MODELS],
        "functions": names,
        "root": ROOT,
        "metrics": metrics,
        "chains": chains_of(run, notes),
        "rollouts": rollouts_of(run, notes),
        "samples": samples,
        "trees": forest,
        "notes": notes,
    }
    return data | {"missing": _missing(data, config)}


def _missing(data: Record, config: Record) -> list[Record]:
    """What a phase that has not run would have left: ``{"section", "what", "command"}``."""
    summary, phases = data["summary"], {curve["phase"] for curve in data["metrics"]}
    sources = [part["source"] for part in data["trees"]]
    evaluated = summary.get("models") or {}
    kept = "rollouts of the RL with their advantages (rl/rollouts.jsonl)"
    rl = config.get("rl")
    if isinstance(rl, dict) and rl.get("rollouts_every") == 0:
        kept += "; rl.rollouts_every = 0 keeps none, set it to 1 or more"
    found: list[tuple[bool, str, str, str]] = [
        *((m in evaluated, "results", f"results of the {m} model", "eval") for m in MODELS),
        (bool(summary.get("curves")), "budget", "accuracy of the search over rollouts", "eval"),
        (bool(summary.get("majority")), "budget", "accuracy of the majority vote", "eval"),
        *((p in phases, "training", f"training curves of the phase {p}", p) for p in ("sft", "rl")),
        (bool(summary.get("seconds")), "time", "time per phase", "run"),
        (data["chains"] is not None, "chains", "chains for the warm-up (search/chains.jsonl)", "search"),
        ("search" in sources, "trees", "trees of phase 1 (search/trees.jsonl)", "search"),
        (sources not in ([], ["search"]), "trees", "trees of the evaluation (eval/trees-….jsonl)", "eval"),
        (data["rollouts"] is not None, "rollouts", kept, "rl"),
        (bool(data["samples"]), "samples", "samples of the evaluation (eval/samples-….jsonl)", "eval"),
        (data["config"] is not None, "run", "the settings of the run (config.yaml)", "run"),
    ]
    return [
        {"section": section, "what": what, "command": f"rftt {command} CONFIG"}
        for there, section, what, command in found
        if not there
    ]
