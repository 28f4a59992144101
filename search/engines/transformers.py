"""transformers as the engine: waiting requests are batched into one `generate` call.

Slower than vLLM for long texts, but it needs nothing else, and every request has its own random stream.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from search.engines.engine import EngineError, EngineStats, Generation, Sampling, likeliest
from search.loading import CodeRefused, load_model, load_tokenizer
from search.prompt import end_ids

if TYPE_CHECKING:
    import torch

Job = tuple[list[int], Sampling, "asyncio.Future[list[Generation]]"]


class TransformersEngine:
    """A transformers model in this process.

    Args:
        model: model folder, hub name, or a model that is loaded already.
        tokenizer: needed when `model` is a loaded model.
        max_model_len: longest prompt plus continuation; by default what the model's config allows.
        max_batch: most sequences in one `generate` call.
        trust_remote_code: run code that comes with the model.
        options: passed to ``AutoModelForCausalLM.from_pretrained``.

    Raises:
        EngineError: the model needs code of its own, which is not trusted.
    """

    def __init__(
        self,
        model: Any,
        *,
        tokenizer: Any = None,
        max_model_len: int | None = None,
        max_batch: int = 256,
        trust_remote_code: bool = False,
        **options: Any,
    ) -> None:
        if isinstance(model, str):
            try:
                tokenizer = tokenizer or load_tokenizer(model, trust_remote_code)
                model = load_model(model, trust_remote_code, **options).eval()
            except CodeRefused as error:
                raise EngineError(str(error)) from error
        self.model = model
        self.tokenizer = tokenizer
        self.max_model_len = max_model_len or model.config.max_position_embeddings
        self.max_batch = max_batch
        self.eos_ids = end_ids(tokenizer, model.generation_config.eos_token_id)
        self.stats = EngineStats()
        self._waiting: list[Job] = []
        self._pump: asyncio.Task[None] | None = None

    async def generate(self, prompt_ids: list[int], sampling: Sampling) -> list[Generation]:
        """See `Engine`. A prompt that leaves no room yields empty continuations that are not stopped."""
        if len(prompt_ids) >= self.max_model_len:
            return [Generation((), False)] * sampling.n
        future: asyncio.Future[list[Generation]] = asyncio.get_running_loop().create_future()
        self._waiting.append((prompt_ids, sampling, future))
        if self._pump is None or self._pump.done():
            self._pump = asyncio.ensure_future(self._run())
        return await future

    async def _run(self) -> None:
        while self._waiting:
            # A few turns of the loop, so that every coroutine that can go on adds its request to this batch.
            for _ in range(4):
                await asyncio.sleep(0)
            batch = self._take()
            begun = time.perf_counter()
            try:
                results = self._batch(batch)
            except Exception as error:
                for _, _, future in [*batch, *self._waiting]:
                    if not future.done():
                        future.set_exception(error)
                self._waiting.clear()
                return
            self.stats.seconds += time.perf_counter() - begun
            for (prompt, _, future), generations in zip(batch, results, strict=True):
                self.stats.count(len(prompt), generations)
                if not future.done():
                    future.set_result(generations)

    def _take(self) -> list[Job]:
        """The longest-waiting jobs that share stop ids, up to `max_batch` sequences."""
        stop_ids = self._waiting[0][1].stop_ids
        taken: list[Job] = []
        rest: list[Job] = []
        size = 0
        for job in self._waiting:
            fits = job[1].stop_ids == stop_ids and (not taken or size + job[1].n <= self.max_batch)
            (taken if fits else rest).append(job)
            size += job[1].n if fits else 0
        self._waiting = rest
        return taken

    def _batch(self, jobs: list[Job]) -> list[list[Generation]]:
        import torch
        from transformers import GenerationConfig, LogitsProcessorList

        rows = [(prompt, sampling, i) for prompt, sampling, _ in jobs for i in range(sampling.n)]
        width = max(len(prompt) for prompt, _, _ in rows)
        pad = self.tokenizer.pad_token_id
        device = self.model.device
        ids_BT = torch.full((len(rows), width), pad, device=device)
        mask_BT = torch.zeros_like(ids_BT)
        for r, (prompt, _, _) in enumerate(rows):
            ids_BT[r, width - len(prompt) :] = torch.tensor(prompt)
            mask_BT[r, width - len(prompt) :] = 1
        limits = [min(s.max_tokens, self.max_model_len - len(p)) for p, s, _ in rows]
        stops = sorted(self.eos_ids | set(rows[0][1].stop_ids))
        config = GenerationConfig(
            max_new_tokens=max(limits),
            do_sample=False,
            repetition_penalty=1.0,  # published models bring one along; samples are to be the model's own
            eos_token_id=stops,
            pad_token_id=pad,
            output_logits=any(s.logprobs or s.watch_ids or s.top_logprobs for _, s, _ in rows),
            return_dict_in_generate=True,
        )
        sampler = SeededSampling([s for _, s, _ in rows], [i for _, _, i in rows], device)
        with torch.inference_mode():
            out = self.model.generate(
                ids_BT,
                attention_mask=mask_BT,
                generation_config=config,
                logits_processor=LogitsProcessorList([sampler]),
                synced_gpus=False,  # under ZeRO-3 it would wait for other processes, which search other questions
            )
        new = out.sequences[:, width:].tolist()
        logps = [step.float().log_softmax(-1) for step in out.logits] if out.logits is not None else []  # T × (B, V)
        results: list[list[Generation]] = []
        for r, (_, sampling, sibling) in enumerate(rows):
            if sibling == 0:
                results.append([])
            results[-1].append(_cut(new[r], r, limits[r], set(stops), sampling, logps))
        return results

    def close(self) -> None:
        del self.model


def _cut(
    ids: list[int], row: int, limit: int, stops: set[int], sampling: Sampling, logps: list[torch.Tensor]
) -> Generation:
    end = next((i + 1 for i, t in enumerate(ids[:limit]) if t in stops), min(limit, len(ids)))
    kept = ids[:end]
    logprobs = tuple(logps[t][row, i].item() for t, i in enumerate(kept)) if sampling.logprobs else ()
    watched = {i: logps[end - 1][row, i].item() for i in sampling.watch_ids} if sampling.watch_ids else None
    top = tuple(_top(logps[t][row], sampling.top_logprobs) for t in range(end)) if sampling.top_logprobs else ()
    return Generation(tuple(kept), kept[-1] in stops, logprobs, watched, top)


def _top(logps_V: torch.Tensor, count: int) -> tuple[tuple[int, float], ...]:
    found = logps_V.topk(min(count, len(logps_V)))
    return likeliest(dict(zip(found.indices.tolist(), found.values.tolist(), strict=True)), count)


class SeededSampling:
    """A logits processor that samples each row from its own seeded stream (Gumbel maximum, so the argmax is a sample).

    Args:
        samplings: one a row.
        siblings: index of the row among the continuations of its request.
        device: where the logits are.
    """

    def __init__(self, samplings: list[Sampling], siblings: list[int], device: Any) -> None:
        import torch
        from transformers import TopPLogitsWarper

        self._samplings = samplings
        self._warpers = {s.top_p: TopPLogitsWarper(s.top_p) for s in samplings if s.top_p < 1.0}
        self._generators = [torch.Generator(device=device) for _ in samplings]
        for generator, sampling, sibling in zip(self._generators, samplings, siblings, strict=True):
            if sampling.seed is None:
                generator.seed()
            else:
                generator.manual_seed(sampling.seed * 1009 + sibling)
        self._temperature_B1 = torch.tensor([[s.temperature or 1.0] for s in samplings], device=device)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Args: input_ids (B, T), scores (B, V). Returns: perturbed scores (B, V)."""
        import torch

        scores = scores.float() / self._temperature_B1
        for r, sampling in enumerate(self._samplings):
            if sampling.forbidden_ids:
                scores[r, list(sampling.forbidden_ids)] = -torch.inf
        for top_p, warper in self._warpers.items():
            rows = [r for r, s in enumerate(self._samplings) if s.top_p == top_p]
            scores[rows] = warper(input_ids[rows], scores[rows])
        for r, (sampling, generator) in enumerate(zip(self._samplings, self._generators, strict=True)):
            if sampling.temperature:
                noise = torch.empty_like(scores[r]).exponential_(generator=generator)
                scores[r] -= noise.clamp_min(1e-20).log()
        return scores
