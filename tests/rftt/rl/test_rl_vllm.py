"""RL on TRL's own vLLM engine: weights are in sync row by row, and the final model starts in vLLM as it is."""

from __future__ import annotations

import asyncio
import json

import pytest

from rftt.rl import train_rl
from rftt.rl.trl_hooks import free_engine
from search.functions import RFTT
from tests.rftt.rl.trainers import trainer_of

pytestmark = [pytest.mark.vllm, pytest.mark.slow]


async def scores(engine, prompts, watch_ids) -> list[list[float]]:
    from search.engines import Sampling

    sampling = Sampling(1, temperature=0.0, watch_ids=tuple(watch_ids), logprobs=True)
    found = await asyncio.gather(*(engine.generate(prompt, sampling) for prompt in prompts))
    return [[generation.watched[i] for i in watch_ids] for [generation] in found]


@pytest.mark.sync
def test_after_a_step_every_row_of_the_functional_tokens_is_in_sync(chain_model, problems, rl_config, tmp_path):
    import torch

    from search.engines import VLLMEngine

    trainer = trainer_of(rl_config("vllm", max_steps=2, save_strategy="no"), chain_model, problems, tmp_path)
    forgotten = []
    llm = trainer.vllm_generation.llm
    forget = llm.reset_prefix_cache
    llm.reset_prefix_cache = lambda: forgotten.append(trainer.state.global_step) or forget()
    try:
        trainer.train()
        assert set(forgotten) == {0, 1}, "the engine's prefix cache outlives a weight update"
        tokenizer = trainer.processing_class
        tags = [tokenizer.convert_tokens_to_ids(tag) for tag in RFTT.tags]
        prompts = [[*tokenizer.encode("What is 1 + 3?"), tag] for tag in tags]  # each row as an input …
        engine = VLLMEngine(llm=trainer.vllm_generation.llm)

        def apart() -> torch.Tensor:
            with torch.no_grad():
                logits = trainer.model(input_ids=torch.tensor(prompts)).logits[:, -1]
            wanted = logits.log_softmax(-1)[:, tags]  # … and as an output
            return (torch.tensor(asyncio.run(scores(engine, prompts, tags))) - wanted).abs()

        assert apart().amax() > 1e-3, "the last step changed nothing, so this test shows nothing"
        trainer.vllm_generation.sync_weights()
        assert apart().amax(1).tolist() == pytest.approx([0.0] * len(tags), abs=1e-4), "input rows are out of sync"
        assert apart().amax(0).tolist() == pytest.approx([0.0] * len(tags), abs=1e-4), "output rows are out of sync"
    finally:
        free_engine(trainer)


def test_the_phase_runs_on_vllm_and_its_model_starts_in_vllm(chain_model, problems, rl_config):
    from search.engines import Sampling, VLLMEngine

    config = rl_config("vllm", max_steps=2)
    result = train_rl(chain_model, problems, config.folder / "rl" / "final", config)
    found = [json.loads(line) for line in (config.folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in found] == [1, 2]
    assert all(line["logprob_difference/max"] < 1e-4 for line in found), "TRL's engine has not the trainer's weights"
    assert found[1]["kl"] != 0

    engine = VLLMEngine(result["out"], dtype="float32", enforce_eager=True, max_model_len=160)
    try:
        [[generation]] = [asyncio.run(engine.generate(engine.tokenizer.encode("What is 1 + 3?"), Sampling(4)))]
        assert generation.ids
    finally:
        engine.close()
