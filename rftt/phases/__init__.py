"""The phases of a run: each reads what the ones before it left in the run folder and leaves its own result, whole.

tokens   model-with-tokens/            search   search/trees.jsonl, search/chains.jsonl
shad     shad/roles.jsonl, shad/summary.json
sft      sft/final/                    rl       rl/final/
eval     eval/, summary.json           report   report.html

Rounds of search and SFT before the last leave theirs in ``rounds/1/`` and so on.
"""

from __future__ import annotations

from pathlib import Path

from rftt.config import Config
from rftt.evaluate.measured import unmeasured
from rftt.model.function_sets import functions_of_folder
from rftt.phases.evaluation import evaluate
from rftt.phases.search_phase import RESULT as SEARCH_RESULT
from rftt.phases.search_phase import search
from rftt.phases.tuning import SFT_RESULT, SHAD_RESULT, rl, sft, shad, tokens
from rftt.run_folder import MODELS, round_folder
from rftt.runtime.terminal import say

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


def report(config: Config) -> None:
    """Write ``report.html``."""
    from rftt.report import write_report

    say(f"report: {write_report(config.folder, functions=functions_of_folder(config.folder))}")
