"""A training that comes to nothing says so: no final model, the last good checkpoint is named; a full disk is called one."""

from __future__ import annotations

import errno

import pytest
from safetensors import SafetensorError
from transformers import Trainer

from rftt.config import from_dict
from rftt.errors import TrainingFailed, UsageError
from rftt.model.checkpoints import is_whole, telling_a_full_disk
from rftt.model.vocabulary import add_functional_tokens
from rftt.sft.phase import train_sft
from rftt.sft.trainer import WeightedSFTTrainer
from search.journal import write_jsonl
from tests.rftt.chains import chain_rows


@pytest.fixture(scope="module")
def model(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finite") / "model"
    add_functional_tokens(tiny_model("qwen2"), folder)
    write_jsonl(folder.parent / "chains.jsonl", chain_rows(16))
    return folder


def sft(model, run, **settings):
    options = {"batch_size": 4, "learning_rate": 1e-3, "max_steps": 8, "save_strategy": "steps", "save_steps": 2}
    config = from_dict({"run": str(run), "model": {"dtype": "float32"}, "sft": options | settings})
    train_sft(model, model.parent / "chains.jsonl", run / "sft" / "final", config)


def spoil(monkeypatch, steps, where="loss"):
    """Make the loss, or the gradient alone, of some steps not finite."""
    compute = WeightedSFTTrainer.compute_loss

    def spoilt(self, *positional, **options):
        found = compute(self, *positional, **options)
        if self.state.global_step + 1 in steps and self.model.training:
            if where == "loss":
                return (found[0] * float("nan"), *found[1:]) if isinstance(found, tuple) else found * float("nan")
            loss = found[0] if isinstance(found, tuple) else found
            loss.register_hook(lambda gradient: gradient * float("inf"))
        return found

    monkeypatch.setattr(WeightedSFTTrainer, "compute_loss", spoilt)


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_training_stops_after_so_many_steps_that_are_not_finite(model, tmp_path, monkeypatch, where):
    spoil(monkeypatch, range(4, 99), where)
    with pytest.raises(
        TrainingFailed, match=r"of 3 steps in a row is not finite, up to step 6; .*checkpoint-2\. Lower sft"
    ):
        sft(model, tmp_path)
    assert not (tmp_path / "sft" / "final").exists()
    kept = sorted(p.name for p in (tmp_path / "sft" / "checkpoints").glob("checkpoint-*"))
    assert kept == ["checkpoint-2"] and is_whole(tmp_path / "sft" / "checkpoints" / "checkpoint-2")


def test_the_number_of_steps_is_a_setting(model, tmp_path, monkeypatch):
    spoil(monkeypatch, [1])
    with pytest.raises(TrainingFailed, match=r"of 1 steps in a row .*there is no checkpoint from before"):
        sft(model, tmp_path, not_finite_steps=1)
    with pytest.raises(UsageError, match="not_finite_steps: 0 is not allowed"):
        sft(model, tmp_path, not_finite_steps=0)


def test_a_training_that_ends_so_is_not_saved(model, tmp_path, monkeypatch):
    spoil(monkeypatch, [8])
    with pytest.raises(TrainingFailed, match=r"of 1 steps in a row .*checkpoint-6"):
        sft(model, tmp_path)
    assert not (tmp_path / "sft" / "final").exists()


def test_the_command_says_so_in_one_line_with_exit_code_1(model, tmp_path, monkeypatch, capsys):
    import rftt.cli

    def fails(arguments):
        spoil(monkeypatch, [1])
        sft(model, tmp_path, not_finite_steps=1)

    monkeypatch.setattr(rftt.cli, "parse", lambda argv: type("Arguments", (), {"run_command": staticmethod(fails)})())
    assert rftt.cli.main([]) == 1
    told = capsys.readouterr().err
    assert "rftt: sft: the loss or the gradient of 1 steps in a row is not finite" in told and "Traceback" not in told


@pytest.mark.parametrize(
    "error",
    [
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail] . write failed: No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded", "x"),
    ],
)
def test_a_full_disk_is_called_a_full_disk(model, tmp_path, monkeypatch, error):
    def full(self, *positional, **named):
        raise error

    monkeypatch.setattr(Trainer, "save_model", full)
    with pytest.raises(OSError) as caught:
        sft(model, tmp_path)
    assert caught.value.errno in (errno.ENOSPC, errno.EDQUOT)
    assert not (tmp_path / "sft" / "final").exists()


def test_what_is_no_full_disk_is_told_as_it_is(tmp_path):
    with pytest.raises(RuntimeError, match="shapes"), telling_a_full_disk(tmp_path / "new" / "folder"):
        raise RuntimeError("shapes differ")
