"""RL with LoRA: the reference is the SFT model, vLLM has the merged weights, only the tags' rows move."""

from __future__ import annotations

import asyncio
import json

import pytest

from rftt.rl import train_rl
from rftt.rl.trl_hooks import free_engine
from tests.rftt.model.test_lora import RANK, check_rows, tag_rows, weights
from tests.rftt.rl.trainers import trainer_of

pytestmark = pytest.mark.lora


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def policy(request, chain_model, tmp_path_factory):
    """The tuned tiny model; untied by giving the head a copy of its own."""
    if request.param:
        return chain_model
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("untied") / "model"
    shutil.copytree(chain_model, folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"tie_word_embeddings": False}))
    return folder


@pytest.mark.slow
def test_rl_with_lora_keeps_the_sft_model_as_reference_and_resumes(policy, problems, rl_config):
    import torch

    options = {"lora": RANK, "max_steps": 3, "save_steps": 1, "learning_rate": 1e-2}
    straight, killed = (rl_config(run=name, **options) for name in ("straight", "killed"))
    result = train_rl(policy, problems, straight.folder / "rl" / "final", straight)
    half = rl_config(run="killed", **options | {"max_steps": 2})
    train_rl(policy, problems, killed.folder / "rl" / "half", half)
    resumed = train_rl(policy, problems, killed.folder / "rl" / "final", killed)
    assert resumed["resumed_from"] == 2
    after, again = weights(result["out"]), weights(resumed["out"])
    check_rows(weights(policy), after, tag_rows(policy), seldom=["model.embed_tokens.weight"])
    assert all(torch.equal(after[name], again[name]) for name in after)
    found = [json.loads(line) for line in (straight.folder / "metrics.jsonl").read_text().splitlines()]
    assert abs(found[0]["kl"]) < 1e-5 < abs(found[2]["kl"])


def test_the_reference_sees_neither_adapters_nor_moved_rows(policy, problems, rl_config, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    trainer = trainer_of(
        rl_config(lora=RANK, max_steps=2, save_strategy="no", learning_rate=1e-1), policy, problems, tmp_path
    )
    seen = []
    ours = trainer._get_per_token_logps_and_entropies

    def watch(model, ids, mask, kept, *options, **named):
        found = ours(model, ids, mask, kept, *options, **named)
        if not torch.is_grad_enabled():
            seen.append((ids.clone(), mask.clone(), kept, found[0].clone()))
        return found

    trainer._get_per_token_logps_and_entropies = watch
    trainer.train()
    assert seen, "no log-prob was asked of the reference"
    reference = AutoModelForCausalLM.from_pretrained(policy)
    ids, mask, kept, logps_BT = seen[-1]
    with torch.no_grad():
        logits = reference(ids, attention_mask=mask).logits[:, -kept - 1 : -1]
    wanted_BT = logits.log_softmax(-1).gather(2, ids[:, -kept:, None])[..., 0]
    valid = mask[:, -kept:].bool()
    assert (wanted_BT - logps_BT)[valid].abs().max() < 1e-4


@pytest.mark.parametrize("rank", [0, 4])
def test_checkpointing_of_activations_computes_the_same(rank, chain_model, problems, rl_config):
    import torch

    found = []
    for name in (False, True):
        config = rl_config(
            run=str(name), lora={"rank": rank, "alpha": 8}, max_steps=1, save_strategy="no", gradient_checkpointing=name
        )
        found.append(weights(train_rl(chain_model, problems, config.folder / "rl" / "final", config)["out"]))
    assert all(torch.allclose(found[0][key], found[1][key], atol=1e-5) for key in found[0])


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.sync
def test_vllm_has_the_merged_weights_row_by_row(policy, problems, rl_config, tmp_path):
    import torch

    from search.engines import Sampling, VLLMEngine

    trainer = trainer_of(rl_config("vllm", lora=RANK, max_steps=2, save_strategy="no"), policy, problems, tmp_path)
    try:
        trainer.train()
        tags = tag_rows(policy)
        prompts = [[*trainer.processing_class.encode("What is 1 + 3?"), tag] for tag in tags]
        engine = VLLMEngine(llm=trainer.vllm_generation.llm)
        sampling = Sampling(1, temperature=0.0, watch_ids=tuple(tags), logprobs=True)

        async def scores():
            found = await asyncio.gather(*(engine.generate(prompt, sampling) for prompt in prompts))
            return torch.tensor([[generation.watched[i] for i in tags] for [generation] in found])

        def apart():
            with torch.no_grad():
                logits = trainer.model(input_ids=torch.tensor(prompts)).logits[:, -1]
            return (asyncio.run(scores()) - logits.log_softmax(-1)[:, tags]).abs()

        assert apart().amax() > 1e-3, "the last step changed nothing, so this test shows nothing"
        frozen = {n: p.clone() for n, p in trainer.model.named_parameters() if not p.requires_grad}
        trainer.vllm_generation.sync_weights()
        assert apart().amax() < 1e-4
        assert all(torch.equal(p, frozen[n]) for n, p in trainer.model.named_parameters() if n in frozen)
    finally:
        free_engine(trainer)
