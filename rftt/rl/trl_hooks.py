"""Every change to TRL's GRPO, in one place. Written for TRL 1.16.0; `tests/rftt/rl/test_trl_hooks.py` holds the contracts.

- `engine_options` (``trl.generation.vllm_generation.LLM``): TRL builds its engine with arguments of its own, and there is no
  way to add to them.
- `policy_engine` (``VLLMGeneration.llm`` and its sleep mode, ``unwrap_model_for_generation``): the search needs the engine
  that holds the policy.
- `sync_merged` (``VLLMGeneration._iter_named_params``): merging adapters in place rounds what is frozen.
- `HookedTrainer` (its methods carry TRL's names): rollouts go from the sampler to the loss as objects; advantages, losses
  and batches of our own.
- `EpochSampler` (``RepeatSampler``): TRL's order of questions cannot be taken up again by a resumed run.
"""

from __future__ import annotations

import gc
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from trl import GRPOTrainer
from trl.trainer.utils import RepeatSampler

from rftt.errors import UsageError
from rftt.model.lora import gathering, merged_parameters
from rftt.model.prefix_sharing.attention import CannotShare
from rftt.model.prefix_sharing.pack import order
from rftt.model.prefix_sharing.scoring import rows_of, score
from rftt.rl import batches
from rftt.rl.rollout import Rollout
from rftt.rl.sampler import FunctionalSampler, Turn
from search.engines import Engine
from search.loading import first_line
from search.mcts import derived_seed

WRITTEN_FOR = "1.16.0"
AVERAGES_A_MICRO_BATCH = frozenset({"bnpo"})  # loss types whose micro-batches must be a random draw
ADDS_TOKENS = frozenset({"dapo", "cispo", "vespo"})  # loss types that do not mind how many rows a micro-batch has


# TRL's engine


@contextmanager
def engine_options(options: dict[str, Any]) -> Iterator[None]:
    """Add arguments to those with which TRL builds its vLLM engine.

    Raises:
        UsageError: the engine cannot start.
    """
    import trl.generation.vllm_generation as home

    build = getattr(home, "LLM", None)

    def build_with_options(**chosen: Any) -> Any:
        try:
            assert build is not None
            return build(**{**chosen, **options})
        except (ValueError, RuntimeError, OSError) as error:
            reason = first_line(error)
            raise UsageError(
                f"vLLM cannot start for RL: {reason} (rl.trainer.vllm_gpu_memory_utilization, engine.max_model_len and "
                "engine.options decide what fits)"
            ) from error

    home.LLM = build_with_options
    try:
        yield
    finally:
        if build is None:
            del home.LLM
        else:
            home.LLM = build


@contextmanager
def policy_engine(trainer: GRPOTrainer) -> Iterator[Engine]:
    """The policy as an engine of the search, while it samples: in TRL's vLLM, or the trainer's model as it is."""
    with _colocated(trainer) if trainer.use_vllm else _own_model(trainer) as engine:
        yield engine


@contextmanager
def _colocated(trainer: GRPOTrainer) -> Iterator[Engine]:
    """TRL's vLLM engine, which has the current weights when a rollout function is called; awake while it is used."""
    from search.engines import VLLMEngine

    generation = trainer.vllm_generation
    if generation.enable_sleep_mode:
        if generation._llm_weights_sleeping:
            generation.sync_weights()
        generation.llm.wake_up(tags=["kv_cache"])
    engine = VLLMEngine(llm=generation.llm)
    engine.reset_prefix_cache()
    try:
        yield engine
    finally:
        engine.close()
        if generation.enable_sleep_mode:
            generation.llm.sleep(level=2)
            generation._llm_weights_sleeping = True


@contextmanager
def _own_model(trainer: GRPOTrainer) -> Iterator[Engine]:
    """The trainer's model: whole on this rank, in evaluation mode, without gradient checkpointing."""
    from transformers import GenerationConfig
    from trl.models.utils import unwrap_model_for_generation

    from search.engines import TransformersEngine

    with unwrap_model_for_generation(
        trainer.model_wrapped,
        trainer.accelerator,
        gather_deepspeed3_params=trainer.args.ds3_gather_for_generation,
        gradient_checkpointing_kwargs=trainer.args.gradient_checkpointing_kwargs,
    ) as model:
        training, published = model.training, model.generation_config
        model.eval()
        # Published settings such as Qwen's repetition penalty would be applied to what is sampled.
        model.generation_config = GenerationConfig(
            eos_token_id=trainer.eos_token_ids, pad_token_id=trainer.processing_class.pad_token_id
        )
        try:
            most = model.config.max_position_embeddings
            limit = min(trainer.args.vllm_max_model_length or most, most)
            yield TransformersEngine(model, tokenizer=trainer.processing_class, max_model_len=limit)
        finally:
            model.generation_config = published
            model.train(training)


def sync_merged(trainer: GRPOTrainer) -> None:
    """Let TRL's vLLM engine take its weights from `merged_parameters`."""
    generation = trainer.vllm_generation
    generation._iter_named_params = lambda: merged_parameters(generation.model, gathering(trainer))


def free_engine(trainer: GRPOTrainer) -> None:
    """Give back the memory of TRL's engine; another may be started in this process afterwards."""
    generation = getattr(trainer, "vllm_generation", None)
    if generation is not None and hasattr(generation, "llm"):
        generation.llm.llm_engine.engine_core.shutdown()
        del generation.llm
    gc.collect()


# TRL's trainer


class HookedTrainer(GRPOTrainer):
    """TRL's trainer with three named places where `RFTTTrainer` steps in: `score`, `further_loss` and `kl_in_loss`.

    Args:
        sampler: samples the rollouts of a generation batch.
        sharing: whether tokens that rows share are computed once; the model must have been loaded with the attention
            `rftt.model.prefix_sharing.attention.NAME`.
        options, named: those of `GRPOTrainer`, but for `rollout_func`.
    """

    beta: float
    _buffered_inputs: Any

    def __init__(self, *options: Any, sampler: FunctionalSampler, sharing: bool = False, **named: Any) -> None:
        self.sampler = sampler
        self.sharing = sharing
        self._rollouts: list[Rollout] = []
        self._rewards_per_func: torch.Tensor | None = None
        self._policy_logps: torch.Tensor | None = None
        self._seconds: dict[str, float] = defaultdict(float)
        self._step_begun = time.perf_counter()
        super().__init__(*options, rollout_func=_sample, **named)
        self._layers: int = self.model.config.num_hidden_layers
        if self.use_vllm:
            self.vllm_generation.sync_weights = self._timed("sync")(self.vllm_generation.sync_weights)

    # Where the subclass steps in

    def score(self, batch: dict[str, Any], rollouts: list[Rollout], rewards_per_func: torch.Tensor) -> dict[str, Any]:
        """What goes into TRL's batch in addition to, or in the place of, what is there.

        Args:
            batch: TRL's, of this rank: ``prompt_ids``, ``completion_ids``, ``completion_mask``, …, rows along the first
                dimension.
            rollouts: rollouts of this rank, one a row.
            rewards_per_func: rewards of all ranks, one column a reward function.
        """
        raise NotImplementedError

    def further_loss(self, inputs: dict[str, Any], logps_BT: torch.Tensor) -> torch.Tensor | None:
        """A loss to add to TRL's.

        Args:
            inputs: a micro-batch.
            logps_BT: log-probs of its completion ids with their gradient, shape (B, T).
        """
        raise NotImplementedError

    @property
    def kl_in_loss(self) -> bool:
        """Whether TRL's loss is to have its KL; its option `beta` also loads the reference model."""
        raise NotImplementedError

    # Sampling

    def engine(self) -> Any:
        """Context in which the policy samples."""
        return policy_engine(self)

    def turn(self) -> Turn:
        """What the sampler has to know of this moment."""
        training = self.model.training
        group_size = self.num_generations if training else self.num_generations_eval
        return Turn(
            self.state.global_step, group_size, training, self.accelerator.process_index, self.accelerator.num_processes,
            lockstep=not self.use_vllm,
        )  # fmt: skip

    def _calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: Any, completions: Any, completion_ids: list[list[int]]
    ) -> torch.Tensor:
        """Keeps the rewards of all ranks, which TRL only hands on as advantages, and the rollouts."""
        with self._timed("rewards"):
            self._rewards_per_func = super()._calculate_rewards(inputs, prompts, completions, completion_ids)
        self._rollouts = [row["rollout"] for row in inputs]
        return self._rewards_per_func

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """TRL's batch with what `score` makes of it."""
        with self._timed("sampling"):
            output = super()._generate_and_score_completions(inputs)
        assert self._rewards_per_func is not None
        return output | self.score(output, self._rollouts, self._rewards_per_func)

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """TRL's micro-batch, from a buffer whose rows were put together by what they share, or by length."""
        if self._step == 0:
            self._step_begun = time.perf_counter()
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        if self._buffered_inputs is before or not self.model.training or self.draws_micro_batches:
            return inputs
        arrange = batches.of_one_length
        if self.sharing:
            arrange = batches.of_equal_work if self.loss_type in ADDS_TOKENS else batches.of_one_tree
        self._buffered_inputs = batches.regroup(self._buffered_inputs, self.args.gradient_accumulation_steps, arrange)
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    @property
    def draws_micro_batches(self) -> bool:
        """Whether the loss depends on which rows stand in a micro-batch, so that they must stay a random draw.

        Quantiles of the entropy and its mean are taken over a micro-batch.
        """
        return (
            self.loss_type in AVERAGES_A_MICRO_BATCH
            or self.top_entropy_quantile < 1.0
            or bool(self._entropy_bonus_enabled)
        )

    # Log-probs and loss

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Any, attention_mask: Any, logits_to_keep: int, batch_size: int | None = None,
        **options: Any,
    ) -> Any:  # fmt: skip
        """Log-probs (B, T). Those with a gradient are kept for `_compute_loss`; those without need no padding."""
        ours = super()._get_per_token_logps_and_entropies
        if self.sharing:
            return self._shared_logps(model, input_ids, attention_mask, logits_to_keep, batch_size)
        if torch.is_grad_enabled() or any(value is not None for value in options.values()):
            found = ours(model, input_ids, attention_mask, logits_to_keep, batch_size, **options)
            self._policy_logps = found[0]
            return found
        with self._timed("logprobs"):
            total = input_ids.shape[1]
            logps_BT = None
            for rows, first, end in batches.by_length(attention_mask, batch_size or len(input_ids)):
                first = min(first, total - logits_to_keep - 1)
                end = max(end, total - logits_to_keep + 1)
                kept = logits_to_keep - (total - end)
                part, _, _ = ours(model, input_ids[rows, first:end], attention_mask[rows, first:end], kept, **options)
                if logps_BT is None:
                    logps_BT = part.new_zeros(len(input_ids), logits_to_keep)
                logps_BT[rows, :kept] = part
        return logps_BT, None, None

    def _shared_logps(
        self, model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, kept: int, batch_size: int | None
    ) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        """Log-probs and entropies (B, T) of packed rows; with a gradient, of the micro-batch as it is."""
        graded = torch.is_grad_enabled()
        rows, _ = rows_of(input_ids, attention_mask, kept)
        chunks = torch.tensor(order(rows)).split(len(rows) if graded else batch_size or len(rows))
        with self._timed("policy" if graded else "logprobs"):
            try:
                parts = [
                    score(
                        model, input_ids[chunk], attention_mask[chunk], kept, layers=self._layers,
                        context=self.accelerator.autocast(),
                    )
                    for chunk in chunks
                ]  # fmt: skip
            except CannotShare as reason:
                raise UsageError(f"rl.prefix_sharing: {reason}; set it to false") from reason
        back = torch.cat(chunks).argsort().to(input_ids.device)
        logps_BT = torch.cat([part.logps_BT for part in parts])[back]
        entropies = [part.entropy_BT for part in parts if part.entropy_BT is not None]
        entropy_BT = torch.cat(entropies)[back] if entropies else None
        if graded:
            sums = torch.tensor([float(sum(p.padded for p in parts)), float(sum(p.unique for p in parts))])
            padded, unique = self.accelerator.reduce(sums.to(input_ids.device)).tolist()
            self._metrics["train"]["sharing"].append(padded / unique)
            self._policy_logps = logps_BT
        return logps_BT, entropy_BT, None

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """TRL's loss, without its KL where that stands elsewhere, and `further_loss`."""
        beta = self.beta
        if not self.kl_in_loss:
            self.beta = 0.0
        try:
            loss = super()._compute_loss(model, inputs)
        finally:
            self.beta = beta
        logps_BT, self._policy_logps = self._policy_logps, None
        assert logps_BT is not None
        further = self.further_loss(inputs, logps_BT)
        return loss if further is None else loss + further

    # Order of the questions, checkpoints, clocks

    def _get_train_sampler(self, dataset: Any = None) -> RepeatSampler:
        sampler = super()._get_train_sampler(dataset)
        return EpochSampler(sampler, self._epoch) if self.shuffle_dataset else sampler

    def _epoch(self) -> int:
        """The epoch that the next optimiser step belongs to."""
        questions = self.args.generation_batch_size // self.num_generations
        generations = len(self.train_dataset) // questions
        micro_batches = generations * self.num_iterations * self.args.steps_per_generation
        return self.state.global_step // max(-(-micro_batches // self.args.gradient_accumulation_steps), 1)

    def _save_rng_state(self, output_dir: str) -> None:
        """What transformers calls on every rank when it writes a checkpoint: the sampler's own state goes along."""
        super()._save_rng_state(output_dir)
        self.sampler.save(Path(output_dir), self.accelerator.process_index)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """None: a folder holds a model, not a page about TRL."""

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - begun


def _sample(prompts: Sequence[Any], trainer: HookedTrainer) -> dict[str, list[Any]]:
    """TRL's ``rollout_func``: a dictionary of columns, which TRL wants; the rollouts themselves are one of them.

    A replacement changes the question, hence ``prompt`` and ``answer``, which win over the columns of the data set.
    ``env_mask`` is TRL's name for 0 where a token is to stay out of the loss.
    """
    turn = trainer.turn()  # before the model is put into evaluation mode
    if turn.training and trainer.sampler.settings.dynamic_sampling:
        turn = replace(turn, asked=gather_object(list(prompts[:: turn.group_size])))
    with trainer.engine() as engine:
        rollouts = trainer.sampler(prompts, engine, turn)
    columns: dict[str, list[Any]] = {
        "prompt_ids": [r.prompt_ids for r in rollouts],
        "completion_ids": [r.completion_ids for r in rollouts],
        "logprobs": [r.logprobs for r in rollouts],
        "prompt": [trainer.sampler.prompt(r) for r in rollouts],
        "answer": [r.answer for r in rollouts],
        "rollout": rollouts,
    }
    if any(r.loss_mask is not None for r in rollouts):
        columns["env_mask"] = [r.loss_mask or [1] * len(r.completion_ids) for r in rollouts]
    return columns


class EpochSampler(RepeatSampler):
    """TRL's order of questions, shuffled anew from (seed, epoch) in each epoch.

    TRL's own sampler draws one epoch after the other from a generator that a resumed run starts from the beginning.

    Args:
        sampler: TRL's, whose settings are taken over.
        epoch: tells which epoch begins.
    """

    def __init__(self, sampler: RepeatSampler, epoch: Callable[[], int]) -> None:
        self.__dict__.update(sampler.__dict__)
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.generator.manual_seed(derived_seed(self.seed, "order", self._epoch()))
        return super().__iter__()
