"""Engines: what generates tokens, behind one small interface.

Engines are imported lazily: ``from search.engines import VLLMEngine`` loads vLLM only when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from search.engines.engine import Engine, EngineStats, Generation, Sampling

if TYPE_CHECKING:
    from search.engines.fake import FakeEngine
    from search.engines.server import ServerEngine
    from search.engines.transformers import TransformersEngine
    from search.engines.vllm import VLLMEngine

__all__ = [
    "Engine",
    "EngineStats",
    "FakeEngine",
    "Generation",
    "Sampling",
    "ServerEngine",
    "TransformersEngine",
    "VLLMEngine",
]

_MODULES = {"VLLMEngine": "vllm", "TransformersEngine": "transformers", "ServerEngine": "server", "FakeEngine": "fake"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
