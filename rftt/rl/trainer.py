"""RL with per-token advantages from functional tree search (RFTT, section 3.3).

What TRL does stays TRL's: data, weights into the engine, log-probs, the clipped loss, optimiser, distribution. Added
are (B, T) advantages of a chosen estimator, the branch correction, the KL inside the reward, metrics and a sample of the
rollouts. How this reaches TRL's trainer is the matter of `trl_hooks`.

`beta` is TRL's option for both places of the KL. With an estimator that has the KL in the reward, TRL still loads the
reference model and computes its log-probs, but its loss runs with β = 0, so nothing is counted twice.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import torch

from rftt.config.sections import RLSection
from rftt.model.checkpoints import WholeCheckpoints
from rftt.model.finite import StopsWhenNotFinite
from rftt.model.lora import TrainsAdapters
from rftt.model.vocabulary import functional_token_ids
from rftt.rl import columns
from rftt.rl import rollout_metrics as measures
from rftt.rl.advantages import ScoredBatch
from rftt.rl.auxiliary_loss import Auxiliary
from rftt.rl.estimators import load_estimator
from rftt.rl.rollout import Rollout
from rftt.rl.trl_hooks import HookedTrainer, sync_merged
from rftt.runtime.step_log import MetricsLog, StepLog
from rftt.weighting.interface import BOILERPLATE, NO_ROLE, REASONING
from search.functional import tag_ids
from search.functions import RFTT, FunctionSet

log = logging.getLogger(__name__)

FEW_CHAINS = 0.1  # share of whole chains below which a first step is told of


class RFTTTrainer(TrainsAdapters, StopsWhenNotFinite, WholeCheckpoints, HookedTrainer):
    """The RL trainer; whole when it is built.

    Args:
        settings: estimator of the advantages, branch correction, what is kept and warned of.
        functions: the token set.
        auxiliary: λ·L_RFT on right paths; None for TRL's loss alone.
        metrics_log: receives what is logged for each step; None for no file.
        rollout_log: receives a group of rollouts now and then; None for no file.
        checkpoint: checkpoint that training goes on from; None from the beginning.
        options, named: those of `HookedTrainer`.
    """

    def __init__(
        self,
        *options: Any,
        settings: RLSection,
        functions: FunctionSet = RFTT,
        auxiliary: Auxiliary | None = None,
        metrics_log: MetricsLog | None = None,
        rollout_log: StepLog | None = None,
        checkpoint: Path | None = None,
        **named: Any,
    ) -> None:
        self.settings = settings
        self.estimator = load_estimator(settings.advantage)
        self.functions = functions
        self.auxiliary = auxiliary
        self.metrics_log = metrics_log
        self.rollout_log = rollout_log
        self.checkpoint = checkpoint
        self._warned = self._measured_before = False
        super().__init__(*options, **named)
        self.trained_rows = sorted(functional_token_ids(self.processing_class, functions).values())
        self.token_rate = settings.lora.token_rate
        opens = tag_ids(self.processing_class, [f.open for f in functions.functions])
        self._open_ids = {f.name: opens[f.open] for f in functions.functions}
        if settings.lora.rank and self.use_vllm:
            sync_merged(self)

    # Advantages

    def score(self, batch: dict[str, Any], rollouts: list[Rollout], rewards_per_func: torch.Tensor) -> dict[str, Any]:
        """Advantages of shape (B, T) in the place of TRL's (B,), and the roles of tokens for the auxiliary loss."""
        mask_BT = batch["completion_mask"]
        if "tool_mask" in batch:
            mask_BT = mask_BT * batch["tool_mask"]
        rewards_B = (rewards_per_func * self.reward_weights.to(rewards_per_func.device)).nansum(dim=1)
        unscored_B = rewards_per_func.isnan().all(dim=1)

        # An estimator sees all ranks; each rank then takes its own rows.
        kl_BT = self._log_ratio(batch) * mask_BT
        turn, length = self.turn(), mask_BT.shape[1]
        has_process = rollouts[0].process_returns is not None
        scored = ScoredBatch(
            rewards_B,
            self._gathered(kl_BT),
            self._gathered(mask_BT.float()) * ~unscored_B[:, None],
            turn.group_size,
            float(self.args.beta),
            process_BT=self._gathered(columns.process_returns(rollouts, length)) if has_process else None,
            node_BT=self._gathered(columns.nodes(rollouts, length), padding=-1),
            weight_B=self._weights(rollouts),
        )
        rows = slice(turn.process * len(rollouts), (turn.process + 1) * len(rollouts))
        advantages_BT = self.estimator.compute(scored)[rows, :length].contiguous()
        advantages_BT *= advantages_BT.new_tensor([r.weight for r in rollouts])[:, None]
        found: dict[str, Any] = {"advantages": advantages_BT}
        if self.auxiliary is not None and turn.training:
            with self._timed("roles"):
                found |= self._right_paths(self.auxiliary, batch, rollouts, mask_BT)
        rewards = rewards_B[rows].tolist()
        self._measure(rollouts, rewards, kl_BT, mask_BT)
        if turn.training:
            self._keep_rollouts(rollouts[: turn.group_size], rewards, advantages_BT, batch["sampling_per_token_logps"])
        return found

    def _right_paths(
        self, auxiliary: Auxiliary, batch: dict[str, Any], rollouts: list[Rollout], mask_BT: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Roles of the tokens of right paths, (B, T), and how many right paths all ranks have."""
        roles_BT = auxiliary.path_roles(rollouts, mask_BT)
        right = (roles_BT != NO_ROLE).any(1).sum().float()
        reasoning = self.accelerator.reduce(
            torch.stack([(roles_BT == r).sum() for r in (REASONING, BOILERPLATE)]).float()
        )
        self._metrics["train"]["rft/reasoning_share"].append((reasoning[0] / reasoning.sum().clamp(min=1)).item())
        return {"path_roles": roles_BT, "right_paths": self.accelerator.reduce(right)}

    def _weights(self, rollouts: list[Rollout]) -> torch.Tensor | None:
        """Weights of the rollouts of all ranks, shape (B,); None where nothing is corrected."""
        if self.settings.sampler != "priority" and self.settings.branch_correction not in ("importance", "strata"):
            return None
        weights_B = torch.tensor([r.weight for r in rollouts], device=self.accelerator.device)
        return self.accelerator.gather(weights_B)

    def _gathered(self, found_BT: torch.Tensor, padding: int = 0) -> torch.Tensor:
        """Rows of all ranks, padded to the longest."""
        on_device = found_BT.to(self.accelerator.device)
        return self.accelerator.gather(self.accelerator.pad_across_processes(on_device, dim=1, pad_index=padding))

    def _log_ratio(self, batch: dict[str, Any]) -> torch.Tensor:
        """log π_old − log π_ref, (B, T). π_old is the trainer's where TRL needed it, else the engine's."""
        reference_BT = batch.get("ref_per_token_logps")
        old_BT = batch.get("old_per_token_logps", batch.get("sampling_per_token_logps"))
        if reference_BT is None or old_BT is None:
            return torch.zeros(batch["completion_ids"].shape, device=batch["completion_ids"].device)
        return torch.nan_to_num(old_BT - reference_BT)

    # Loss

    @property
    def kl_in_loss(self) -> bool:
        return not self.estimator.kl_in_reward

    def further_loss(self, inputs: dict[str, Any], logps_BT: torch.Tensor) -> torch.Tensor | None:
        """λ·L_RFT, where it is asked for."""
        self._compare_with_engine(inputs, logps_BT)
        if self.auxiliary is None or "path_roles" not in inputs:
            return None
        return self._auxiliary_loss(self.auxiliary, inputs, logps_BT)

    def _auxiliary_loss(self, auxiliary: Auxiliary, inputs: dict[str, Any], logps_BT: torch.Tensor) -> torch.Tensor:
        """λ times the mean of L_RFT over the right paths of an optimiser step: this micro-batch's part of it."""
        part = auxiliary.loss(logps_BT, inputs["path_roles"])
        # `right_paths` spans the generation batch of all ranks, over which gradients are averaged.
        windows = self.args.steps_per_generation / self.current_gradient_accumulation_steps
        part = part * windows * self.accelerator.num_processes / inputs["right_paths"].clamp(min=1.0)
        factor = auxiliary.coefficient(self.state.global_step, self.state.max_steps)
        whole = self.accelerator.reduce(part.detach(), reduction="mean") * self.current_gradient_accumulation_steps
        self._metrics["train"]["rft/loss"].append(whole.item())
        self._metrics["train"]["rft/coefficient"].append(factor)
        return factor * part

    def _compare_with_engine(self, inputs: dict[str, Any], logps_BT: torch.Tensor) -> None:
        """Log-probs of the engine against those of the trainer with the same weights."""
        engine_BT = inputs.get("sampling_per_token_logps")
        trainer_BT = inputs.get("old_per_token_logps", logps_BT)
        if engine_BT is None:
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
        self, rollouts: list[Rollout], rewards: list[float], kl_BT: torch.Tensor, mask_BT: torch.Tensor
    ) -> None:
        completions = [r.completion_ids for r in rollouts]
        texts = self.processing_class.batch_decode(completions, skip_special_tokens=True)
        counts = measures.function_counts(completions, self._open_ids)
        stats, turn = self.sampler.stats, self.turn()
        self._seconds["search"] += stats.seconds
        self._seconds["engine"] += stats.engine.seconds
        values = {
            "format_rate": measures.format_rate(texts, self.functions, self.settings.search.extract),
            **measures.rollout_measures(rollouts, rewards, turn.group_size),
            "search/generated_tokens": float(stats.engine.generated_tokens),
            "search/requests": float(stats.engine.requests),
            "search/questions": float(stats.questions),
            "search/replaced": float(stats.replaced),
            "search/exhausted": float(stats.exhausted),
            "search/filled_tokens": float(stats.filled),
        }
        means = self._mean_of_ranks({**values, **{f"steps/{name}": count for name, count in counts.items()}})
        if turn.training:
            self._warn_of_format(means["format_rate"])
        steps = sum(means[f"steps/{name}"] for name in counts)
        for name in counts:
            means[f"function_share/{name}"] = means.pop(f"steps/{name}") / max(steps, 1e-9)
        if self.args.beta and self.estimator.kl_in_reward:
            sums = self.accelerator.reduce(torch.stack([kl_BT.sum(), mask_BT.sum().float()]))
            means["kl"] = (sums[0] / sums[1].clamp(min=1)).item()
        for name, value in means.items():
            self._metrics["train" if turn.training else "eval"][name].append(value)

    def _keep_rollouts(
        self, rollouts: list[Rollout], rewards: list[float], advantages_BT: torch.Tensor, logps_BT: torch.Tensor
    ) -> None:
        """Write one question's rollouts with what each token is credited with, every so many steps."""
        step, every = self.state.global_step + 1, self.settings.rollouts_every
        if self.rollout_log is None or not every or (step - 1) % every or not self.is_world_process_zero():
            return
        kept = []
        for row, (rollout, reward, advantages_T) in enumerate(zip(rollouts, rewards, advantages_BT.tolist())):
            length = len(rollout.completion_ids)
            kept.append(
                {
                    "verdict": rollout.verdict,
                    "status": rollout.status,
                    "origin": rollout.origin,
                    "reward": round(reward, 4),
                    "tokens": [self._tokenizer.decode([i]) for i in rollout.completion_ids],
                    "advantages": [round(value, 4) for value in advantages_T[:length]],
                    "logprobs": [round(p, 3) for p in logps_BT[row, :length].tolist()],
                }
            )
        first = rollouts[0]
        about = {
            "question_id": first.question_id, "prompt": self.sampler.prompt(first), "answer": first.answer, "paths": kept
        }  # fmt: skip
        self.rollout_log.write(step, about)

    def _mean_of_ranks(self, values: dict[str, float]) -> dict[str, float]:
        stacked = torch.tensor(list(values.values()), dtype=torch.float64 if self.args.use_cpu else torch.float32)
        reduced = self.accelerator.reduce(stacked.to(self.accelerator.device), reduction="mean")
        return dict(zip(values, reduced.tolist(), strict=True))

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

    def _warn_of_format(self, share: float) -> None:
        """Told of the first step of this process alone: later ones are what RL made of it."""
        if self._measured_before:
            return
        self._measured_before = True
        if share < FEW_CHAINS:
            log.warning(
                "step %d: %.1f %% of the paths are whole chains, so that hardly anything is rewarded and the warm-up may be "
                "undone: warm up for longer or with more chains, or let the functional tokens learn faster "
                "(sft.lora.token_rate)",
                self.state.global_step + 1, 100 * share,
            )  # fmt: skip

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
