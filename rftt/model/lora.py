"""LoRA for both trainers: adapters on the linear layers, and the rows of the functional tokens themselves.

Adapters cannot move embeddings, and the functional tokens start as rough means of other words. So the input embedding and
the head are trained as well, but only in the rows of these tokens: gradients of all others are zeroed and nothing decays, so
they stay bit-identical. What leaves a phase, and what vLLM gets in between, are merged weights of the plain model.

LoRA: Hu et al., arXiv 2106.09685.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from rftt.config.sections import LoRAConfig
from search.loading import load_model_config

ADAPTER = "default"  # PEFT's name of the only adapter
TRAINED_COPY = f".modules_to_save.{ADAPTER}"
Gather = Callable[[list[Any]], AbstractContextManager[Any]]


def peft_config(settings: LoRAConfig, model_path: str | Path, trust_remote_code: bool = False) -> Any:
    """PEFT's settings for a model folder; None where LoRA is off. Reads no weights."""
    if not settings.rank:
        return None
    import torch
    from peft import LoraConfig
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM

    config = load_model_config(model_path, trust_remote_code)
    with torch.device("meta"):  # by the class itself: `from_config` would share the model out under ZeRO-3
        if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
            model = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config)
        else:
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    ends = [model.get_input_embeddings(), model.get_output_embeddings()]
    names = [name.rpartition(".")[2] for name, module in model.named_modules() if any(module is end for end in ends)]
    everywhere = settings.target_modules == ("all-linear",)
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        use_rslora=settings.rslora,
        target_modules="all-linear" if everywhere else list(settings.target_modules),
        modules_to_save=names,
        ensure_weight_tying=bool(config.get_text_config().tie_word_embeddings),
    )


class TrainsAdapters:
    """Mixed into a transformers `Trainer` before it: of the trained copies of embedding and head, only rows move.

    Set `trained_rows`, and `token_rate` as in the settings, before training; without an adapter nothing changes.
    """

    trained_rows: Sequence[int] = ()
    token_rate: float = 1.0

    def create_optimizer(self, *options: Any) -> Any:
        from rftt.model.float32_rows import train_in_float32
        from rftt.model.fused_head import score_what_is_learnt, train_rows_of_head

        trainer: Any = self
        exists = trainer.optimizer is not None
        copies = [p for name, p in trainer.model.named_parameters() if TRAINED_COPY in name]
        for parameter in copies:
            if not hasattr(parameter, "rows_only"):
                parameter.rows_only = parameter.register_hook(only_rows(self.trained_rows))
        train_rows_of_head(copies, self.trained_rows)
        score_what_is_learnt(trainer.model)
        optimizer = super().create_optimizer(*options)  # type: ignore[misc]
        if exists or not copies:
            return optimizer
        if self.trained_rows and _is_rounded(copies, trainer):
            copies = train_in_float32(optimizer, copies, self.trained_rows)
        if self.token_rate != 1.0:
            _apart(optimizer, copies, self.token_rate)
        return optimizer

    def get_decay_parameter_names(self, model: Any) -> list[str]:
        names: list[str] = super().get_decay_parameter_names(model)  # type: ignore[misc]
        return [name for name in names if TRAINED_COPY not in name]


def _is_rounded(weights: Sequence[Any], trainer: Any) -> bool:
    """Whether what a step adds to these weights is lost in their type. DeepSpeed keeps float32 weights of its own."""
    import torch

    scaled = trainer.args.fp16  # the scaler takes the scale off the gradients of the optimizer's own parameters
    return not trainer.is_deepspeed_enabled and not scaled and any(w.dtype != torch.float32 for w in weights)


def _apart(optimizer: Any, parameters: Sequence[Any], rate: float) -> None:
    """Gives these parameters of an optimizer a group of their own, with `rate` times the learning rate."""
    own = {id(parameter) for parameter in parameters}
    for group in optimizer.param_groups:
        group["params"] = [p for p in group["params"] if id(p) not in own]
    optimizer.param_groups[:] = [group for group in optimizer.param_groups if group["params"]]
    learning_rate = rate * optimizer.param_groups[0]["lr"]
    optimizer.add_param_group({"params": list(parameters), "lr": learning_rate, "weight_decay": 0.0})


def only_rows(rows: Iterable[int]) -> Callable[[Any], Any]:
    """A gradient hook that keeps these rows of a gradient (V, D) and zeroes all others."""
    import torch

    kept = torch.tensor(sorted(rows), dtype=torch.int64)

    def hook(gradient_VD: Any) -> Any:
        ids = kept.to(gradient_VD.device)
        return torch.zeros_like(gradient_VD).index_copy_(0, ids, gradient_VD[ids])

    return hook


def merged_parameters(model: Any, gather: Gather) -> Iterator[tuple[str, Any]]:
    """Names and values of the plain model's parameters with the adapter merged in; the model stays as it is.

    Merging in place and taking it back, as PEFT does, leaves rounding errors in the frozen weights, and they add up.

    Args:
        model: a `PeftModel` that `peft_config` made.
        gather: context in which parameters that are partitioned over processes are whole; every process must go through
            all parameters.
    """
    from peft.tuners.lora import LoraLayer

    plain = model.get_base_model()
    layers = {name: module for name, module in plain.named_modules() if isinstance(module, LoraLayer)}
    for name, parameter in plain.named_parameters():
        if ".lora_" in name or ".original_module." in name:
            continue
        owner, _, kind = name.rpartition(".base_layer.")
        published = name.replace(".base_layer", "").replace(TRAINED_COPY, "")
        if owner in layers and kind == "weight":
            layer = layers[owner]
            adapter = [layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight]
            with gather([parameter, *adapter]):
                merged = parameter.data.float() + layer.get_delta_weight(ADAPTER).detach().float()
                yield published, merged.to(parameter.dtype)
        else:
            with gather([parameter]):
                yield published, parameter.data


def gathering(trainer: Any) -> Gather:
    """The context for `merged_parameters` that fits how a trainer is distributed."""
    from trl.distributed import DistributedBackend

    return DistributedBackend(trainer.accelerator).gather_params


def save_merged(trainer: Any, folder: str) -> None:
    """Write the merged model and the tokenizer; a collective: every process calls it."""
    from huggingface_hub import save_torch_state_dict

    model = trainer.accelerator.unwrap_model(trainer.model)
    first = trainer.is_world_process_zero()
    weights = {}
    for name, value in merged_parameters(model, gathering(trainer)):
        if first:
            weights[name] = value.to("cpu", copy=True)
    if first:
        plain = model.get_base_model()
        with published_dtype(plain.config, next(iter(weights.values())).dtype):
            plain.config.save_pretrained(folder)
        save_torch_state_dict(weights, folder)
        trainer.processing_class.save_pretrained(folder)


@contextmanager
def published_dtype(config: Any, dtype: Any) -> Iterator[None]:
    """While a config is saved, it names the type of the weights beside it."""
    before = config.dtype
    config.dtype = dtype
    try:
        yield
    finally:
        config.dtype = before
