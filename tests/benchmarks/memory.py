"""Peak memory of a training step by setting, for SFT and RL, beside what a formula says; and the formula at 7B on 8 × 80 GB.

    python -m tests.benchmarks.memory --json OUT [--settings fp32 lora …] [--phases sft rl]

A random Qwen2 of 36 M parameters, two optimiser steps in a child process (two of them under ZeRO): on the CPU the growth of
the peak resident size over that of the process with everything imported, on a GPU torch's peak of allocated memory. On the
CPU, offloading moves nothing anywhere: its row shows the cost of its buffers. RL samples with transformers, so no second
copy of the weights is held for vLLM; at 7B the formula adds it.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
GIB = 2**30
PATIENCE = 300  # seconds for one child
TILE = (4096, 32768)  # tokens × rows of the vocabulary that TRL's fused head computes at once
# Further tiles that torch holds where TRL's Triton kernel cannot run; fitted to the rows of plain fp32, and to nothing else.
COPIES = {"sft": 10, "rl": 5}
BUCKET = 200_000_000  # gradients that ZeRO-2 reduces at once, two buffers of them: configs/deepspeed/zero2.json
LIVE = 1_000_000_000  # weights that ZeRO-3 keeps gathered on a process, DeepSpeed's default


@dataclass(frozen=True)
class Setting:
    """How one training is run.

    Args:
        weight: bytes of a weight in the model.
        rank: rank of LoRA; 0 tunes everything.
        stage: stage of ZeRO; 0 is training without DeepSpeed.
        processes: number of processes that train together.
        checkpointing: whether the activations of a layer are computed again in the backward pass.
        offload: whether optimiser states, and under ZeRO-3 weights, are held in the host's memory.
    """

    weight: int = 4
    rank: int = 0
    stage: int = 0
    processes: int = 1
    checkpointing: bool = False
    offload: bool = False


SETTINGS = {
    "fp32": Setting(),
    "bf16": Setting(weight=2),
    "fp32, checkpointing": Setting(checkpointing=True),
    "fp32, LoRA 16": Setting(rank=16),
    "fp32, ZeRO-2 x2": Setting(stage=2, processes=2),
    "fp32, ZeRO-3 x2": Setting(stage=3, processes=2),
    "fp32, ZeRO-2 x2, offload": Setting(stage=2, processes=2, offload=True),
}


@dataclass(frozen=True)
class Shape:
    """Size of a model and of what one process computes at once.

    Args:
        layers, hidden, inner, heads, kv_heads, rows: sizes of a Qwen2 model; `rows` is that of the vocabulary.
        tied: whether the head is the input embedding.
        tokens: number of tokens in a micro-batch, padding included.
        sampled: number of tokens that are in the KV cache at once while RL samples.
    """

    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    rows: int
    tied: bool
    tokens: int
    sampled: int

    @property
    def kv_width(self) -> int:
        return self.hidden // self.heads * self.kv_heads

    @property
    def linear(self) -> int:
        """Weights of the linear layers."""
        return self.layers * self.hidden * (2 * self.hidden + 2 * self.kv_width + 3 * self.inner)

    @property
    def ends(self) -> int:
        """Weights of embedding and head."""
        return self.rows * self.hidden * (1 if self.tied else 2)

    def adapter(self, rank: int) -> int:
        ins_and_outs = 2 * 2 * self.hidden + 2 * (self.hidden + self.kv_width) + 3 * (self.hidden + self.inner)
        return self.layers * rank * ins_and_outs


SMALL = Shape(8, 512, 1536, 8, 4, 16_416, True, tokens=4 * 256, sampled=8 * 96)
QWEN_7B = Shape(28, 3584, 18944, 28, 4, 152_064, False, tokens=4096, sampled=64 * 2048)


def predicted(shape: Shape, setting: Setting, phase: str, on_gpu: bool = False) -> dict[str, float]:
    """Bytes on one process (with `offload`, on its device) by cause; `on_gpu`, with Triton and, in RL, vLLM beside it.

    Weights, gradients and AdamW's two moments. Under ZeRO the moments and a master copy of the weights are float32 and are
    shared out; from stage 2 on gradients too, beside the buckets they are reduced in; under stage 3 weights, beside those
    that are gathered. LoRA trains adapters and copies of embedding and head. Activations: the tensors that a Qwen2 layer
    keeps for its backward pass, with SDPA. Logits: TRL's fused head works on one tile of them, and holds the head's
    gradient in float32.
    """
    model = shape.linear + shape.ends
    trained = shape.adapter(setting.rank) + shape.ends if setting.rank else model
    held = model + (trained if setting.rank else 0)
    share = setting.processes if setting.stage else 1
    weights = held * setting.weight / (share if setting.stage == 3 else 1)
    gradients = trained * setting.weight / (share if setting.stage >= 2 else 1)
    states = trained * (12 / share if setting.stage else 2 * setting.weight)
    if setting.offload:
        states = 0.0
    kept_by_layer = 12 * shape.hidden + 2 * shape.kv_width + 5 * shape.inner
    whole = shape.layers if not setting.checkpointing else 1
    kept = whole * kept_by_layer + (shape.layers * shape.hidden if setting.checkpointing else 0)
    tokens = shape.tokens if phase == "sft" else min(shape.tokens, shape.sampled)
    tile = min(tokens, TILE[0]) * min(shape.rows, TILE[1])
    parts = {
        "weights": weights,
        "gradients": gradients,
        "optimiser": states,
        "activations": float(tokens * kept * setting.weight),
        "logits": float(tile * (setting.weight + (0 if on_gpu else 4 * COPIES[phase])) + 4 * shape.rows * shape.hidden),
    }
    if setting.stage == 2:
        parts["buckets"] = float(2 * min(trained, BUCKET) * setting.weight)
    if setting.stage == 3:
        parts["gathered"] = float(min(model, LIVE) * setting.weight)
    if phase == "rl":
        reference = 0.0 if setting.rank else model * setting.weight / (share if setting.stage == 3 else 1)
        parts["reference"] = reference
        parts["KV cache"] = float(2 * shape.layers * shape.kv_width * shape.sampled * setting.weight)
        if on_gpu:
            parts["vLLM's weights"] = float(model * setting.weight)
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--settings", nargs="*", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--phases", nargs="*", choices=("sft", "rl"), default=("sft", "rl"))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        train(**json.loads(arguments.child))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), arguments.settings, arguments.phases)
    figures = {"measured": found, "recommended": recommended()}
    print(table(found))
    print(recommended_table(figures["recommended"]))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def measure(folder: Path, names: list[str], phases: list[str]) -> list[dict[str, Any]]:
    """A row for each setting and phase; ``peak`` in bytes is that of the process with the highest one."""
    build_model(folder / "model")
    rows: list[dict[str, Any]] = []
    for name in names:
        for phase in phases:
            setting, begun = SETTINGS[name], time.monotonic()
            run = folder / f"{len(rows)}"
            child = {"model": str(folder / "model"), "run": str(run), "phase": phase, **asdict(setting)}
            command = [sys.executable, "-m"]
            if setting.processes > 1:
                command += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(setting.processes), "-m"]
            environment = os.environ | {
                "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "MALLOC_ARENA_MAX": "1", "TQDM_DISABLE": "1",
                "TRL_EXPERIMENTAL_SILENCE": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false",
            }  # fmt: skip
            done = subprocess.run(
                [*command, "tests.benchmarks.memory", "--child", json.dumps(child)],
                cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE,
            )  # fmt: skip
            if done.returncode:
                raise SystemExit(f"memory: {name}, {phase} failed:\n{done.stderr[-3000:]}")
            peaks = [int(path.read_text()) for path in run.glob("peak-*")]
            parts = predicted(SMALL, setting, phase)
            total, seconds = sum(parts.values()), round(time.monotonic() - begun, 1)
            rows.append(
                {"setting": name, "phase": phase, "peak": max(peaks), "predicted": total, "parts": parts,
                 "error": total / max(peaks) - 1, "seconds": seconds}
            )  # fmt: skip
            print(f"{name}, {phase}: {max(peaks) / GIB:.2f} GiB in {seconds} s", file=sys.stderr)
    return rows


def build_model(folder: Path) -> None:
    """A random Qwen2 of the shape `SMALL` with functional tokens."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config

    from rftt.model.vocabulary import add_functional_tokens
    from tests.tiny import build_tokenizer

    tokenizer = build_tokenizer()
    config = Qwen2Config(
        vocab_size=SMALL.rows, hidden_size=SMALL.hidden, intermediate_size=SMALL.inner, num_hidden_layers=SMALL.layers,
        num_attention_heads=SMALL.heads, num_key_value_heads=SMALL.kv_heads, max_position_embeddings=1024,
        tie_word_embeddings=SMALL.tied, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )  # fmt: skip
    plain = folder.with_name("plain")
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(plain)
    tokenizer.save_pretrained(plain)
    add_functional_tokens(plain, folder)


def train(model: str, run: str, phase: str, **chosen: Any) -> None:
    """Two optimiser steps in this process; writes its peak beside the run."""
    import torch

    from rftt.config import from_dict
    from rftt.data.problems import Problem
    from rftt.runtime import distributed
    from search.chain import Step, render
    from search.journal import write_jsonl

    setting, folder = Setting(**chosen), Path(run)
    distributed.only_first_speaks()
    # Nothing is saved: the peak is that of training.
    distributed.save_final = lambda *_: None
    shared = {
        "max_steps": 2, "save_strategy": "no", "gradient_checkpointing": setting.checkpointing, "disable_tqdm": True,
        "per_device_train_batch_size": 4 if phase == "sft" else 8,
    }  # fmt: skip
    if setting.stage:
        file = f"zero{setting.stage}{'-offload' if setting.offload else ''}.json"
        shared["deepspeed"] = json.loads((ROOT / "configs" / "deepspeed" / file).read_text())
        if not torch.cuda.is_available():  # torch's AdamW: DeepSpeed's own for hosts is compiled for minutes at first
            shared["deepspeed"]["zero_force_ds_cpu_optimizer"] = False
    section = {"lora": {"rank": setting.rank}, "trainer": shared}
    config = from_dict(
        {
            "run": run,
            "model": {"dtype": "float32" if setting.weight == 4 else "bfloat16"},
            "engine": {"name": "transformers", "max_model_len": 160},
            "sft": {"batch_size": 4 * setting.processes, **section},
            "rl": {"questions_per_step": 2 * setting.processes, "rollouts": 4, "sampler": "flat", "max_depth": 2,
                   "max_step_tokens": 32, **section},
        }
    )  # fmt: skip
    if phase == "sft":
        from rftt.sft.phase import train_sft

        chain = render([Step("next_step", "1 + 1 = 2. " * 60), Step("output", "\\boxed{2}")])[:1000]
        turns = [{"role": "user", "content": "What is 1 + 1?"}, {"role": "assistant", "content": chain}]
        chains = folder / f"chains-{os.environ.get('RANK', 0)}.jsonl"
        write_jsonl(chains, ({"question_id": f"q{i}", "messages": turns} for i in range(8 * setting.processes)))
        config.sft.trainer["max_length"] = 256
    else:
        import rftt.rl.trainer as _grpo  # noqa: F401
        from rftt.rl import train_rl

        problems = [Problem(f"q{i}", f"What is {i} + 3?", str(i + 3), "test") for i in range(8)]
    if setting.stage:
        import deepspeed as _deepspeed  # noqa: F401
    folder.mkdir(parents=True, exist_ok=True)
    gc.collect()
    start = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    if phase == "sft":
        train_sft(Path(model), chains, folder / "sft" / "final", config)
    else:
        train_rl(model, problems, folder / "rl" / "final", config)
    on_gpu = torch.cuda.is_available()
    peak = torch.cuda.max_memory_allocated() if on_gpu else resident("VmHWM") - start
    (folder / f"peak-{os.environ.get('RANK', 0)}").write_text(str(peak))
    distributed.leave()


def resident(name: str) -> int:
    """Bytes of ``VmRSS`` or ``VmHWM``."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def recommended() -> list[dict[str, Any]]:
    """The formula for Qwen2.5-7B with bfloat16 weights on 8 GPUs: micro-batches of 4,096 tokens, 64 paths of 2,048."""
    rows = []
    for phase in ("sft", "rl"):
        for name, setting in {
            "ZeRO-2": Setting(2, 0, 2, 8, True),
            "ZeRO-3": Setting(2, 0, 3, 8, True),
            "ZeRO-3, offload": Setting(2, 0, 3, 8, True, True),
            "LoRA 64, ZeRO-2": Setting(2, 64, 2, 8, True),
        }.items():
            parts = predicted(QWEN_7B, setting, phase, on_gpu=True)
            rows.append({"setting": name, "phase": phase, "parts": parts, "bytes": sum(parts.values())})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'setting':28}{'phase':>6}{'measured':>11}{'formula':>10}{'error':>8}{'seconds':>9}"]
    for row in rows:
        lines.append(
            f"{row['setting']:28}{row['phase']:>6}{row['peak'] / GIB:7.2f} GiB{row['predicted'] / GIB:6.2f} GiB"
            f"{100 * row['error']:7.0f}%{row['seconds']:9.0f}"
        )
    return "\n".join(lines)


def recommended_table(rows: list[dict[str, Any]]) -> str:
    lines = ["", "Qwen2.5-7B, bfloat16, 8 GPUs: GiB on each, by the formula"]
    for row in rows:
        parts = ", ".join(f"{name} {value / GIB:.1f}" for name, value in row["parts"].items() if value)
        lines.append(f"{row['phase']:4}{row['setting']:18}{row['bytes'] / GIB:6.1f}  ({parts})")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
