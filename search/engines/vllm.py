"""vLLM as the engine: requests join its continuous batch as they come, finished ones resolve their futures.

Works with an engine of our own and with the one that TRL holds in colocate mode.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from search.engines.apart import Apart, kind_of
from search.engines.engine import FORBIDDING, EngineError, EngineGone, EngineStats, Generation, Sampling
from search.engines.vllm_changes import CountedSchedule, prepare_environment, sample_fast_on_cpu
from search.loading import CodeRefused, first_line, refusing_code
from search.prompt import end_ids

if TYPE_CHECKING:
    from vllm import LLM
    from vllm.outputs import RequestOutput

_ids = itertools.count()


# On a CPU. Seeded requests must be prefilled in one piece, so a batch has room for the longest prompt. The default block of
# 128 tokens would keep the short prefixes that siblings share out of the cache.
CPU_OPTIONS: dict[str, Any] = {"enable_chunked_prefill": False, "max_num_batched_tokens": 8192, "block_size": 32}


async def settled() -> None:
    """Let whoever was answered ask for more: else its next request would miss a step.

    Four turns of the loop: one wakes the task that generates, one the tree that waits for it, one starts the task of the
    tree's next request, in which that is added.
    """
    for _ in range(4):
        await asyncio.sleep(0)


class VLLMEngine:
    """A vLLM engine in this process.

    Where vLLM's scheduler is in this process, the statistics hold what it computed; else what vLLM tells of its cache.

    Args:
        model: model folder or hub name; ignored when `llm` is given.
        llm: an engine that exists already, e.g. TRL's; closing this one leaves it as it was.
        options: passed to ``vllm.LLM``; they win over what is chosen here.

    Raises:
        EngineError: vLLM cannot start, e.g. because the KV cache does not fit.
    """

    def __init__(self, model: str = "", *, llm: LLM | None = None, **options: Any) -> None:
        prepare_environment()
        self._owned = llm is None
        self.llm = llm if llm is not None else _start(model, options)
        self.tokenizer: Any = self.llm.get_tokenizer()
        config = self.llm.llm_engine.model_config
        self.max_model_len: int = config.max_model_len
        self._raw_logprobs = config.logprobs_mode == "raw_logprobs"
        listed = config.try_get_generation_config().get("eos_token_id")
        self.eos_ids = end_ids(self.tokenizer, listed)
        # vLLM stops at the others by itself.
        self._known_ends = {self.tokenizer.eos_token_id, *(listed if isinstance(listed, list) else [listed])}
        self.stats = EngineStats()
        self._waiting: dict[str, asyncio.Future[RequestOutput]] = {}
        self._pump: asyncio.Task[None] | None = None
        self._apart = Apart()
        self._counted = CountedSchedule(self.llm, self._computed)
        gc.freeze()  # until it is closed: else the collector walks through all of vLLM and torch again and again

    async def generate(self, prompt_ids: list[int], sampling: Sampling) -> list[Generation]:
        """See `Engine`. A prompt that leaves no room yields empty continuations that are not stopped."""
        if sampling.forbidden_ids and sampling.logprobs and not self._raw_logprobs:
            raise EngineError("vLLM tells log-probs of what is left of the model where ids are forbidden: "
                              "set engine.options.logprobs_mode=raw_logprobs")  # fmt: skip
        room = min(sampling.max_tokens, self.max_model_len - len(prompt_ids))
        if room <= 0:
            return [Generation((), False)] * sampling.n
        async with self._apart.turn(kind_of(sampling)):
            return await self._generate(prompt_ids, sampling, room)

    async def _generate(self, prompt_ids: list[int], sampling: Sampling, room: int) -> list[Generation]:
        name, params = f"rftt-{next(_ids)}", sampling_params(sampling, room, self.eos_ids - self._known_ends)
        future: asyncio.Future[RequestOutput] = asyncio.get_running_loop().create_future()
        begun = time.perf_counter()
        try:
            self.llm.llm_engine.add_request(name, {"prompt_token_ids": prompt_ids}, params)
        except ValueError as error:
            raise EngineError(f"vLLM refuses a request: {error}") from error
        finally:
            self.stats.seconds += time.perf_counter() - begun
        self._waiting[name] = future
        if self._pump is None or self._pump.done():
            self._pump = asyncio.ensure_future(self._run())
        try:
            output = await future
        except asyncio.CancelledError:
            if self._waiting.pop(name, None) is not None:
                self.llm.llm_engine.abort_request([name])
            raise
        generations = [_generation(o, sampling) for o in sorted(output.outputs, key=lambda o: o.index)]
        if self._counted:
            self.stats.count(len(prompt_ids), generations, None)
            self.stats.computed_tokens += len(generations)  # a last token is sampled, but no step computes on it
        else:  # vLLM tells the cached tokens of one continuation of a request
            self.stats.count(len(prompt_ids), generations, output.num_cached_tokens or 0)
        return generations

    async def _run(self) -> None:
        """Step the engine while anything waits. What breaks the engine reaches every waiting request."""
        engine = self.llm.llm_engine
        try:
            while self._waiting:
                await settled()
                begun = time.perf_counter()
                outputs = engine.step()
                self.stats.seconds += time.perf_counter() - begun
                for output in outputs:
                    if output.finished and (future := self._waiting.pop(output.request_id, None)) and not future.done():
                        future.set_result(output)
        except Exception as error:
            waiting, self._waiting = self._waiting, {}
            for future in waiting.values():
                if not future.done():
                    future.set_exception(EngineGone(f"vLLM failed: {type(error).__name__}: {error}"))

    def _computed(self, tokens: int) -> None:
        self.stats.computed_tokens += tokens

    def reset_prefix_cache(self) -> None:
        """Forget cached prefixes; due after every weight update."""
        self.llm.reset_prefix_cache()

    def close(self) -> None:
        """Free the engine's memory, if the engine is ours."""
        self._counted.remove()
        gc.unfreeze()
        if self._owned:
            self.llm.llm_engine.engine_core.shutdown()
            del self.llm
            gc.collect()


def _start(model: str, options: dict[str, Any]) -> LLM:
    from vllm import LLM
    from vllm.platforms import current_platform

    chosen: dict[str, Any] = {"enable_prefix_caching": True}
    sample_fast_on_cpu()
    if current_platform.is_cpu():
        chosen |= {**CPU_OPTIONS, "gpu_memory_utilization": 0.1}  # a share of one NUMA node
    try:
        with refusing_code(model):
            return LLM(model=model, **(chosen | options))
    except CodeRefused as error:
        raise EngineError(str(error)) from error
    except (ValueError, RuntimeError, OSError) as error:
        reason = first_line(error)
        raise EngineError(
            f"vLLM cannot start on {model}: {reason} (engine.max_model_len, engine.options.gpu_memory_utilization or "
            "VLLM_CPU_KVCACHE_SPACE decide what fits)"
        ) from error


def sampling_params(sampling: Sampling, room: int, ends: Iterable[int] = ()) -> Any:
    """vLLM's parameters of a request that may generate `room` tokens.

    Args:
        sampling: what is asked for.
        room: most new tokens.
        ends: further ids that end a continuation.
    """
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        n=sampling.n,
        max_tokens=room,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=sampling.seed,
        stop_token_ids=[*sampling.stop_ids, *sorted(ends)] or None,
        logit_bias=dict.fromkeys(sampling.forbidden_ids, FORBIDDING) or None,
        # vLLM wants the number of watched ids here; the sampled id comes in addition.
        logprobs=(len(sampling.watch_ids) or sampling.top_logprobs)
        if sampling.watch_ids or sampling.top_logprobs or sampling.logprobs
        else None,
        logprob_token_ids=list(sampling.watch_ids) or None,
        flat_logprobs=not sampling.watch_ids,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
        skip_clone=True,  # they are this request's own
    )


def _generation(output: Any, sampling: Sampling) -> Generation:
    ids, found = tuple(output.token_ids), output.logprobs
    logprobs: tuple[float, ...] = ()
    watched = None
    top: tuple[tuple[tuple[int, float], ...], ...] = ()
    if sampling.watch_ids and found:
        watched = {i: found[-1][i].logprob for i in sampling.watch_ids}
        if sampling.logprobs:
            logprobs = tuple(position[i].logprob for position, i in zip(found, ids, strict=True))
    elif found is not None:  # in flat lists, at every position the sampled id first
        if sampling.logprobs:
            logprobs = tuple(map(found.logprobs.__getitem__, found.start_indices))
        if sampling.top_logprobs:
            top = _top(found.token_ids, found.logprobs, sampling.top_logprobs)
    return Generation(ids, output.finish_reason == "stop", logprobs, watched, top)


def _top(ids: list[int], logprobs: list[float], count: int) -> tuple[tuple[tuple[int, float], ...], ...]:
    """`Generation.top` of flat lists, which hold the sampled id and the `count` likeliest ids of every position."""
    ids_TK = np.array(ids, dtype=np.int64).reshape(-1, count + 1)[:, 1:]
    logprobs_TK = np.array(logprobs).reshape(-1, count + 1)[:, 1:]
    order_TK = np.lexsort((ids_TK, -logprobs_TK))
    ids, logprobs = (np.take_along_axis(table, order_TK, 1).ravel().tolist() for table in (ids_TK, logprobs_TK))
    pairs = tuple(zip(ids, logprobs, strict=True))
    return tuple(pairs[start : start + count] for start in range(0, len(pairs), count))
