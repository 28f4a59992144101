"""The phase as a whole: what it writes, what it refuses, and that its paths earn what they should."""

from __future__ import annotations

import json
import math
import os

import pytest

from rftt.data.problems import Problem
from rftt.errors import UsageError
from rftt.rl import train_rl
from rftt.rl.grpo_options import grpo_options
from search.functions import RFTT

METRICS = (
    "reward", "accuracy", "length", "kl", "entropy", "format_rate", "agreeing_trees", "truncated", "origin/tree",
    "origin/plain", "search/exhausted", "search/replaced", "search/generated_tokens", "logprob_difference/mean",
    "logprob_difference/max", "seconds/search", "seconds/engine", "seconds/update",
    *(f"function_share/{name}" for name in RFTT.names),
)  # fmt: skip


def lines(config) -> list[dict]:
    return [json.loads(line) for line in (config.folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(chain_model, problems, tmp_path_factory):
    from rftt.config import from_dict

    folder = tmp_path_factory.mktemp("trained")
    rl = {"questions_per_step": 3, "rollouts": 4, "max_depth": 6, "max_step_tokens": 64, "min_prior": 0.02,
          "max_steps": 3, "learning_rate": 1e-3, "save_steps": 2, "disable_tqdm": True, "rollouts_every": 2}  # fmt: skip
    config = from_dict({"run": str(folder), "engine": {"name": "transformers", "max_model_len": 160}, "rl": rl})
    return config, train_rl(chain_model, problems, folder / "rl" / "final", config)


def test_each_step_writes_a_line_with_every_metric(trained):
    config, result = trained
    found = lines(config)
    assert [(line["phase"], line["step"]) for line in found] == [("rl", 1), ("rl", 2), ("rl", 3)]
    assert result["steps"] == 3 and result["resumed_from"] is None
    for line in found:
        assert all(math.isfinite(line[name]) for name in METRICS)
        assert line["logprob_difference/max"] < 1e-4, "the engine and the trainer do not score the same ids alike"
        assert sum(line[f"function_share/{name}"] for name in RFTT.names) == pytest.approx(1)
        assert line["accuracy"] <= line["reward"] < 1 and line["format_rate"] >= 0.5
    assert max(line["accuracy"] for line in found) > 0
    assert abs(found[0]["kl"]) < 1e-5 < abs(found[2]["kl"])


def test_the_final_model_loads_and_keeps_its_tokens(trained):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    config, result = trained
    tokenizer = AutoTokenizer.from_pretrained(result["out"])
    assert all(len(tokenizer.encode(tag, add_special_tokens=False)) == 1 for tag in RFTT.tags)
    assert AutoModelForCausalLM.from_pretrained(result["out"]).config.vocab_size >= len(tokenizer)
    assert sorted(os.listdir(config.folder / "rl")) == ["checkpoints", "final", "rollouts.jsonl"], (
        "something half-written is left"
    )
    assert sorted(os.listdir(config.folder / "rl" / "checkpoints")) == ["checkpoint-2", "checkpoint-3"]


def test_a_group_of_paths_is_kept_with_what_each_token_is_credited_with(trained, problems):
    config, _ = trained
    kept = [json.loads(line) for line in (config.folder / "rl" / "rollouts.jsonl").read_text().splitlines()]
    assert [line["step"] for line in kept] == [1, 3], "rollouts_every is 2"
    for line in kept:
        assert line["question_id"] in {p.id for p in problems} and len(line["paths"]) == 4
        for path in line["paths"]:
            assert (
                len(path["tokens"]) == len(path["advantages"]) == len(path["logprobs"])
                and path["tokens"][0] in RFTT.tags
            )
            assert 0 <= path["reward"] <= 1
    assert any(value for line in kept for path in line["paths"] for value in path["advantages"])


def test_a_finished_phase_is_left_alone(trained, chain_model, problems):
    config, result = trained
    again = train_rl(chain_model, problems, result["out"], config)
    assert again["out"] == result["out"] and len(lines(config)) == 3


def options_of(config, folder, world_size=1, on_gpu=False) -> dict:
    return grpo_options(config.rl, config.engine, folder, dtype="float32", seed=0, world_size=world_size, on_gpu=on_gpu,
                        longest_prompt=20)  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"trainer": {"temperature": 0.7}}, "rl.*temperature is 0.7"),
        ({"num_generations": 8}, "num_generations.*rl.rollouts"),
        ({"seed": 3}, "seed.*set seed"),
        ({"vllm_mode": "server"}, "vllm_mode"),
        ({"scale_rewards": "none"}, "scale_rewards.*rl.advantage.*dr_grpo"),
        ({"multi_objective_aggregation": "normalize_then_sum"}, "multi_objective_aggregation"),
        ({"use_liger_kernel": True}, "use_liger_kernel"),
        ({"cache_implementation": "static"}, "cache_implementation"),
        ({"vllm_structured_outputs_regex": "[0-9]+"}, "vllm_structured_outputs_regex"),
        ({"eval_strategy": "steps"}, "eval_strategy"),
        ({"use_bias_correction_kl": True}, "use_bias_correction_kl.*reinforce"),
        ({"per_device_train_batch_size": 3}, "per_device_train_batch_size"),
        ({"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}, "gradient_accumulation_steps"),
        ({"steps_per_generation": 1, "per_device_train_batch_size": 2}, "rl.rollouts"),
        ({"num_iterations": 2, "save_steps": 3}, "save_steps"),
        ({"num_iterations": 2, "max_steps": 3}, "max_steps"),
        ({"steps_per_generation": 4, "gradient_accumulation_steps": 2, "max_steps": 3}, "max_steps is 3.*2 steps"),
        (
            {"questions_per_step": 4, "per_device_train_batch_size": 4, "steps_per_generation": 3},
            "steps_per_generation = 3 .* 4 micro-batches",
        ),
        (
            {"questions_per_step": 4, "per_device_train_batch_size": 4, "num_iterations": 3, "steps_per_generation": 2},
            "num_iterations = 3 .* 4 micro-batches",
        ),
        ({"reward_weights": [1.0]}, "rl.format_reward"),
        ({"mask_truncated_completions": True}, "rl.truncated"),
        ({"replay": True}, "rl.replay"),
    ],
)
def test_options_that_contradict_the_search_are_refused_by_name(rl_config, tmp_path, settings, named):
    base = {"per_device_train_batch_size": None} | settings
    with pytest.raises(UsageError, match=named):
        options_of(rl_config(**base), tmp_path)


def test_samples_that_are_used_up_by_the_last_checkpoint_may_be_reused(rl_config, tmp_path):
    options = options_of(rl_config(num_iterations=2, save_steps=2, max_steps=4, scale_rewards=None), tmp_path)
    assert (options["max_steps"], options["num_iterations"]) == (4, 2)
    assert options_of(rl_config(save_steps=0.5, max_steps=3), tmp_path)["save_steps"] == 0.5, "a share of the steps"
    corrected = options_of(rl_config(use_bias_correction_kl=True, advantage="grpo"), tmp_path)
    assert corrected["use_bias_correction_kl"], "where the KL is in the loss"


def test_a_step_holds_whole_groups_on_every_rank(rl_config, tmp_path):
    config = rl_config(questions_per_step=6, rollouts=4, per_device_train_batch_size=None)
    options = options_of(config, tmp_path, 3, True)
    assert options["per_device_train_batch_size"] * options["gradient_accumulation_steps"] * 3 == 24
    with pytest.raises(UsageError, match="whole groups"):
        options_of(config, tmp_path, 4, True)


def test_micro_batches_are_large_only_where_their_rollouts_share_tokens(rl_config, tmp_path):
    config = rl_config(questions_per_step=32, per_device_train_batch_size=None)
    sizes = [
        grpo_options(config.rl, config.engine, tmp_path, dtype="float32", seed=0, world_size=1, on_gpu=on_gpu,
                     sharing=sharing, longest_prompt=20)["per_device_train_batch_size"]
        for on_gpu, sharing in ((False, True), (False, False), (True, True))
    ]  # fmt: skip
    assert sizes == [64, 8, 8]


def test_what_cannot_be_trained_on_is_refused_before_anything_is_written(rl_config, chain_model, problems, tmp_path):
    config = rl_config()
    with pytest.raises(UsageError, match="rl.questions_per_step"):
        train_rl(chain_model, problems[:1], tmp_path / "final", config)
    long = Problem("long", "What is " + "1 + " * 200 + "1?", "201", "test")
    with pytest.raises(UsageError, match="engine.max_model_len"):
        train_rl(chain_model, [*problems, long], tmp_path / "final", config)
    assert not config.folder.exists() and not (tmp_path / "final").exists()


def test_the_phase_runs_with_every_setting_that_changes_its_samples(rl_config, chain_model, problems):
    """Dynamic sampling, easy questions first, format reward, masks, tree credit and PUCT together."""
    config = rl_config(
        max_steps=2, dynamic_sampling=2, question_order="easy_first", format_reward=0.2, truncated="mask", sampler="puct",
        advantage="tree", branch_correction="importance", siblings=2, budget_tokens=200, save_strategy="no",
    )  # fmt: skip
    rates = {p.id: k / 10 for k, p in enumerate(problems)}
    train_rl(chain_model, problems, config.folder / "rl" / "final", config, solve_rates=rates)
    found = lines(config)
    assert [line["step"] for line in found] == [1, 2]
    assert all(line["search/questions"] == 2 + line["search/replaced"] for line in found)
    assert any(line["rewards/format/mean"] > 0 for line in found)


def test_easy_questions_come_first_and_unknown_ones_at_the_mean(problems):
    from rftt.rl.phase import easy_first

    rates = {"q0": 0.1, "q1": 0.9, "q2": 0.5}
    assert [p.id for p in easy_first(problems[:4], rates)] == ["q1", "q2", "q3", "q0"]
    with pytest.raises(UsageError, match="question_order"):
        easy_first(problems, {"other": 1.0})
