"""Every change to vLLM, in one place. Written for vLLM 0.31.0; `tests/search/test_vllm_changes.py` holds each contract.

- `allow_weight_updates_on_cpu` (``layers.utils.dispatch_cpu_unquantized_gemm``): on a CPU vLLM repacks linear weights for
  oneDNN and drops the parameters that `load_weights` writes to.
- `CountedSchedule` (``Scheduler.schedule``): vLLM does not tell how many tokens a step computes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

WRITTEN_FOR = "0.31.0"
# One process, no thread pinning: on a CPU the engine's own process and automatic binding cost up to a factor of ten.
_CPU_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}


def prepare_environment() -> None:
    """Set what vLLM reads from the environment, before vLLM is imported; what the user has set stays."""
    for name, value in _CPU_ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def allow_weight_updates_on_cpu() -> None:
    """Keep linear weights where `load_weights` finds them; call before an engine is built whose weights will change.

    With the plain kernel the parameters stay. On other devices this changes nothing.
    """
    prepare_environment()
    from vllm.model_executor.layers import utils
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        import torch

        def keep_plain(layer: Any, remove_weight: bool) -> None:
            layer.cpu_linear = torch.nn.functional.linear

        utils.dispatch_cpu_unquantized_gemm = keep_plain


class CountedSchedule:
    """Counts the tokens that each step of an engine in this process computes, until it is taken off.

    Args:
        llm: a ``vllm.LLM``.
        count: receives the tokens of a step.
    """

    def __init__(self, llm: Any, count: Callable[[int], None]) -> None:
        core = getattr(llm.llm_engine.engine_core, "engine_core", None)  # None where it is another process
        self._scheduler: Any = getattr(core, "scheduler", None)
        self._count = count
        if self._scheduler:
            self._schedule = self._scheduler.schedule
            self._scheduler.schedule = self._counting

    def __bool__(self) -> bool:
        """Whether the engine is in this process, so that its tokens are counted."""
        return bool(self._scheduler)

    def remove(self) -> None:
        """Give the engine its own method back."""
        if self._scheduler:
            self._scheduler.schedule = self._schedule

    def _counting(self, *args: Any, **named: Any) -> Any:
        scheduled = self._schedule(*args, **named)
        self._count(scheduled.total_num_scheduled_tokens)
        return scheduled
