"""What of an evaluation is there already, and what is still to be measured."""

from __future__ import annotations

import json
from typing import Any

from rftt.config import Config
from rftt.config.sections import EvalConfig
from rftt.data.questions import benchmarks
from rftt.run_folder import results_of


def is_measured(config: Config, name: str, benchmark: str = "") -> bool:
    """Whether the figures are there, those of the strategies that are asked for included."""
    path = results_of(config, name, benchmark)
    if not path.exists() or not config.eval.strategies:
        return path.exists()
    return bool(json.loads(path.read_text(encoding="utf-8")).get("asked") == asked_strategies(config.eval))


def asked_strategies(settings: EvalConfig) -> dict[str, list[Any]]:
    """Which strategies at which budgets are asked for beside samples and search."""
    return {name: list(getattr(settings, name)) for name in ("strategies", "budgets", "token_budgets")}


def unmeasured(config: Config) -> list[str]:
    """The models of ``eval.models`` that lack a result on some benchmark."""
    places = ["", *(b.name for b in benchmarks(config))]
    return [name for name in config.eval.models if not all(is_measured(config, name, b) for b in places)]
