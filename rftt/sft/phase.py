"""SFT warm-up on functional chains (RFTT, section 3.2): full fine-tuning or LoRA, loss on the assistant turn only.

    rftt sft CONFIG

A sample is exactly the prompt that asks the question, the chain, and the token that ends the turn. The result is a model
folder that transformers and vLLM load as it is. Killed, the same command goes on from the last whole checkpoint. Tokens may
count differently (`weighting`), and a second stage may learn the answer part alone (SFTKey, arXiv 2512.21017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rftt.config import Config
from rftt.config.sections import LoRAConfig
from rftt.errors import UsageError
from rftt.model import lora
from rftt.model.checkpoints import WholeCheckpoints, go_on, step_of
from rftt.model.finite import StopsWhenNotFinite
from rftt.model.vocabulary import functional_token_ids
from rftt.runtime import distributed
from rftt.runtime.progress import course, training_progress
from rftt.runtime.step_log import MetricsLog
from rftt.runtime.terminal import conclude
from rftt.weighting.conversations import conversations, encode
from rftt.weighting.registry import load_weighting
from search.functions import RFTT, FunctionSet
from search.journal import read_jsonl
from search.loading import load_model_config, load_tokenizer

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import TrainerCallback

# The paper's settings (RFTT, appendix); `sft.trainer` overrides each.
PAPER: dict[str, Any] = {
    "learning_rate": 7e-6,
    "lr_scheduler_type": "constant_with_warmup",
    "warmup_steps": 10,
    "num_train_epochs": 10,
    "max_length": 8192,
    "adam_beta1": 0.9,
    "adam_beta2": 0.95,
    "weight_decay": 0.1,
    "logging_steps": 5,
    "save_strategy": "epoch",
    "save_total_limit": 2,
    "report_to": "none",
    "disable_tqdm": True,
}


def chain_dataset(chains: Path, tokenizer: Any, functions: FunctionSet = RFTT) -> Dataset:
    """Chains as token ids with labels on the last turn of the assistant: what is learnt is what will be asked.

    Args:
        chains: JSONL of records with `messages`.
        tokenizer: tokenizer of the model that learns them.
        functions: the token set.

    Raises:
        UsageError: the file has no chain, or the chat template cannot take one.
    """
    from datasets import Dataset

    samples = conversations(read_jsonl(chains), str(chains))
    if not samples:
        raise UsageError(
            f"{chains}: no chain to learn from; the search found no correct path, so give it more rollouts"
        )
    return Dataset.from_list([encode(sample, tokenizer, functions, last_only=True) for sample in samples])


def train_sft(
    model: Path,
    chains: Path,
    out: Path,
    config: Config,
    label: str = "sft",
    roles: Path | None = None,
    callbacks: Sequence[Any] = (),
    functions: FunctionSet = RFTT,
) -> dict[str, float]:
    """Tune `model` on `chains` and save it to `out`.

    With ``config.sft.key_stage``, stage 1 leaves its model in ``tagged`` beside `out`, and stage 2 goes on from there.

    Args:
        model: model folder that holds the functional tokens.
        chains: JSONL of records with `messages`.
        out: folder of the final model; checkpoints stand beside it.
        config: ``config.sft.trainer`` goes to TRL's ``SFTConfig``.
        label: label of this training in the metrics.
        roles: what `rftt shad` has written, for ``config.sft.weighting.roles: shad``.
        callbacks: transformers trainer callbacks, of every stage.
        functions: the token set.

    Returns:
        TRL's metrics of the last stage.
    """
    from rftt.weighting.annotate import Annotator

    sft, stage = config.sft, config.sft.key_stage
    tokenizer = load_tokenizer(model, config.model.trust_remote_code)
    functional_token_ids(tokenizer, functions)
    job = Tuning("sft", label, config, sft.batch_size, sft.lora, sft.trainer, callbacks=callbacks, functions=functions)
    first = replace(job, weights=_weights(config, tokenizer, roles, functions), sharing=sft.prefix_sharing)
    dataset = chain_dataset(chains, tokenizer, functions)
    if not stage.on:
        return tune(model, dataset, out, first)
    tagged = out.with_name("tagged")
    if not tagged.exists():
        tune(model, dataset, tagged, first)
    folder = Path(sft.trainer["output_dir"]) if "output_dir" in sft.trainer else out.parent
    length = {"max_steps": stage.steps} if stage.steps else {"num_train_epochs": stage.epochs, "max_steps": -1}
    rate = {} if stage.learning_rate is None else {"learning_rate": stage.learning_rate}
    options = {**sft.trainer, **length, **rate, "output_dir": str(folder / "key-checkpoints")}
    key = {"annotator": Annotator(tokenizer, marker=sft.weighting.marker, functions=functions), "key_only": True}
    weights = key if stage.tokens == "key" else {}
    second = replace(job, label=f"{label} key", options=options, weights=weights)
    return tune(tagged, dataset, out, second)


@dataclass(frozen=True)
class Tuning:
    """How a model is tuned.

    Args:
        section: section of the config that the settings come from, for messages.
        label: label of this training in the metrics.
        config: config of the run: its seed, its folder, the type of the weights.
        batch_size: samples of one optimiser step, over all processes.
        adapters: LoRA or full fine-tuning.
        options: options of TRL's ``SFTConfig``.
        weights: arguments of `WeightedSFTTrainer`.
        callbacks: transformers trainer callbacks.
        functions: the token set, whose rows adapters train along.
        sharing: whether shared beginnings are computed once, as in ``sft.prefix_sharing``.
    """

    section: str
    label: str
    config: Config
    batch_size: int
    adapters: LoRAConfig
    options: dict[str, Any]
    weights: dict[str, Any] = field(default_factory=dict)
    callbacks: Sequence[Any] = ()
    functions: FunctionSet = RFTT
    sharing: bool | str = False


def tune(model: Path, dataset: Dataset, out: Path, job: Tuning) -> dict[str, float]:
    """Tune `model` on a data set that TRL takes and save it to `out`; goes on from the last whole checkpoint.

    Returns:
        TRL's metrics of the training.

    Raises:
        TrainingFailed: the loss or the gradient is not finite.
    """
    import torch
    from trl import SFTConfig

    from rftt.model.prefix_sharing.attention import NAME
    from rftt.model.prefix_sharing.exactness import shares_prefixes
    from rftt.sft.trainer import WeightedSFTTrainer

    class Trainer(lora.TrainsAdapters, StopsWhenNotFinite, WholeCheckpoints, WeightedSFTTrainer):
        """TRL's trainer with weights, checkpoints that are whole or absent, and adapters that move rows of new tokens."""

    config = job.config
    options = PAPER | hardware_options(job.options) | {"seed": config.seed} | job.options
    options.setdefault("trust_remote_code", config.model.trust_remote_code)
    options.setdefault("output_dir", str(out.parent / "checkpoints"))
    options |= _batch(job.batch_size, options, job.section)
    distributed.prepare(options, job.section)
    loading: dict[str, Any] = {"dtype": training_dtype(config.model.dtype)}
    model_config = load_model_config(model, config.model.trust_remote_code) if job.sharing else None
    if sharing := shares_prefixes(job.sharing, model_config, options, job.section):
        loading["attn_implementation"] = NAME
    arguments = SFTConfig(**options, model_init_kwargs=loading)
    checkpoint = distributed.agreed_checkpoint(Path(options["output_dir"]))
    tokenizer = load_tokenizer(model, config.model.trust_remote_code)
    adapters = lora.peft_config(job.adapters, model, config.model.trust_remote_code)
    torch.manual_seed(config.seed)
    trainer = Trainer(
        model=str(model),
        args=arguments,
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=adapters,
        callbacks=[*job.callbacks, training_progress(job.label, "loss")],
        sharing=sharing,
        **job.weights,
    )
    if trainer.is_world_process_zero():
        log = MetricsLog(config.folder / "metrics.jsonl", job.label, after=step_of(checkpoint))
        trainer.add_callback(metrics_callback(log))
    vocabulary = tokenizer.get_vocab()
    trainer.trained_rows = sorted(vocabulary[tag] for tag in job.functions.tags if tag in vocabulary)
    trainer.token_rate = job.adapters.token_rate
    trainer.what, trainer.not_finite_steps = job.section, config.sft.not_finite_steps
    metrics = go_on(trainer, checkpoint)
    trainer.refuse_if_not_finite()
    save = partial(lora.save_merged, trainer) if adapters else trainer.save_model
    distributed.save_final(trainer, out, model, save)
    state = trainer.state
    if state.is_world_process_zero:
        told = [f"{len(dataset)} samples", f"{state.global_step} steps", course(state.log_history, "loss")]
        conclude(", ".join(filter(None, told)))
    return metrics


def _weights(config: Config, tokenizer: Any, roles: Path | None, functions: FunctionSet) -> dict[str, Any]:
    """Arguments of `WeightedSFTTrainer` for ``sft.weighting``; none where TRL's own loss is wanted.

    Raises:
        UsageError: a user's weighting cannot be built, or there are no roles.
    """
    from rftt.weighting.annotate import Annotator
    from rftt.weighting.roles import role_source

    settings = config.sft.weighting
    if settings.name == "plain" and settings.roles is None:
        return {}
    try:
        weighting = load_weighting(settings.name, settings.options).for_functions(functions)
    except ValueError as error:
        raise UsageError(f"sft.weighting.{error}") from error
    if weighting.needs_roles and settings.roles is None:
        raise UsageError(f"sft.weighting.roles: none with name: {settings.name}; give shad, regex or a roles.jsonl")
    source = role_source(settings, tokenizer, roles, config.shad.threshold, functions)
    return {"weighting": weighting, "annotator": Annotator(tokenizer, source, settings.marker, functions)}


def training_dtype(dtype: str) -> str:
    """Dtype that a trainer loads weights in.

    Full precision unless asked otherwise: at the small learning rates of the method most updates fall below the
    resolution of bfloat16 weights. On a GPU the computation is in bfloat16 all the same.
    """
    return "float32" if dtype == "auto" else dtype


def hardware_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Trainer options that depend on the machine and not on the method.

    On a GPU TRL trains under bfloat16 autocast, unless ``fp16`` or ``bf16`` say otherwise, as in RL.

    Args:
        given: the user's options of the trainer.
    """
    import torch

    if torch.cuda.is_available() and not given.get("use_cpu"):
        return {"gradient_checkpointing": True}
    return {"use_cpu": True, "bf16": False, "gradient_checkpointing": False}


def metrics_callback(metrics: MetricsLog) -> TrainerCallback:
    """A trainer callback that writes what the trainer logs to the run's metrics."""
    from transformers import TrainerCallback

    class WriteMetrics(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
            if logs:
                metrics.write(state.global_step, logs)

    return WriteMetrics()


def _batch(batch_size: int, options: Mapping[str, Any], section: str) -> dict[str, int]:
    """Batch per process and accumulation steps that give `batch_size` over all processes.

    Raises:
        UsageError: the batch cannot be divided so.
    """
    processes = distributed.processes()
    size, steps = options.get("per_device_train_batch_size"), options.get("gradient_accumulation_steps")
    if size is None:
        size = max(batch_size // (processes * steps), 1) if steps else min(batch_size // processes or 1, 8)
    if steps is None:
        steps = batch_size // max(size * processes, 1)
    if size * steps * processes != batch_size:
        raise UsageError(
            f"{section}.batch_size: {batch_size} is not {size} sequences × {steps} accumulation steps × {processes} "
            f"processes; change it, {section}.trainer.per_device_train_batch_size or gradient_accumulation_steps"
        )
    return {"per_device_train_batch_size": size, "gradient_accumulation_steps": steps}
