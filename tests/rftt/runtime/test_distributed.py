"""What each process of a training does by itself: refuse bad settings, keep quiet, agree; the shipped files of DeepSpeed."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rftt.errors import UsageError
from rftt.runtime import distributed

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((ROOT / "configs" / "deepspeed").glob("*.json"))


def test_the_files_of_deepspeed_are_what_their_names_say():
    assert {f.stem for f in FILES} == {"zero2", "zero2-offload", "zero3", "zero3-offload"}
    for file in FILES:
        zero = json.loads(file.read_text())["zero_optimization"]
        assert zero["stage"] == int(file.stem[4])
        assert ("offload_optimizer" in zero) == file.stem.endswith("offload")
        # Without it the final model of stage 3 would be a placeholder of empty tensors.
        assert zero["stage"] == 2 or zero["stage3_gather_16bit_weights_on_model_save"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("no/such.json", r"sft\.trainer\.deepspeed: no/such\.json cannot be read"),
        ({"zero_optimization": {"stage": 3}}, r"sft\.trainer\.deepspeed: on the CPU it takes two processes"),
        ({"optimizer": {"type": "AdamW"}}, r"sft\.trainer\.deepspeed: an optimizer of DeepSpeed's own"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    pytest.importorskip("deepspeed", reason="DeepSpeed is not installed: pip install 'rftt[deepspeed]'")
    with pytest.raises(UsageError, match=message):
        distributed.prepare({"deepspeed": settings, "use_cpu": True}, "sft")


def test_deepspeed_that_is_absent_is_told(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UsageError, match="DeepSpeed is not installed"):
        distributed.prepare({"deepspeed": str(FILES[0])}, "rl")


def test_a_process_alone_makes_no_group(monkeypatch):
    import torch

    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("MASTER_PORT", "4711")
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *_, **__: pytest.fail("made a group"))
    distributed.prepare({"use_cpu": True}, "sft")


@pytest.mark.parametrize(("rank", "expected"), [("0", "out"), ("1", "")])
def test_only_the_first_process_speaks(rank, expected):
    code = (
        "import logging; from rftt.runtime import distributed; distributed.only_first_speaks(); print('out'); "
        "logging.warning('log'); logging.error('error')"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"RANK": rank, "PYTHONPATH": str(ROOT)}, text=True,
                          capture_output=True, check=True)  # fmt: skip
    assert done.stdout.strip() == expected
    assert ("log" in done.stderr) == (rank == "0") and "error" in done.stderr


def test_the_newest_whole_checkpoint_is_gone_on_from(tmp_path, caplog):
    from rftt.model.checkpoints import PARTIAL, publish

    for step in (2, 4):
        (tmp_path / PARTIAL / f"checkpoint-{step}").mkdir(parents=True)
        (tmp_path / PARTIAL / f"checkpoint-{step}" / "model.safetensors").write_bytes(b"weights")
        publish(tmp_path / PARTIAL / f"checkpoint-{step}", tmp_path / f"checkpoint-{step}")
    (tmp_path / "checkpoint-4" / "model.safetensors").write_bytes(b"wei")
    with caplog.at_level(logging.WARNING):
        assert distributed.agreed_checkpoint(tmp_path) == tmp_path / "checkpoint-2"


def test_two_trainings_on_a_machine_take_two_ports(monkeypatch):
    for name in ("RANK", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MASTER_PORT", "")
    found = set()
    for _ in range(2):
        monkeypatch.delenv("MASTER_PORT")
        distributed.prepare({"use_cpu": True}, "rl")
        found.add(os.environ["MASTER_PORT"])
    assert len(found) == 2 and "29500" not in found
    monkeypatch.setenv("MASTER_PORT", "4711")
    distributed.prepare({"use_cpu": True}, "rl")
    assert os.environ["MASTER_PORT"] == "4711"
