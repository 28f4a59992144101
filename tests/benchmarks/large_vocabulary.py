"""What a vocabulary of 152,000 costs on a CPU: sampling a token with vLLM, and TRL's fused head under LoRA, each as it is
and as this project changes it (`search.engines.vllm_changes.sample_fast_on_cpu`, `rftt.model.fused_head`).

    python -m tests.benchmarks.large_vocabulary [--vocabulary 151936] [--rows 64] [--width 896] [--positions 1536]
        [--learnt 0.6] [--repeat 5] [--json FILE]

Logits of the sampled rows have twenty likely tokens and a broad tail. The head is that of a model with `--width` hidden
states in bfloat16, scored at `--positions` of which a share of `--learnt` are learnt, forward and backward with the gradient
of sixteen rows wanted. Medians, in seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from rftt.runtime import environment
from search.engines.vllm_changes import drawn, prepare_environment

TOP_P = 0.95
ROWS = 16  # trained rows of the head


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--width", type=int, default=896)
    parser.add_argument("--positions", type=int, default=1536)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--learnt", type=float, default=0.6)
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    environment.set_defaults()
    prepare_environment()
    found = {"sampling": sampling(options), "head": head(options)}
    for part, rows in found.items():
        for row in rows:
            print(f"{part:9} {row['case']:24} as it is {row['before']:.3f} s, changed {row['after']:.3f} s")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def seconds(work: Callable[[], Any], repeat: int) -> float:
    """Median of some runs after a first one."""
    times = []
    for _ in range(repeat + 1):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times[1:])


def sampling(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One step of an engine on seeded requests, without its forward pass."""
    from vllm.v1.sample.ops.topk_topp_sampler import TopKTopPSampler

    sampler = TopKTopPSampler()
    theirs = getattr(TopKTopPSampler.forward_cpu, "replaced", TopKTopPSampler.forward_cpu)
    torch.manual_seed(0)
    logits_BV = 2 * torch.randn(options.rows, options.vocabulary)
    logits_BV[:, :20] += torch.linspace(18, 8, 20)
    generators = {row: torch.Generator().manual_seed(row) for row in range(options.rows)}
    rows = []
    for case, p_B in ((f"top_p {TOP_P}", torch.full((options.rows,), TOP_P)), ("top_p 1", None)):
        rows.append({
            "case": case,
            "before": seconds(lambda p=p_B: theirs(sampler, logits_BV.clone(), generators, None, p), options.repeat),
            "after": seconds(lambda p=p_B: drawn(logits_BV, generators, p), options.repeat),
        })  # fmt: skip
    return rows


def head(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Forward and backward pass of the fused head alone."""
    from trl.trainer import utils

    from rftt.model.fused_head import ROWS as NAME
    from rftt.model.fused_head import RowsOfHead

    torch.manual_seed(0)
    hidden_ND = torch.randn(options.positions, options.width).bfloat16().requires_grad_()
    weight_VD = torch.nn.Parameter(0.02 * torch.randn(options.vocabulary, options.width).bfloat16())
    targets_N = torch.randint(options.vocabulary, (options.positions,))
    learnt_N = torch.arange(options.positions) < options.learnt * options.positions

    def run(function: Any, *, everywhere: bool) -> None:
        hidden_ND.grad = weight_VD.grad = None
        states, targets = (hidden_ND, targets_N) if everywhere else (hidden_ND[learnt_N], targets_N[learnt_N])
        logps, *_ = function.apply(
            states,
            weight_VD,
            None,
            targets,
            1.0,
            utils._CHUNKED_LOGPROB_CHUNK_SIZE,
            None,
            1.0,
            ("log_probs", "entropy"),
        )
        (logps * learnt_N if everywhere else logps).sum().backward()

    theirs = getattr(utils._ChunkedLogProbFunction, "function", utils._ChunkedLogProbFunction)
    before = seconds(lambda: run(theirs, everywhere=True), options.repeat)
    learnt = seconds(lambda: run(theirs, everywhere=False), options.repeat)
    setattr(weight_VD, NAME, torch.arange(options.vocabulary - ROWS, options.vocabulary))
    rows_only = seconds(lambda: run(RowsOfHead(theirs), everywhere=True), options.repeat)
    both = seconds(lambda: run(RowsOfHead(theirs), everywhere=False), options.repeat)
    return [
        {"case": "learnt positions", "before": before, "after": learnt},
        {"case": f"gradient of {ROWS} rows", "before": before, "after": rows_only},
        {"case": "both", "before": before, "after": both},
    ]


if __name__ == "__main__":
    main()
