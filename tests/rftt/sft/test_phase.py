"""The warm-up: loss on the assistant turn only, to the end-of-sequence token; resumable; loads as it is."""

import json

import pytest

from rftt.config import from_dict
from rftt.errors import UsageError
from rftt.model.vocabulary import add_functional_tokens
from rftt.runtime.step_log import MetricsLog
from rftt.sft.phase import _batch, chain_dataset, hardware_options, train_sft
from search.chain import Step, render
from search.journal import write_jsonl


@pytest.fixture
def chains(tmp_path):
    path = tmp_path / "chains.jsonl"
    content = render([Step("next_step", "1 + 1 = 2"), Step("output", "\\boxed{2}")])
    turns = [{"role": "user", "content": "What is 1 + 1?"}, {"role": "assistant", "content": content}]
    write_jsonl(path, ({"question_id": f"q{i}", "messages": turns} for i in range(8)))
    return path


@pytest.fixture(scope="module")
def model(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sft") / "model"
    add_functional_tokens(tiny_model("qwen2"), folder)
    return folder


def config(tmp_path, **trainer):
    small = {"num_train_epochs": 2, "per_device_train_batch_size": 4, "learning_rate": 1e-3, "save_strategy": "epoch"}
    return from_dict(
        {"run": str(tmp_path), "model": {"dtype": "float32"}, "sft": {"batch_size": 4, **small, **trainer}}
    )


def test_only_the_assistant_turn_is_learnt_and_it_ends_with_eos(chains, model, tmp_path):
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    tokenizer = AutoTokenizer.from_pretrained(model)
    trainer = SFTTrainer(
        str(model), SFTConfig(str(tmp_path / "o"), use_cpu=True, report_to="none"),
        train_dataset=chain_dataset(chains, tokenizer), processing_class=tokenizer,
    )  # fmt: skip
    batch = next(iter(trainer.get_train_dataloader()))
    learnt = batch["labels"][0][batch["labels"][0] != -100].tolist()
    text = tokenizer.decode(learnt)
    assert text.startswith("<next_step>\n1 + 1 = 2\n</next_step>\n<output>") and "What is" not in text
    assert tokenizer.eos_token_id in learnt
    assert learnt.count(tokenizer.convert_tokens_to_ids("<output>")) == 1


def test_a_tuned_model_loads_and_a_resumed_one_is_the_same(chains, model, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    straight, resumed = tmp_path / "a", tmp_path / "b"
    train_sft(model, chains, straight / "sft" / "final", config(straight))
    train_sft(model, chains, resumed / "sft" / "half", config(resumed, max_steps=2, num_train_epochs=1))
    train_sft(model, chains, resumed / "sft" / "again", config(resumed, max_steps=2, num_train_epochs=1))
    half, again = (AutoModelForCausalLM.from_pretrained(resumed / "sft" / n).state_dict() for n in ("half", "again"))
    assert all(torch.equal(half[k], again[k]) for k in half), "a finished training made one step more"
    torn = resumed / "sft" / "checkpoints" / "checkpoint-9"
    torn.mkdir()
    train_sft(model, chains, resumed / "sft" / "final", config(resumed))
    assert not torn.exists()
    one, other = (AutoModelForCausalLM.from_pretrained(r / "sft" / "final").state_dict() for r in (straight, resumed))
    assert all(torch.equal(one[k], other[k]) for k in one)
    lines = [json.loads(x) for x in (resumed / "metrics.jsonl").read_text().splitlines()]
    assert all(x["phase"] == "sft" for x in lines)


def test_no_chain_and_an_impossible_batch_are_told(tmp_path, model, chains):
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(UsageError, match="no chain to learn from"):
        chain_dataset(empty, None)
    with pytest.raises(UsageError, match=r"sft\.batch_size: 6"):
        train_sft(
            model, chains, tmp_path / "x", from_dict({"sft": {"batch_size": 6, "per_device_train_batch_size": 4}})
        )


def test_batch_size_is_what_a_step_has_however_it_is_accumulated(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for given, wanted in (
        ({}, (8, 2)),
        ({"gradient_accumulation_steps": 4}, (4, 4)),
        ({"gradient_accumulation_steps": 4, "per_device_train_batch_size": 4}, (4, 4)),
        ({"per_device_train_batch_size": 2}, (2, 8)),
    ):
        assert tuple(_batch(32, given, "sft").values()) == wanted, given
    for given in (
        {"gradient_accumulation_steps": 3},
        {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 4},
    ):
        with pytest.raises(
            UsageError, match=r"sft\.batch_size: 32 is not \d sequences × \d accumulation steps × 2 pro"
        ):
            _batch(32, given, "sft")


def test_where_there_is_a_gpu_training_is_under_bfloat16_autocast_unless_it_is_to_be_on_the_cpu(monkeypatch, tmp_path):
    from trl import SFTConfig

    with monkeypatch.context() as patched:
        patched.setattr("torch.cuda.is_available", lambda: True)
        on_gpu, on_cpu = hardware_options({}), hardware_options({"use_cpu": True})
    assert SFTConfig(str(tmp_path), **on_gpu | {"use_cpu": True}).bf16 and not SFTConfig(str(tmp_path), **on_cpu).bf16


def test_metrics_after_a_checkpoint_are_dropped_on_resume(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, "rl")
    for step in (1, 2, 3):
        log.write(step, {"reward": 0.5, "text": "left out", "bad": float("nan")})
    MetricsLog(path, "sft").write(9, {"loss": 1})
    path.write_text(path.read_text() + '{"phase": "rl", "st')
    MetricsLog(path, "rl", after=2).write(3, {"reward": 0.7})
    lines = [json.loads(x) for x in path.read_text().splitlines()]
    assert [(x["phase"], x["step"]) for x in lines] == [("rl", 1), ("rl", 2), ("sft", 9), ("rl", 3)]
    assert set(lines[0]) == {"phase", "step", "time", "reward"}
