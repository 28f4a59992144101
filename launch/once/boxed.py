"""One phase of a run until a time: ``python boxed.py PHASE CONFIG DEADLINE [section.key=value…]``.

DEADLINE is a time of the system's monotonic clock, in seconds. A training ends after the step in which the time is up, and
saves its model. A search is killed by whoever started it, since what is finished is kept; PHASE ``collect`` then goes on
with the questions that are finished, and the others leave the run's training questions.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from rftt.config import Config, load_config
from rftt.phases import PHASES
from rftt.pipeline import prepare
from search.journal import Journal, read_jsonl, write_jsonl


def collect(config: Config) -> None:
    """Write trees and chains of the questions that a killed search has finished, in however many processes."""
    folder, train = config.folder / "search", config.folder / "data" / "train.jsonl"
    questions = list(read_jsonl(train))
    shares = [Journal(folder / f"questions-{i}.jsonl") for i in range(config.search.processes)]
    order = [question["id"] for question in questions]
    records = {record["question_id"]: record for share in shares for record in share.read(order)}
    print(f"time is up: {len(records)} questions are searched", flush=True)
    # As one process that searched them all would leave them. What is killed here, or finds the disk full, can be repeated.
    write_jsonl(shares[0].path, (records[id] for id in order if id in records))
    for share in shares:
        share.close()
    failures = [path for i in range(len(shares)) if (path := folder / f"failed-{i}.jsonl").exists()]
    failed = {record["question_id"]: record for path in failures for record in read_jsonl(path)}
    write_jsonl(folder / "failed-0.jsonl", failed.values())
    for path in [*folder.glob("questions-*.jsonl*"), *failures]:
        if path not in (shares[0].path, folder / "failed-0.jsonl"):
            path.unlink()
    write_jsonl(train, (question for question in questions if question["id"] in records))
    PHASES["search"](replace(config, search=replace(config.search, processes=1)))  # it only collects


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
