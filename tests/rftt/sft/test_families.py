"""What is trained is what is asked: after SFT the model begins a chain where the search begins, whatever the template."""

from __future__ import annotations

import asyncio
import math

import pytest

from rftt.config import from_dict
from rftt.config.sections import ModelConfig
from rftt.model.vocabulary import add_functional_tokens
from rftt.sft.phase import chain_dataset, train_sft
from search.engines import Sampling, TransformersEngine
from search.functional import tag_ids
from search.functions import RFTT
from search.journal import read_jsonl, write_jsonl
from search.prompt import chain_ids, question_ids
from tests.rftt.chains import chain_rows
from tests.templates import FAMILIES, family_tokenizer
from tests.tiny import build_tiny_model


@pytest.fixture(scope="module")
def chains(tmp_path_factory):
    path = tmp_path_factory.mktemp("chains") / "chains.jsonl"
    write_jsonl(path, chain_rows(16))
    return path


@pytest.mark.parametrize("name", FAMILIES)
def test_functional_tags_hold_the_probability_where_the_search_begins(name, chains, tmp_path):
    family = FAMILIES[name]
    build_tiny_model(tmp_path / "m", tokenizer=family_tokenizer(family))
    asking = ModelConfig(chat_template_kwargs=family.settings, system="Think first.")
    add_functional_tokens(tmp_path / "m", tmp_path / "tokens", asking=asking)
    sft = {"batch_size": 8, "learning_rate": 1e-2, "max_steps": 60, "save_strategy": "no", "disable_tqdm": True,
           "warmup_steps": 5}  # fmt: skip
    config = from_dict({"run": str(tmp_path), "model": {"dtype": "float32"}, "sft": sft})
    train_sft(tmp_path / "tokens", chains, tmp_path / "sft" / "final", config)

    engine = TransformersEngine(str(tmp_path / "sft" / "final"))
    openings = tuple(tag_ids(engine.tokenizer, [f.open for f in RFTT.functions]).values())
    sampling = Sampling(1, temperature=0.0, watch_ids=openings)
    for question in ("What is 3?", "What is 71?"):
        prompt = question_ids(engine.tokenizer, question)
        assert engine.tokenizer.decode(prompt).endswith(family.opens) and "Think first." in engine.tokenizer.decode(
            prompt
        )
        [first] = asyncio.run(engine.generate(prompt, sampling))
        assert sum(math.exp(p) for p in first.watched.values()) >= 0.9
    [chain] = asyncio.run(engine.generate(question_ids(engine.tokenizer, "What is 3?"), Sampling(80, temperature=0.0)))
    assert chain.stopped and chain.ids[-1] == engine.tokenizer.get_vocab()[family.end], "the turn is ended"


@pytest.mark.parametrize("name", FAMILIES)
def test_a_sample_is_the_prompt_the_chain_and_the_end_of_the_turn(name, chains):
    from transformers import AddedToken

    tokenizer = family_tokenizer(FAMILIES[name])
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in RFTT.tags])
    for record, row in zip(read_jsonl(chains), chain_dataset(chains, tokenizer), strict=True):
        question, chain = (m["content"] for m in record["messages"])
        prompt, written = question_ids(tokenizer, question), chain_ids(tokenizer, chain)
        assert row["input_ids"] == prompt + written and row["labels"] == [-100] * len(prompt) + written
