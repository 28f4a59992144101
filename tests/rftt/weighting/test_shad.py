"""SHAD: on any chat data; resumable; another threshold without a pass; and whether it finds what it is to find."""

from __future__ import annotations

import json

import pytest
import torch

from rftt.cli import main
from rftt.config import from_dict
from rftt.errors import UsageError
from rftt.weighting import loss_reader as scoring
from rftt.weighting.conversations import conversations, encode
from rftt.weighting.interface import BOILERPLATE, NO_ROLE, REASONING
from rftt.weighting.loss_reader import LossReader, batches, differences
from rftt.weighting.shad import label_tokens
from search.journal import read_jsonl, write_jsonl
from tests.rftt.weighting import agents

pytestmark = pytest.mark.weighting
FAST = ("shad.num_train_epochs=1", "shad.learning_rate=0.01", "shad.batch_size=4", "shad.score_tokens=200",
        "shad.disable_tqdm=true", "model.dtype=float32")  # fmt: skip


def talks(count):
    for i in range(count):
        turns = [("user", f"What is {i} + 1?"), ("assistant", f"The answer is {i + 1}."), ("user", "Check it."),
                 ("assistant", "Restate the question. " * (i % 3) + "right")]  # fmt: skip
        yield {"messages": [{"role": role, "content": content} for role, content in turns]}


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "talks.jsonl"
    write_jsonl(path, talks(9))
    return path


@pytest.fixture
def labelled(data, tiny_model, tmp_path):
    """`rftt shad` on plain messages with a model that has no functional tokens."""
    out = tmp_path / "out"
    command = ["shad", "--data", str(data), "--model", str(tiny_model("qwen2")), "--out", str(out), *FAST]
    assert main(command) == 0
    return command, out


def test_any_messages_with_any_model(labelled, data, tiny_model):
    from transformers import AutoTokenizer

    _, out = labelled
    tokenizer = AutoTokenizer.from_pretrained(tiny_model("qwen2"))
    records = list(read_jsonl(out / "roles.jsonl"))
    samples = [encode(sample, tokenizer) for sample in conversations(read_jsonl(data), "x")]
    assert [r["ids"] for r in records] == [s["input_ids"] for s in samples]
    assert [r["sample"] for r in records] == [str(i) for i in range(9)]
    for record, sample in zip(records, samples, strict=True):
        for label, ld, role in zip(sample["labels"], record["ld"], record["roles"], strict=True):
            assert (ld is None) == (role == NO_ROLE) == (label == -100)
            assert ld is None or role == (REASONING if ld > 0 else BOILERPLATE)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["samples"] == 9 and summary["tokens"] == sum(d is not None for r in records for d in r["ld"])
    assert sum(r["roles"].count(REASONING) for r in records) == round(summary["reasoning_share"] * summary["tokens"])
    assert summary["functional_tokens"] == {} and summary["seconds"]["labelling"] > 0
    frequent = summary["tokens_by_role"]["boilerplate"][0]
    assert frequent["count"] > 1 and 0 < frequent["share"] <= 1
    assert (out / "shuffled" / "model.safetensors").exists()


def test_a_killed_labelling_goes_on_and_ends_the_same(labelled, monkeypatch):
    command, out = labelled
    whole = (out / "roles.jsonl").read_bytes()
    kept = whole.splitlines(keepends=True)[:4]
    (out / "roles.jsonl.partial").write_bytes(b"".join(kept) + b'{"sample": "7", "ids": [1')
    (out / "roles.jsonl").unlink()
    (out / "summary.json").unlink()
    monkeypatch.setattr("rftt.weighting.shad._tune_shuffled", lambda *_: pytest.fail("the shuffled model is there"))
    assert main(command) == 0
    assert (out / "roles.jsonl").read_bytes() == whole and (out / "summary.json").exists()


def test_another_threshold_needs_no_pass(labelled, monkeypatch):
    command, out = labelled
    before = list(read_jsonl(out / "roles.jsonl"))
    middle = sorted(d for r in before for d in r["ld"] if d is not None)[-3]
    monkeypatch.setattr(scoring, "LossReader", lambda *_: pytest.fail("a pass of the models"))
    assert main([*command, f"shad.threshold={middle}"]) == 0
    after = list(read_jsonl(out / "roles.jsonl"))
    assert [r["ld"] for r in after] == [r["ld"] for r in before]
    assert sum(r["roles"].count(REASONING) for r in after) == 2
    assert json.loads((out / "summary.json").read_text())["seconds"]["labelling"] > 0


def test_differences_are_those_of_the_models_whatever_the_batch(tiny_model, chains, model):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    samples = [encode(sample, tokenizer) for sample in conversations(read_jsonl(chains), "x")]
    one, other = LossReader(str(model), "float32"), LossReader(str(tiny_model("qwen2", padded_rows=40)), "float32")
    found = {}
    for tokens in (1, 400):
        planned = batches([len(s["input_ids"]) for s in samples], tokens)
        assert sorted(i for batch in planned for i in batch) == list(range(len(samples)))
        assert len(planned) == len(samples) if tokens == 1 else len(planned) < len(samples)
        found[tokens] = {}
        for batch in planned:
            found[tokens] |= dict(zip(batch, differences([samples[i] for i in batch], one, other, 0), strict=True))
    for i, sample in enumerate(samples):
        ids = torch.tensor(sample["input_ids"])
        with torch.no_grad():
            l_s, l_o = (
                -m.model(ids[None]).logits[0, :-1].log_softmax(-1).gather(1, ids[1:, None])[:, 0] for m in (one, other)
            )
        for at, label in enumerate(sample["labels"]):
            for tokens in (1, 400):
                expected = None if label == -100 else pytest.approx((l_s - l_o)[at - 1].item(), abs=2e-4)
                assert found[tokens][i][at] == expected


def test_a_model_published_in_bfloat16_is_compared_with_its_shuffled_self_in_one_type(data, model, tmp_path):
    """Tuned at a rate of 0 it is the same model; in two types their losses differ by rounding."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    published = tmp_path / "published"
    AutoModelForCausalLM.from_pretrained(model, dtype="bfloat16").save_pretrained(published)
    AutoTokenizer.from_pretrained(model).save_pretrained(published)
    trainer = {"max_steps": 1, "learning_rate": 0.0, "disable_tqdm": True}
    config = from_dict({"run": str(tmp_path), "shad": {"batch_size": 4, "trainer": trainer}})
    label_tokens(str(published), data, tmp_path / "out", config)
    assert {d for record in read_jsonl(tmp_path / "out" / "roles.jsonl") for d in record["ld"]} == {None, 0.0}


def test_any_chat_data_is_learnt_by_its_roles(labelled, data, tiny_model, tmp_path):
    """Several turns, packed: without chains, run folder or functional tokens."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig

    from rftt.sft.trainer import WeightedSFTTrainer
    from rftt.weighting.annotate import Annotator
    from rftt.weighting.registry import load_weighting
    from rftt.weighting.roles import ShadRoles

    _, out = labelled
    tokenizer = AutoTokenizer.from_pretrained(tiny_model("qwen2"))
    encoded = [encode(sample, tokenizer) for sample in conversations(read_jsonl(data), str(data))]
    arguments = SFTConfig(str(tmp_path / "o"), use_cpu=True, bf16=False, report_to="none", packing=True, max_length=256,
                          max_steps=1, logging_steps=1, save_strategy="no", disable_tqdm=True)  # fmt: skip
    trainer = WeightedSFTTrainer(
        str(tiny_model("qwen2")), arguments, train_dataset=Dataset.from_list(encoded), processing_class=tokenizer,
        weighting=load_weighting("rft", {}), annotator=Annotator(tokenizer, ShadRoles.read(out / "roles.jsonl")),
    )  # fmt: skip
    trainer.train()
    assert {"reasoning_loss", "boilerplate_loss", "loss"} <= set(trainer.state.log_history[0])


def test_the_shuffled_model_may_be_tuned_with_adapters(data, tiny_model, tmp_path):
    model, out = tiny_model("qwen2"), tmp_path / "lora"
    command = ["shad", "--data", str(data), "--model", str(model), "--out", str(out), *FAST, "shad.lora.rank=4"]
    assert main([*command, "shad.unit=sample"]) == 0
    assert sum(len(record["ids"]) for record in read_jsonl(out / "roles.jsonl")) > 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give the CONFIG of a run, or --data"),
        (["--data", "x.jsonl"], "--data, --model and --out go together"),
        (["--data", "nowhere.jsonl", "--model", "m", "--out", "o"], "nowhere.jsonl: cannot be read"),
    ],
)
def test_slips_on_the_command_line_are_told(arguments, told, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["shad", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_a_line_that_is_no_conversation_is_told_by_its_number(data, capsys, tmp_path):
    rows = data.read_text(encoding="utf-8")
    data.write_text(f'{rows}\n{{"messages": "a"}}\n', encoding="utf-8-sig")
    assert main(["shad", "--data", str(data), "--model", "m", "--out", str(tmp_path / "out")]) == 2
    assert "talks.jsonl:11: expected messages" in capsys.readouterr().err


def test_a_single_sample_cannot_be_shuffled(tiny_model, tmp_path):
    write_jsonl(tmp_path / "one.jsonl", talks(1))
    config = from_dict({"run": str(tmp_path), "shad": {"unit": "sample"}})
    with pytest.raises(UsageError, match="cannot be shuffled; give more samples"):
        label_tokens(str(tiny_model("qwen2")), tmp_path / "one.jsonl", tmp_path / "out", config)


@pytest.fixture(scope="module")
def lookup_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("agents") / "model"
    agents.train_base(folder, steps=600)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(agents.FORMATS))
def test_reasoning_and_boilerplate_are_told_apart(kind, lookup_model, tmp_path):
    """The paper reports less than 3 % errors by hand check; here against known roles, and better than patterns.

    Punctuation that both models are sure of has an LD that is noise around 0, so at the paper's threshold of 0 the share of
    right roles varies with the model (96.7 to 99.2 % were seen); 0.05 nats settle it.
    """
    accuracy = agents.discrimination(lookup_model, kind, tmp_path)
    assert accuracy["shad_0.05"] >= 0.97 and accuracy["shad"] >= 0.95, accuracy
    assert accuracy["shad"] > accuracy["regex"] and accuracy["shad"] > accuracy["all_boilerplate"], accuracy
    assert accuracy["recall_0.05"] > 0.75, accuracy
