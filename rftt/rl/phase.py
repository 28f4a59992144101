"""Phase 2, online RL over functional tokens (RFTT, section 3.3): ``rftt rl CONFIG``.

Trees are grown on the trainer's own engine, their paths are the samples, an estimator (`advantages`) credits their tokens,
TRL makes the step. Killed at any moment, the same call goes on from the last whole checkpoint and computes what the straight
run would have.
The defaults are the paper's, but for process rewards: differences of potentials instead of scores (`shaping`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rftt.config import Config
from rftt.config.sections import EngineConfig, RLSection
from rftt.data.problems import Problem
from rftt.errors import UsageError
from rftt.model import checkpoints, lora
from rftt.model.checkpoints import step_of
from rftt.model.prefix_sharing.exactness import shares_prefixes
from rftt.model.vocabulary import check_model
from rftt.rl import grpo_options
from rftt.rl.auxiliary_loss import RoleSources, build
from rftt.rl.reward import FormatReward, OutcomeReward
from rftt.rl.sampler import FunctionalSampler, prompt_of
from rftt.runtime import distributed, environment
from rftt.runtime.own_grading import grading_of
from rftt.runtime.progress import course, training_progress
from rftt.runtime.running_scorer import build_scorer
from rftt.runtime.step_log import MetricsLog, StepLog
from rftt.runtime.terminal import conclude
from search.functions import RFTT, FunctionSet
from search.grading import Grading, grade_math
from search.judging import Scorer
from search.loading import load_model_config, load_tokenizer
from search.prompt import question_ids

log = logging.getLogger(__name__)


def train_rl(
    model_path: str | Path,
    problems: Sequence[Problem],
    out_folder: str | Path,
    config: Config,
    run_folder: str | Path | None = None,
    *,
    functions: FunctionSet = RFTT,
    solve_rates: Mapping[str, float] | None = None,
    untuned: str | Path | None = None,
    callbacks: Sequence[Any] = (),
) -> dict[str, Any]:
    """Train a model with functional tokens by RL, or go on where an earlier call was stopped.

    Args:
        model_path: the SFT model; also the reference of the KL.
        problems: training questions with their answers.
        out_folder: folder for the final model, which transformers and vLLM load as it is; there whole or not at all.
            Checkpoints stand in ``checkpoints`` beside it.
        config: the run's; nothing below this function sees the whole of it.
        run_folder: ``metrics.jsonl`` and ``rl/rollouts.jsonl`` are written there; ``config.run`` by default.
        functions: the token set.
        solve_rates: share of right paths by question id, for ``rl.question_order=easy_first``; others are taken for average.
        untuned: the model before SFT, for ``rl.auxiliary.roles=models``.
        callbacks: transformers trainer callbacks.

    Returns:
        ``out`` (folder), ``steps``, ``resumed_from`` (step or None), ``seconds`` of this call, ``metrics`` of the last
        step.

    Raises:
        UsageError: a config, model or data set that cannot be trained on.
        TrainingFailed: the loss or the gradient is not finite.
    """
    begun = time.perf_counter()
    environment.set_defaults()
    out_folder, run_folder = Path(out_folder), Path(run_folder or config.folder)
    if out_folder.exists():
        if checkpoints.is_whole(out_folder):
            return {"out": str(out_folder), "steps": 0, "resumed_from": None, "seconds": 0.0, "metrics": {}}
        raise UsageError(f"{out_folder} exists and is no model of this phase; remove it or give another folder")
    check_model(model_path, functions, trust_remote_code=config.model.trust_remote_code)
    rl = config.rl
    if len(problems) < rl.questions_per_step:
        raise UsageError(
            f"there are {len(problems)} training questions, fewer than rl.questions_per_step = {rl.questions_per_step}; "
            "lower it or give more questions"
        )
    if rl.question_order == "easy_first":
        problems = easy_first(problems, solve_rates or {})
    scorer = build_scorer(config.prm) if rl.process_weight else None
    roles = RoleSources(
        config.folder / "shad",
        Path(untuned or model_path),
        config.model.dtype,
        config.shad.threshold,
        config.shad.score_tokens,
        config.sft.weighting.boilerplate,
        config.model.trust_remote_code,
    )
    trainer = build_trainer(
        model_path, problems, out_folder.parent / "checkpoints", rl, config.engine, roles, dtype=config.model.dtype,
        seed=config.seed, functions=functions, callbacks=callbacks, scorer=scorer, log_folder=run_folder,
        grading=grading_of(config), trust_remote_code=config.model.trust_remote_code,
    )  # fmt: skip
    try:
        if trainer.checkpoint:
            log.info("going on from step %d: %s", step_of(trainer.checkpoint), trainer.checkpoint)
        trainer.what, trainer.not_finite_steps = "rl", rl.not_finite_steps
        checkpoints.go_on(trainer, trainer.checkpoint)
        trainer.refuse_if_not_finite()
        save = partial(lora.save_merged, trainer) if rl.lora.rank else trainer.save_model
        distributed.save_final(trainer, out_folder, model_path, save)
        history = [line for line in trainer.state.log_history if "reward" in line]
        if trainer.is_world_process_zero():
            conclude(", ".join(filter(None, [f"{trainer.state.global_step} steps", course(history, "reward")])))
        return {
            "out": str(out_folder),
            "steps": trainer.state.global_step,
            "resumed_from": step_of(trainer.checkpoint) or None,
            "seconds": time.perf_counter() - begun,
            "metrics": history[-1] if history else {},
        }
    finally:
        from rftt.rl.trl_hooks import free_engine

        free_engine(trainer)
        if scorer is not None:
            scorer.close()


def easy_first(problems: Sequence[Problem], solve_rates: Mapping[str, float]) -> list[Problem]:
    """Problems by their share of right paths in an earlier search, highest first; unknown ones stand at the mean.

    Raises:
        UsageError: nothing is known of any of them.
    """
    known = [solve_rates[p.id] for p in problems if p.id in solve_rates]
    if not known:
        raise UsageError(
            "rl.question_order is easy_first, but no question of search/trees.jsonl is trained on; run `rftt search CONFIG` "
            "first or set it to random"
        )
    mean = sum(known) / len(known)
    return sorted(problems, key=lambda p: -solve_rates.get(p.id, mean))


def build_trainer(
    model_path: str | Path,
    problems: Sequence[Problem],
    output_dir: Path,
    settings: RLSection,
    engine: EngineConfig,
    roles: RoleSources,
    *,
    dtype: str = "auto",
    seed: int = 0,
    functions: FunctionSet = RFTT,
    callbacks: Sequence[Any] = (),
    scorer: Scorer | None = None,
    grading: Grading = grade_math,
    log_folder: Path | None = None,
    trust_remote_code: bool = False,
) -> Any:
    """The `RFTTTrainer` of `train_rl`.

    Args:
        model_path, problems, functions, callbacks: as in `train_rl`.
        output_dir: folder of checkpoints; the last whole one is where training goes on.
        settings: ``rl``.
        engine: ``engine``.
        roles: where the auxiliary loss gets the roles of tokens from.
        dtype: dtype of the model and of the engine.
        seed: run seed.
        scorer: process reward model of the steps.
        grading: says what an answer is worth.
        log_folder: folder of ``metrics.jsonl`` and ``rl/rollouts.jsonl``; None writes neither.
        trust_remote_code: whether code in the model's folder may run.

    Raises:
        UsageError: options that contradict each other or that TRL refuses, or an engine that cannot start.
    """
    if grpo_options.uses_vllm(settings, engine):
        from search.engines.vllm_changes import allow_weight_updates_on_cpu, sample_fast_on_cpu

        allow_weight_updates_on_cpu()
        sample_fast_on_cpu()
    import torch
    from datasets import Dataset

    from rftt.model.prefix_sharing.attention import NAME
    from rftt.rl.trainer import RFTTTrainer
    from rftt.rl.trl_hooks import engine_options

    tokenizer = load_tokenizer(model_path, trust_remote_code, padding_side="left")
    longest_prompt = max(len(question_ids(tokenizer, p.question)) for p in problems)
    on_gpu = torch.cuda.is_available() and not settings.trainer.get("use_cpu")
    model_config = load_model_config(model_path, trust_remote_code)
    sharing = shares_prefixes(settings.prefix_sharing, model_config, settings.trainer, "rl")
    options = grpo_options.grpo_options(
        settings, engine, output_dir, dtype=dtype, seed=seed, world_size=distributed.processes(), on_gpu=on_gpu,
        sharing=sharing,
        longest_prompt=longest_prompt, trust_remote_code=trust_remote_code,
    )  # fmt: skip
    if sharing:
        options["model_init_kwargs"] = (options.get("model_init_kwargs") or {}) | {"attn_implementation": NAME}
    distributed.prepare(options, "rl")
    args = grpo_options.training_arguments(options)
    sampler = FunctionalSampler(problems, settings, seed=seed, functions=functions, scorer=scorer, grading=grading)
    auxiliary = build(settings.auxiliary, roles, tokenizer, functions)
    rewards = [OutcomeReward(settings.wrong_reward), *([FormatReward()] if settings.format_reward else [])]
    checkpoint = distributed.agreed_checkpoint(output_dir)
    if checkpoint:
        sampler.load(checkpoint)
    metrics_log, rollout_log = None, None
    if log_folder is not None and args.process_index == 0:
        metrics_log = MetricsLog(log_folder / "metrics.jsonl", "rl", after=step_of(checkpoint))
        rollout_log = StepLog(log_folder / "rl" / "rollouts.jsonl", "rl", after=step_of(checkpoint))
    chosen = grpo_options.vllm_options(engine, grpo_options.computed_in(args), on_gpu, args.vllm_max_model_length)
    with engine_options(chosen):
        return RFTTTrainer(
            model=str(model_path),
            reward_funcs=rewards,
            args=args,
            train_dataset=Dataset.from_list(
                [{"prompt": prompt_of(p), "answer": p.answer, "question_id": p.id} for p in problems]
            ),
            processing_class=tokenizer,
            sampler=sampler,
            sharing=sharing,
            callbacks=[*callbacks, training_progress("rl", "reward")],
            settings=settings,
            functions=functions,
            auxiliary=auxiliary,
            peft_config=lora.peft_config(settings.lora, model_path, trust_remote_code),
            metrics_log=metrics_log,
            rollout_log=rollout_log,
            checkpoint=checkpoint,
        )
