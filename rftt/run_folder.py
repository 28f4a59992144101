"""Where things stand in a run folder: models, rounds, figures."""

from __future__ import annotations

from pathlib import Path

from rftt.config import Config
from rftt.errors import UsageError

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


def results_of(config: Config, name: str, benchmark: str = "") -> Path:
    """Where the figures of a measured model stand.

    Args:
        config: settings of the run.
        name: name of the model: base, sft or rl.
        benchmark: name of the benchmark; ``""`` for `data.eval`.
    """
    return config.folder / "eval" / benchmark / f"{name}.json"


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
