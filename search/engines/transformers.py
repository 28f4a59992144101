"""transformers as the engine: waiting requests are batched into one `generate` call.

Slower than vLLM for long texts, but it needs nothing else, and every request has its own random stream.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
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
        pad, eos = tokenizer.pad_token_id, tokenizer.eos_token_id
        self.pad_id = next((id for id in (pad, eos) if id is not None), 0)
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
            if not batch:
                return
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
        """The longest-waiting jobs that share stop ids, up to `max_batch` sequences; none that was cancelled."""
        self._waiting = [job for job in self._waiting if not job[2].done()]
        taken: list[Job] = []
        rest: list[Job] = []
        size = 0
        for job in self._waiting:
            alike = not taken or job[1].stop_ids == taken[0][1].stop_ids
            fits = alike and (not taken or size + job[1].n <= self.max_batch)
            (taken if fits else rest).append(job)
            size += job[1].n if fits else 0
        self._waiting = rest
        return taken

    def _batch(self, jobs: list[Job]) -> list[list[Generation]]:
        rows = [
            [_Row(prompt, s, min(s.max_tokens, self.max_model_len - len(prompt)), _stream(s, k, self.model.device))
             for k in range(s.n)]
            for prompt, s, _ in jobs
        ]  # fmt: skip
        stops = sorted(self.eos_ids | set(jobs[0][1].stop_ids))
        while left := [row for of_job in rows for row in of_job if not row.ended]:
            self._continue(left, stops)
        return [[row.generation() for row in of_job] for of_job in rows]

    def _continue(self, rows: list[_Row], stops: list[int]) -> None:
        """Lengthen rows until all are at their end, or the longest one is at that of the context: positions beyond it are
        none that a model has to have.
        """
        import torch
        from transformers import GenerationConfig, LogitsProcessorList

        texts = [[*row.prompt, *row.ids] for row in rows]
        width = max(map(len, texts))
        pad, device = self.pad_id, self.model.device
        ids_BT = torch.full((len(rows), width), pad, device=device)
        mask_BT = torch.zeros_like(ids_BT)
        for r, text in enumerate(texts):
            ids_BT[r, width - len(text) :] = torch.tensor(text)
            mask_BT[r, width - len(text) :] = 1
        samplings = [row.sampling for row in rows]
        config = GenerationConfig(
            max_new_tokens=min(max(row.left for row in rows), self.max_model_len - width),
            do_sample=False,
            repetition_penalty=1.0,  # published models bring one along; samples are to be the model's own
            eos_token_id=stops,
            pad_token_id=pad,
            output_logits=any(s.logprobs or s.watch_ids or s.top_logprobs for s in samplings),
            return_dict_in_generate=True,
        )
        sampler = SeededSampling(samplings, [row.stream for row in rows], device)
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
        for r, row in enumerate(rows):
            row.add(new[r], set(stops), logps, r)

    def close(self) -> None:
        del self.model


@dataclass
class _Row:
    """One continuation on its way.

    Args:
        prompt, sampling: its request.
        limit: most tokens of it.
        stream: its random stream.
    """

    prompt: list[int]
    sampling: Sampling
    limit: int
    stream: torch.Generator
    ids: list[int] = field(default_factory=list)
    stopped: bool = False
    logprobs: list[float] = field(default_factory=list)
    watched: dict[int, float] | None = None
    top: list[tuple[tuple[int, float], ...]] = field(default_factory=list)

    @property
    def left(self) -> int:
        return self.limit - len(self.ids)

    @property
    def ended(self) -> bool:
        return self.stopped or not self.left

    def add(self, ids: list[int], stops: set[int], logps: list[torch.Tensor], r: int) -> None:
        """Take in what was generated, up to its end.

        Args:
            ids: ids of all steps.
            stops: ids that end it.
            logps: log-probs of each step, (B, V); empty where nobody asked for any.
            r: place of the row in the batch.
        """
        sampling = self.sampling
        end = next((i + 1 for i, t in enumerate(ids[: self.left]) if t in stops), min(self.left, len(ids)))
        kept = ids[:end]
        if sampling.logprobs:
            self.logprobs += [logps[t][r, i].item() for t, i in enumerate(kept)]
        if sampling.watch_ids:
            self.watched = {i: logps[end - 1][r, i].item() for i in sampling.watch_ids}
        if sampling.top_logprobs:
            self.top += [_top(logps[t][r], sampling.top_logprobs) for t in range(end)]
        self.ids += kept
        self.stopped = kept[-1] in stops

    def generation(self) -> Generation:
        return Generation(tuple(self.ids), self.stopped, tuple(self.logprobs), self.watched, tuple(self.top))


def _top(logps_V: torch.Tensor, count: int) -> tuple[tuple[int, float], ...]:
    found = logps_V.topk(min(count, len(logps_V)))
    return likeliest(dict(zip(found.indices.tolist(), found.values.tolist(), strict=True)), count)


def _stream(sampling: Sampling, sibling: int, device: Any) -> torch.Generator:
    """The random stream of one continuation of a request."""
    import torch

    stream = torch.Generator(device=device)
    if sampling.seed is None:
        stream.seed()
    else:
        stream.manual_seed(sampling.seed * 1009 + sibling)
    return stream


class SeededSampling:
    """A logits processor that samples each row from its own random stream (Gumbel maximum, so the argmax is a sample).

    Args:
        samplings: one a row.
        streams: one a row.
        device: where the logits are.
    """

    def __init__(self, samplings: list[Sampling], streams: list[torch.Generator], device: Any) -> None:
        import torch
        from transformers import TopPLogitsWarper

        self._samplings, self._streams = samplings, streams
        self._warpers = {s.top_p: TopPLogitsWarper(s.top_p) for s in samplings if s.top_p < 1.0}
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
        for r, (sampling, stream) in enumerate(zip(self._samplings, self._streams, strict=True)):
            if sampling.temperature:
                noise = torch.empty_like(scores[r]).exponential_(generator=stream)
                scores[r] -= noise.clamp_min(1e-20).log()
        return scores
