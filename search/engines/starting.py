"""Engines by name: how each is started from the settings of a run.

A further engine is one file with a class that keeps to `Engine` and a function that starts it, and one row of `ENGINES`. A
user's own is named ``module:function`` and gets the same `EngineSettings`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search.engines.engine import Engine, EngineError
from search.named import load_named


@dataclass(frozen=True)
class EngineSettings:
    """What an engine is started with.

    Args:
        model: model folder or hub name.
        max_model_len: longest prompt plus continuation, in tokens.
        dtype: dtype of the weights, ``"auto"`` for that of the checkpoint.
        seed: seed of requests that have none of their own.
        servers: URLs of running servers, for engines that ask some.
        options: options of this engine alone.
        trust_remote_code: run code that comes with the model.
    """

    model: str
    max_model_len: int = 4096
    dtype: str = "auto"
    seed: int = 0
    servers: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    trust_remote_code: bool = False

    @property
    def own(self) -> dict[str, Any]:
        """Options, with the model's own settings where they do not say otherwise."""
        return {"trust_remote_code": self.trust_remote_code, **self.options}


def start_engine(name: str, settings: EngineSettings) -> Engine:
    """Start an engine.

    Args:
        name: key of `ENGINES`, or ``module:function`` that takes `EngineSettings` and returns an `Engine`.
        settings: what it is started with.

    Raises:
        ValueError: there is no engine of this name, or an option is unknown to it.
        EngineError: the engine cannot start.
    """
    engine: Engine = load_named(name, ENGINES, "engine")(settings)
    if lacking := [
        part for part in ("generate", "close", "tokenizer", "eos_ids", "stats") if not hasattr(engine, part)
    ]:
        raise ValueError(
            f"engine {name!r}: {type(engine).__name__} has no {lacking[0]}, which search.engines.Engine asks for"
        )
    return engine


def start_vllm(settings: EngineSettings) -> Engine:
    """vLLM in this process."""
    from search.engines.vllm import VLLMEngine

    chosen = {"dtype": settings.dtype, "seed": settings.seed, **settings.own}
    return VLLMEngine(settings.model, max_model_len=settings.max_model_len, **chosen)


def start_transformers(settings: EngineSettings) -> Engine:
    """The model as transformers loads it, in this process."""
    from search.engines.transformers import TransformersEngine

    chosen = {"dtype": settings.dtype, **settings.own}
    return TransformersEngine(settings.model, max_model_len=settings.max_model_len, **chosen)


def start_servers(settings: EngineSettings) -> Engine:
    """vLLM servers that run already."""
    from search.engines.server import ServerEngine

    known = set(inspect.signature(ServerEngine).parameters) - {"urls", "tokenizer", "max_model_len"}
    if unknown := sorted(set(settings.options) - known):
        raise ValueError(
            f"options.{unknown[0]} is unknown to engine.name: server, expected one of {', '.join(sorted(known))}; "
            "what vLLM is to know goes to the command line of its servers"
        )
    options = {"seed": settings.seed, **settings.own}
    built = ServerEngine(settings.servers, tokenizer=settings.model, max_model_len=settings.max_model_len, **options)
    if "model" not in settings.options and not any(_same_model(name, settings.model) for name in built.served):
        raise EngineError(
            f"the servers serve {' = '.join(sorted(built.served))}, not {settings.model}: start them with launch/servers.sh "
            f"{settings.model}, or say with engine.options.model={built.model} that it is the same"
        )
    return built


def _same_model(one: str, other: str) -> bool:
    """Whether two folders or hub names are the same, however the folders are written."""
    return Path(one).resolve() == Path(other).resolve()


ENGINES: Mapping[str, Callable[[EngineSettings], Engine]] = {
    "vllm": start_vllm,
    "transformers": start_transformers,
    "server": start_servers,
}
