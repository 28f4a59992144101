"""Contracts with TRL's GRPOTrainer: each test holds one hook that the RL phase stands on, and names it when it breaks."""

from __future__ import annotations

import inspect
import logging
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch

from rftt.rl import trl_hooks
from rftt.rl.estimators import load_estimator
from rftt.rl.replay import SolvedRollouts
from rftt.rl.rollout import Rollout
from rftt.rl.sampler import Turn, prompt_of
from search.engines import TransformersEngine
from tests.rftt.rl.trainers import trainer_of


@pytest.fixture(scope="module")
def trainer(chain_model, problems, tmp_path_factory):
    from rftt.config import from_dict

    rl = {
        "questions_per_step": 2,
        "rollouts": 4,
        "max_depth": 6,
        "max_step_tokens": 64,  # a quarter of it for most functions
        "min_prior": 0.02,
        "beta": 0.05,
    }
    folder = tmp_path_factory.mktemp("hooks")
    config = from_dict({"run": str(folder), "engine": {"name": "transformers", "max_model_len": 160}, "rl": rl})
    trainer = trainer_of(config, chain_model, problems, folder)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1  # transformers sets it when an epoch begins
    return trainer


def rows_of(problems, *questions: int) -> list[dict]:
    return [
        {"prompt": prompt_of(problems[q]), "answer": problems[q].answer, "question_id": problems[q].id}
        for q in questions
        for _ in range(4)
    ]


def test_a_sampler_that_replaces_questions_is_told_what_all_processes_ask(problems, monkeypatch):
    theirs = prompt_of(problems[3])
    monkeypatch.setattr(trl_hooks, "gather_object", lambda own: [*own, theirs])
    for more, expected in ((2, [prompt_of(problems[0]), prompt_of(problems[1]), theirs]), (0, ())):
        sampler = Mock(return_value=[], settings=SimpleNamespace(dynamic_sampling=more))
        process = SimpleNamespace(turn=lambda: Turn(0, 4, processes=2), engine=nullcontext, sampler=sampler)
        trl_hooks._sample([row["prompt"] for row in rows_of(problems, 0, 1)], process)
        assert sampler.call_args.args[2].asked == expected


@pytest.fixture
def batch(trainer, problems):
    return trainer._generate_and_score_completions(rows_of(problems, 0, 1))


def test_rollout_func_gets_repeated_prompts_as_messages_and_its_fields_reach_the_rewards(
    trainer, problems, monkeypatch
):
    seen, rewarded = [], []
    inner, reward = trainer.rollout_func, trainer.reward_funcs[0]

    def rollout(prompts, given):
        seen.append((prompts, given))
        return inner(prompts, given)

    def spy(**fields):
        rewarded.append(fields)
        return reward(**fields)

    monkeypatch.setattr(trainer, "rollout_func", rollout)
    monkeypatch.setattr(trainer, "reward_funcs", [spy])
    inputs = rows_of(problems, 1, 0)
    trainer._generate_and_score_completions(inputs)
    [(prompts, given)] = seen
    assert given is trainer and prompts == [row["prompt"] for row in inputs], "TRL: rollout_func(prompts, trainer)"
    [fields] = rewarded
    assert all(isinstance(found, Rollout) for found in fields["rollout"]), "TRL: rollouts no longer reach rewards"
    assert all(a is row["rollout"] for a, row in zip(fields["rollout"], inputs)), "TRL copies the rollouts"
    assert fields["answer"] == [row["answer"] for row in inputs], "TRL: columns no longer reach rewards"


def test_sampled_ids_and_logprobs_reach_the_batch_unchanged(trainer, problems, monkeypatch):
    kept = []
    inner = trainer.rollout_func
    monkeypatch.setattr(trainer, "rollout_func", lambda p, t: kept.append(inner(p, t)) or kept[-1])
    found = trainer._generate_and_score_completions(rows_of(problems, 2, 3))
    [rows] = kept
    for i, (ids, logprobs) in enumerate(zip(rows["completion_ids"], rows["logprobs"])):
        assert found["completion_ids"][i, : len(ids)].tolist() == ids, "TRL re-encodes completions"
        assert found["completion_mask"][i].sum() == len(ids)
        torch.testing.assert_close(found["sampling_per_token_logps"][i, : len(ids)], torch.tensor(logprobs))


def test_decoding_keeps_functional_tags(trainer, problems, monkeypatch):
    texts = []
    reward = trainer.reward_funcs[0]

    def spy(completions, **fields):
        texts.extend(c[0]["content"] for c in completions)
        return reward(completions=completions, **fields)

    monkeypatch.setattr(trainer, "reward_funcs", [spy])
    trainer._generate_and_score_completions(rows_of(problems, 0, 1))
    assert all("<" in text and ">" in text for text in texts), "TRL's decoding drops the functional tokens"
    assert not any(trainer.processing_class.eos_token in text for text in texts)


LOSSES = [("token", name) for name in ("dapo", "grpo", "dr_grpo", "bnpo", "cispo", "sapo", "vespo")]
LOSSES += [("sequence", name) for name in ("grpo", "luspo", "sapo")]


@pytest.mark.parametrize(("level", "loss_type"), LOSSES)
def test_the_loss_takes_advantages_per_token(trainer, batch, monkeypatch, level, loss_type):
    monkeypatch.setattr(trainer, "loss_type", loss_type)
    monkeypatch.setattr(trainer, "importance_sampling_level", level)
    by_row = torch.linspace(-1, 1, len(batch["advantages"]))
    one = trainer._compute_loss(trainer.model, {**batch, "advantages": by_row})
    spread = by_row[:, None].expand_as(batch["completion_ids"])
    torch.testing.assert_close(trainer._compute_loss(trainer.model, {**batch, "advantages": spread}), one)
    first_only = torch.zeros_like(spread).index_fill(1, torch.tensor([0]), 1.0)
    some = trainer._compute_loss(trainer.model, {**batch, "advantages": first_only})
    assert some.item() != pytest.approx(one.item()), "TRL's loss no longer reads advantages of single tokens"


@pytest.mark.parametrize("mode", ["token_truncate", "token_mask", "sequence_truncate", "sequence_mask"])
def test_vllm_correction_scales_the_advantages_of_tokens(trainer, problems, monkeypatch, mode):
    """What the engine sampled with other log-probs than the trainer's counts by their ratio, whatever the advantages."""
    inner = trainer.rollout_func

    def other_logprobs(prompts, given):
        rows = inner(prompts, given)
        return {**rows, "logprobs": [[p - 0.01 for p in row] for row in rows["logprobs"]]}

    monkeypatch.setattr(trainer, "rollout_func", other_logprobs)
    plain = trainer._generate_and_score_completions(rows_of(problems, 0, 1))
    assert "importance_sampling_ratio" not in plain
    # The trainer's own model as the engine, although the trainer believes that it has vLLM.
    own = TransformersEngine(trainer.model, tokenizer=trainer.processing_class, max_model_len=160)
    trainer.sampler._calls = (-1, 0)
    monkeypatch.setattr(trainer, "engine", lambda: nullcontext(own))
    monkeypatch.setattr(trainer, "use_vllm", True)
    monkeypatch.setattr(trainer, "vllm_importance_sampling_correction", True)
    monkeypatch.setattr(trainer, "vllm_importance_sampling_mode", mode)
    monkeypatch.setattr(trainer, "vllm_generation", SimpleNamespace(sync_weights=lambda: None), raising=False)
    monkeypatch.setattr(trainer, "_last_loaded_step", 0, raising=False)
    found = trainer._generate_and_score_completions(rows_of(problems, 0, 1))
    ratio_BT = found["importance_sampling_ratio"]
    lengths_B = found["completion_mask"].sum(1)
    expected_B = (
        torch.exp(0.01 * lengths_B) if mode.startswith("sequence") else torch.full_like(lengths_B * 1.0, 1.01005)
    )
    torch.testing.assert_close(ratio_BT[:, 0], expected_B.clamp(max=3.0), atol=1e-3, rtol=1e-3)
    loss = trainer._compute_loss(trainer.model, found)
    by_hand = trainer._compute_loss(
        trainer.model,
        {**found, "advantages": found["advantages"] * ratio_BT, "importance_sampling_ratio": ratio_BT * 0 + 1},
    )
    torch.testing.assert_close(loss, by_hand)


def with_settings(trainer, monkeypatch, **changed):
    settings = replace(trainer.settings, **changed)
    monkeypatch.setattr(trainer, "settings", settings)
    monkeypatch.setattr(trainer.sampler, "settings", settings)
    monkeypatch.setattr(trainer, "estimator", load_estimator(settings.advantage))


def test_masked_tokens_are_out_of_the_loss(trainer, problems, monkeypatch):
    with_settings(trainer, monkeypatch, branch_correction="mask")
    inputs = rows_of(problems, 0, 1)
    found = trainer._generate_and_score_completions(inputs)
    chosen_BT = torch.zeros_like(found["completion_mask"], dtype=torch.bool)
    for row, path in enumerate(inputs):
        if path["rollout"].origin == "tree":
            chosen_BT[row, torch.tensor(path["rollout"].starts)] = True
    assert chosen_BT.any() and (found["tool_mask"][chosen_BT] == 0).all(), "TRL: env_mask no longer reaches the batch"
    assert (found["tool_mask"][(found["completion_mask"] == 1) & ~chosen_BT] == 1).all()
    assert (found["advantages"][chosen_BT] == 0).all()
    loss = trainer._compute_loss(trainer.model, found)
    moved = torch.where(chosen_BT, 9.0, found["advantages"])
    torch.testing.assert_close(trainer._compute_loss(trainer.model, {**found, "advantages": moved}), loss)


def test_branch_weights_multiply_the_advantages_of_their_paths(trainer, problems, monkeypatch):
    with_settings(trainer, monkeypatch, branch_correction="importance", advantage="dr_grpo")
    estimated, batches = [], []

    def spy(batch):
        batches.append(batch)
        estimated.append(load_estimator("dr_grpo").compute(batch))
        return estimated[-1].clone()

    monkeypatch.setattr(trainer, "estimator", replace(trainer.estimator, compute=spy))
    inputs = rows_of(problems, *range(6))
    found = trainer._generate_and_score_completions(inputs)["advantages"]
    weights_B = torch.tensor([row["rollout"].weight for row in inputs])
    assert (weights_B != 1).any() and estimated[0].abs().sum() > 0
    torch.testing.assert_close(batches[0].weight_B, weights_B)
    torch.testing.assert_close(found, estimated[0] * weights_B[:, None])


def test_steps_that_paths_share_have_one_credit_with_the_tree_estimator(trainer, problems, monkeypatch):
    with_settings(trainer, monkeypatch, advantage="tree", sampler="puct")
    inputs = rows_of(problems, 4, 5)
    found = trainer._generate_and_score_completions(inputs)["advantages"]
    credits: dict[tuple, set] = {}
    for row, path in enumerate(asked["rollout"] for asked in inputs):
        for node, start in zip(path.nodes, path.starts):
            credits.setdefault((path.question_id, node), set()).add(round(found[row, start].item(), 5))
    assert all(len(values) == 1 for values in credits.values())
    firsts = [asked["rollout"].nodes[0] for asked in inputs if asked["rollout"].nodes]
    assert len(set(firsts)) < len(inputs), "no two paths share a step here"


def test_the_rollouts_question_takes_the_place_of_the_data_sets(trainer, problems, monkeypatch):
    inner, answers = trainer.rollout_func, []
    reward = trainer.reward_funcs[0]

    def another(prompts, given):
        rows = inner(prompts, given)
        return {**rows, "answer": ["77"] * len(prompts)}

    def spy(**fields):
        answers.extend(fields["answer"])
        return reward(**fields)

    monkeypatch.setattr(trainer, "rollout_func", another)
    monkeypatch.setattr(trainer, "reward_funcs", [spy])
    trainer._generate_and_score_completions(rows_of(problems, 0, 1))
    assert answers == ["77"] * 8, "TRL: a column of the data set wins over the rollout's field"


def test_a_large_difference_between_engine_and_trainer_is_told_once(trainer, monkeypatch, caplog):
    with_settings(trainer, monkeypatch, max_logprob_difference=0.1)
    monkeypatch.setattr(trainer, "_warned", False)
    with caplog.at_level(logging.WARNING):
        for means in ([], [0.09], [0.2], [0.3]):
            trainer._warn_of_difference(means)
    [record] = [r for r in caplog.records if "max_logprob_difference" in r.message]
    assert "0.200" in record.message


def test_a_policy_that_writes_hardly_any_chains_is_told_of_the_first_step_alone(trainer, monkeypatch, caplog):
    with caplog.at_level(logging.WARNING):
        for shares in ((0.5, 0.01), (0.02, 0.01)):
            monkeypatch.setattr(trainer, "_measured_before", False)
            for share in shares:
                trainer._warn_of_format(share)
    [record] = [r for r in caplog.records if "whole chains" in r.message]
    assert "2.0 %" in record.message and "sft.lora.token_rate" in record.message


def test_log_probs_are_those_of_a_plain_forward_pass(trainer, batch):
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    kept = batch["completion_ids"].shape[1]
    with torch.no_grad():
        logits = trainer.model(input_ids=ids, attention_mask=mask).logits[:, -kept - 1 : -1]
        plain = logits.log_softmax(-1).gather(2, batch["completion_ids"][..., None])[..., 0] * batch["completion_mask"]
        ours, _, _ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, kept, batch_size=3)
    torch.testing.assert_close(ours * batch["completion_mask"], plain, atol=1e-5, rtol=1e-5)
    graded, entropies, _ = trainer._get_per_token_logps_and_entropies(
        trainer.model, ids, mask, kept, compute_entropy=True
    )
    assert graded.requires_grad, "TRL: _get_per_token_logps_and_entropies gives no gradient"
    assert entropies.shape == graded.shape
    torch.testing.assert_close(graded.detach() * batch["completion_mask"], plain, atol=1e-5, rtol=1e-5)


def test_the_kl_is_counted_once(trainer, batch, monkeypatch):
    assert "ref_per_token_logps" in batch, "TRL: no reference log-probs with beta > 0"
    moved = {**batch, "ref_per_token_logps": batch["ref_per_token_logps"] - 1.0}
    losses = [trainer._compute_loss(trainer.model, b).item() for b in (batch, moved)]
    assert losses[0] == losses[1], "TRL's loss has a KL although it is in the reward"
    monkeypatch.setattr(trainer, "estimator", load_estimator("grpo"))
    losses = [trainer._compute_loss(trainer.model, b).item() for b in (batch, moved)]
    assert losses[1] > losses[0], "TRL's loss has no KL although the estimator leaves it there"


def test_grpo_advantages_are_those_of_trl(trainer, problems, monkeypatch):
    from trl import GRPOTrainer

    theirs = []
    original = GRPOTrainer._generate_and_score_completions

    def spy(self, inputs):
        output = original(self, inputs)
        theirs.append(output["advantages"])
        return output

    monkeypatch.setattr(GRPOTrainer, "_generate_and_score_completions", spy)
    monkeypatch.setattr(trainer, "estimator", load_estimator("grpo"))
    monkeypatch.setattr(trainer, "reward_funcs", [lambda completion_ids, **_: [len(c) % 3 for c in completion_ids]])
    found = trainer._generate_and_score_completions(rows_of(problems, 4, 5))
    expected = theirs[0][:, None] * found["completion_mask"]
    assert expected.abs().sum() > 0
    torch.testing.assert_close(found["advantages"], expected)


def test_rows_put_together_give_the_same_gradient(trainer, batch):
    from trl.trainer.utils import split_tensor_dict

    from rftt.rl.batches import of_equal_work, of_one_length, of_one_tree, regroup

    trainer.current_gradient_accumulation_steps = 2
    trainer.args.steps_per_generation = 2
    try:
        gradients = []
        parts = split_tensor_dict({**batch, "advantages": torch.randn(batch["completion_ids"].shape)}, 2)
        for arrange in (None, of_one_length, of_one_tree, of_equal_work):
            micro_batches = parts if arrange is None else regroup(parts, 2, arrange)
            trainer.model.zero_grad()
            sum(trainer._compute_loss(trainer.model, part) for part in micro_batches).backward()
            gradients.append(torch.cat([p.grad.flatten() for p in trainer.model.parameters()]))
        for regrouped in gradients[1:]:
            torch.testing.assert_close(regrouped, gradients[0], atol=1e-6, rtol=1e-4)
        assert gradients[0].norm() > 0
    finally:
        trainer.current_gradient_accumulation_steps = trainer.args.steps_per_generation = 1
        trainer.model.zero_grad()


@pytest.mark.parametrize(
    ("name", "value"), [("top_entropy_quantile", 0.2), ("_entropy_bonus_enabled", True), ("loss_type", "bnpo")]
)
def test_rows_stay_where_trl_drew_them_if_the_loss_depends_on_it(trainer, problems, monkeypatch, name, value):
    assert not trainer.draws_micro_batches
    assert hasattr(trainer, name), f"TRL: {name} has another name"
    monkeypatch.setattr(trainer, name, value)
    monkeypatch.setattr(trainer, "_buffered_inputs", None)
    monkeypatch.setattr(trainer.args, "steps_per_generation", 2)
    monkeypatch.setattr(
        "rftt.rl.batches.regroup", lambda *_: pytest.fail("rows were regrouped, and the loss depends on their groups")
    )
    trainer._prepare_inputs(rows_of(problems, 0, 1))


def test_generation_does_not_leave_the_model_in_evaluation_mode(trainer, batch):
    assert trainer.model.training


def test_published_generation_settings_do_not_bend_the_samples(trainer, problems, monkeypatch):
    inner = trainer.rollout_func
    sampled = []
    for penalty in (None, 2.0):
        monkeypatch.setattr(trainer.model.generation_config, "repetition_penalty", penalty)
        trainer.sampler._calls = (-1, 0)
        sampled.append(inner([row["prompt"] for row in rows_of(problems, 0, 1)], trainer)["completion_ids"])
    assert sampled[0] == sampled[1], "a repetition penalty of generation_config.json reaches the rollouts"
    assert trainer.model.generation_config.repetition_penalty == 2.0


def test_trl_builds_its_engine_from_a_name_that_can_be_given_options():
    import trl.generation.vllm_generation as home

    assert "self.llm = LLM(" in inspect.getsource(home.VLLMGeneration._init_vllm), (
        "TRL builds its vLLM engine elsewhere: rftt.rl.trl_hooks.engine_options no longer reaches it"
    )


def test_the_buffer_of_micro_batches_has_its_name(trainer):
    from trl import GRPOTrainer

    source = inspect.getsource(GRPOTrainer._prepare_inputs)
    assert "self._buffered_inputs" in source and hasattr(trainer, "_buffered_inputs"), "TRL renamed _buffered_inputs"


def test_the_rollouts_state_goes_into_every_checkpoint(trainer, problems, monkeypatch, tmp_path):
    from transformers import Trainer

    assert "self._save_rng_state(output_dir)" in inspect.getsource(Trainer._save_checkpoint), (
        "transformers saves its random state elsewhere: what a rollout remembers is no longer part of a checkpoint"
    )
    with_settings(trainer, monkeypatch, replay=True)
    sampler = trainer.sampler
    monkeypatch.setattr(sampler, "solved", SolvedRollouts())
    trainer._generate_and_score_completions(rows_of(problems, 0, 1))
    assert len(sampler.solved)
    trainer._save_rng_state(str(tmp_path))
    known = sampler.solved.to_json()
    monkeypatch.setattr(sampler, "solved", SolvedRollouts())
    sampler.load(tmp_path)
    assert sampler.solved.to_json() == known
