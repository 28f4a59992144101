"""SFT warm-up on functional chains (RFTT, section 3.2): full fine-tuning, loss on the assistant turn only.

    rftt sft CONFIG

The chat template is the model's own. The result is a model folder that transformers and vLLM load as it is. Killed, the
same command goes on from the last whole checkpoint.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rftt.checkpoints import WholeCheckpoints, last_whole, save_final, step_of
from rftt.config import Config
from rftt.errors import UsageError
from rftt.metrics import MetricsLog
from search.journal import read_jsonl

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
}


def chain_dataset(chains: Path) -> Dataset:
    """Chains as TRL's conversational prompt and completion, so that the loss is on the assistant turn only.

    Raises:
        UsageError: the file has no chain.
    """
    from datasets import Dataset

    rows = [{"prompt": c["messages"][:-1], "completion": c["messages"][-1:]} for c in read_jsonl(chains)]
    if not rows:
        raise UsageError(
            f"{chains}: no chain to learn from; the search found no correct path, so give it more rollouts"
        )
    return Dataset.from_list(rows)


def train_sft(model: Path, chains: Path, out: Path, config: Config, label: str = "sft") -> dict[str, float]:
    """Tune `model` on `chains` and save it to `out`.

    Args:
        model: model folder that holds the functional tokens.
        chains: JSONL of records with `messages`.
        out: folder of the final model; checkpoints stand beside it.
        config: ``config.sft.trainer`` goes to TRL's ``SFTConfig``.
        label: of this training in the metrics.

    Returns:
        TRL's metrics of the training.
    """
    import torch
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    class Trainer(WholeCheckpoints, SFTTrainer):
        """TRL's trainer with checkpoints that are whole or absent."""

    options = PAPER | hardware_options(config.model.dtype) | {"seed": config.seed} | config.sft.trainer
    options.setdefault("output_dir", str(out.parent / "checkpoints"))
    options |= _batch(config.sft.batch_size, options)
    checkpoint = last_whole(Path(options["output_dir"]))
    torch.manual_seed(config.seed)
    trainer = Trainer(
        model=str(model),
        args=SFTConfig(**options, model_init_kwargs={"dtype": training_dtype(config.model.dtype)}),
        train_dataset=chain_dataset(chains),
        processing_class=AutoTokenizer.from_pretrained(model),
        callbacks=[metrics_callback(MetricsLog(config.folder / "metrics.jsonl", label, after=step_of(checkpoint)))],
    )
    result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    save_final(out, trainer.save_model)
    return result.metrics


def training_dtype(dtype: str) -> str:
    """Dtype that a trainer loads weights in.

    Full precision unless asked otherwise: at the small learning rates of the method most updates fall below the
    resolution of bfloat16 weights. On a GPU the computation is in bfloat16 all the same.
    """
    return "float32" if dtype == "auto" else dtype


def hardware_options(dtype: str) -> dict[str, Any]:
    """Trainer options that depend on the machine and not on the method."""
    import torch

    gpu = torch.cuda.is_available()
    return {"use_cpu": not gpu, "bf16": gpu and dtype in ("auto", "bfloat16"), "gradient_checkpointing": gpu}


def metrics_callback(metrics: MetricsLog) -> TrainerCallback:
    """A trainer callback that writes what the trainer logs to the run's metrics."""
    from transformers import TrainerCallback

    class WriteMetrics(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
            if state.is_world_process_zero and logs:
                metrics.write(state.global_step, logs)

    return WriteMetrics()


def _batch(batch_size: int, options: dict[str, Any]) -> dict[str, int]:
    """Batch per process and accumulation steps that give `batch_size` over all processes.

    Raises:
        UsageError: the batch cannot be divided so.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    each = int(options.get("per_device_train_batch_size", min(batch_size // processes or 1, 8)))
    if "gradient_accumulation_steps" in options:
        return {"per_device_train_batch_size": each}
    if batch_size % (each * processes):
        raise UsageError(
            f"sft.batch_size: {batch_size} is not a multiple of {each} sequences × {processes} processes; change it or "
            "sft.trainer.per_device_train_batch_size"
        )
    return {"per_device_train_batch_size": each, "gradient_accumulation_steps": batch_size // (each * processes)}
