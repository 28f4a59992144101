"""Phase 2, online RL over functional tokens (RFTT, section 3.3): ``rftt rl CONFIG``.

Trees are grown on the trainer's own engine, their paths are the samples, an estimator (`advantages`) credits their tokens,
TRL makes the step. Killed at any moment, the same call goes on from the last whole checkpoint and computes what the straight
run would have.
The defaults are the paper's, but for process rewards: differences of potentials instead of scores (`shaping`).
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rftt.config import Config
from rftt.data.problems import Problem
from rftt.errors import UsageError
from rftt.model import checkpoints, lora
from rftt.model.checkpoints import step_of
from rftt.model.vocabulary import check_model, functional_token_ids
from rftt.rl import grpo_options
from rftt.rl.reward import FormatReward, OutcomeReward
from rftt.rl.rollout import FunctionalRollout, prompt_of
from rftt.runtime import distributed, environment
from rftt.runtime.progress import course, training_progress
from rftt.runtime.running_scorer import build_scorer
from rftt.runtime.step_log import MetricsLog, StepLog
from rftt.runtime.terminal import conclude
from search.functions import RFTT, FunctionSet
from search.judging import Scorer
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
        out_folder: for the final model, which transformers and vLLM load as it is; there whole or not at all.
            Checkpoints stand in ``checkpoints`` beside it.
        config: the run's; `rl`, `prm`, `engine`, `model.dtype` and `seed` are read.
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
    """
    begun = time.perf_counter()
    environment.set_defaults()
    out_folder, run_folder = Path(out_folder), Path(run_folder or config.folder)
    if out_folder.exists():
        if checkpoints.is_whole(out_folder):
            return {"out": str(out_folder), "steps": 0, "resumed_from": None, "seconds": 0.0, "metrics": {}}
        raise UsageError(f"{out_folder} exists and is no model of this phase; remove it or give another folder")
    check_model(model_path, functions)
    if len(problems) < config.rl.questions_per_step:
        raise UsageError(
            f"there are {len(problems)} training questions, fewer than rl.questions_per_step = "
            f"{config.rl.questions_per_step}; lower it or give more questions"
        )
    if config.rl.question_order == "easy_first":
        problems = easy_first(problems, solve_rates or {})
    scorer = build_scorer(config) if config.rl.process_weight else None
    trainer = build_trainer(
        model_path, problems, out_folder.parent / "checkpoints", config, functions, callbacks, scorer=scorer,
        untuned=untuned,
    )  # fmt: skip
    try:
        checkpoint = distributed.agreed_checkpoint(Path(trainer.args.output_dir))
        resumed = step = step_of(checkpoint)
        if trainer.is_world_process_zero():
            trainer.metrics_log = MetricsLog(run_folder / "metrics.jsonl", "rl", after=step)
            trainer.rollout_log = StepLog(run_folder / "rl" / "rollouts.jsonl", "rl", after=step)
        if checkpoint:
            log.info("going on from step %d: %s", step, checkpoint)
            trainer.rollout_func.load(checkpoint)
        checkpoints.go_on(trainer, checkpoint)
        step = trainer.state.global_step
        save = partial(lora.save_merged, trainer) if config.rl.lora.rank else trainer.save_model
        distributed.save_final(trainer, out_folder, model_path, save)
        history = [line for line in trainer.state.log_history if "reward" in line]
        if trainer.is_world_process_zero():
            conclude(", ".join(filter(None, [f"{step} steps", course(history, "reward")])))
        return {
            "out": str(out_folder),
            "steps": step,
            "resumed_from": resumed or None,
            "seconds": time.perf_counter() - begun,
            "metrics": history[-1] if history else {},
        }
    finally:
        _free(trainer)
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
    config: Config,
    functions: FunctionSet = RFTT,
    callbacks: Sequence[Any] = (),
    *,
    scorer: Scorer | None = None,
    untuned: str | Path | None = None,
) -> Any:
    """The `RFTTTrainer` of `train_rl`; its `rollout_func` is a `FunctionalRollout`.

    Raises:
        UsageError: options that contradict each other or that TRL refuses, or an engine that cannot start.
    """
    if grpo_options.uses_vllm(config):
        from search.engines.vllm import allow_weight_updates_on_cpu

        allow_weight_updates_on_cpu()
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import GRPOConfig

    from rftt.rl import auxiliary_loss as auxiliary
    from rftt.rl.trainer import RFTTTrainer

    tokenizer = AutoTokenizer.from_pretrained(model_path, padding_side="left")
    longest_prompt = max(len(question_ids(tokenizer, p.question)) for p in problems)
    on_gpu = torch.cuda.is_available() and not config.rl.trainer.get("use_cpu")
    options = grpo_options.grpo_options(config, output_dir, distributed.processes(), on_gpu, longest_prompt)
    distributed.prepare(options, "rl")
    try:
        args = GRPOConfig(**options)
    except (ValueError, TypeError) as error:
        raise UsageError(f"rl.trainer: {error}") from error
    rl = config.rl
    further = auxiliary.build(config, untuned or model_path, tokenizer, functions)
    max_model_len = args.vllm_max_model_length
    rollout = FunctionalRollout(
        problems, rl, seed=config.seed, functions=functions, max_model_len=max_model_len, scorer=scorer
    )
    rows = [{"prompt": prompt_of(p), "answer": p.answer, "question_id": p.id} for p in problems]
    reward = OutcomeReward(tokenizer, [tokenizer.eos_token_id], rl.wrong_reward, functions)
    dtype = (args.model_init_kwargs or {}).get("dtype", "float32")
    if dtype in ("float32", "auto") and (args.bf16 or args.fp16):
        dtype = "bfloat16" if args.bf16 else "float16"
    with _engine_options(grpo_options.vllm_options(config, dtype, on_gpu, max_model_len)):
        trainer = RFTTTrainer(
            model=str(model_path),
            reward_funcs=[reward, FormatReward()] if rl.format_reward else reward,
            args=args,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            rollout_func=rollout,
            callbacks=[*callbacks, training_progress("rl", "reward")],
            settings=rl,
            functions=functions,
            auxiliary=further,
            peft_config=lora.peft_config(rl.lora, model_path),
        )
    trainer.trained_rows = sorted(functional_token_ids(tokenizer, functions).values())
    if rl.lora.rank and trainer.use_vllm:
        lora.sync_merged(trainer)
    reward.eos_ids = frozenset(trainer.eos_token_ids)
    return trainer


@contextmanager
def _engine_options(options: dict[str, Any]) -> Iterator[None]:
    """TRL builds its vLLM engine with arguments of its own and no way to add to them: they are added here.

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
            reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
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


def _free(trainer: Any) -> None:
    """Give back the memory of TRL's engine; another may be started in this process afterwards."""
    generation = getattr(trainer, "vllm_generation", None)
    if generation is not None and hasattr(generation, "llm"):
        generation.llm.llm_engine.engine_core.shutdown()
        del generation.llm
    gc.collect()
