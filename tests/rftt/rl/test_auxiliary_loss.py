"""L_RFT beside the loss of RL: what it adds, to which tokens, and that it costs the policy no forward pass."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from rftt.config import from_dict
from rftt.errors import UsageError
from rftt.phases import plan
from rftt.rl import auxiliary_loss as auxiliary
from rftt.rl import train_rl
from rftt.rl.sampler import prompt_of
from rftt.weighting.interface import BOILERPLATE, NO_ROLE, REASONING
from tests.rftt.rl.trainers import role_sources, trainer_of

pytestmark = pytest.mark.weighting


@pytest.fixture
def roles_file(chain_model, tmp_path) -> Path:
    """As `rftt shad` would leave it: digits are reasoning, all else is boilerplate."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(chain_model)
    ids = tokenizer.encode("<next_step>\n1234567890\n</next_step>\n<output>\n\\boxed{1}\n</output>\n")
    ids = [tokenizer.eos_token_id, *ids, tokenizer.eos_token_id]
    ld = [None, *(1.0 if tokenizer.decode([i]).strip().isdigit() else -1.0 for i in ids[1:])]
    path = tmp_path / "roles.jsonl"
    path.write_text(json.dumps({"ids": ids, "ld": ld, "roles": []}) + "\n")
    return path


def rows_of(problems, *questions: int) -> list[dict]:
    return [
        {"prompt": prompt_of(problems[q]), "answer": problems[q].answer, "question_id": problems[q].id}
        for q in questions
        for _ in range(4)
    ]


def trainer_with(config, chain_model, problems, folder):
    trainer = trainer_of(config, chain_model, problems, folder)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    trainer.state.max_steps = 4
    return trainer


def test_the_loss_grows_by_lambda_times_the_mean_over_right_paths(
    rl_config, chain_model, problems, roles_file, tmp_path
):
    config = rl_config(per_device_train_batch_size=8, auxiliary={"weight": 0.5, "roles": str(roles_file)})
    trainer = trainer_with(config, chain_model, problems, tmp_path)
    rows = rows_of(problems, 2, 3)
    batch = trainer._generate_and_score_completions(rows)
    right = [row for row, asked in enumerate(rows) if asked["rollout"].verdict == "correct"]
    assert 0 < len(right) < len(rows) and batch["right_paths"] == len(right)
    roles_BT = batch["path_roles"]
    assert (roles_BT != NO_ROLE).any(1).nonzero().flatten().tolist() == right, "tokens of wrong paths have a role"
    for row in right:
        ids = rows[row]["rollout"].completion_ids
        digits = [trainer.processing_class.decode([i]).strip().isdigit() for i in ids]
        assert roles_BT[row, : len(ids)].tolist() == [REASONING if d else BOILERPLATE for d in digits]

    with torch.no_grad():
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
        logits = trainer.model(input_ids=ids, attention_mask=mask).logits[:, :-1].log_softmax(-1)
        losses = -logits.gather(2, ids[:, 1:, None])[:, :, 0][:, batch["prompt_ids"].shape[1] - 1 :]
    expected = 0.0
    for row in right:
        means = torch.stack([losses[row][roles_BT[row] == role].mean() for role in (BOILERPLATE, REASONING)])
        expected += (torch.softmax(means / 3.0, 0) * means).sum().item() / len(right)

    calls = []
    inner = trainer._get_per_token_logps_and_entropies
    trainer._get_per_token_logps_and_entropies = lambda *a, **k: calls.append(1) or inner(*a, **k)
    whole = trainer._compute_loss(trainer.model, dict(batch))
    assert len(calls) == 1, "the auxiliary loss has a forward pass of its own"
    without = trainer._compute_loss(trainer.model, {k: v for k, v in batch.items() if k != "path_roles"})
    assert (whole - without).item() == pytest.approx(0.5 * expected, rel=1e-4)
    assert trainer._metrics["train"]["rft/loss"][-1] == pytest.approx(expected, rel=1e-4)
    trainer.model.zero_grad()
    (whole - without).backward()
    assert sum(p.grad.abs().sum() for p in trainer.model.parameters() if p.grad is not None) > 0


def test_micro_batches_make_no_difference(rl_config, chain_model, problems, roles_file):
    """Right paths are spread unevenly over micro-batches, and each counts the same all the same."""
    found = []
    for size in (8, 2):
        config = rl_config(run=f"by{size}", per_device_train_batch_size=size, max_steps=2, rollouts_every=0,
                           auxiliary={"weight": 0.5, "roles": str(roles_file), "schedule": "linear"})  # fmt: skip
        train_rl(chain_model, problems, config.folder / "rl" / "final", config)
        found.append([json.loads(line) for line in (config.folder / "metrics.jsonl").read_text().splitlines()])
    for one, other in zip(*found, strict=True):
        for name in ("rft/loss", "rft/coefficient", "rft/reasoning_share", "grad_norm", "reward"):
            assert one[name] == pytest.approx(other[name], rel=1e-4), name
    assert [line["rft/coefficient"] for line in found[0]] == [0.5, 0.25]


def test_without_a_weight_nothing_is_added(rl_config, chain_model, problems, tmp_path):
    trainer = trainer_with(rl_config(), chain_model, problems, tmp_path)
    assert trainer.auxiliary is None
    assert "path_roles" not in trainer._generate_and_score_completions(rows_of(problems, 0))


def test_the_models_of_shad_tell_roles_as_shad_itself_does(rl_config, chain_model, problems):
    from transformers import AutoTokenizer

    from rftt.weighting.loss_reader import LossReader, differences

    config = rl_config(auxiliary={"weight": 0.1, "roles": "models"})
    shutil.copytree(chain_model, config.folder / "shad" / "shuffled")
    untuned = chain_model.parent / "untuned"
    tokenizer = AutoTokenizer.from_pretrained(chain_model)
    found = auxiliary.build(config.rl.auxiliary, role_sources(config, untuned), tokenizer)
    prompts = [tokenizer.encode("What is 1 + 3?"), tokenizer.encode("What?")]
    completions = [tokenizer.encode(f"<output>\n\\boxed{{{n}}}\n</output>\n") for n in (4, 123)]
    roles = found.roles(prompts, completions)
    models = LossReader(str(chain_model), "float32"), LossReader(str(untuned), "float32")
    for prompt, completion, told in zip(prompts, completions, roles, strict=True):
        sample = {"input_ids": prompt + completion, "labels": [-100] * len(prompt) + completion}
        [ld] = differences([sample], *models, tokenizer.pad_token_id)
        assert told == [int(d > 0) for d in ld[len(prompt) :]]
    assert {role for told in roles for role in told} == {BOILERPLATE, REASONING}


def test_what_is_missing_is_said_before_training(rl_config, chain_model, problems, tmp_path):
    for roles, path in (("table", "shad/roles.jsonl"), ("models", "shad/shuffled"), (str(tmp_path / "no"), "no")):
        config = rl_config(auxiliary={"weight": 0.1, "roles": roles})
        with pytest.raises(UsageError, match=f"{path}: .*run `rftt shad CONFIG`"):
            trainer_of(config, chain_model, problems, tmp_path)
    with pytest.raises(UsageError, match=r"rl.auxiliary.weight: -1.0 is not allowed"):
        rl_config(auxiliary={"weight": -1.0})
    with pytest.raises(UsageError, match=r"rl.auxiliary.tau: 0.0 is not allowed"):
        rl_config(auxiliary={"tau": 0.0})


@pytest.mark.parametrize(("roles", "phases"), [("table", 1), ("models", 1), ("regex", 0)])
def test_a_run_labels_its_chains_where_rl_needs_it(roles, phases):
    config = from_dict({"rl": {"auxiliary": {"weight": 0.1, "roles": roles}}, "search": {"rounds": 2}})
    assert [phase for phase, _ in plan(config)].count("shad") == phases
    assert "shad" not in [phase for phase, _ in plan(from_dict({}))]
