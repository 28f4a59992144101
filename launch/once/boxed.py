"""One phase of a run until a time: ``python boxed.py PHASE CONFIG DEADLINE [section.key=value…]``.

DEADLINE is a time of the system's monotonic clock, in seconds. A training ends after the step in which the time is up, and
saves its model. A search is killed by whoever started it, since what is finished is kept; PHASE ``collect`` then goes on
with the questions that are finished, and the others leave the run's training questions.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from rftt.config import Config, load_config
from rftt.phases import PHASES
from rftt.pipeline import prepare
from search.journal import Journal, read_jsonl, write_jsonl


def collect(config: Config) -> None:
    """Write trees and chains of the questions that a killed search has finished."""
    train = config.folder / "data" / "train.jsonl"
    journal = Journal(config.folder / "search" / "questions-0.jsonl")
    if not journal.finished:
        done = [problem for problem in read_jsonl(train) if problem["id"] in journal]
        print(f"time is up: {len(done)} questions are searched", flush=True)
        journal.finish(problem["id"] for problem in done)
        write_jsonl(config.folder / "search" / "failed-0.jsonl", [])
        write_jsonl(train, done)
    PHASES["search"](config)  # nothing is left to search: it only collects


def stop_at(deadline: float) -> Any:
    """A transformers trainer callback that ends a training after the step in which the time is up."""
    from transformers import TrainerCallback

    class Stop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            if time.monotonic() >= deadline:
                print(f"time is up after {state.global_step} steps", flush=True)
                control.should_training_stop = True
            return control

    return Stop()


def main(phase: str, path: str, deadline: str, *overrides: str) -> None:
    config = load_config(Path(path), overrides)
    prepare(config)
    if phase == "collect":
        collect(config)
    elif phase in ("sft", "rl"):
        PHASES[phase](config, callbacks=[stop_at(float(deadline))])
    else:
        PHASES[phase](config)


if __name__ == "__main__":
    main(*sys.argv[1:])
