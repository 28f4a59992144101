"""From the section ``rl`` to TRL's `GRPOConfig`: the paper's defaults, the user's options, what cannot be had together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rftt.config.sections import EngineConfig, RLSection
from rftt.config.trl_options import check_grpo_option
from rftt.errors import UsageError
from rftt.rl.estimators import load_estimator
from search.engines.vllm import CPU_OPTIONS

# RFTT, section 4.1, where it gives a value. `dapo` divides by the tokens of the whole batch: the mean over all valid
# tokens of PPO's clipped loss, however the batch is cut into micro-batches, which is what whitened returns ask for.
PAPER: dict[str, Any] = {
    "learning_rate": 5e-7,
    "lr_scheduler_type": "constant",
    "beta": 0.01,
    "epsilon": 0.2,
    "max_grad_norm": 1.0,
    "loss_type": "dapo",
    "num_train_epochs": 1,
    "disable_dropout": True,
    "logging_steps": 1,
    "save_strategy": "steps",
    "save_steps": 10,
    "save_total_limit": 2,
    "report_to": "none",
    "disable_tqdm": True,
}


def uses_vllm(settings: RLSection, engine: EngineConfig) -> bool:
    """Whether phase 2 samples on vLLM, else on the trained model itself.

    Raises:
        UsageError: the engine cannot sample for a trainer in its process.
    """
    given = settings.trainer.get("use_vllm")
    if given is not None:
        return bool(given)
    if engine.name not in ("vllm", "transformers"):
        raise UsageError(
            f"engine.name is {engine.name}, but phase 2 samples from the weights that it trains, in the "
            "trainer's process: set engine.name=vllm or transformers for `rftt rl`, or rl.trainer.use_vllm"
        )
    return engine.name == "vllm"


def grpo_options(
    settings: RLSection,
    engine: EngineConfig,
    output_dir: Path,
    *,
    dtype: str,
    seed: int,
    world_size: int,
    on_gpu: bool,
    sharing: bool = False,
    longest_prompt: int,
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """Options of `GRPOConfig`.

    Args:
        settings: ``rl``.
        engine: ``engine``.
        output_dir: folder for checkpoints.
        dtype: dtype of the model.
        seed: run seed.
        world_size: number of processes.
        on_gpu: whether an accelerator is there.
        sharing: whether tokens that rollouts share are computed once.
        longest_prompt: tokens of the longest training prompt.
        trust_remote_code: whether code in the model's folder may run.

    Raises:
        UsageError: an option that contradicts another; names its key.
    """
    given = dict(settings.trainer)
    for key, value in given.items():
        if wrong := check_grpo_option(key, value):
            raise UsageError(f"rl.{key} {wrong}")
    options: dict[str, Any] = {**PAPER, "use_vllm": uses_vllm(settings, engine)}
    options["trust_remote_code"] = trust_remote_code
    if not on_gpu:
        options |= {
            "use_cpu": True,
            "bf16": False,
            "gradient_checkpointing": False,
            "vllm_gpu_memory_utilization": 0.1,
            # Both sides compute in float32 here: nothing to correct, and a forward pass saved, but for replayed paths.
            "vllm_importance_sampling_correction": dtype not in ("auto", "float32") or settings.replay,
            "dataloader_pin_memory": False,
        }
    options |= given
    # On a CPU padded rows are fastest in small micro-batches; the more rollouts stand in one, the more they share.
    options |= _batching(settings, given, world_size, 8 if on_gpu or not sharing else 64)
    if options.get("use_bias_correction_kl") and load_estimator(settings.advantage).kl_in_reward:
        raise UsageError(
            f"rl.trainer.use_bias_correction_kl is true, but rl.advantage={settings.advantage} has its KL in the reward: "
            "set it to false, or rl.advantage=grpo"
        )
    if settings.replay and not (options["use_vllm"] and options.get("vllm_importance_sampling_correction", True)):
        raise UsageError(
            "rl.replay is true, but replayed paths are samples of an earlier policy, which TRL corrects for with vLLM only: "
            "set engine.name=vllm and rl.trainer.vllm_importance_sampling_correction=true, or rl.replay=false"
        )
    if dtype != "auto":
        options["model_init_kwargs"] = {"dtype": dtype, **(options.get("model_init_kwargs") or {})}
    room = engine.max_model_len - longest_prompt
    if room < 1:
        raise UsageError(
            f"engine.max_model_len is {engine.max_model_len}, but the longest prompt has {longest_prompt} "
            "tokens; raise it or leave long questions out"
        )
    longest = min(settings.longest_completion or room, room)
    options |= {
        "max_completion_length": longest,
        "vllm_max_model_length": int(given.get("vllm_max_model_length") or longest_prompt + longest),
        "num_generations": settings.rollouts,
        "shuffle_dataset": settings.question_order == "random",
        "reward_weights": [1.0, settings.format_reward] if settings.format_reward else None,
        "output_dir": str(output_dir),
        "seed": seed,
        "temperature": 1.0,
        "top_p": 1.0,
        "remove_unused_columns": False,
    }
    return options


def _batching(settings: RLSection, given: dict[str, Any], world_size: int, most: int) -> dict[str, int]:
    """Rows of a micro-batch and micro-batches of a step, so that a step has `questions_per_step × rollouts` rows."""
    rows, rest = divmod(settings.questions_per_step * settings.rollouts, world_size)
    wanted = f"rl.questions_per_step × rl.rollouts = {settings.questions_per_step} × {settings.rollouts}"
    if rest or rows % settings.rollouts:
        raise UsageError(f"{wanted} is not whole groups for each of {world_size} processes; change questions_per_step")
    size, steps = given.get("per_device_train_batch_size"), given.get("gradient_accumulation_steps")
    if size is None and steps is None:
        size = max(n for n in range(1, most + 1) if rows % n == 0)
    if size is None:
        size = rows // int(steps or 1)
    if steps is None:
        steps = rows // size
    if size * steps != rows:
        raise UsageError(
            f"rl.trainer.per_device_train_batch_size × gradient_accumulation_steps × processes = {size} × {steps} × "
            f"{world_size}, but must be {wanted}"
        )
    per_generation = given.get("steps_per_generation") or steps
    if size * per_generation % settings.rollouts:
        raise UsageError(
            f"rl.trainer.steps_per_generation × per_device_train_batch_size = {per_generation} × {size}, "
            f"but must be a multiple of rl.rollouts = {settings.rollouts}"
        )
    iterations = given.get("num_iterations") or 1
    reused = per_generation * iterations
    if any(steps % number and number % steps for number in (per_generation, reused)):
        raise UsageError(
            f"rl.trainer.steps_per_generation = {per_generation} with num_iterations = {iterations} does not fit into steps "
            f"of {steps} micro-batches: {per_generation} and {reused} must divide {steps} or be multiples of it"
        )
    period = max(reused // steps, 1)  # steps for which samples are used
    for key, default in (("save_steps", PAPER["save_steps"]), ("max_steps", -1)):
        wanted_steps = given.get(key, default)
        if period > 1 and wanted_steps > 0 and wanted_steps % period:
            raise UsageError(
                f"rl.trainer.{key} is {wanted_steps}, but samples are used for {period} steps: give a multiple, since "
                "samples are not part of a checkpoint"
            )
    return {"per_device_train_batch_size": size, "gradient_accumulation_steps": steps}


def training_arguments(options: dict[str, Any]) -> Any:
    """The `GRPOConfig` of these options.

    Raises:
        UsageError: TRL refuses one.
    """
    from trl import GRPOConfig

    try:
        return GRPOConfig(**options)
    except (ValueError, TypeError) as error:
        raise UsageError(f"rl.trainer: {error}") from error


def computed_in(args: Any) -> str:
    """The type that the trainer computes in, which the engine is to share."""
    dtype = (args.model_init_kwargs or {}).get("dtype", "float32")
    if dtype in ("float32", "auto") and (args.bf16 or args.fp16):
        return "bfloat16" if args.bf16 else "float16"
    return str(dtype)


def vllm_options(engine: EngineConfig, dtype: str, on_gpu: bool, max_model_len: int) -> dict[str, Any]:
    """What TRL's vLLM engine gets beside TRL's own choices; ``engine.options`` has the last word."""
    # TRL asks for the log-probs of what is sampled, which where ids are forbidden is not the policy; else the two are equal,
    # since RL samples at temperature 1.
    chosen: dict[str, Any] = {"dtype": dtype, "enable_prefix_caching": True, "logprobs_mode": "raw_logprobs"}
    if not on_gpu:
        room = max(CPU_OPTIONS["max_num_batched_tokens"], max_model_len)
        # Compiling costs a small model more than it saves.
        chosen |= {**CPU_OPTIONS, "enforce_eager": True, "max_num_batched_tokens": room}
    return chosen | engine.options
