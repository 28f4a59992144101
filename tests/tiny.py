"""Random models of about a hundred thousand parameters, with a tokenizer, a chat template and pad ≠ eos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL_TOKENS = ("<|pad|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>")
TRAINING_TEXT = (
    "What is the sum of the numbers? The answer is the final number.",
    "Restate the question and its goal. Think of an idea or plan for the solution.",
    "Propose a smaller problem to solve next. Do exactly one step of reasoning.",
    "Check the preceding steps for a mistake. Correct the step that was wrong.",
    "Finish the rest of the solution. Put the final answer in \\boxed{12}.",
    "user assistant system\nnext_step direct_answer verify refine output analyze clarify subquestion",
)
HEAD_SIZE = 32  # the smallest that vLLM's attention supports on the CPU


def build_tokenizer():
    """Byte-level BPE with single digits, about 400 tokens; pad `<|pad|>`, eos `<|im_end|>`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(TRAINING_TEXT * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<|pad|>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>", "<|endoftext|>"],
        model_max_length=1024,
        padding_side="left",
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def build_tiny_model(
    folder: Path,
    *,
    arch: str = "qwen2",
    tied: bool = True,
    padded_rows: int = 0,
    seed: int = 0,
    tokenizer: Any = None,
) -> None:
    """Write a random two-layer model, fp32, hidden size 64, that transformers and vLLM load.

    Args:
        folder: where to write it.
        arch: `qwen2`, `qwen3` or `llama`.
        tied: whether the output head is the input embedding.
        padded_rows: embedding rows beyond the last token id, as published Qwen models have them.
        seed: seed of the weights.
        tokenizer: by default that of `build_tokenizer`.
    """
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

    tokenizer = tokenizer or build_tokenizer()
    hidden = 2 * HEAD_SIZE
    fields = {
        "vocab_size": len(tokenizer) + padded_rows,
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": 2,
        "num_attention_heads": hidden // HEAD_SIZE,
        "num_key_value_heads": 1,
        "max_position_embeddings": 1024,
        "initializer_range": 0.1,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
        "tie_word_embeddings": tied,
    }
    config = {
        "qwen2": lambda: Qwen2Config(**fields),
        "qwen3": lambda: Qwen3Config(**fields, head_dim=HEAD_SIZE),
        "llama": lambda: LlamaConfig(**fields, head_dim=HEAD_SIZE),
    }[arch]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.generation_config.update(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, max_new_tokens=64
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
