"""The engine that a config asks for, on a model folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rftt.config import Config
from search.engines import Engine


def build_engine(config: Config, model: str | Path) -> Engine:
    """Start ``config.engine`` on a model.

    Raises:
        EngineError: the engine cannot start.
    """
    from search import engines

    options: dict[str, Any] = {"dtype": config.model.dtype} | config.engine.options
    if config.engine.name == "vllm":
        # One seed for what has no seed of its own; a trainer in the same process keeps its random state.
        return engines.VLLMEngine(str(model), max_model_len=config.engine.max_model_len, seed=config.seed, **options)
    return engines.TransformersEngine(str(model), max_model_len=config.engine.max_model_len, **options)


@contextmanager
def running_engine(config: Config, model: str | Path) -> Iterator[Engine]:
    """An engine that is closed at the end."""
    engine = build_engine(config, model)
    try:
        yield engine
    finally:
        engine.close()
