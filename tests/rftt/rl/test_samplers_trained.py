"""Every sampler, fill and correction through the whole phase, with a real model and TRL's trainer."""

from __future__ import annotations

import json

import pytest

from rftt.rl import train_rl

KINDS = {
    "walk": {"sampler": "walk", "advantage": "rloo"},
    "fill": {"fill": "walk", "min_prior": 0.3, "advantage": "treerl"},
    "strata": {"branch_correction": "strata", "min_prior": 0.3},
    "priority": {"sampler": "priority", "min_prior": 0.0, "advantage": "tree", "siblings": 2},
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_phase_trains_on_the_groups_of_every_sampler(kind, rl_config, chain_model, problems):
    config = rl_config(run=kind, max_steps=2, save_strategy="no", max_step_tokens=64, **KINDS[kind])
    train_rl(chain_model, problems, config.folder / "rl" / "final", config)
    found = [json.loads(line) for line in (config.folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in found] == [1, 2]
    for line in found:
        assert line["logprob_difference/max"] < 1e-4, "a walk's log-probs are not the policy's"
        assert sum(line[f"origin/{o}"] for o in ("tree", "plain", "walk", "replay")) == pytest.approx(1.0)
        assert 0 < line["grad_norm"] < 100
    walked = [line["origin/walk"] for line in found]
    assert max(walked) == 1.0 if kind == "walk" else max(walked) > 0 if kind != "priority" else True
    if kind in ("strata", "priority"):
        assert min(line["weight/effective"] for line in found) < 1.0


@pytest.mark.vllm
def test_walks_on_vllm_have_the_log_probs_of_the_trainer(rl_config, chain_model, problems):
    config = rl_config(engine="vllm", run="vllm", max_steps=1, save_strategy="no", sampler="walk", parallel_rollouts=4)
    train_rl(chain_model, problems, config.folder / "rl" / "final", config)
    [line] = [json.loads(line) for line in (config.folder / "metrics.jsonl").read_text().splitlines()]
    assert line["origin/walk"] == 1.0 and line["logprob_difference/max"] < 1e-3
