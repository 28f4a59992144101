"""Two processes under ZeRO-2 and ZeRO-3, on the CPU over gloo: losses, checkpoints and models of a single process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rftt.config import from_dict
from rftt.rl import train_rl
from rftt.sft.phase import train_sft
from search.chain import Step, render
from search.journal import write_jsonl
from tests.processes import run_in_two_processes

pytestmark = [pytest.mark.deepspeed, pytest.mark.slow]
pytest.importorskip("deepspeed", reason="DeepSpeed is not installed: pip install 'rftt[deepspeed]'")
ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import json, sys
from pathlib import Path
from rftt.runtime import distributed
from rftt.config import from_dict
from rftt.data.problems import Problem
from rftt.rl import train_rl
from rftt.sft.phase import train_sft

given = json.loads(sys.argv[1])
distributed.only_first_speaks()
for phase, name, values in given["trainings"]:
    config = from_dict(values)
    if phase == "sft":
        train_sft(given["model"], Path(given["chains"]), config.folder / "sft" / name, config)
    else:
        problems = [Problem(**p) for p in given["problems"]]
        result = train_rl(given["model"], problems, config.folder / "rl" / name, config)
        print("from", result["resumed_from"], flush=True)
distributed.leave()
"""


@pytest.fixture(scope="module")
def chains(tmp_path_factory):
    path = tmp_path_factory.mktemp("chains") / "chains.jsonl"
    rows = []
    for i in range(16):
        answer = render([Step("next_step", f"{i} + 1 = {i + 1}"), Step("output", f"\\boxed{{{i + 1}}}")])
        turns = [{"role": "user", "content": f"What is {i} + 1?"}, {"role": "assistant", "content": answer}]
        rows.append({"question_id": f"q{i}", "messages": turns})
    write_jsonl(path, rows)
    return path


def settings(folder, stage=None, *, sft_steps=3, rl_steps=2, rank=0):
    shared = {"learning_rate": 1e-3, "disable_tqdm": True, "per_device_train_batch_size": 4, "save_strategy": "steps"}
    if stage is not None:
        shared["deepspeed"] = str(ROOT / "configs" / "deepspeed" / f"zero{stage}.json")
    sft = {"lr_scheduler_type": "constant", "logging_steps": 1, "save_steps": 2, "max_steps": sft_steps}
    return {
        "run": str(folder),
        "model": {"dtype": "float32"},
        "engine": {"name": "transformers", "max_model_len": 160},
        "sft": {"batch_size": 8, "lora": {"rank": rank, "token_rate": 2.0}, "trainer": shared | sft},
        "rl": {"questions_per_step": 2, "rollouts": 4, "max_depth": 6, "max_step_tokens": 64, "min_prior": 0.02,
               "lora": {"rank": rank}, "auxiliary": {"weight": 0.1, "roles": "regex"},
               "trainer": shared | {"save_steps": 1, "max_steps": rl_steps}},
    }  # fmt: skip


def metrics(folder, phase):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["phase"] == phase and "loss" in line]


def two_processes(trainings, model, chains, problems):
    given = {"model": str(model), "chains": str(chains), "problems": [p.to_json() for p in problems],
             "trainings": trainings}  # fmt: skip
    return run_in_two_processes(SCRIPT, json.dumps(given))


@pytest.fixture(scope="module")
def alone(chain_model, chains, problems, tmp_path_factory):
    """The same trainings in this process."""
    folder = tmp_path_factory.mktemp("alone")
    config = from_dict(settings(folder))
    train_sft(chain_model, chains, folder / "sft" / "final", config)
    train_rl(chain_model, problems, folder / "rl" / "final", config)
    return folder


@pytest.mark.parametrize("stage", [2, 3])
def test_zero_trains_what_a_single_process_trains(stage, alone, chain_model, chains, problems, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    whole = settings(tmp_path, stage)
    half = settings(tmp_path, stage, sft_steps=2, rl_steps=1)
    adapted = settings(tmp_path / "lora", stage, sft_steps=1, rl_steps=1, rank=4)
    out = two_processes(
        [("sft", "half", half), ("sft", "final", whole), ("rl", "half", half), ("rl", "final", whole),
         ("rl", "again", whole), ("sft", "final", adapted), ("rl", "final", adapted)],
        chain_model, chains, problems,
    )  # fmt: skip
    assert [line for line in out.splitlines() if line.startswith("from")] == [
        "from None",
        "from 1",
        "from 2",
        "from None",
    ]
    for phase, steps in (("sft", 3), ("rl", 2)):
        ours, theirs = metrics(tmp_path, phase), metrics(alone, phase)
        assert [line["step"] for line in ours] == list(range(1, steps + 1)), "every line is written once"
        for mine, other in zip(ours, theirs, strict=True):
            for name in ("loss", "grad_norm") + (("reward", "length", "kl", "rft/loss") if phase == "rl" else ()):
                # Advantages of a batch add up to nothing, and so does the loss of RL before any clipping.
                least = 3e-5 if (phase, name) == ("rl", "loss") else 1e-5
                assert mine[name] == pytest.approx(other[name], rel=1e-3, abs=least), (phase, mine["step"], name)
    final, again = (AutoModelForCausalLM.from_pretrained(tmp_path / "rl" / n).state_dict() for n in ("final", "again"))
    assert all(torch.equal(final[k], again[k]) for k in final), "the last checkpoint is not the final model"
    for name in ("sft/final", "rl/final"):
        mine, other = (AutoModelForCausalLM.from_pretrained(f / name).state_dict() for f in (tmp_path, alone))
        assert all((mine[k] - other[k]).abs().max() < 1e-4 for k in other), name
        start = AutoModelForCausalLM.from_pretrained(chain_model).state_dict()
        tuned = AutoModelForCausalLM.from_pretrained(tmp_path / "lora" / name).state_dict()
        rows = slice(0, 400)  # the tags come after them
        assert torch.equal(tuned["model.embed_tokens.weight"][rows], start["model.embed_tokens.weight"][rows])
        assert not torch.equal(tuned["model.layers.0.mlp.up_proj.weight"], start["model.layers.0.mlp.up_proj.weight"])
