"""What a phase starts from: the models and the problems of a run."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rftt.checkpoints import write_whole
from rftt.config import Config
from rftt.errors import UsageError
from rftt.problems import Problem, load_problems, refuse_overlap
from search.journal import read_jsonl, write_jsonl

log = logging.getLogger(__name__)

MODELS = {"base": "model", "sft": "sft/final", "rl": "rl/final"}


def model_path(config: Config) -> str:
    """The un-tuned model: a folder, a hub name, or the toy that ships with the package."""
    if config.model.path == "toy":
        from rftt.toy import BASE

        return str(BASE)
    return config.model.path


def trained_model(config: Config, name: str) -> Path:
    """Folder of the model ``base``, ``sft`` or ``rl`` of a run.

    Raises:
        UsageError: the phase that makes it has not run.
    """
    if name == "base":
        return Path(model_path(config))
    folder = config.folder / MODELS[name]
    if not folder.exists():
        raise UsageError(f"{folder}: there is no {name} model yet; run `rftt {name} CONFIG` first")
    return folder


def problems(config: Config) -> tuple[list[Problem], list[Problem]]:
    """Training and evaluation questions of a run, kept in ``data/`` so that every phase sees the same.

    Raises:
        UsageError: a file cannot be read, or the training questions overlap the evaluation questions.
    """
    folder, data = config.folder / "data", config.data
    paths = [folder / "train.jsonl", folder / "eval.jsonl"]
    if not all(p.exists() for p in paths):
        train = _problems(data.train, data.train_split, data.train_name, data.columns, data.train_limit, config.seed)
        held_out = _problems(
            data.eval, data.eval_split, data.eval_name, data.eval_columns, data.eval_limit, config.seed
        )
        kept, overlaps = refuse_overlap(train, held_out, mode=data.overlap)
        if overlaps:
            log.warning("left out %d training questions that overlap evaluation questions", len(overlaps))
        for path, listed in zip(paths, (kept, held_out), strict=True):
            write_jsonl(path, (p.to_json() for p in listed))
        counts = {"train": len(kept), "eval": len(held_out), "overlaps_left_out": len(overlaps)}
        write_whole(folder / "counts.json", json.dumps(counts, indent=1) + "\n")
    return tuple([Problem.from_json(r) for r in read_jsonl(p)] for p in paths)  # type: ignore[return-value]


def _problems(
    source: str, split: str, name: str | None, columns: dict[str, Any], limit: int | None, seed: int
) -> Sequence[Problem]:
    if source == "toy":
        from rftt.toy.world import rows

        return [Problem.from_json(r) for r in rows(split, limit or 512, seed)]
    loaded = load_problems(source, columns=columns or None, split=split, name=name)
    if limit is None or limit >= len(loaded):
        return loaded
    chosen = sorted(random.Random(f"{seed}/limit").sample(range(len(loaded)), limit))
    return [loaded[i] for i in chosen]


def results_of(config: Config, name: str) -> Path:
    """Where the figures of a measured model stand."""
    return config.folder / "eval" / f"{name}.json"


def needed(path: Path, phase: str) -> Path:
    """The path of what another phase leaves in the run folder.

    Raises:
        UsageError: that phase has not run.
    """
    if not path.exists():
        raise UsageError(f"{path}: not there yet; run `rftt {phase} CONFIG` first")
    return path


def round_folder(config: Config, number: int) -> Path:
    """Where a round of search and SFT leaves its results: the last one in the run folder itself."""
    last = number == config.search.rounds
    return config.folder if last else config.folder / "rounds" / str(number)


def open_round(config: Config, result: str) -> int | None:
    """Number, from 1, of the first round that lacks `result`; None when every round has it."""
    rounds = range(1, config.search.rounds + 1)
    return next((k for k in rounds if not (round_folder(config, k) / result).exists()), None)
