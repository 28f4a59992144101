"""Tokens that rollouts share are computed once: the training is the same, and where it would not be it is refused."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from rftt.errors import UsageError
from rftt.rl import train_rl

pytestmark = pytest.mark.gradient

TRAININGS = {
    "accumulation": {"per_device_train_batch_size": 2, "auxiliary": {"weight": 0.3, "roles": "regex"}},
    "one row count a micro-batch": {"loss_type": "grpo", "advantage": "tree", "sampler": "puct"},
    "old log-probs": {"num_iterations": 2, "max_steps": 4, "save_steps": 4},
    "checkpointing": {"gradient_checkpointing": True, "beta": 0.0},
    "adapters": {"lora": {"rank": 4}},
    "micro-batches as drawn": {"loss_type": "bnpo"},
}


@pytest.mark.parametrize("name", list(TRAININGS))
def test_three_steps_end_where_padded_rows_end(name, rl_config, chain_model, problems):
    """By plain gradient descent: Adam would make steps of noise where the gradient is nothing else."""
    ends, curves = [], []
    for sharing in (False, True):
        options = {"max_steps": 3, "save_strategy": "no", "optim": "sgd", "learning_rate": 0.3, "max_grad_norm": 100.0}
        config = rl_config(run=str(sharing), prefix_sharing=sharing, **options | TRAININGS[name])
        result = train_rl(chain_model, problems, config.folder / "rl" / "final", config)
        ends.append(load_file(f"{result['out']}/model.safetensors"))
        curves.append([json.loads(line) for line in (config.folder / "metrics.jsonl").read_text().splitlines()])
    assert curves[1][0]["loss"] == pytest.approx(curves[0][0]["loss"], abs=1e-6)
    for padded, shared in zip(*curves, strict=True):
        assert shared["loss"] == pytest.approx(padded["loss"], abs=2e-5)
        assert shared["grad_norm"] == pytest.approx(padded["grad_norm"], rel=1e-4)
        assert shared["sharing"] > 1.2 and "sharing" not in padded
    begun = load_file(chain_model / "model.safetensors")
    assert max((ends[0][key] - begun[key]).abs().max() for key in begun) > 1e-3, "nothing was trained"
    assert max((ends[0][key] - ends[1][key]).abs().max() for key in begun) < 1e-6
    assert {k for k in curves[1][0] if k != "sharing"} >= {k for k in curves[0][0] if k != "sharing"}


def test_log_probs_of_the_engine_are_compared_with_shared_ones(rl_config, chain_model, problems):
    config = rl_config(prefix_sharing=True, max_steps=1, save_strategy="no")
    train_rl(chain_model, problems, config.folder / "rl" / "final", config)
    [line] = [json.loads(line) for line in (config.folder / "metrics.jsonl").read_text().splitlines()]
    assert 0 < line["logprob_difference/max"] < 1e-4
    saved = json.loads((config.folder / "rl" / "final" / "config.json").read_text())
    assert not any("attn_implementation" in key for key in saved), "the final model asks for an attention of ours"


def test_a_layer_that_cannot_share_names_the_setting(rl_config, chain_model, problems, monkeypatch):
    from rftt.model.prefix_sharing import scoring

    class OneCall(scoring.Plan):
        used = property(lambda self: 1, lambda self, value: None)

    monkeypatch.setattr(scoring, "Plan", OneCall)
    config = rl_config(max_steps=1, save_strategy="no")
    with pytest.raises(UsageError, match="rl.prefix_sharing: 1 of its . layers.*set it to false"):
        train_rl(chain_model, problems, config.folder / "rl" / "final", config)


def test_the_default_is_auto_and_other_words_are_refused(rl_config):
    assert rl_config().rl.prefix_sharing == "auto"
    with pytest.raises(UsageError, match="rl.prefix_sharing"):
        rl_config(prefix_sharing="always")


def test_entropy_of_shared_tokens_reaches_the_metrics(rl_config, chain_model, problems):
    found = []
    for sharing in (False, True):
        config = rl_config(run=str(sharing), prefix_sharing=sharing, max_steps=1, save_strategy="no",
                           per_device_train_batch_size=8)  # fmt: skip
        train_rl(chain_model, problems, config.folder / "rl" / "final", config)
        found.append(json.loads((config.folder / "metrics.jsonl").read_text())["entropy"])
    assert found[0] > 0
    torch.testing.assert_close(*found, atol=1e-6, rtol=1e-5)
