"""Teach a language model to reason with functional tokens.

>>> from rftt import load_config, run
>>> run(load_config("configs/toy.yaml", ["run=runs/mine"]))
"""

from typing import Any

__all__ = ["load_config", "run"]


def __getattr__(name: str) -> Any:
    if name == "load_config":
        from rftt.config import load_config

        return load_config
    if name == "run":
        from rftt.pipeline import run

        return run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
