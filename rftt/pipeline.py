"""All phases in order into one run folder, each in a process of its own and skipped when its result is there.

A phase that is killed goes on where it stopped when the same command is given again. A process a phase: engines and
trainers free all their memory, and each phase can be started by a launcher of its own.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from rftt.config import Config
from rftt.config.config_file import read_config
from rftt.data.questions import problems
from rftt.errors import PhaseFailed, UsageError
from rftt.model.checkpoints import write_whole
from rftt.phases import plan, report
from rftt.phases.frozen import refuse_changes
from rftt.phases.search_phase import remove_collected
from rftt.phases.summary import summarise
from rftt.rl.grpo_options import uses_vllm
from rftt.run_folder import MODELS, model_path
from rftt.runtime import terminal
from rftt.runtime.children import run_children
from rftt.runtime.folder_lock import holding
from rftt.runtime.own_grading import grading_of
from rftt.runtime.status import NAME, TIME
from rftt.weighting.registry import WEIGHTINGS, load_weighting
from search.functions import FunctionSet


def prepare(config: Config) -> Path:
    """Check model, data and settings, and write the resolved config into the run folder.

    Returns:
        ``config.yaml`` in the run folder.

    Raises:
        UsageError: something is wrong with them, or a phase that has begun depended on other settings or another token set.
    """
    from rftt.model.function_sets import keep_functions
    from rftt.model.vocabulary import check_model

    path = config.folder / "config.yaml"
    resolved, before = config.to_dict(), None
    if path.exists():
        before = read_config(path).to_dict()
        if any(name.startswith("data.") or name == "seed" for name in refuse_changes(config.folder, before, resolved)):
            shutil.rmtree(config.folder / "data", ignore_errors=True)  # nothing has been made of these questions yet
    else:
        check_model(
            model_path(config),
            pad_token=config.model.pad_token,
            asking=config.model,
            trust_remote_code=config.model.trust_remote_code,
        )
    functions = keep_functions(config)
    grading_of(config)
    _check_weighting(config, functions)
    problems(config)
    if before != resolved:
        write_whole(path, yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True))
    return path


def run(config: Config, command: Sequence[str] = ()) -> dict[str, float]:
    """Run every phase that has no result yet; then the summary, the table and the report.

    Args:
        config: settings of the run.
        command: command line of the user, for the report.

    Returns:
        Seconds by phase.

    Raises:
        UsageError: bad settings, or another process runs it; PhaseFailed: a phase ended with an error.
    """
    with holding(config.folder, "run"):
        return _run(config, command)


def _run(config: Config, command: Sequence[str]) -> dict[str, float]:
    if not (config.folder / MODELS["rl"]).exists():
        uses_vllm(config.rl, config.engine)  # or it would be told after hours of search
    path = prepare(config)
    terminal.keep_log(config.folder)
    remove_collected(config)
    for phase, result in plan(config):
        if result.exists():
            terminal.say(f"{phase:<{NAME}}{'done before':>{TIME}}")
            continue
        begun = time.monotonic()
        with terminal.phase(phase):
            [code] = run_children([[sys.executable, "-m", "rftt.cli", phase, str(path)]])
            _add_seconds(config.folder, phase, time.monotonic() - begun)
            if code:
                raise PhaseFailed(f"phase {phase}", code)
    terminal.say(f"\n{summarise(config, shlex.join(command))}\n")
    report(config)
    return _seconds(config.folder / "seconds.json")


def _check_weighting(config: Config, functions: FunctionSet) -> None:
    """Raises:
    UsageError: a weighting of ours names a function that the token set does not have.
    """
    settings = config.sft.weighting
    if settings.name in WEIGHTINGS:  # a user's module is imported where it is needed
        try:
            load_weighting(settings.name, settings.options).for_functions(functions)
        except ValueError as error:
            raise UsageError(f"sft.weighting.{error}") from error


def _add_seconds(folder: Path, phase: str, seconds: float) -> None:
    """A phase that was resumed counts all its sittings."""
    path = folder / "seconds.json"
    times = _seconds(path)
    times[phase] = round(times.get(phase, 0.0) + seconds, 2)
    write_whole(path, json.dumps(times))


def _seconds(path: Path) -> dict[str, float]:
    """Seconds by phase; those of phases that were run by their own command are not taken down."""
    return json.loads(path.read_text()) if path.exists() else {}
