"""Train the toy base model from scratch: `rftt toy build OUT`.

A Qwen2 of about one million parameters learns the lessons of `lessons.py`, with a curriculum from one definition up.
The result is a model folder like any other. The trained weights ship with the package; this file makes them again from
a seed. Killed, the same command goes on from its last checkpoint: the lessons of a step depend on (seed, step) only.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rftt.toy import lessons
from rftt.toy.prompts import TOY
from rftt.toy.world import LEVELS
from search.function_files import SUGGESTED, write_functions

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

PAD, START, END = "<|pad|>", "<|im_start|>", "<|im_end|>"
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MODEL = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": True,
    "initializer_range": 0.12,  # the usual 0.02 leaves so narrow a model on a plateau for thousands of steps
}
VOCABULARY = 512
BATCH = 32  # conversations a step
POOL = 8  # batches drawn and sorted by length together, so that little is padded
PEAK_LR = 2e-3
CHECKPOINT_EVERY = 512  # a multiple of POOL


def written(user: str, assistant: str) -> str:
    """A lesson as the text that the model sees."""
    if not assistant:
        return f"{user}{END}\n"
    return f"{START}user\n{user}{END}\n{START}assistant\n{assistant}{END}\n"


def build_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE in which digits and signs stand alone; any text can be encoded."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    rng = random.Random(f"{seed}/tokenizer")
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Punctuation("isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator((written(*lessons.lesson(rng, max(LEVELS), 0.3)) for _ in range(4000)), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=END,
        model_max_length=1024,
        padding_side="left",
        additional_special_tokens=[START],
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen2ForCausalLM:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=len(tokenizer),
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **MODEL,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def batches(tokenizer: PreTrainedTokenizerFast, seed: int, step: int, steps: int) -> list[list[list[int]]]:
    """The batches of the pool that `step` belongs to, `POOL` lists of `BATCH` rows of ids.

    The curriculum: at first one definition, only reading and every second text a drill, then more definitions, then
    also conversations, and most of what is read is marked.
    """
    rng = random.Random(f"{seed}/lessons/{step // POOL}")
    progress = step / steps
    most = min(max(LEVELS), 1 + int(progress / 0.15 * max(LEVELS)))
    reading, marked, drills = (1.0, 0.0, 0.5) if progress < 0.15 else (0.3, 0.6, 0.05)
    drawn = [written(*lessons.lesson(rng, most, reading, marked, drills)) for _ in range(BATCH * POOL)]
    rows = sorted(tokenizer(drawn)["input_ids"], key=len)
    result = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
    rng.shuffle(result)
    return result


def collate(rows: list[list[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and labels, each (B, T) int64, padded on the right; labels are -100 there."""
    import torch

    width = max(map(len, rows))
    ids_BT = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
    labels_BT = torch.tensor([row + [-100] * (width - len(row)) for row in rows])
    return ids_BT, labels_BT


def learning_rate(step: int, steps: int) -> float:
    """A cosine with a short warm-up."""
    return PEAK_LR * min(1.0, (step + 1) / 100) * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def build(out: Path, *, seed: int = 0, steps: int = 3_200, report: Callable[[str], None] = print) -> Path:
    """Train and save the toy base model.

    Args:
        out: model folder to write; ``OUT.partial`` holds the checkpoint until the end.
        seed: seed of tokenizer, initial weights and lessons.
        steps: number of optimiser steps with `BATCH` texts each, a multiple of `POOL`.
        report: function that gets a progress line every 100 steps.
    """
    import torch

    partial = out.with_name(out.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer(seed)
    model = build_model(tokenizer, seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_LR, betas=(0.9, 0.98), weight_decay=0.01)
    begin, checkpoint = 0, partial / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        begin = state["step"]
    started, losses, tokens = time.monotonic(), 0.0, 0
    pool: list[list[list[int]]] = []
    for step in range(begin, steps):
        if not pool:
            pool = batches(tokenizer, seed, step, steps)
        ids_BT, labels_BT = collate(pool.pop(0), tokenizer.pad_token_id)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        # Padding stands on the right, where causal attention does not look: no mask, and a third faster on a CPU.
        loss = model(input_ids=ids_BT, labels=labels_BT).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses, tokens = losses + loss.item(), tokens + ids_BT.numel()
        if (step + 1) % 100 == 0:
            spent = time.monotonic() - started
            left = spent / (step + 1 - begin) * (steps - step - 1)
            report(
                f"step {step + 1}/{steps}  loss {losses / 100:.4f}  {tokens / spent:,.0f} tok/s  "
                f"{left / 60:.0f} min left"
            )
            losses = 0.0
        if (step + 1) % CHECKPOINT_EVERY == 0:
            _save(checkpoint, {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1})
    checkpoint.unlink(missing_ok=True)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    (partial / SUGGESTED).write_text(write_functions(TOY), encoding="utf-8")
    return partial.rename(out)


def _save(path: Path, state: dict[str, Any]) -> None:
    import torch

    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.rename(path)
