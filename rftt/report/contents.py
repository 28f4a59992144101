"""What the page shows of run folders, and what a phase that has not run would have left there."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from pathlib import Path

import yaml

from rftt.errors import UsageError
from rftt.report.chains import chains_of
from rftt.report.comparisons import comparisons_of
from rftt.report.curves import curves_of
from rftt.report.graded_answers import samples_of
from rftt.report.lines import MODELS, Record
from rftt.report.overview import differences, masked, read_config, read_summary, seeds
from rftt.report.results import measures_of
from rftt.report.rollouts import rollouts_of
from rftt.report.token_roles import roles_of
from rftt.report.trees import trees_of
from rftt.report.usage import usage_of
from search.functions import RFTT, ROOT, FunctionSet

MEASURED = ("models", "curves", "majority", "verdicts", "benchmarks")  # of the summary, in the measures of the page
MARKS = ("config.yaml", "summary.json", "metrics.jsonl", "search", "shad", "sft", "rl", "eval")


def page_data(runs: Sequence[Path], sets: Sequence[FunctionSet], *, trees: int = 40) -> Record:
    """What the page shows of some runs, as JSON data.

    Args:
        runs: run folders, in the order in which they are shown; with several, each has its share of the page's bytes.
        sets: the token set of each run; their order gives the colours.
        trees: largest number of trees of each file.

    Raises:
        UsageError: as in `write_report`.
    """
    both = zip(runs, sets, strict=True)
    found = [collect(run, trees=trees, functions=functions, share=1 / len(runs)) for run, functions in both]
    for run, name in zip(found, _names(runs), strict=True):
        run["name"] = name
    names = [name for functions in sets for name in functions.names]
    names += [name for run in found for name in run.pop("more_functions")]
    return {
        "title": " · ".join(run["name"] for run in found),
        "written": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "order": [*MODELS],
        "functions": list(dict.fromkeys(names)),
        "root": ROOT,
        "comparisons": comparisons_of(runs),
        "differences": differences([run.pop("settings") for run in found]),
        "runs": found,
    }


def _names(runs: Sequence[Path]) -> list[str]:
    """The folder names, with as many parents before them as tell them apart."""
    parts = [Path(os.path.realpath(run)).parts for run in runs]
    depth = 1
    while depth < max(map(len, parts)) and len({part[-depth:] for part in parts}) < len(set(parts)):
        depth += 1
    return ["/".join(part[-depth:]) for part in parts]


def collect(run: Path, *, trees: int = 40, functions: FunctionSet = RFTT, share: float = 1.0) -> Record:
    """What the page shows of one run.

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
    samples = samples_of(run, functions, notes, share)
    levels = {r["question_id"]: r["level"] for s in samples for r in s["records"] if r.get("level") is not None}
    forest = trees_of(run, trees, levels, notes, share)
    named = dict.fromkeys(n["function"] for source in forest for tree in source["records"] for n in tree["nodes"])
    settings = masked(config)
    data: Record = {
        "name": Path(os.path.realpath(run)).name,
        "times": times,
        "seeds": dict(seeds(config)),
        "config": yaml.safe_dump(settings, sort_keys=False, allow_unicode=True) if config else None,
        "settings": settings,
        "summary": masked({k: v for k, v in summary.items() if k not in MEASURED}),
        "measures": measures_of(run, summary, notes),
        "metrics": metrics,
        "usage": usage_of(run, functions),
        "chains": chains_of(run, notes, share),
        "roles": roles_of(run, notes, share),
        "rollouts": rollouts_of(run, notes, share),
        "samples": samples,
        "trees": forest,
        "more_functions": [name for name in named if name not in (ROOT, *functions.names)],
        "notes": notes,
    }
    return data | {"missing": _missing(data, config)}


def _missing(data: Record, config: Record) -> list[Record]:
    """What a phase that has not run would have left: ``{"section", "what", "command"}``."""
    summary, phases = data["summary"], {curve["phase"] for curve in data["metrics"]}
    own = data["measures"][0]
    sources = [part["source"] for part in data["trees"]]
    kept = "rollouts of the RL with their advantages (rl/rollouts.jsonl)"
    rl = config.get("rl")
    if isinstance(rl, dict) and rl.get("rollouts_every") == 0:
        kept += "; rl.rollouts_every = 0 keeps none, set it to 1 or more"
    found: list[tuple[bool, str, str, str]] = [
        *((m in own["models"], "results", f"results of the {m} model", "eval") for m in MODELS),
        (bool(own["curves"]), "budget", "accuracy of the search over rollouts", "eval"),
        (bool(own["majority"]), "budget", "accuracy of the majority vote", "eval"),
        *((p in phases, "training", f"training curves of the phase {p}", p) for p in ("sft", "rl")),
        (bool(summary.get("seconds")), "time", "time per phase", "run"),
        (bool(data["usage"]), "functions", "chains and answers with functional tokens", "run"),
        (data["chains"] is not None, "chains", "chains for the warm-up (search/chains.jsonl)", "search"),
        ("search" in sources, "trees", "trees of phase 1 (search/trees.jsonl)", "search"),
        (sources not in ([], ["search"]), "trees", "trees of the evaluation (eval/trees-….jsonl)", "eval"),
        (data["roles"] is not None, "roles", "roles of the tokens (shad/roles.jsonl)", "shad"),
        (data["rollouts"] is not None, "rollouts", kept, "rl"),
        (bool(data["samples"]), "samples", "samples of the evaluation (eval/samples-….jsonl)", "eval"),
        (data["config"] is not None, "run", "the settings of the run (config.yaml)", "run"),
    ]
    return [
        {"section": section, "what": what, "command": f"rftt {command} CONFIG"}
        for there, section, what, command in found
        if not there
    ]
