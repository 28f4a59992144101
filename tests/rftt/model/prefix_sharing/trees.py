"""Random trees of token ids, and models small enough to compare every gradient."""

from __future__ import annotations

import copy
import random
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config
from trl.trainer.utils import add_fused_lm_head

LAYERS = 3
SHAPE = {
    "vocab_size": 320, "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": LAYERS,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512, "pad_token_id": 0,
    "initializer_range": 0.2,
}  # fmt: skip
CONFIGS = {
    "qwen2": Qwen2Config(**SHAPE, tie_word_embeddings=True),
    "qwen3": Qwen3Config(**SHAPE, head_dim=12),
    "llama": LlamaConfig(**SHAPE),
    "window": Qwen2Config(**SHAPE, use_sliding_window=True, sliding_window=11, max_window_layers=1),
    "mistral": MistralConfig(**SHAPE, sliding_window=9),
}


def forest(seed: int = 3) -> tuple[list[list[int]], list[list[int]]]:
    """Prompts and completions of three trees; with a path that begins another, two equal ones and one of a single token."""
    rng = random.Random(seed)
    rows = [row for prompt in (16, 9, 23) for row in tree(rng, 6, prompt)]
    rows[3] = (rows[3][0], rows[2][1][:7])
    rows[7] = (rows[7][0], list(rows[6][1]))
    rows[14] = (rows[14][0], [7])
    return [prompt for prompt, _ in rows], [completion for _, completion in rows]


def tree(rng: random.Random, paths: int, prompt: int) -> list[tuple[list[int], list[int]]]:
    """Each path leaves an earlier one at a random step; steps begin with one of few tags, as functional steps do."""
    ids = [rng.randrange(20, 320) for _ in range(prompt)]
    grown: list[list[list[int]]] = []
    for _ in range(paths):
        path = list(rng.choice(grown)[: rng.randrange(4)]) if grown else []
        while len(path) < 4:
            path.append([rng.randrange(3, 7), *(rng.randrange(20, 320) for _ in range(rng.randint(3, 8)))])
        grown.append(path)
    return [(ids, [i for step in path for i in step]) for path in grown]


def padded(prompts: list[list[int]], completions: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Ids and mask (B, P + T) as TRL pads them, and T."""
    before, after = max(map(len, prompts)), max(map(len, completions))
    ids = torch.zeros(len(prompts), before + after, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        columns = slice(before - len(prompt), before + len(completion))
        ids[row, columns] = torch.tensor(prompt + completion)
        mask[row, columns] = 1
    return ids, mask, after


def build(name: str, attention: str, dtype: torch.dtype = torch.float32) -> Any:
    """The same random model whatever its attention, with TRL's fused head."""
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(copy.deepcopy(CONFIGS[name]), attn_implementation=attention, dtype=dtype)
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    return model.train()


def row_by_row(model: Any, prompts: list[list[int]], completions: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probs and entropies (B, T), each row computed alone."""
    width = max(map(len, completions))
    found = []
    for prompt, completion in zip(prompts, completions, strict=True):
        ids = torch.tensor([prompt + completion])
        labels = ids.clone()
        labels[:, : len(prompt)] = -100
        output = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels, fused_lm_head=True)
        missing = (0, width - len(completion))
        kept = slice(len(prompt) - 1, None)
        found.append(tuple(torch.nn.functional.pad(x[0, kept], missing) for x in (output.log_probs, output.entropy)))
    return torch.stack([logps for logps, _ in found]), torch.stack([entropy for _, entropy in found])
