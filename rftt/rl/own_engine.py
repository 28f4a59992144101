"""The trainer's own model as an engine of the search: in TRL's vLLM, or as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from search.engines import Engine


@contextmanager
def colocated(trainer: Any) -> Iterator[Engine]:
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
def own_model(trainer: Any, max_model_len: int | None) -> Iterator[Engine]:
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
            limit = min(max_model_len or model.config.max_position_embeddings, model.config.max_position_embeddings)
            yield TransformersEngine(model, tokenizer=trainer.processing_class, max_model_len=limit)
        finally:
            model.generation_config = published
            model.train(training)
