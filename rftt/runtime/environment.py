"""Environment variables that dependencies read when they are imported: telemetry, noise and threads."""

from __future__ import annotations

import os

# Dependencies report usage by default, warn about each other, and let threads spin that cost more than they win.
ENVIRONMENT = {
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "PYTHONWARNINGS": "ignore",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
}


def set_defaults(*, logged: bool = False) -> None:
    """Set `ENVIRONMENT`, before the dependencies are imported; what the user has set stays.

    Args:
        logged: whether a log takes what dependencies print, so that vLLM may say more.
    """
    for name, value in {**ENVIRONMENT, "VLLM_LOGGING_LEVEL": "INFO" if logged else "ERROR"}.items():
        os.environ.setdefault(name, value)
