"""What stands against sharing is said in one line, and nothing stands against common models."""

from __future__ import annotations

import logging

import pytest
from transformers import FalconH1Config, Gemma2Config, LlamaConfig, MixtralConfig, Qwen3NextConfig

from rftt.errors import UsageError
from rftt.model.prefix_sharing.exactness import obstacle, shares_prefixes
from tests.rftt.model.prefix_sharing.trees import CONFIGS, SHAPE


@pytest.mark.parametrize("name", list(CONFIGS))
def test_common_models_share(name):
    assert obstacle(CONFIGS[name], {}) is None


@pytest.mark.parametrize(
    ("config", "trainer", "named"),
    [
        (LlamaConfig(**SHAPE, attention_dropout=0.1), {}, "dropout"),
        (Gemma2Config(), {}, "caps its scores"),
        (MixtralConfig(), {}, "router_aux_loss_coef=0"),
        (FalconH1Config(), {}, "layers of hybrid"),
        (Qwen3NextConfig(), {"router_aux_loss_coef": 0}, "linear_attention"),
        (LlamaConfig(rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}), {}, "longest row"),
        (CONFIGS["qwen2"], {"use_liger_kernel": True}, "use_liger_kernel"),
        (CONFIGS["qwen2"], {"model_init_kwargs": {"attn_implementation": "eager"}}, "eager"),
    ],
)
def test_what_would_not_be_exact_is_named(config, trainer, named):
    reason = obstacle(config, trainer)
    assert reason is not None and named in reason and "\n" not in reason


def test_experts_without_their_balancing_loss_share():
    assert obstacle(MixtralConfig(), {"router_aux_loss_coef": 0}) is None


def test_what_would_not_be_exact_is_refused_or_left(caplog):
    config = LlamaConfig(attention_dropout=0.1)
    assert shares_prefixes("auto", LlamaConfig(), {}, "rl") and not shares_prefixes(False, LlamaConfig(), {}, "rl")
    with caplog.at_level(logging.INFO):
        assert not shares_prefixes("auto", config, {}, "rl")
    assert "attention_dropout" in caplog.text
    with pytest.raises(UsageError, match="rl.prefix_sharing is true, but model.attention_dropout.*set it to"):
        shares_prefixes(True, config, {}, "rl")
