"""One phase of a run within a number of seconds: ``python boxed.py PHASE CONFIG SECONDS [section.key=value…]``.

When the time is up, the search ends with the questions that it has finished, and the others leave the run's training
questions; a training ends after its step and saves its model.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from rftt.config import Config, load_config
from rftt.phases import PHASES
from rftt.phases.search_phase import RESULT
from rftt.pipeline import prepare
from search.journal import Journal, read_jsonl, write_jsonl


def search(config: Config, seconds: float) -> None:
    """Search as long as the time allows, then collect what is finished."""
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))  # the engine is closed as after Ctrl-C
    timer.start()
    try:
        PHASES["search"](config)
        return
    except KeyboardInterrupt:
        pass
    finally:
        timer.cancel()
    train = config.folder / "data" / "train.jsonl"
    journal = Journal(config.folder / "search" / "questions-0.jsonl")
    done = [problem for problem in read_jsonl(train) if problem["id"] in journal]
    print(f"time is up: {len(done)} questions are searched", flush=True)
    journal.finish(problem["id"] for problem in done)
    write_jsonl(config.folder / "search" / "failed-0.jsonl", [])
    write_jsonl(train, done)
    if not (config.folder / RESULT).exists():
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


def main(phase: str, path: str, seconds: str, *overrides: str) -> None:
    deadline = time.monotonic() + float(seconds)
    config = load_config(Path(path), overrides)
    prepare(config)
    if phase == "search":
        search(config, float(seconds))
    elif phase in ("sft", "rl"):
        PHASES[phase](config, callbacks=[stop_at(deadline)])
    else:
        PHASES[phase](config)


if __name__ == "__main__":
    main(*sys.argv[1:])
