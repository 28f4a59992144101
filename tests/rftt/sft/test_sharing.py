"""Chains of a question that share their beginnings: the losses, gradients and weights of padded rows."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from rftt.config import from_dict
from rftt.errors import UsageError
from rftt.model.prefix_sharing.attention import NAME
from rftt.model.prefix_sharing.pack import IGNORED
from rftt.sft.phase import chain_dataset, train_sft
from rftt.sft.sharing import QuestionOrder, prompts
from rftt.weighting.annotate import Annotator
from rftt.weighting.registry import load_weighting
from rftt.weighting.roles import RegexRoles
from search.chain import Step, render
from search.journal import write_jsonl
from tests.processes import ROOT, run_in_two_processes

pytestmark = pytest.mark.gradient


@pytest.fixture(scope="module")
def chains(tmp_path_factory):
    """Eight chains of three questions, whose first steps agree in part."""
    path, rows = tmp_path_factory.mktemp("shared") / "chains.jsonl", []
    for i in range(8):
        question, steps = i % 3, [Step("next_step", f"{i % 3} + 1 = {i % 3 + 1}")]
        steps += [Step("verify", f"right {i}")] * (i // 3) + [Step("output", f"\\boxed{{{i % 3 + 1}}}")]
        turns = [
            {"role": "user", "content": f"What is {question} + 1?"},
            {"role": "assistant", "content": render(steps)},
        ]
        rows.append({"question_id": f"q{question}", "messages": turns})
    write_jsonl(path, rows)
    return path


def trainer(model, chains, folder, sharing, weighting=None, **options):
    from transformers import AutoTokenizer
    from trl import SFTConfig

    from rftt.sft.trainer import WeightedSFTTrainer

    tokenizer, more = AutoTokenizer.from_pretrained(model), {}
    if weighting is not None:
        more = {"weighting": load_weighting(weighting, {}), "annotator": Annotator(tokenizer, RegexRoles(tokenizer))}
    loading = {"attn_implementation": NAME} if sharing else {}
    arguments = SFTConfig(
        str(folder), use_cpu=True, bf16=False, report_to="none", disable_tqdm=True, save_strategy="no",
        per_device_train_batch_size=8, model_init_kwargs=loading, **options,
    )  # fmt: skip
    return WeightedSFTTrainer(
        str(model), arguments, train_dataset=chain_dataset(chains, tokenizer), processing_class=tokenizer,
        sharing=sharing, **more,
    )  # fmt: skip


CASES = [
    (None, {}), ("key_weight", {}), ("rft", {}), ("rft", {"max_length": 40}), (None, {"gradient_checkpointing": True}),
    (None, {"loss_type": "dft"}),
]  # fmt: skip


@pytest.mark.parametrize(("weighting", "options"), CASES)
def test_loss_gradient_and_metrics_are_those_of_padded_rows(weighting, options, model, chains, tmp_path):
    found = []
    for sharing in (False, True):
        mine = trainer(model, chains, tmp_path / str(sharing), sharing, weighting, **options)
        mine.model.train()
        batch = mine.data_collator([mine.train_dataset[i] for i in range(len(mine.train_dataset))])
        loss = mine.compute_loss(mine.model, batch, num_items_in_batch=torch.tensor(100))
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in mine.model.parameters() if p.grad is not None])
        metrics = {name: values[-1] for name, values in mine._metrics["train"].items()}
        found.append((loss.detach(), gradient, metrics))
    (loss, gradient, metrics), (ours, our_gradient, our_metrics) = found
    assert our_metrics.pop("sharing") > 1.2
    assert metrics.keys() == our_metrics.keys() and metrics["entropy"] > 0
    torch.testing.assert_close(ours, loss, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(our_gradient, gradient, atol=5e-6, rtol=1e-4)
    for name, value in metrics.items():
        assert our_metrics[name] == pytest.approx(value, abs=1e-5), name


def three_steps(model, chains, folder, sharing, **more):
    """Three steps of the phase on all chains; returns the weights. Called in two processes as well."""
    options = {"batch_size": 8, "prefix_sharing": sharing, "learning_rate": 1e-3, "max_steps": 3, "logging_steps": 1}
    config = from_dict({"run": str(folder), "sft": {**options, "save_strategy": "no", **more}})
    train_sft(model, chains, folder / "sft" / "final", config)
    return load_file(folder / "sft" / "final" / "model.safetensors")


def compare(ours, theirs, begun):
    assert any((theirs[name] - begun[name]).abs().max() > 1e-4 for name in begun)
    for name, values in theirs.items():
        torch.testing.assert_close(ours[name], values, atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize("lora", [{}, {"rank": 4}])
def test_three_steps_of_the_phase_give_the_weights_of_padded_rows(lora, model, chains, tmp_path):
    weights = []
    for sharing in (False, True):
        folder = tmp_path / str(sharing)
        weights.append(three_steps(model, chains, folder, sharing, lora=lora))
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert all(("sharing" in line) == sharing for line in lines if "loss" in line)
        saved = json.loads((folder / "sft" / "final" / "config.json").read_text())
        assert not any("attn_implementation" in key for key in saved)
    compare(weights[1], weights[0], load_file(model / "model.safetensors"))


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.rftt.sft.test_sharing import three_steps
model, chains, folder = map(Path, sys.argv[1:])
zero = str(Path({root!r}) / "configs" / "deepspeed" / "zero3.json")
three_steps(model, chains, folder, True, per_device_train_batch_size=4, deepspeed=zero)
"""


@pytest.mark.slow
@pytest.mark.deepspeed
def test_two_processes_under_zero_3_train_what_padded_rows_in_one_do(model, chains, tmp_path):
    pytest.importorskip("deepspeed", reason="DeepSpeed is not installed: pip install 'rftt[deepspeed]'")
    run_in_two_processes(SCRIPT.format(root=str(ROOT)), str(model), str(chains), str(tmp_path / "two"))
    ours = load_file(tmp_path / "two" / "sft" / "final" / "model.safetensors")
    compare(ours, three_steps(model, chains, tmp_path / "one", False), load_file(model / "model.safetensors"))


def test_a_resumed_training_goes_on_in_the_order_of_the_straight_one(model, chains, tmp_path):
    def tuned(name, out, **more):
        options = {
            "batch_size": 2,
            "prefix_sharing": True,
            "learning_rate": 1e-3,
            "save_strategy": "steps",
            "save_steps": 1,
        }
        config = from_dict({"run": str(tmp_path / name), "sft": options | more})
        train_sft(model, chains, config.folder / "sft" / out, config)
        return load_file(config.folder / "sft" / out / "model.safetensors")

    straight = tuned("a", "final", max_steps=7)
    tuned("b", "half", max_steps=3)
    resumed = tuned("b", "final", max_steps=7)
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_samples_of_a_question_follow_each_other_in_every_epoch():
    order = QuestionOrder(["a", "b", "a", "c", "b", "a"], seed=1)
    epochs = []
    for epoch in range(8):
        order.set_epoch(epoch)
        indices = list(order)
        assert sorted(indices) == list(range(6)) and indices == list(order) and len(order) == 6
        names = ["abacba"[i] for i in indices]
        assert [name for i, name in enumerate(names) if name not in names[:i]] == [
            name for i, name in enumerate(names) if i == 0 or names[i - 1] != name
        ]
        epochs.append(indices)
    assert len({tuple(indices) for indices in epochs}) > 3
    other = QuestionOrder(["a", "b", "a", "c", "b", "a"], seed=2)
    assert any(list(order) != list(other) for _ in [order.set_epoch(0), other.set_epoch(0)])


def test_the_question_of_a_sample_is_what_stands_before_the_first_learnt_token():
    samples = {"input_ids": [[5, 6, 7], [5, 6, 8], [5, 9], [4]],
               "labels": [[IGNORED, IGNORED, 7], [IGNORED, IGNORED, 8], [IGNORED, 9], [IGNORED]]}  # fmt: skip
    assert prompts(samples) == [(5, 6), (5, 6), (5,), (4,)]


@pytest.mark.parametrize(
    "option", [{"packing": True}, {"padding_free": True, "max_length": None}, {"label_smoothing_factor": 0.1}]
)
def test_what_is_not_padded_rows_is_refused(option, model, chains, tmp_path):
    config = from_dict(
        {"run": str(tmp_path), "sft": {"batch_size": 8, "prefix_sharing": True, "max_steps": 1, **option}}
    )
    with pytest.raises(UsageError, match=f"{next(iter(option))} is not allowed with sft.prefix_sharing"):
        train_sft(model, chains, tmp_path / "sft" / "final", config)
