"""What a kill costs: SFT and RL killed in the middle of a step and started again, against runs that nobody killed.

    python -m tests.benchmarks.resume --json OUT [--run runs/toy] [--kills 2 6]

Needs a run of configs/toy.yaml with its SFT model, which `make quickstart` leaves in runs/toy. Each training runs once
straight and once for every kill: SIGKILL between the backward pass and the optimiser's step, then the same call again. RL
runs on the transformers engine in float32, whose batches do not depend on timing. Shown are the steps that had to be done
again, the seconds on top of the straight run, and the largest difference of any step's loss and of any final weight.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rftt.config import Config, from_dict, load_config
from rftt.data.questions import problems
from rftt.run_folder import trained_model

# A checkpoint every so many steps; a training has enough of them for every kill that is asked for.
EVERY = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/toy"), help="folder of a run with an SFT model")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--kills", type=int, nargs="+", default=[2, 6], help="steps in which a training is killed")
    parser.add_argument("--one", nargs=3, metavar=("PHASE", "FOLDER", "KILL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not (options.run / "sft" / "final").exists():
        print(f"{options.run} has no SFT model: make quickstart first")
        return
    steps = max(options.kills) + 2
    if options.one:
        phase, folder, kill = options.one
        TRAIN[phase](_config(options.run, phase, Path(folder), steps), options.run, [_killer(int(kill))])
        return
    rows = []
    with tempfile.TemporaryDirectory() as work:
        for phase in TRAIN:
            straight = Path(work) / f"{phase}-straight"
            seconds = _call(options, phase, straight, 0)
            for kill in options.kills:
                killed = Path(work) / f"{phase}-{kill}"
                before = _call(options, phase, killed, kill, code=-signal.SIGKILL)
                whole = (kill - 1) // EVERY * EVERY
                rows.append({
                    "phase": phase, "steps": steps, "killed_in_step": kill, "resumed_from": whole,
                    "steps_again": kill - 1 - whole, "straight_s": seconds,
                    "extra_s": before + _call(options, phase, killed, 0) - seconds,
                    "loss_difference": _apart(_losses(straight), _losses(killed)),
                    "weight_difference": _weights_apart(phase, straight, killed),
                })  # fmt: skip
                print_row(rows[-1], header=len(rows) == 1)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def print_row(row: dict[str, Any], header: bool) -> None:
    if header:
        print(f"{'phase':7}{'steps':>6}{'killed in':>11}{'goes on from':>14}{'again':>7}{'straight s':>12}{'extra s':>9}"
              f"{'loss apart':>12}{'weights apart':>15}")  # fmt: skip
    print(f"{row['phase']:7}{row['steps']:6}{row['killed_in_step']:11}{row['resumed_from']:14}{row['steps_again']:7}"
          f"{row['straight_s']:12.1f}{row['extra_s']:9.1f}{row['loss_difference']:12.2g}{row['weight_difference']:15.2g}",
          flush=True)  # fmt: skip


def _call(options: argparse.Namespace, phase: str, folder: Path, kill: int, code: int = 0) -> float:
    command = [sys.executable, "-m", "tests.benchmarks.resume", "--run", str(options.run)]
    command += ["--kills", *map(str, options.kills), "--one", phase, str(folder), str(kill)]
    begun = time.monotonic()
    done = subprocess.run(command, env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}, capture_output=True, text=True)
    if done.returncode != code:
        raise RuntimeError(f"{phase} ended with {done.returncode} and not {code}:\n{done.stderr[-2000:]}")
    return time.monotonic() - begun


def _config(run: Path, phase: str, folder: Path, steps: int) -> Config:
    values = load_config(run / "config.yaml").to_dict()
    trainer = {"max_steps": steps, "save_strategy": "steps", "save_steps": EVERY, "disable_tqdm": True}
    values[phase]["trainer"] |= trainer | {"logging_steps": 1}
    if phase == "rl":
        values["engine"] |= {"name": "transformers", "options": {}}
        values["rl"] |= {"questions_per_step": 2, "rollouts": 4, "max_depth": 8, "process_weight": 0.0}
    return from_dict(values | {"run": str(folder)})


def _train_sft(config: Config, run: Path, callbacks: list[Any]) -> None:
    from rftt.sft.phase import train_sft

    chains = run / "search" / "chains.jsonl"
    train_sft(run / "model-with-tokens", chains, config.folder / "sft" / "final", config, callbacks=callbacks)


def _train_rl(config: Config, run: Path, callbacks: list[Any]) -> None:
    from rftt.rl import train_rl

    base = replace(load_config(run / "config.yaml"), run=str(run))
    train_rl(trained_model(base, "sft"), problems(base)[0], config.folder / "rl" / "final", config, callbacks=callbacks)


TRAIN: dict[str, Callable[[Config, Path, list[Any]], None]] = {"sft": _train_sft, "rl": _train_rl}


def _killer(step: int) -> Any:
    from transformers import TrainerCallback

    class Kill(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == step - 1:
                os.kill(os.getpid(), signal.SIGKILL)

    return Kill()


def _losses(folder: Path) -> dict[int, float]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def _apart(one: dict[int, float], other: dict[int, float]) -> float:
    assert one.keys() == other.keys(), "a step is missing in the metrics"
    return max(abs(one[step] - other[step]) for step in one)


def _weights_apart(phase: str, one: Path, other: Path) -> float:
    from safetensors.torch import load_file

    first, second = (load_file(folder / phase / "final" / "model.safetensors") for folder in (one, other))
    return max((first[name] - second[name]).abs().max().item() for name in first)


if __name__ == "__main__":
    main()
