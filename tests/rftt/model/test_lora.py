"""LoRA: adapters and the functional tokens' rows move, nothing else; what leaves a phase is the merged model."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial

import pytest

from rftt.config import from_dict
from rftt.config.sections import LoRAConfig
from rftt.errors import UsageError
from rftt.model.lora import merged_parameters, peft_config
from rftt.model.vocabulary import add_functional_tokens
from rftt.sft.phase import train_sft
from search.chain import Step, render
from search.functions import RFTT
from search.journal import write_jsonl

pytestmark = pytest.mark.lora
RANK = {"rank": 4, "alpha": 8}


@pytest.fixture(scope="module")
def chains(tmp_path_factory):
    path = tmp_path_factory.mktemp("chains") / "chains.jsonl"
    steps = [Step(name, "1 + 1 = 2") for name in RFTT.names if name != "output"] + [Step("output", "\\boxed{2}")]
    turns = [{"role": "user", "content": "What is 1 + 1?"}, {"role": "assistant", "content": render(steps)}]
    write_jsonl(path, ({"question_id": f"q{i}", "messages": turns} for i in range(8)))
    return path


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def model(request, tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lora") / "model"
    add_functional_tokens(tiny_model(tied=request.param, padded_rows=40), folder)
    return folder


def sft_config(folder, **trainer):
    small = {"per_device_train_batch_size": 4, "learning_rate": 1e-2, "save_strategy": "steps", "save_steps": 2,
             "num_train_epochs": 2, "disable_tqdm": True}  # fmt: skip
    values = {"batch_size": 4, "lora": RANK, "trainer": small | trainer}
    return from_dict({"run": str(folder), "model": {"dtype": "float32"}, "sft": values})


def weights(folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder).state_dict()


def tag_rows(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids(list(RFTT.tags))


def check_rows(before, after, rows, seldom=()):
    """Of embedding and head only these rows have moved, all of them but in `seldom`, and the linear layers have."""
    import torch

    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        moved = (before[name] != after[name]).any(dim=1).nonzero().flatten().tolist()
        assert set(moved) <= set(rows) and moved if name in seldom else moved == sorted(rows), name
    assert torch.equal(before["model.norm.weight"], after["model.norm.weight"])
    for name in ("q_proj", "down_proj"):
        assert any(name in key and not torch.equal(before[key], after[key]) for key in before)


def test_only_adapters_and_tag_rows_move_and_a_resumed_run_is_the_same(model, chains, tmp_path):
    import torch

    straight, resumed = tmp_path / "a", tmp_path / "b"
    train_sft(model, chains, straight / "sft" / "final", sft_config(straight))
    train_sft(model, chains, resumed / "sft" / "half", sft_config(resumed, max_steps=2))
    train_sft(model, chains, resumed / "sft" / "final", sft_config(resumed))
    after = weights(straight / "sft" / "final")
    check_rows(weights(model), after, tag_rows(model))
    again = weights(resumed / "sft" / "final")
    assert all(torch.equal(after[name], again[name]) for name in after)
    saved = sorted(p.name for p in (straight / "sft" / "final").iterdir())
    assert "model.safetensors" in saved and not any("adapter" in name for name in saved)
    lines = [json.loads(x) for x in (resumed / "metrics.jsonl").read_text().splitlines()]
    assert [x["step"] for x in lines if "train_runtime" in x] == [2, 4]


def test_rows_of_the_tokens_learn_at_a_rate_of_their_own(model, chains, tmp_path):
    found = []
    for rate in (1.0, 4.0):
        folder = tmp_path / str(rate)
        config = sft_config(folder, max_steps=1, optim="sgd", lr_scheduler_type="constant", max_grad_norm=0.0)
        lora = replace(config.sft.lora, token_rate=rate)
        train_sft(model, chains, folder / "sft" / "final", replace(config, sft=replace(config.sft, lora=lora)))
        found.append(weights(folder / "sft" / "final"))
    before, (one, four) = weights(model), found
    rows = tag_rows(model)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        slow, fast = ((after[name] - before[name])[rows] for after in (one, four))
        assert slow.abs().max() > 0 and (fast - 4 * slow).abs().max() < 1e-3 * fast.abs().max()
    for name, weight in one.items():
        assert "proj" not in name or (weight == four[name]).all()


@pytest.fixture(scope="module")
def rounded(model, tmp_path_factory):
    """The model in bfloat16."""
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("rounded") / "model"
    shutil.copytree(model, folder)
    AutoModelForCausalLM.from_pretrained(model, dtype="bfloat16").save_pretrained(folder)
    return folder


def in_bfloat16(config):
    return replace(config, model=replace(config.model, dtype="bfloat16"))


def test_rows_of_bfloat16_weights_learn_what_those_of_float32_learn(rounded, chains, tmp_path):
    """Accumulated and clipped, in steps that bfloat16 would round away."""
    found = []
    for name, change in (("float32", lambda config: config), ("bfloat16", in_bfloat16)):
        config = sft_config(tmp_path / name, max_steps=20, optim="sgd", lr_scheduler_type="constant",
                            per_device_train_batch_size=2, save_strategy="no")  # fmt: skip
        train_sft(rounded, chains, config.folder / "sft" / "final", change(config))
        found.append(weights(config.folder / "sft" / "final"))
    before, (exact, near) = weights(rounded), found
    rows = tag_rows(rounded)
    check_rows(before, near, rows)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        moved, apart = (exact[name] - before[name])[rows].float(), (exact[name] - near[name])[rows].float()
        half_spacing = exact[name][rows].abs() / 2**8
        assert (moved.abs() / 20).mean() < half_spacing.mean() / 4, "larger steps would not be rounded away"
        assert ((apart.abs() - half_spacing) < 1e-4).all() and moved.abs().max() > 1e-3, name


def test_a_resumed_run_goes_on_from_rows_that_are_not_rounded(rounded, chains, tmp_path):
    import torch

    straight, resumed = (tmp_path / name for name in ("a", "b"))
    small = {"learning_rate": 1e-5, "lr_scheduler_type": "constant", "warmup_steps": 0}
    train_sft(rounded, chains, straight / "sft" / "final", in_bfloat16(sft_config(straight, max_steps=16, **small)))
    for steps, name in ((8, "half"), (16, "final")):
        config = in_bfloat16(sft_config(resumed, max_steps=steps, **small))
        train_sft(rounded, chains, resumed / "sft" / name, config)
    after, again, half = (
        weights(f) for f in (straight / "sft" / "final", resumed / "sft" / "final", resumed / "sft" / "half")
    )
    assert all(torch.equal(after[name], again[name]) for name in after)
    name = "model.embed_tokens.weight"
    assert not torch.equal(half[name], after[name])


def test_merged_weights_give_the_adapters_logits_and_leave_the_model_alone(model):
    import contextlib

    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(model), peft_config(LoRAConfig(**RANK), model))
    torch.manual_seed(0)
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)
            assert ".lora_" in name or ".modules_to_save." in name
    before = {name: p.clone() for name, p in adapted.named_parameters()}
    merged = {name: p.clone() for name, p in merged_parameters(adapted, lambda _: contextlib.nullcontext())}
    assert all(torch.equal(p, before[name]) for name, p in adapted.named_parameters())
    plain = AutoModelForCausalLM.from_pretrained(model)
    expected = {name for name, _ in plain.named_parameters()}
    assert set(merged) == expected
    plain.load_state_dict(merged, strict=False)
    ids = torch.arange(40)[None]
    with torch.no_grad():
        assert (plain(ids).logits - adapted(ids).logits).abs().max() < 1e-4


@pytest.mark.parametrize("rank", [0, 4])
def test_checkpointing_of_activations_computes_the_same_and_bf16_something_near(rank, chains, tiny_model, tmp_path):
    import torch

    add_functional_tokens(tiny_model(), tmp_path / "model")
    found = []
    for number, options in enumerate(({}, {"gradient_checkpointing": True}, {"bf16": True})):
        folder = tmp_path / str(number)
        trainer = {"max_steps": 2, "save_strategy": "no", "logging_steps": 1, "per_device_train_batch_size": 4,
                   "learning_rate": 1e-3, "disable_tqdm": True} | options  # fmt: skip
        sft = {"batch_size": 4, "lora": {"rank": rank}, "trainer": trainer}
        config = from_dict({"run": str(folder), "model": {"dtype": "float32"}, "sft": sft})
        train_sft(tmp_path / "model", chains, folder / "sft" / "final", config)
        lines = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
        found.append((weights(folder / "sft" / "final"), [x["loss"] for x in lines if "loss" in x]))
    (plain, losses), (again, same), (_, near) = found
    assert all(torch.allclose(plain[name], again[name], atol=1e-6) for name in plain)
    assert same == pytest.approx(losses, rel=1e-6) and near == pytest.approx(losses, rel=0.02) and near != losses


def test_slips_are_told_by_name():
    build = partial(from_dict, where="x.yaml")
    with pytest.raises(UsageError, match=r"sft\.lora\.target_modules: lm_head"):
        build({"sft": {"lora": {"rank": 8, "target_modules": ["q_proj", "lm_head"]}}})
    with pytest.raises(UsageError, match=r"rl\.lora\.dropout"):
        build({"rl": {"lora": {"rank": 8, "dropout": 0.1}}})
    assert peft_config(LoRAConfig(), "nowhere") is None
