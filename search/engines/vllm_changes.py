"""Every change to vLLM, in one place. Written for vLLM 0.31.0; `tests/search/test_vllm_changes.py` holds each contract.

- `allow_weight_updates_on_cpu` (``layers.utils.dispatch_cpu_unquantized_gemm``): on a CPU vLLM repacks linear weights for
  oneDNN and drops the parameters that `load_weights` writes to.
- `CountedSchedule` (``Scheduler.schedule``): vLLM does not tell how many tokens a step computes.
- `sample_fast_on_cpu` (``TopKTopPSampler.forward_cpu``): on a CPU vLLM sorts the whole vocabulary for every token that is
  sampled from a nucleus, and draws a random number for each of its entries, twice where requests have seeds. With 152,000
  entries that takes longer than the forward pass of a small model.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

WRITTEN_FOR = "0.31.0"
_LARGE_VOCABULARY = 16_384
_CANDIDATES = (512, 8192)  # likeliest tokens that are looked at before all of them; the first hold nearly every nucleus
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


def sample_fast_on_cpu() -> None:
    """Draw a token from a large vocabulary by one random number; call before an engine is built.

    Tokens have the same probabilities as before, and a seeded request the same tokens each time, but others than vLLM's own
    way gives it. On other devices, and with a small vocabulary, this changes nothing.
    """
    prepare_environment()
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    from vllm.v1.sample.ops.topk_topp_sampler import TopKTopPSampler

    vllm_s = TopKTopPSampler.forward_cpu
    if hasattr(vllm_s, "replaced"):
        return

    def forward_cpu(self: Any, logits: Any, generators: dict[int, Any], k: Any, p: Any) -> tuple[Any, Any]:
        processed = self.logprobs_mode.startswith("processed")
        if k is not None or processed or self.use_fp64_gumbel or logits.shape[-1] < _LARGE_VOCABULARY:
            return vllm_s(self, logits, generators, k, p)
        return drawn(logits, generators, p), None

    forward_cpu.replaced = vllm_s  # type: ignore[attr-defined]
    TopKTopPSampler.forward_cpu = forward_cpu


def drawn(logits_BV: Any, generators: Mapping[int, Any], top_p_B: Any = None) -> Any:
    """One token for each row of logits, by inverting the distribution function of its nucleus.

    Args:
        logits_BV: logits, divided by the temperature.
        generators: of the rows that have a seed; others draw from torch's own.
        top_p_B: mass of each row's nucleus: the likeliest tokens until their mass reaches it; None for all tokens.

    Returns:
        Ids of the tokens, shape (B,).
    """
    import torch

    uniform_B = torch.rand(len(logits_BV), dtype=torch.float64)
    for row, generator in generators.items():
        uniform_B[row] = torch.rand((), dtype=torch.float64, generator=generator)
    if top_p_B is None:
        return _inverted(logits_BV.softmax(-1, dtype=torch.float32), uniform_B)
    ids_B = torch.empty(len(logits_BV), dtype=torch.int64)
    left_B = torch.arange(len(logits_BV))  # rows whose nucleus may be larger than what was looked at
    most = logits_BV.shape[-1]
    for candidates in (*(c for c in _CANDIDATES if c < most), most):
        rows_RV = logits_BV if len(left_B) == len(logits_BV) else logits_BV[left_B]
        top_RC = rows_RV.topk(candidates)
        masses_RC = (top_RC.values - rows_RV.logsumexp(-1, keepdim=True)).exp().double()
        before_RC = masses_RC.cumsum(-1) - masses_RC
        p_R = top_p_B[left_B].double()
        found_R = (before_RC[:, -1] + masses_RC[:, -1] >= p_R) | (candidates == most)
        kept_RC = masses_RC * (before_RC < p_R[:, None])
        places_R = _inverted(kept_RC, uniform_B[left_B])
        ids_B[left_B[found_R]] = top_RC.indices.gather(1, places_R[:, None])[found_R, 0]
        left_B = left_B[~found_R]
        if not len(left_B):
            break
    return ids_B


def _inverted(masses_BN: Any, uniform_B: Any) -> Any:
    """Index in each row that a number in [0, 1) falls on, where each index takes its share of the row's mass."""
    import torch

    below_BN = masses_BN.cumsum(-1, dtype=torch.float64)
    wanted_B1 = (uniform_B * below_BN[:, -1])[:, None]
    return torch.searchsorted(below_BN, wanted_B1, right=True)[:, 0].clamp(max=masses_BN.shape[-1] - 1)


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
