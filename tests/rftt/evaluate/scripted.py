"""A run folder whose models are scripted: what they say depends on the seed of the request."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import pytest

from rftt.config import Config, from_dict
from rftt.phases import evaluation
from search.engines import FakeEngine, Generation
from search.engines.engine import EngineGone
from search.functions import RFTT
from search.journal import write_jsonl
from tests.search.fakes import TOKENIZER, CharTokenizer, functional_script, prompted_script

SETTINGS = {
    "rollouts": [1, 2, 4],
    "samples": 4,
    "max_depth": 6,
    "search_limit": 5,
    "max_tokens": 400,
    "models": ["base", "sft"],
}
# Two questions made of it share more than 13 words in a row.
LONG = "A farmer has {} cows and {} hens on the farm and sells all of them on the next market day"


class Failing(FakeEngine):
    """Is gone from its n-th request on; none by default."""

    last = 10**9

    async def generate(self, prompt_ids, sampling):
        if len(self.log) >= self.last:
            raise EngineGone("the engine is gone; start again")
        if len(prompt_ids) >= self.max_model_len:
            return [Generation((), False)] * sampling.n
        return await super().generate(prompt_ids, sampling)


class Untuned(CharTokenizer):
    """Of a model without functional tokens."""

    def get_vocab(self):
        return {token: id for token, id in self.vocabulary.items() if token not in RFTT.tags}


def questions(count: int = 8, start: int = 0) -> list[dict]:
    """Gold is 0, 1 or 2, which is what the scripts say."""
    return [
        {"id": f"q{i}", "question": f"What is {i}?", "answer": str(i % 3), "level": str(i % 2), "subject": "sums",
         "source": "test"}
        for i in range(start, start + count)
    ]  # fmt: skip


def config(run: Path, data: dict | None = None, **settings: object) -> Config:
    """A config of a run folder with training questions that have nothing to do with the others."""
    files = {"train": questions(6, start=100), "eval": questions()}
    for name, rows in files.items():
        if not (run.parent / f"{name}.jsonl").exists():
            write_jsonl(run.parent / f"{name}.jsonl", rows)
    places = {name: str(run.parent / f"{name}.jsonl") for name in files}
    return from_dict({"run": str(run), "data": places | (data or {}), "eval": SETTINGS | settings})


def engines(monkeypatch: pytest.MonkeyPatch, last: int | None = None) -> list[FakeEngine]:
    """Put scripted engines in the place of real ones; returns those that were started."""
    started: list[FakeEngine] = []

    @contextmanager
    def running_engine(_config: Config, model: str | Path):
        tuned = "sft" in str(model)
        script = functional_script if tuned else prompted_script
        engine = Failing(script, TOKENIZER if tuned else Untuned(), eos_ids=frozenset({0}), turns=2)
        if last is not None:
            engine.last = last
        started.append(engine)
        yield engine

    monkeypatch.setattr(evaluation, "running_engine", running_engine)
    monkeypatch.setattr(evaluation, "trained_model", lambda _config, name: Path(name))
    monkeypatch.setattr(evaluation, "functions_of_run", lambda _config, _model: RFTT)
    return started
