"""Online RL over functional tokens. `train_rl` is the phase; TRL and torch are imported when it is asked for."""

from typing import Any

__all__ = ["train_rl"]


def __getattr__(name: str) -> Any:
    if name == "train_rl":
        from rftt.rl.phase import train_rl

        return train_rl
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
