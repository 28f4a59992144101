"""Weights in TRL's loss: weights of 1 change no bit, and how a batch is cut, packed and spread changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rftt.config import from_dict
from rftt.errors import UsageError
from rftt.sft.phase import chain_dataset, train_sft
from rftt.weighting.annotate import Annotator
from rftt.weighting.registry import load_weighting
from rftt.weighting.roles import RegexRoles
from rftt.weighting.shad import label_tokens
from search.journal import read_jsonl
from tests.processes import run_in_two_processes

pytestmark = pytest.mark.weighting
ROOT = Path(__file__).resolve().parents[3]
LAYOUTS = {
    "padded": {"max_length": 512},
    "cut": {"max_length": 48},
    "padding-free": {"padding_free": True, "max_length": None},
    "packed": {"packing": True, "max_length": 160},
    "accumulated": {"gradient_accumulation_steps": 4, "per_device_train_batch_size": 2},
}


def train(model, chains, folder, weighting=None, steps=2, **options):
    """Train some steps; returns the trainer with its history of losses. Without a weighting, TRL's own trainer."""
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    from rftt.sft.trainer import WeightedSFTTrainer

    given = {"per_device_train_batch_size": 4, "learning_rate": 1e-2, "max_steps": steps, "logging_steps": 1} | options
    arguments = SFTConfig(
        str(folder), use_cpu=True, bf16=False, report_to="none", disable_tqdm=True, save_strategy="no", **given
    )
    tokenizer = AutoTokenizer.from_pretrained(model)
    kind, more = SFTTrainer, {}
    if weighting is not None:
        kind, more = (
            WeightedSFTTrainer,
            {"weighting": weighting, "annotator": Annotator(tokenizer, RegexRoles(tokenizer))},
        )
    trainer = kind(
        str(model), arguments, train_dataset=chain_dataset(chains, tokenizer), processing_class=tokenizer, **more
    )
    trainer.train()
    return trainer


def history(trainer, *names):
    return [[entry[n] for n in names] for entry in trainer.state.log_history if "loss" in entry]


def same_weights(one, other):
    ours, theirs = one.model.state_dict(), other.model.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_of_one_are_trls_loss_to_the_last_bit(layout, model, chains, tmp_path):
    plain = train(model, chains, tmp_path / "a", **LAYOUTS[layout])
    weighed = train(model, chains, tmp_path / "b", load_weighting("plain", {}), **LAYOUTS[layout])
    names = ("loss", "grad_norm", "entropy", "mean_token_accuracy", "num_tokens")
    assert history(plain, *names) == history(weighed, *names)
    assert same_weights(plain, weighed)
    assert all(entry["reasoning_loss"] > 0 for entry in weighed.state.log_history if "loss" in entry)


def test_dft_is_trls_own_to_the_last_bit(model, chains, tmp_path):
    theirs = train(model, chains, tmp_path / "a", loss_type="dft")
    ours = train(model, chains, tmp_path / "b", load_weighting("dft", {}))
    assert history(theirs, "loss", "grad_norm") == history(ours, "loss", "grad_norm") and same_weights(theirs, ours)


@pytest.mark.parametrize("detach", [True, False])
def test_rft_does_not_depend_on_how_a_batch_is_laid_out(detach, model, chains, tmp_path):
    weighting = load_weighting("rft", {"detach": detach})
    found = {}
    for layout, options in {
        "padded": {"per_device_train_batch_size": 16},
        "padding-free": {"per_device_train_batch_size": 16, "padding_free": True, "max_length": None},
        "packed": {"per_device_train_batch_size": 16, "packing": True, "max_length": 512},
        "accumulated": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4},
    }.items():
        trainer = train(model, chains, tmp_path / layout, weighting, steps=1, **options)
        found[layout] = history(trainer, "loss", "grad_norm")[0]
    plain = history(train(model, chains, tmp_path / "p", steps=1, per_device_train_batch_size=16), "loss", "grad_norm")[
        0
    ]
    for layout, values in found.items():
        assert values == pytest.approx(found["padded"], rel=2e-5), layout
        assert abs(values[0] - plain[0]) > 1e-3, "RFT is not plain SFT here"


def test_a_batch_is_weighed_sample_by_sample(model, chains, tmp_path):
    """Against the formula, from the model's own log-probs."""
    trainer = train(model, chains, tmp_path, load_weighting("rft", {"tau": 2.0}), steps=1, learning_rate=0.0)
    batch = next(iter(trainer.get_train_dataloader()))
    columns = {name: batch.pop(name) for name in list(batch) if name.startswith("token_")}
    with torch.no_grad():
        logps_BTV = trainer.model(batch["input_ids"], batch["attention_mask"]).logits[:, :-1].log_softmax(-1)
        loss = trainer.compute_loss(trainer.model, batch | columns)
    total = count = 0
    for row, labels_T in enumerate(batch["labels"][:, 1:]):
        places = [i for i, label in enumerate(labels_T.tolist()) if label != -100]
        groups = {0: [], 1: []}
        for i in places:
            groups[columns["token_roles"][row, i + 1].item()].append(-logps_BTV[row, i, labels_T[i]].item())
        means = torch.tensor([sum(g) / len(g) for g in groups.values()])
        total += len(places) * float(torch.softmax(means / 2.0, 0) @ means)
        count += len(places)
    assert loss.item() == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"loss_type": "dft"}, "loss_type: dft is not allowed with token weights"),
        ({"label_smoothing_factor": 0.1}, "label_smoothing_factor is not allowed"),
        ({"packing": True, "packing_strategy": "wrapped"}, "packing_strategy: wrapped is not allowed"),
    ],
)
def test_what_weights_cannot_go_with_is_refused(options, told, model, chains, tmp_path):
    with pytest.raises(UsageError, match=told):
        train(model, chains, tmp_path, load_weighting("rft", {}), **options)


def test_roles_that_are_needed_are_asked_for(model, chains):
    from transformers import AutoTokenizer

    from rftt.sft.trainer import WeightedSFTTrainer

    annotator = Annotator(AutoTokenizer.from_pretrained(model))
    with pytest.raises(ValueError, match="sources of roles are missing, which RFT needs"):
        WeightedSFTTrainer(str(model), weighting=load_weighting("rft", {}), annotator=annotator)


SCRIPT = """
import json, sys
from pathlib import Path
import torch
torch.distributed.init_process_group("gloo")
sys.path.insert(0, {root!r})
from tests.rftt.sft.test_trainer import history, train
from rftt.weighting.registry import load_weighting

model, chains, folder = map(Path, sys.argv[1:4])
found = {{}}
for name, weighting in (("trl", None), ("plain", load_weighting("plain", {{}})), ("rft", load_weighting("rft", {{}}))):
    trainer = train(model, chains, folder / name, weighting, per_device_train_batch_size=4)
    found[name] = history(trainer, "loss", "grad_norm")
    if trainer.is_world_process_zero():
        (folder / "found.json").write_text(json.dumps(found))
from rftt.sft.phase import train_sft
from tests.rftt.sft.test_trainer import phases
config = phases(folder / "both", sys.argv[4])
train_sft(model, chains, folder / "both" / "sft" / "final", config)
from rftt.weighting.shad import label_tokens
label_tokens(str(model), chains, folder / "both" / "shad", config)  # leaves the group of processes
"""


def phases(folder, stage=None):
    """Settings of SFT with a second stage, and of SHAD; `stage` of ZeRO."""
    shared = {"learning_rate": 1e-2, "per_device_train_batch_size": 4, "disable_tqdm": True, "max_steps": 2}
    if stage is not None:
        shared["deepspeed"] = str(ROOT / "configs" / "deepspeed" / f"zero{stage}.json")
    sft = {"batch_size": 8, "key_stage": {"steps": 2}, "trainer": shared | {"packing": True, "max_length": 512}}
    shad = {"batch_size": 8, "trainer": shared}
    return from_dict({"run": str(folder), "model": {"dtype": "float32"}, "sft": sft, "shad": shad})


@pytest.mark.slow
@pytest.mark.deepspeed
def test_two_processes_train_what_one_does(model, chains, tmp_path):
    pytest.importorskip("deepspeed", reason="DeepSpeed is not installed: pip install 'rftt[deepspeed]'")
    run_in_two_processes(SCRIPT.format(root=str(ROOT)), str(model), str(chains), str(tmp_path), "2")
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["plain"] == found["trl"], "weights of 1 change no bit in two processes either"
    for name, weighting in (("plain", "plain"), ("rft", "rft")):
        alone = train(
            model, chains, tmp_path / f"alone-{name}", load_weighting(weighting, {}), per_device_train_batch_size=8
        )
        for ours, theirs in zip(found[name], history(alone, "loss", "grad_norm"), strict=True):
            assert ours == pytest.approx(theirs, rel=1e-4), name

    both, single = tmp_path / "both", tmp_path / "single"
    train_sft(model, chains, single / "sft" / "final", phases(single))
    label_tokens(str(model), chains, single / "shad", phases(single))
    for part in ("sft/tagged", "sft/final", "shad/shuffled"):
        ours, theirs = (load_file(folder / part / "model.safetensors") for folder in (both, single))
        assert all((ours[name] - theirs[name]).abs().max() < 1e-4 for name in theirs), part
    for ours, theirs in zip(*(read_jsonl(f / "shad" / "roles.jsonl") for f in (both, single)), strict=True):
        assert ours["ids"] == theirs["ids"]
        for one, other in zip(ours["ld"], theirs["ld"], strict=True):
            assert one == other or one == pytest.approx(other, abs=2e-3)
