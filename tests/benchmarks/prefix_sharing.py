"""What sharing beginnings saves in a policy's forward and backward pass, and how far its log-probs are from padded rows'.

    python -m tests.benchmarks.prefix_sharing --json OUT [--shapes 1.5b 7b] [--cases steps prompt] [--repeat 3]

Random weights, random trees, nothing to download. On a GPU: Qwen2.5's shapes of 1.5B and 7B in bfloat16, in under five
minutes. On the CPU: a model of 35 M parameters in float32. Each case is one question's rollouts: as padded rows with
transformers' ``sdpa``, and packed. `apart` is the mean difference of log-probs to rows that are computed alone: for padded
rows it is what rounding costs anyway. Seconds are medians of forward and backward passes; those of the processor do not mind
what else runs on it. Peak memory is what a pass adds to the weights and their gradients.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rftt.model.prefix_sharing.attention import NAME
from rftt.model.prefix_sharing.scoring import score

MIB = 2**20


@dataclass(frozen=True)
class Shape:
    """Size of a Qwen2 model."""

    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool


@dataclass(frozen=True)
class Case:
    """Rollouts of one question: `prompt` tokens, then `depth` steps of as many tokens as `step` says."""

    rollouts: int
    prompt: int
    depth: int
    step: tuple[int, int]


SHAPES = {
    "mini": Shape(2, 64, 128, 4, 2, 512, True),
    "35m": Shape(8, 512, 1536, 8, 4, 16_416, True),
    "1.5b": Shape(28, 1536, 8960, 12, 2, 151_936, True),
    "7b": Shape(28, 3584, 18944, 28, 4, 152_064, False),
}
CASES = {
    "toy": Case(8, 30, 5, (5, 12)),
    "steps": Case(8, 150, 8, (60, 150)),
    "prompt": Case(8, 600, 4, (60, 90)),
    "wide": Case(16, 600, 4, (60, 90)),
}


def main() -> None:
    on_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--shapes", nargs="*", choices=SHAPES, default=["1.5b", "7b"] if on_gpu else ["35m"])
    parser.add_argument("--cases", nargs="*", choices=CASES, default=["steps", "prompt"])
    parser.add_argument("--repeat", type=int, default=3, help="timed passes, after one that is not counted")
    parser.add_argument("--checkpointing", action="store_true", help="compute activations again in the backward pass")
    options = parser.parse_args()
    device = torch.device("cuda" if on_gpu else "cpu")
    dtype = torch.bfloat16 if on_gpu else torch.float32
    rows = []
    for shape in options.shapes:
        for case in options.cases:
            rows.append(measure(shape, case, device, dtype, options.repeat, options.checkpointing))
            print_row(rows[-1], first=len(rows) == 1)
            gc.collect()
            torch.cuda.empty_cache()
    if options.json:
        about = torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads"
        options.json.write_text(json.dumps({"device": about, "dtype": str(dtype), "rows": rows}, indent=1) + "\n")


def print_row(row: dict[str, Any], first: bool) -> None:
    padded, shared = row["padded"], row["shared"]
    cells = {
        "shape": row["shape"],
        "case": row["case"],
        "sharing": f"{row['sharing']:.2f}",
        "padded s": f"{padded['seconds']:.3f}",
        "shared s": f"{shared['seconds']:.3f}",
        "ratio": f"{shared['seconds'] / padded['seconds']:.2f}",
        "processor": f"{shared['processor_seconds'] / padded['processor_seconds']:.2f}",
        "tokens/s": f"{shared['tokens_per_s']:.0f}",
        "apart": f"{shared['apart_mean']:.1e}",
        "padded apart": f"{padded['apart_mean']:.1e}",
        "memory": f"{shared['peak_mib'] / max(padded['peak_mib'], 1e-9):.2f}",
    }
    if first:
        print("".join(f"{name:>13}" for name in cells))
    print("".join(f"{cell:>13}" for cell in cells.values()), flush=True)


def measure(
    shape: str, case: str, device: torch.device, dtype: torch.dtype, repeat: int, checkpointing: bool
) -> dict[str, Any]:
    """Both ways on one model and one set of rollouts."""
    prompts, completions = rollouts(CASES[case])
    ids, mask, kept = (x.to(device) if isinstance(x, torch.Tensor) else x for x in padded(prompts, completions))
    real = mask[:, -kept:].bool()
    weights = torch.randn(real.shape, generator=torch.Generator().manual_seed(0)).to(device) * real / real.sum()
    model = build(SHAPES[shape], device, dtype)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    layers = SHAPES[shape].layers
    ways: dict[str, Callable[[], torch.Tensor]] = {
        "padded": lambda: padded_logps(model, ids, mask, kept),
        "shared": lambda: score(model, ids, mask, kept, layers=layers, context=nullcontext()).logps_BT,
    }
    alone = torch.zeros_like(weights)
    with torch.no_grad():
        sharing = score(model, ids, mask, kept, layers=layers, context=nullcontext())
        for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            own = (x.to(device) for x in padded([prompt], [completion])[:2])
            alone[row, : len(completion)] = padded_logps(model, *own, len(completion))[0]
    record: dict[str, Any] = {"shape": shape, "case": case, "sharing": sharing.padded / sharing.unique}
    gradients: list[torch.Tensor] = []
    for name, logps in ways.items():
        run(model, logps, weights)
        gradients.append(torch.cat([p.grad.flatten()[:10_000].float() for p in model.parameters()]))
        seconds, busy, peaks = zip(*(run(model, logps, weights) for _ in range(repeat)), strict=True)
        with torch.no_grad():
            apart = (logps() - alone).abs()[real]
        record[name] = {
            "seconds": statistics.median(seconds),
            "processor_seconds": statistics.median(busy),
            "tokens_per_s": int(mask.sum()) / statistics.median(seconds),
            "peak_mib": max(peaks) / MIB,
            "apart_mean": apart.mean().item(),
            "apart_max": apart.max().item(),
        }
    record["gradients_apart"] = ((gradients[0] - gradients[1]).norm() / gradients[0].norm()).item()
    return record


def run(model: Any, logps: Callable[[], torch.Tensor], weights: torch.Tensor) -> tuple[float, float, float]:
    """Seconds of a forward and backward pass, those of the processor, and bytes that it adds to what is there."""
    model.zero_grad(set_to_none=False)
    before = _memory(reset=True)
    begun, idle = time.perf_counter(), time.process_time()
    (logps() * weights).sum().backward()
    if weights.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - begun, time.process_time() - idle, _memory(reset=False) - before


def _memory(reset: bool) -> float:
    """Bytes in use with `reset`, which also begins a new peak; else the peak."""
    if torch.cuda.is_available():
        if reset:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            return torch.cuda.memory_allocated()
        return torch.cuda.max_memory_allocated()
    from tests.benchmarks.memory import resident

    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    return resident("VmRSS" if reset else "VmHWM")


def padded_logps(model: Any, ids: torch.Tensor, mask: torch.Tensor, kept: int) -> torch.Tensor:
    """As TRL computes them."""
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :-kept] = -100
    return model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True).log_probs[:, -kept:]


def build(shape: Shape, device: torch.device, dtype: torch.dtype) -> Any:
    """A random model with TRL's head."""
    from transformers import AutoModelForCausalLM, Qwen2Config
    from trl.trainer.utils import add_fused_lm_head

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, intermediate_size=shape.inner,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        max_position_embeddings=4096, initializer_range=1.5 * shape.hidden**-0.5, tie_word_embeddings=shape.tied,
    )  # fmt: skip
    with device:
        model = AutoModelForCausalLM.from_config(config, attn_implementation=NAME, dtype=dtype)
    add_fused_lm_head(model)
    return model.to(device).train()


def rollouts(case: Case, seed: int = 0) -> tuple[list[list[int]], list[list[int]]]:
    """A tree: each path leaves an earlier one at a step drawn uniformly."""
    rng = random.Random(seed)

    def new(count: int) -> list[int]:
        return [rng.randrange(20, 500) for _ in range(count)]

    prompt = new(case.prompt)
    paths: list[list[list[int]]] = []
    for _ in range(case.rollouts):
        path = list(rng.choice(paths)[: rng.randrange(case.depth)]) if paths else []
        while len(path) < case.depth:
            path.append([rng.randrange(3, 11), *new(rng.randint(*case.step) - 1)])
        paths.append(path)
    return [prompt] * len(paths), [[i for step in path for i in step] for path in paths]


def padded(prompts: list[list[int]], completions: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Ids and mask (B, P + T), and T."""
    before, after = max(map(len, prompts)), max(map(len, completions))
    ids = torch.zeros(len(prompts), before + after, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        columns = slice(before - len(prompt), before + len(completion))
        ids[row, columns] = torch.tensor(prompt + completion)
        mask[row, columns] = 1
    return ids, mask, after


if __name__ == "__main__":
    main()
