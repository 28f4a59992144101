"""The search phase on scripted models, in a process of its own that can be killed.

``KILL_AT=n`` in the environment ends the process with SIGKILL at its n-th request; ``FAIL=text`` makes requests fail whose
prompt holds it.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from rftt.config import Config, from_dict
from rftt.phases import search_phase
from search.engines import FakeEngine
from search.engines.engine import EngineError
from search.journal import write_jsonl
from tests.search.fakes import TOKENIZER, functional_script, prompted_script

QUESTIONS = 14


class Doomed(FakeEngine):
    """A scripted model that fails, or takes the whole process with it, as the environment says."""

    async def generate(self, prompt_ids, sampling):
        if len(self.log) + 1 == int(os.environ.get("KILL_AT", "0")):
            os.kill(os.getpid(), signal.SIGKILL)
        bad = os.environ.get("FAIL")
        if bad and bad in TOKENIZER.decode(prompt_ids):
            self.log.append((tuple(prompt_ids), sampling))
            await asyncio.sleep(0)
            raise EngineError(f"the server cannot read {bad!r}")
        return await super().generate(prompt_ids, sampling)


def config(run: Path, **search: object) -> Config:
    """A config of a run folder whose questions are there already; gold is 0, which the scripts say now and then."""
    problems = [{"id": f"q{i}", "question": f"What is {i}?", "answer": "0"} for i in range(QUESTIONS)]
    if not (run / "data" / "train.jsonl").exists():
        for name in ("train", "eval"):
            write_jsonl(run / "data" / f"{name}.jsonl", [p | {"source": "test"} for p in problems])
    settings = {"rollouts": 6, "max_depth": 5, "live_trees": 4, "chains_per_question": 2, "preferences": 2}
    return from_dict({"run": str(run), "search": settings | search})


def run_search(settings: Config) -> FakeEngine:
    """Search one round; returns the engine."""
    made: list[FakeEngine] = []

    @contextmanager
    def running_engine(_config: Config, model: str):
        script = functional_script if "sft" in str(model) else prompted_script
        made.append(Doomed(script, TOKENIZER, eos_ids=frozenset({0}), turns=3, max_model_len=16384))
        yield made[-1]

    with mock.patch.object(search_phase, "running_engine", running_engine):
        search_phase.search(settings)
    return made[-1]


def run_killed_at(run: Path, request: int = 0) -> None:
    """The whole phase in this process, which is killed at that request; at 0 it goes to its end."""
    os.environ["KILL_AT"] = str(request)
    run_search(config(run))
