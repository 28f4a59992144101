"""Online RL over functional tokens. `train_rl` is the phase; TRL and torch are imported when it is called."""

from rftt.rl.phase import train_rl

__all__ = ["train_rl"]
