"""Phase 2, online RL over functional tokens (RFTT, section 3.3): ``rftt rl CONFIG``.

Trees are grown on the trainer's own engine, their paths are the samples, REINFORCE++ makes the advantages, TRL makes
the step. Killed at any moment, the same call goes on from the last whole checkpoint and computes what the straight run
would have.
Against the paper: no process reward model, and branch tokens count as if the policy had drawn them.
"""

from __future__ import annotations

import gc
import logging
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rftt import checkpoints
from rftt.checkpoints import step_of
from rftt.config import Config
from rftt.errors import UsageError
from rftt.metrics import MetricsLog
from rftt.problems import Problem
from rftt.rl import settings
from rftt.rl.reward import OutcomeReward
from rftt.rl.rollout import FunctionalRollout, prompt_of
from rftt.vocabulary import check_model
from search import SearchConfig
from search.functional import question_ids
from search.functions import RFTT, FunctionSet

log = logging.getLogger(__name__)


def train_rl(
    model_path: str | Path,
    problems: Sequence[Problem],
    out_folder: str | Path,
    config: Config,
    run_folder: str | Path | None = None,
    *,
    functions: FunctionSet = RFTT,
    callbacks: Sequence[Any] = (),
) -> dict[str, Any]:
    """Train a model with functional tokens by RL, or go on where an earlier call was stopped.

    Args:
        model_path: the SFT model; also the reference of the KL.
        problems: training questions with their answers.
        out_folder: for the final model, which transformers and vLLM load as it is; there whole or not at all.
            Checkpoints stand in ``checkpoints`` beside it.
        config: the run's; `rl`, `engine`, `model.dtype` and `seed` are read.
        run_folder: ``metrics.jsonl`` is written there; ``config.run`` by default.
        functions: the token set.
        callbacks: transformers trainer callbacks.

    Returns:
        ``out`` (folder), ``steps``, ``resumed_from`` (step or None), ``seconds`` of this call, ``metrics`` of the last
        step.

    Raises:
        UsageError: a config, model or data set that cannot be trained on.
    """
    begun = time.perf_counter()
    settings.quiet_environment()
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
    trainer = build_trainer(model_path, problems, out_folder.parent / "checkpoints", config, functions, callbacks)
    try:
        checkpoint = _agree_on_checkpoint(trainer)
        resumed = step = step_of(checkpoint)
        if trainer.is_world_process_zero():
            trainer.metrics_log = MetricsLog(run_folder / "metrics.jsonl", "rl", after=step)
        if checkpoint:
            log.info("going on from step %d: %s", step, checkpoint)
        last_step = trainer.set_initial_training_values(trainer.args, trainer.get_train_dataloader())[-1]
        if step < last_step:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            step = trainer.state.global_step
        elif checkpoint:
            trainer._load_from_checkpoint(str(checkpoint))
        _save(trainer, model_path, out_folder)
        history = [line for line in trainer.state.log_history if "reward" in line]
        return {
            "out": str(out_folder),
            "steps": step,
            "resumed_from": resumed or None,
            "seconds": time.perf_counter() - begun,
            "metrics": history[-1] if history else {},
        }
    finally:
        _free(trainer)


def build_trainer(
    model_path: str | Path,
    problems: Sequence[Problem],
    output_dir: Path,
    config: Config,
    functions: FunctionSet = RFTT,
    callbacks: Sequence[Any] = (),
) -> Any:
    """The `RFTTTrainer` of `train_rl`; its `rollout_func` is a `FunctionalRollout`.

    Raises:
        UsageError: options that contradict each other or that TRL refuses, or an engine that cannot start.
    """
    use_vllm = config.rl.trainer.get("use_vllm", config.engine.name == "vllm")
    if use_vllm:
        from search.engines.vllm import allow_weight_updates_on_cpu

        allow_weight_updates_on_cpu()
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import GRPOConfig

    from rftt.rl.grpo import RFTTTrainer

    tokenizer = AutoTokenizer.from_pretrained(model_path, padding_side="left")
    longest_prompt = max(len(question_ids(tokenizer, p.question)) for p in problems)
    on_gpu = torch.cuda.is_available() and not config.rl.trainer.get("use_cpu")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    options = settings.grpo_options(config, output_dir, processes, on_gpu, longest_prompt)
    try:
        args = GRPOConfig(**options)
    except (ValueError, TypeError) as error:
        raise UsageError(f"rl.trainer: {error}") from error
    rl = config.rl
    search = SearchConfig(
        rollouts=rl.rollouts, max_depth=rl.max_depth, exploration=rl.exploration, temperature=1.0, top_p=1.0,
        max_step_tokens=rl.max_step_tokens, min_prior=rl.min_prior,
        parallel_rollouts=rl.parallel_rollouts if args.use_vllm else 1,
    )  # fmt: skip
    max_model_len = args.vllm_max_model_length
    rollout = FunctionalRollout(problems, search, seed=config.seed, functions=functions, max_model_len=max_model_len)
    rows = [{"prompt": prompt_of(p), "answer": p.answer, "question_id": p.id} for p in problems]
    reward = OutcomeReward(tokenizer, [tokenizer.eos_token_id], wrong=rl.wrong_reward)
    dtype = (args.model_init_kwargs or {}).get("dtype", "float32")
    if dtype in ("float32", "auto") and (args.bf16 or args.fp16):
        dtype = "bfloat16" if args.bf16 else "float16"
    with _engine_options(settings.vllm_options(config, dtype, on_gpu, max_model_len)):
        trainer = RFTTTrainer(
            model=str(model_path),
            reward_funcs=reward,
            args=args,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            rollout_func=rollout,
            callbacks=list(callbacks),
            advantage=rl.advantage,
            functions=functions,
        )
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


def _agree_on_checkpoint(trainer: Any) -> Path | None:
    """The last whole checkpoint; the first process looks, so that none sees another's clean-up."""
    from accelerate.utils import broadcast_object_list

    found = [checkpoints.last_whole(Path(trainer.args.output_dir)) if trainer.is_world_process_zero() else None]
    return broadcast_object_list(found)[0]


def _save(trainer: Any, model_path: str | Path, out_folder: Path) -> None:
    """Write the final model and its tokenizer aside and rename them."""
    partial = out_folder.with_name(f".{out_folder.name}.partial")
    if trainer.is_world_process_zero():
        shutil.rmtree(partial, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    trainer.save_model(str(partial))
    trainer.accelerator.wait_for_everyone()
    if trainer.is_world_process_zero():
        published = Path(model_path) / "generation_config.json"
        if published.is_file():
            shutil.copy(published, partial / published.name)
        checkpoints.publish(partial, out_folder)
    trainer.accelerator.wait_for_everyone()


def _free(trainer: Any) -> None:
    """Give back the memory of TRL's engine; another may be started in this process afterwards."""
    generation = getattr(trainer, "vllm_generation", None)
    if generation is not None and hasattr(generation, "llm"):
        generation.llm.llm_engine.engine_core.shutdown()
        del generation.llm
    gc.collect()
