"""TRL's GRPO trainer with per-token advantages from functional tree search (RFTT, section 3.3).

What TRL does stays TRL's: data, weights into the engine, log-probs, the clipped loss, optimiser, distribution. Added
are (B, T) advantages of a chosen estimator, the branch correction, the KL inside the reward, less padding, metrics, a sample
of the paths, and whole checkpoints.

`beta` is TRL's option for both places of the KL. With an estimator that has the KL in the reward, TRL still loads the
reference model and computes its log-probs, but its loss runs with β = 0, so nothing is counted twice.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from trl import GRPOTrainer
from trl.trainer.utils import RepeatSampler

from rftt.config.sections import RLSection
from rftt.model.checkpoints import WholeCheckpoints
from rftt.model.lora import TrainsAdapters
from rftt.rl import batches, columns
from rftt.rl import path_metrics as measures
from rftt.rl.advantages import ScoredBatch
from rftt.rl.auxiliary_loss import Auxiliary
from rftt.rl.estimators import load_estimator
from rftt.runtime.step_log import MetricsLog, StepLog
from rftt.weighting.interface import BOILERPLATE, NO_ROLE, REASONING
from search.functional import tag_ids
from search.functions import RFTT, FunctionSet
from search.mcts import derived_seed

SEARCH_FIELDS = ("verdict", "status", "origin", "starts", "nodes", "weight")  # of a row, written by the rollout
log = logging.getLogger(__name__)

MIXES_LENGTHS = frozenset({"bnpo"})  # loss types that average within a micro-batch, so its rows must be a random draw


class RFTTTrainer(TrainsAdapters, WholeCheckpoints, GRPOTrainer):
    """A `GRPOTrainer` for the samples of a `FunctionalRollout`.

    Args:
        settings: estimator of the advantages, branch correction, what is kept and warned of.
        functions: the token set.
        metrics_log: receives what is logged for each step; may be set later.
        rollout_log: receives a group of paths now and then; may be set later.
        auxiliary: λ·L_RFT on right paths; None for TRL's loss alone.
        options: those of `GRPOTrainer`; `rollout_func` should be a `FunctionalRollout`.
    """

    beta: float
    _buffered_inputs: Any

    def __init__(
        self,
        *options: Any,
        settings: RLSection | None = None,
        functions: FunctionSet = RFTT,
        metrics_log: MetricsLog | None = None,
        rollout_log: StepLog | None = None,
        auxiliary: Auxiliary | None = None,
        **named: Any,
    ) -> None:
        self.settings = settings or RLSection()
        self.estimator = load_estimator(self.settings.advantage)
        self.functions = functions
        self.metrics_log = metrics_log
        self.rollout_log = rollout_log
        self.auxiliary = auxiliary
        self._warned = False
        self._seconds: dict[str, float] = defaultdict(float)
        self._step_begun = time.perf_counter()
        self._rewards_per_func: torch.Tensor | None = None
        self._paths: list[dict[str, Any]] = []
        self._policy_logps: torch.Tensor | None = None
        super().__init__(*options, **named)
        opens = tag_ids(self.processing_class, [f.open for f in functions.functions])
        self._open_ids = {f.name: opens[f.open] for f in functions.functions}
        if self.use_vllm:
            self.vllm_generation.sync_weights = self._timed("sync")(self.vllm_generation.sync_weights)

    # Sampling and advantages

    def _calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: Any, completions: Any, completion_ids: list[list[int]]
    ) -> torch.Tensor:
        """Keeps the rewards of all ranks, which TRL only hands on as advantages, and the rows without padding."""
        with self._timed("rewards"):
            self._rewards_per_func = super()._calculate_rewards(inputs, prompts, completions, completion_ids)
        self._paths = [{**row, "completion_ids": ids} for row, ids in zip(inputs, completion_ids, strict=True)]
        return self._rewards_per_func

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """TRL's batch, with advantages of shape (B, T) in the place of its (B,)."""
        with self._timed("sampling"):
            output = super()._generate_and_score_completions(inputs)
        mask_BT = output["completion_mask"]
        if "tool_mask" in output:
            mask_BT = mask_BT * output["tool_mask"]
        assert self._rewards_per_func is not None
        weights = self.reward_weights.to(self._rewards_per_func.device)
        rewards_B = (self._rewards_per_func * weights).nansum(dim=1)
        unscored_B = self._rewards_per_func.isnan().all(dim=1)

        # An estimator sees all ranks; each rank then takes its own rows.
        kl_BT = self._log_ratio(output) * mask_BT
        mode = "train" if self.model.training else "eval"
        group_size = self.num_generations if mode == "train" else self.num_generations_eval
        paths, length = self._paths, mask_BT.shape[1]
        searched = all(name in inputs[0] for name in SEARCH_FIELDS)
        scored = ScoredBatch(
            rewards_B,
            self._gathered(kl_BT),
            self._gathered(mask_BT.float()) * ~unscored_B[:, None],
            group_size,
            float(self.args.beta),
            process_BT=(
                self._gathered(columns.process_returns(paths, length)) if "process_returns" in inputs[0] else None
            ),
            node_BT=self._gathered(columns.nodes(paths, length), padding=-1) if searched else None,
        )
        rows = slice(self.accelerator.process_index * len(inputs), (self.accelerator.process_index + 1) * len(inputs))
        advantages_BT = self.estimator.compute(scored)[rows, :length].contiguous()
        if searched:
            advantages_BT *= advantages_BT.new_tensor([path["weight"] for path in paths])[:, None]
        output["advantages"] = advantages_BT
        if self.auxiliary is not None and searched and mode == "train":
            with self._timed("roles"):
                output |= self._right_paths(self.auxiliary, output, mask_BT)
        rewards = rewards_B[rows].tolist()
        self._measure(paths, searched, rewards, kl_BT, mask_BT, mode, group_size)
        if searched and mode == "train":
            self._keep_rollouts(paths[:group_size], rewards, advantages_BT, output.get("sampling_per_token_logps"))
        return output

    def _right_paths(
        self, auxiliary: Auxiliary, output: dict[str, Any], mask_BT: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Roles of the tokens of right paths, (B, T), and how many right paths all ranks have."""
        prompts = [
            ids[kept == 1].tolist() for ids, kept in zip(output["prompt_ids"], output["prompt_mask"], strict=True)
        ]
        roles_BT = auxiliary.path_roles(self._paths, prompts, mask_BT)
        right = (roles_BT != NO_ROLE).any(1).sum().float()
        reasoning = self.accelerator.reduce(
            torch.stack([(roles_BT == r).sum() for r in (REASONING, BOILERPLATE)]).float()
        )
        self._metrics["train"]["rft/reasoning_share"].append((reasoning[0] / reasoning.sum().clamp(min=1)).item())
        return {"path_roles": roles_BT, "right_paths": self.accelerator.reduce(right)}

    def _gathered(self, found_BT: torch.Tensor, padding: int = 0) -> torch.Tensor:
        """Rows of all ranks, padded to the longest."""
        on_device = found_BT.to(self.accelerator.device)
        return self.accelerator.gather(self.accelerator.pad_across_processes(on_device, dim=1, pad_index=padding))

    def _log_ratio(self, output: dict[str, Any]) -> torch.Tensor:
        """log π_old − log π_ref, (B, T). π_old is the trainer's where TRL needed it, else the engine's."""
        reference_BT = output.get("ref_per_token_logps")
        old_BT = output.get("old_per_token_logps", output.get("sampling_per_token_logps"))
        if reference_BT is None or old_BT is None:
            return torch.zeros(output["completion_ids"].shape, device=output["completion_ids"].device)
        return torch.nan_to_num(old_BT - reference_BT)

    # Loss

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """TRL's loss, without its KL where the KL is in the reward; and λ·L_RFT."""
        beta = self.beta
        if self.estimator.kl_in_reward:
            self.beta = 0.0
        try:
            loss = super()._compute_loss(model, inputs)
        finally:
            self.beta = beta
        self._compare_with_engine(inputs)
        if self.auxiliary is not None and "path_roles" in inputs:
            loss = loss + self._auxiliary_loss(self.auxiliary, inputs)
        self._policy_logps = None
        return loss

    def _auxiliary_loss(self, auxiliary: Auxiliary, inputs: dict[str, Any]) -> torch.Tensor:
        """λ times the mean of L_RFT over the right paths of an optimiser step: this micro-batch's part of it."""
        assert self._policy_logps is not None
        part = auxiliary.loss(self._policy_logps, inputs["path_roles"])
        # `right_paths` spans the generation batch of all ranks, over which gradients are averaged.
        windows = self.args.steps_per_generation / self.current_gradient_accumulation_steps
        part = part * windows * self.accelerator.num_processes / inputs["right_paths"].clamp(min=1.0)
        factor = auxiliary.coefficient(self.state.global_step, self.state.max_steps)
        whole = self.accelerator.reduce(part.detach(), reduction="mean") * self.current_gradient_accumulation_steps
        self._metrics["train"]["rft/loss"].append(whole.item())
        self._metrics["train"]["rft/coefficient"].append(factor)
        return factor * part

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """TRL's micro-batch, from a buffer whose rows were put together by length."""
        if self._step == 0:
            self._step_begun = time.perf_counter()
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        if self._buffered_inputs is before or not self.model.training or self.loss_type in MIXES_LENGTHS:
            return inputs
        self._buffered_inputs = batches.regroup(self._buffered_inputs, self.args.gradient_accumulation_steps)
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Any, attention_mask: Any, logits_to_keep: int, batch_size: int | None = None,
        **options: Any,
    ) -> Any:  # fmt: skip
        """Log-probs (B, T). Those with a gradient are kept for `_compute_loss`; those without need no padding."""
        ours = super()._get_per_token_logps_and_entropies
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

    def _compare_with_engine(self, inputs: dict[str, Any]) -> None:
        """Log-probs of the engine against those of the trainer with the same weights."""
        engine_BT = inputs.get("sampling_per_token_logps")
        trainer_BT = inputs.get("old_per_token_logps", self._policy_logps)
        if engine_BT is None or trainer_BT is None:
            return
        trainer_BT = trainer_BT.detach()
        mode = "train" if self.model.training else "eval"
        apart_BT = torch.nan_to_num(trainer_BT - engine_BT).abs() * inputs["completion_mask"]
        sums = self.accelerator.reduce(torch.stack([apart_BT.sum(), inputs["completion_mask"].sum().float()]))
        most = self.accelerator.gather(apart_BT.max()).max()
        self._metrics[mode]["logprob_difference/mean"].append((sums[0] / sums[1].clamp(min=1)).item())
        self._metrics[mode]["logprob_difference/max"].append(most.item())

    # Metrics

    def _measure(
        self, paths: list[dict[str, Any]], searched: bool, rewards: list[float], kl_BT: torch.Tensor,
        mask_BT: torch.Tensor, mode: str, group_size: int,
    ) -> None:  # fmt: skip
        completions = [path["completion_ids"] for path in paths]
        texts = self.processing_class.batch_decode(completions, skip_special_tokens=True)
        values = {"format_rate": measures.format_rate(texts, self.functions)}
        if searched:
            values |= measures.path_measures(paths, rewards, group_size)
        counts = measures.function_counts(completions, self._open_ids)
        stats = getattr(self.rollout_func, "stats", None)
        if stats is not None:
            self._seconds["search"] += stats.seconds
            self._seconds["engine"] += stats.engine.seconds
            values["search/generated_tokens"] = float(stats.engine.generated_tokens)
            values["search/requests"] = float(stats.engine.requests)
            values["search/questions"] = float(stats.questions)
            values["search/replaced"] = float(stats.replaced)
            values["search/exhausted"] = float(stats.exhausted)
        means = self._mean_of_ranks({**values, **{f"steps/{name}": count for name, count in counts.items()}})
        steps = sum(means[f"steps/{name}"] for name in counts)
        for name in counts:
            means[f"function_share/{name}"] = means.pop(f"steps/{name}") / max(steps, 1e-9)
        if self.args.beta and self.estimator.kl_in_reward:
            sums = self.accelerator.reduce(torch.stack([kl_BT.sum(), mask_BT.sum().float()]))
            means["kl"] = (sums[0] / sums[1].clamp(min=1)).item()
        for name, value in means.items():
            self._metrics[mode][name].append(value)

    def _keep_rollouts(
        self, paths: list[dict[str, Any]], rewards: list[float], advantages_BT: torch.Tensor, logps_BT: Any
    ) -> None:
        """Write one question's paths with what each token is credited with, every so many steps."""
        step, every = self.state.global_step + 1, self.settings.rollouts_every
        if self.rollout_log is None or not every or (step - 1) % every or not self.is_world_process_zero():
            return
        kept = []
        for row, (path, reward, advantages_T) in enumerate(zip(paths, rewards, advantages_BT.tolist())):
            ids = path["completion_ids"]
            logps = {} if logps_BT is None else {"logprobs": [round(p, 3) for p in logps_BT[row, : len(ids)].tolist()]}
            kept.append(
                {
                    **{name: path[name] for name in ("verdict", "status", "origin")},
                    "reward": round(reward, 4),
                    "tokens": [self._tokenizer.decode([i]) for i in ids],
                    "advantages": [round(value, 4) for value in advantages_T[: len(ids)]],
                    **logps,
                }
            )
        names = ("question_id", "prompt", "answer")
        self.rollout_log.write(step, {**{name: paths[0][name] for name in names}, "paths": kept})

    def _mean_of_ranks(self, values: dict[str, float]) -> dict[str, float]:
        stacked = torch.tensor(list(values.values()), dtype=torch.float64 if self.args.use_cpu else torch.float32)
        reduced = self.accelerator.reduce(stacked.to(self.accelerator.device), reduction="mean")
        return dict(zip(values, reduced.tolist(), strict=True))

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - begun

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL's log, with the seconds since the last one, and a line in the metrics file."""
        mode = "train" if self.model.training else "eval"
        per_step = "train_runtime" not in logs and mode == "train"
        if per_step:
            if most := self._metrics[mode].get("logprob_difference/max"):
                self._metrics[mode]["logprob_difference/max"] = [max(most)]
            self._warn_of_difference(self._metrics[mode].get("logprob_difference/mean", []))
            now = time.perf_counter()
            spent = {**self._seconds, "step": now - self._step_begun}
            spent["update"] = spent["step"] - spent.get("sampling", 0.0)
            for name, seconds in spent.items():
                self._metrics[mode][f"seconds/{name}"] = [seconds]
            self._step_begun = now
            self._seconds.clear()
        super().log(logs, start_time)
        if per_step and self.metrics_log is not None and self.is_world_process_zero():
            self.metrics_log.write(self.state.global_step, logs)

    def _warn_of_difference(self, means: list[float]) -> None:
        limit = self.settings.max_logprob_difference
        if not self._warned and means and max(means) > limit:
            self._warned = True
            log.warning(
                "step %d: engine and trainer differ by %.3f nats a token, more than rl.max_logprob_difference = %g: "
                "samples are not the policy's; compute in one dtype (model.dtype) or correct for it "
                "(rl.trainer.vllm_importance_sampling_correction)",
                self.state.global_step, max(means), limit,
            )  # fmt: skip

    # Order of the questions, and checkpoints

    def _save_rng_state(self, output_dir: str) -> None:
        """What transformers calls on every rank when it writes a checkpoint: the rollout's own state goes along."""
        super()._save_rng_state(output_dir)
        if hasattr(self.rollout_func, "save"):
            self.rollout_func.save(Path(output_dir), self.accelerator.process_index)

    def _get_train_sampler(self, dataset: Any = None) -> RepeatSampler:
        sampler = super()._get_train_sampler(dataset)
        return EpochSampler(sampler, self._epoch) if self.shuffle_dataset else sampler

    def _epoch(self) -> int:
        """The epoch that the next optimiser step belongs to."""
        questions = self.args.generation_batch_size // self.num_generations
        generations = len(self.train_dataset) // questions
        micro_batches = generations * self.num_iterations * self.args.steps_per_generation
        return self.state.global_step // max(-(-micro_batches // self.args.gradient_accumulation_steps), 1)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """None: a folder holds a model, not a page about TRL."""


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
