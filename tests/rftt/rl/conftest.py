"""A tiny model that writes functional chains, right ones and wrong ones, and a config to train it with."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from rftt.config import Config, from_dict
from rftt.data.problems import Problem

PROBLEMS = [Problem(f"q{i}", f"What is {i} + 3?", str(i + 3), "test") for i in range(6)]


def write_chain(rng: random.Random, problem: Problem) -> str:
    answer = problem.answer if rng.random() < 0.5 else "1"
    steps = [f"<next_step>\n{answer}\n</next_step>\n"]
    if rng.random() < 0.5:
        steps.insert(0, "<analyze>\nadd\n</analyze>\n")
    if rng.random() < 0.3:
        steps.append("<verify>\nright\n</verify>\n")
    return "".join(steps) + f"<output>\n\\boxed{{{answer}}}\n</output>\n"


@pytest.fixture(scope="session")
def problems() -> list[Problem]:
    return PROBLEMS


@pytest.fixture(scope="session")
def chain_model(tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny model with functional tokens that was tuned on chains for `PROBLEMS` for some seconds."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rftt.model.vocabulary import add_functional_tokens
    from search.prompt import question_ids

    folder = tmp_path_factory.mktemp("rl-model")
    add_functional_tokens(tiny_model(), folder / "untuned")
    tokenizer = AutoTokenizer.from_pretrained(folder / "untuned")
    model = AutoModelForCausalLM.from_pretrained(folder / "untuned").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    rng = random.Random(0)
    for _ in range(120):
        rows, labels = [], []
        for problem in PROBLEMS * 2:
            prompt = question_ids(tokenizer, problem.question)
            chain = [*tokenizer.encode(write_chain(rng, problem), add_special_tokens=False), tokenizer.eos_token_id]
            rows.append(torch.tensor(prompt + chain))
            labels.append(torch.tensor([-100] * len(prompt) + chain))
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_token_id)
        wanted = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)
        model(input_ids=ids, labels=wanted).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder / "tuned")
    tokenizer.save_pretrained(folder / "tuned")
    return folder / "tuned"


@pytest.fixture
def rl_config(tmp_path: Path) -> Callable[..., Config]:
    """Factory `rl_config(engine="transformers", **rl)` of a config for a run below `tmp_path`; None leaves a setting out."""

    def make(engine: str = "transformers", run: str = "run", **rl: object) -> Config:
        section = {
            "questions_per_step": 2,
            "rollouts": 4,
            "max_depth": 6,
            "max_step_tokens": 64,  # a quarter of it for most functions
            "min_prior": 0.02,
            "learning_rate": 1e-2,
            "max_steps": 4,
            "per_device_train_batch_size": 4,
            "disable_tqdm": True,
            **rl,
        }
        section = {name: value for name, value in section.items() if value is not None}
        values = {"run": str(tmp_path / run), "engine": {"name": engine, "max_model_len": 160}, "rl": section}
        return from_dict(values)

    return make
