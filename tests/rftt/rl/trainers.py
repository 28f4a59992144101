"""The trainer that `train_rl` would build, without training it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rftt.config import Config
from rftt.data.problems import Problem
from rftt.rl.auxiliary_loss import RoleSources
from rftt.rl.phase import build_trainer


def trainer_of(config: Config, model: Path, problems: Sequence[Problem], folder: Path) -> Any:
    """Args:
    config: the run's.
    model: model folder.
    problems: training questions.
    folder: for checkpoints.
    """
    return build_trainer(
        model, problems, folder, config.rl, config.engine, role_sources(config, model), dtype=config.model.dtype,
        seed=config.seed,
    )  # fmt: skip


def role_sources(config: Config, original: Path) -> RoleSources:
    """Where the auxiliary loss of a run gets its roles from."""
    shad = config.shad
    return RoleSources(
        config.folder / "shad", original, config.model.dtype, shad.threshold, shad.score_tokens,
        config.sft.weighting.boilerplate,
    )  # fmt: skip
