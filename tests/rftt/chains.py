"""A tiny model with functional tokens, and chains for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rftt.model.vocabulary import add_functional_tokens
from search.chain import Step, render
from search.journal import write_jsonl


def chain_rows(count: int) -> list[dict[str, Any]]:
    """Chains of one to four steps, so that samples differ in length."""
    rows = []
    for i in range(count):
        steps = [Step("next_step", f"{i} + {k} = {i + k}") for k in range(1 + i % 3)]
        steps += [Step("verify", "right")] * (i % 2) + [Step("output", f"\\boxed{{{i}}}")]
        turns = [{"role": "user", "content": f"What is {i}?"}, {"role": "assistant", "content": render(steps)}]
        rows.append({"question_id": f"q{i}", "messages": turns})
    return rows


@pytest.fixture(scope="session")
def model(tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weighting") / "model"
    add_functional_tokens(tiny_model("qwen2"), folder)
    return folder


@pytest.fixture(scope="session")
def chains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chains") / "chains.jsonl"
    write_jsonl(path, chain_rows(16))
    return path
