"""`rftt sft` with weights, roles from `rftt shad`, and SFTKey's second stage; resumable across the stages."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from rftt.config import from_dict
from rftt.errors import UsageError
from rftt.phases import plan
from rftt.phases.tuning import SHAD_RESULT, shad
from rftt.phases.tuning import sft as sft_phase
from rftt.sft import phase as sft_module
from rftt.sft.phase import train_sft

pytestmark = pytest.mark.weighting


def config(folder, **sft):
    trainer = {"learning_rate": 1e-2, "save_strategy": "steps", "save_steps": 2, "logging_steps": 1, "max_steps": 3,
               "disable_tqdm": True}  # fmt: skip
    return from_dict({
        "run": str(folder), "model": {"path": str(folder / "model-with-tokens"), "dtype": "float32"},
        "sft": {"batch_size": 8, "trainer": trainer} | sft,
        "shad": {"learning_rate": 1e-2, "num_train_epochs": 1, "batch_size": 8, "logging_steps": 1, "disable_tqdm": True},
    })  # fmt: skip


def weights(folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder).state_dict()


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def losses(folder, phase):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["phase"] == phase and "loss" in line]


@pytest.fixture
def run(model, chains, tmp_path):
    shutil.copytree(model, tmp_path / "model-with-tokens")
    (tmp_path / "search").mkdir()
    shutil.copy(chains, tmp_path / "search" / "chains.jsonl")
    return tmp_path


def test_a_run_labels_its_chains_and_learns_by_role(run):
    settings = config(run, weighting={"name": "rft", "roles": "shad", "tau": 2})
    names = [name for name, _ in plan(settings)]
    assert names == ["tokens", "search", "shad", "sft", "rl", "eval"]
    assert "shad" not in [name for name, _ in plan(config(run))], "off by default"
    with pytest.raises(UsageError, match="there are no roles yet; run `rftt shad"):
        sft_phase(settings)
    shad(settings)
    summary = json.loads((run / SHAD_RESULT).read_text())
    assert summary["functional_tokens"]["<output>"]["count"] == 16
    sft_phase(settings)
    found = losses(run, "sft")
    assert len(found) == 3 and all("reasoning_loss" in line and "boilerplate_loss" in line for line in found)
    assert len(losses(run, "shad")) == 2


@pytest.mark.resume
def test_the_second_stage_learns_the_answer_part_and_goes_on_after_a_kill(run, chains, monkeypatch):
    straight = run / "a"
    stage = {"steps": 3, "learning_rate": 5e-3}
    learnt = []
    build = sft_module.tune

    def watched(model, dataset, out, job):
        learnt.append((model.name, out.name, job.options["max_steps"], bool(job.weights.get("key_only"))))
        return build(model, dataset, out, job)

    monkeypatch.setattr(sft_module, "tune", watched)
    train_sft(run / "model-with-tokens", chains, straight / "sft" / "final", config(straight, key_stage=stage))
    assert learnt == [("model-with-tokens", "tagged", 3, False), ("tagged", "final", 3, True)]
    tagged, final = weights(straight / "sft" / "tagged"), weights(straight / "sft" / "final")
    assert not same(tagged, final)
    assert len(losses(straight, "sft")) == len(losses(straight, "sft key")) == 3
    rates = [losses(straight, phase)[2]["learning_rate"] for phase in ("sft", "sft key")]
    assert rates[1] == pytest.approx(rates[0] / 2)

    class Killed(Exception):
        pass

    from rftt.model.checkpoints import WholeCheckpoints

    killed, save = run / "b", WholeCheckpoints._save_checkpoint
    for stop_at in ("checkpoints", "key-checkpoints"):

        def dies(self, model, trial, stop_at=stop_at):
            save(self, model, trial)
            if self.args.output_dir.endswith(f"/{stop_at}"):
                raise Killed

        monkeypatch.setattr(WholeCheckpoints, "_save_checkpoint", dies)
        with pytest.raises(Killed):
            train_sft(run / "model-with-tokens", chains, killed / "sft" / "final", config(killed, key_stage=stage))
        monkeypatch.setattr(WholeCheckpoints, "_save_checkpoint", save)
    train_sft(run / "model-with-tokens", chains, killed / "sft" / "final", config(killed, key_stage=stage))
    assert same(weights(killed / "sft" / "final"), final) and same(weights(killed / "sft" / "tagged"), tagged)


def test_the_control_spends_the_same_steps_on_everything(run, chains):
    key, control = run / "key", run / "control"
    for folder, tokens in ((key, "key"), (control, "all")):
        settings = config(folder, key_stage={"steps": 2, "tokens": tokens})
        train_sft(run / "model-with-tokens", chains, folder / "sft" / "final", settings)
    assert same(weights(key / "sft" / "tagged"), weights(control / "sft" / "tagged"))
    assert not same(weights(key / "sft" / "final"), weights(control / "sft" / "final"))
    assert len(losses(key, "sft key")) == len(losses(control, "sft key")) == 2


def test_the_key_stage_has_labels_on_the_output_step_alone(model, chains, tmp_path):
    from transformers import AutoTokenizer
    from trl import SFTConfig

    from rftt.sft.phase import chain_dataset
    from rftt.sft.trainer import WeightedSFTTrainer
    from rftt.weighting.annotate import Annotator

    tokenizer = AutoTokenizer.from_pretrained(model)
    dataset = chain_dataset(chains, tokenizer)
    without = tokenizer.encode("right<|im_end|>")
    dataset = dataset.add_item({"input_ids": without, "labels": without})
    for packing in (False, True):
        trainer = WeightedSFTTrainer(
            str(model), SFTConfig(str(tmp_path), use_cpu=True, report_to="none", packing=packing, max_length=512),
            train_dataset=dataset, processing_class=tokenizer, annotator=Annotator(tokenizer), key_only=True,
        )  # fmt: skip
        rows = trainer.train_dataset
        if not packing:
            assert len(rows) == 16, "a sample without an answer part is left out"
        learnt = "".join(tokenizer.decode([i for i in row["labels"] if i != -100]) for row in rows)
        assert learnt.count("<output>") == learnt.count("\\boxed{") == learnt.count("<|im_end|>") == 16
        assert "<next_step>" not in learnt and "right" not in learnt


def test_weights_and_adapters_go_together(run, chains):
    settings = config(run, lora={"rank": 4, "alpha": 8}, weighting={"name": "key_weight", "key_weight": 3})
    train_sft(run / "model-with-tokens", chains, run / "sft" / "final", settings)
    before, after = weights(run / "model-with-tokens"), weights(run / "sft" / "final")
    assert torch.equal(before["model.norm.weight"], after["model.norm.weight"]) and not same(before, after)
