"""What a step of RL costs, part by part, against plain TRL GRPO with vLLM at the same number of tokens.

    python -m tests.benchmarks.rl_step --json OUT [--run runs/toy] [--steps 12] [--model rl] [--arms filled walk]

Needs a run of configs/toy.yaml with its SFT model, which `make quickstart` leaves in runs/toy. TRL's `GRPOTrainer` as it is
(its own sampling, our grader as its reward) and ours (`flat`: the same plain samples; `uct`: trees) take the same model,
questions, batch, KL and engine options, each in a process of its own. They take turns, a step each, so that a machine that
is slow for a while is slow for all of them. Paths differ in length, so seconds are compared by path and by 1,000 tokens
that are trained on; the ratio is the median over the turns. The first step is left out, and the last, beside which other
processes end. `shared`: trees whose shared tokens are computed once; `filled`: the same with `rl.fill=walk`, the default of
`rftt rl`; `walk`: no trees, `rl.sampler=walk`; all other arms pad.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from rftt.config import Config, from_dict, load_config
from rftt.data.questions import problems
from rftt.model.function_sets import functions_of_run
from rftt.run_folder import trained_model

ARMS: dict[str, dict[str, Any]] = {
    "TRL": {"sampler": "flat", "prefix_sharing": False},
    "flat": {"sampler": "flat", "prefix_sharing": False},
    "uct": {"sampler": "uct", "fill": "plain", "prefix_sharing": False},
    "shared": {"sampler": "uct", "fill": "plain", "prefix_sharing": True},
    "filled": {"sampler": "uct", "fill": "walk", "prefix_sharing": True},
    "walk": {"sampler": "walk", "prefix_sharing": True},
}
PARTS = ("search", "rewards", "logprobs", "sync", "update")
TURN = "== waits for its turn"  # line by which an arm says so


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/toy"), help="folder of a run with an SFT model")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--model", choices=("sft", "rl"), default="sft", help="early or late in training")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS, metavar="ARM", help="TRL is always run")
    parser.add_argument("--one", choices=ARMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.steps < 3:
        parser.error("--steps: at least 3, since the first and the last are left out")
    if not (options.run / options.model / "final").exists():
        print(f"{options.run} has no {options.model} model: make quickstart first")
        return
    if options.one:
        print("\n" + json.dumps(one(options.one, options)))
        return
    arms = [arm for arm in ARMS if arm == "TRL" or arm in options.arms]
    steps = in_turns(arms, options)
    rows = [_row(arm, steps[arm], steps["TRL"]) for arm in arms]
    print_table(rows)
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "steps": steps}, indent=1) + "\n")


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print medians over steps; the parts are known of our step only, since TRL does not report them."""
    print(
        f"{'arm':6}{'tokens':>8}{'s/step':>8}{'s/path':>9}{'against TRL':>13}{'s/1000 tok':>12}{'against TRL':>13}"
        + "".join(f"{p:>10}" for p in PARTS)
    )
    for row in rows:
        parts = "".join(f"{row['parts'][p]:10.2f}" if p in row["parts"] else f"{'':10}" for p in PARTS)
        print(
            f"{row['arm']:6}{row['tokens']:8.0f}{row['seconds']:8.2f}{row['s_per_path']:9.4f}{row['path_ratio']:12.2f}x"
            f"{row['s_per_1000_tokens']:12.3f}{row['token_ratio']:12.2f}x{parts}"
        )


def _row(arm: str, steps: list[dict[str, float]], plain: list[dict[str, float]]) -> dict[str, Any]:
    """Medians over steps, and over their ratios to the plain ones of the same turns."""

    def median(name: str) -> float:
        return statistics.median(step[name] for step in steps)

    def ratio(unit: str) -> float:
        pairs = zip(steps, plain, strict=True)
        return statistics.median(
            ours["seconds"] / ours[unit] * theirs[unit] / theirs["seconds"] for ours, theirs in pairs
        )

    return {
        "arm": arm,
        "tokens": median("tokens"),
        "seconds": median("seconds"),
        "s_per_1000_tokens": statistics.median(1000 * step["seconds"] / step["tokens"] for step in steps),
        "s_per_path": statistics.median(step["seconds"] / step["paths"] for step in steps),
        "path_ratio": ratio("paths"),
        "token_ratio": ratio("tokens"),
        "parts": {part: median(part) for part in PARTS if part in steps[0]},
    }


def in_turns(arms: list[str], options: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Steps of all arms but their first: each in its own process, one after the other makes a step."""
    processes: dict[str, subprocess.Popen[str]] = {}
    lines = {}
    try:
        for arm in arms:  # one by one, since an engine measures the memory that is free when it starts
            command = [sys.executable, "-m", "tests.benchmarks.rl_step", "--one", arm, "--run", str(options.run),
                       "--model", options.model, "--steps", str(options.steps)]  # fmt: skip
            processes[arm] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            _wait(processes[arm])
        for _ in range(options.steps):
            for arm, process in processes.items():
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
                lines[arm] = _wait(process)
    finally:
        for process in processes.values():
            process.terminate()
            process.wait()
    return {arm: json.loads(line) for arm, line in lines.items()}


def _wait(process: subprocess.Popen[str]) -> str:
    """Read until the arm waits for its next turn, or has told its steps."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith((TURN, "[{")):
            return line
    raise RuntimeError(f"an arm ended with exit code {process.wait()} before its steps were done")


def one(arm: str, options: argparse.Namespace) -> list[dict[str, float]]:
    """Train some steps; returns what each one but the first took."""
    base = replace(load_config(options.run / "config.yaml"), run=str(options.run))
    train, _ = problems(base)
    values = base.to_dict()
    values["rl"] |= {"advantage": "grpo", "process_weight": 0.0, "rollouts_every": 0}
    values["rl"] |= ARMS[arm]
    values["rl"]["trainer"] |= {
        "max_steps": options.steps,
        "save_strategy": "no",
        "disable_tqdm": True,
        "logging_steps": 1,
    }
    config = from_dict(values)
    folder = options.run / "benchmark"
    trainer = (_plain if arm == "TRL" else _ours)(config, options.model, train, folder)
    return _timed(trainer)


def _ours(config: Config, which: str, train: list[Any], folder: Path) -> Any:
    from rftt.rl.auxiliary_loss import RoleSources
    from rftt.rl.phase import build_trainer

    model = trained_model(config, which)
    return build_trainer(
        model, train, folder, config.rl, config.engine, RoleSources(folder, model), dtype=config.model.dtype,
        seed=config.seed, functions=functions_of_run(config, model),
    )  # fmt: skip


def _plain(config: Config, which: str, train: list[Any], folder: Path) -> Any:
    """TRL's trainer with the options that ours would give it."""
    from search.engines.vllm_changes import allow_weight_updates_on_cpu

    allow_weight_updates_on_cpu()
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    from rewards.outcome import math_reward_from
    from rftt.rl import grpo_options
    from rftt.rl.sampler import prompt_of
    from rftt.rl.trl_hooks import engine_options
    from rftt.runtime import environment

    model = trained_model(config, which)
    tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
    environment.set_defaults()
    options = grpo_options.grpo_options(
        config.rl, config.engine, folder, dtype=config.model.dtype, seed=config.seed, world_size=1, on_gpu=False,
        longest_prompt=100,
    )  # fmt: skip
    args = GRPOConfig(**options)
    chosen = grpo_options.vllm_options(config.engine, "float32", False, args.vllm_max_model_length)
    rows = [{"prompt": prompt_of(p), "answer": p.answer} for p in train]
    with engine_options(chosen):
        return GRPOTrainer(
            model=str(model),
            reward_funcs=math_reward_from(tokenizer, within=("<output>", "</output>")),
            args=args,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
        )


def _timed(trainer: Any) -> list[dict[str, float]]:
    from transformers import TrainerCallback

    steps: list[dict[str, float]] = []

    class Clock(TrainerCallback):
        begun = 0.0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            print(f"\n{TURN}", flush=True)
            sys.stdin.readline()
            self.begun = trainer._step_begun = time.perf_counter()  # ours counts its update from there

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
            if "completions/mean_length" in logs:
                rows = args.generation_batch_size
                seconds = {part: logs[f"seconds/{part}"] for part in PARTS if f"seconds/{part}" in logs}
                spent = time.perf_counter() - self.begun
                tokens = logs["completions/mean_length"] * rows
                steps.append({"seconds": spent, "tokens": tokens, "paths": rows, **seconds})

    trainer.add_callback(Clock())
    trainer.train()
    return steps[1:-1]


if __name__ == "__main__":
    main()
