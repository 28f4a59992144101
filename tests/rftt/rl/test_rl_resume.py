"""Kill -9 and resume: the run that was killed ends where the straight one does; torn checkpoints are passed over."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rftt.model import checkpoints
from rftt.rl import train_rl

ROOT = Path(__file__).resolve().parents[3]
KILLED_IN_STEP = 4
# Six questions, two a step: the killed run has gone through one epoch and a half.
SCRIPT = """
import json, os, signal, sys
from transformers import TrainerCallback
from rftt.config import from_dict
from rftt.data.problems import Problem
from rftt.rl import train_rl

class Kill(TrainerCallback):
    def on_pre_optimizer_step(self, args, state, control, **_):
        if state.global_step == {step} - 1:
            os.kill(os.getpid(), signal.SIGKILL)

given = json.load(sys.stdin)
problems = [Problem(**p) for p in given["problems"]]
config = from_dict(given["config"])
train_rl(given["model"], problems, config.folder / "rl" / "final", config, callbacks=[Kill()])
"""


def weights(folder: Path) -> dict:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def curve(config) -> list[tuple]:
    names = ("step", "loss", "grad_norm", "reward", "kl", "length", "entropy")
    records = map(json.loads, (config.folder / "metrics.jsonl").read_text().splitlines())
    return [tuple(record[name] for name in names) for record in records]


@pytest.mark.resume
@pytest.mark.slow
def test_a_killed_run_ends_exactly_where_the_straight_one_does(chain_model, problems, rl_config, caplog):
    options = {"max_steps": 5, "save_steps": 2}
    straight, killed = (rl_config(run=name, **options) for name in ("straight", "killed"))
    train_rl(chain_model, problems, straight.folder / "rl" / "final", straight)

    given = {"model": str(chain_model), "problems": [p.to_json() for p in problems], "config": killed.to_dict()}
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(step=KILLED_IN_STEP)],
        input=json.dumps(given), text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True,
    )  # fmt: skip
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert len(curve(killed)) == 3 and not (killed.folder / "rl" / "final").exists()
    partial = killed.folder / "rl" / "checkpoints" / checkpoints.PARTIAL / "checkpoint-4"
    partial.mkdir(parents=True)

    result = train_rl(chain_model, problems, killed.folder / "rl" / "final", killed)
    assert result["resumed_from"] == 2 and result["steps"] == 5
    assert curve(killed) == curve(straight)
    ours, theirs = weights(killed.folder / "rl" / "final"), weights(straight.folder / "rl" / "final")
    assert all((ours[name] == theirs[name]).all() for name in theirs)
    assert any((theirs[name] != tensor).any() for name, tensor in weights(chain_model).items())
    assert not partial.parent.exists()


def whole_checkpoint(folder: Path, step: int) -> Path:
    partial = folder / checkpoints.PARTIAL / f"checkpoint-{step}"
    (partial / "inner").mkdir(parents=True)
    (partial / "model.safetensors").write_bytes(b"weights")
    (partial / "inner" / "optimizer.pt").write_bytes(b"moments")
    checkpoints.publish(partial, folder / partial.name)
    return folder / partial.name


@pytest.mark.parametrize("damage", ["short", "missing", "no manifest"])
def test_a_torn_checkpoint_is_passed_over_with_a_message(tmp_path, caplog, damage):
    before, torn = whole_checkpoint(tmp_path, 9), whole_checkpoint(tmp_path, 10)
    victim = {"short": "model.safetensors", "missing": "inner/optimizer.pt", "no manifest": checkpoints.MANIFEST}[
        damage
    ]
    if damage == "short":
        (torn / victim).write_bytes(b"wei")
    else:
        (torn / victim).unlink()
    with caplog.at_level(logging.WARNING):
        assert checkpoints.last_whole(tmp_path) == before
    assert "checkpoint-10" in caplog.text and not torn.exists()


def test_without_a_whole_checkpoint_a_run_starts_from_the_beginning(tmp_path):
    assert checkpoints.last_whole(tmp_path / "absent") is None
    (tmp_path / "checkpoint-3").mkdir()
    assert checkpoints.last_whole(tmp_path) is None


def test_publishing_replaces_what_stands_there(tmp_path):
    first = whole_checkpoint(tmp_path, 4)
    (first / "stale").touch()
    assert not (whole_checkpoint(tmp_path, 4) / "stale").exists()
