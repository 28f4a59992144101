"""Shared beginnings give the log-probs and gradients of rows that are computed alone."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial

import pytest
import torch

from rftt.model.prefix_sharing import attention
from rftt.model.prefix_sharing.attention import NAME, CannotShare, Plan
from rftt.model.prefix_sharing.scoring import score
from tests.rftt.model.prefix_sharing.trees import CONFIGS, LAYERS, build, forest, padded, row_by_row

pytestmark = pytest.mark.gradient


def shared(model, ids, mask, kept):
    return score(model, ids, mask, kept, layers=LAYERS, context=nullcontext())


def gradients(model, loss: torch.Tensor) -> torch.Tensor:
    model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def compare(plain, sharing) -> None:
    """Three times as far apart as padded rows are from rows computed alone, at most."""
    prompts, completions = forest()
    ids, mask, kept = padded(prompts, completions)
    real = mask[:, -kept:].bool()
    weights = torch.randn(real.shape, generator=torch.Generator().manual_seed(0)) * real / real.sum()
    alone, entropy = row_by_row(plain, prompts, completions)
    alone_gradients = gradients(plain, (alone * weights + 0.1 * entropy * weights).sum())
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :-kept] = -100
    output = plain(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
    batch = output.log_probs[:, -kept:] * real
    noise = (batch - alone).detach().abs().max().clamp(min=5e-6)
    batch_gradients = gradients(plain, (batch * weights + 0.1 * output.entropy[:, -kept:] * weights).sum())
    gradient_noise = (batch_gradients - alone_gradients).abs().max().clamp(min=5e-7)

    found = shared(sharing, ids, mask, kept)
    assert found.entropy_BT is not None
    assert found.padded == ids.numel() and found.unique < found.padded / 2
    assert (found.logps_BT - alone).detach().abs().max() <= 3 * noise
    assert (found.entropy_BT - entropy).detach().abs().max() <= 3 * noise
    ours = gradients(sharing, (found.logps_BT * weights + 0.1 * found.entropy_BT * weights).sum())
    assert alone_gradients.abs().max() > 1e-3
    assert (ours - alone_gradients).abs().max() <= 3 * gradient_noise


@pytest.mark.parametrize("name", list(CONFIGS))
def test_log_probs_entropies_and_gradients_are_those_of_single_rows(name):
    compare(build(name, "sdpa"), build(name, NAME))


def test_checkpointing_of_activations_changes_nothing():
    model = build("qwen3", NAME)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    compare(build("qwen3", "sdpa"), model)


@pytest.mark.parametrize("pairs", [1, 10**9])
def test_rows_may_be_computed_one_by_one_or_all_at_once(monkeypatch, pairs):
    monkeypatch.setattr(attention, "CALL", pairs)
    compare(build("window", "sdpa"), build("window", NAME))


def test_adapters_and_their_reference_see_the_packed_row():
    from peft import LoraConfig, get_peft_model

    prompts, completions = forest()
    ids, mask, kept = padded(prompts, completions)
    adapted = get_peft_model(build("llama", NAME), LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    torch.manual_seed(2)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    with torch.no_grad():
        on = shared(adapted, ids, mask, kept).logps_BT
        with adapted.disable_adapter():
            off = shared(adapted, ids, mask, kept).logps_BT
        reference, _ = row_by_row(build("llama", "sdpa"), prompts, completions)
        wanted, _ = row_by_row(adapted, prompts, completions)
    torch.testing.assert_close(off, reference, atol=3e-5, rtol=0)
    torch.testing.assert_close(on, wanted, atol=3e-5, rtol=0)
    assert (on - off).abs().max() > 1e-2


def test_under_autocast_the_attention_computes_in_its_type():
    """Queries and keys come in float32 from rotary positions: kernels for half precision would be passed by."""
    prompts, completions = forest()
    ids, mask, kept = padded(prompts, completions)
    real = mask[:, -kept:].bool()
    seen, autocast = set(), partial(torch.autocast, "cpu", torch.bfloat16)
    kernel = attention._by_calls

    def watched(query, key, value, *rest):
        seen.update(x.dtype for x in (query, key, value))
        return kernel(query, key, value, *rest)

    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "_by_calls", watched)
        found = score(build("qwen3", NAME), ids, mask, kept, layers=LAYERS, context=autocast()).logps_BT
        exact, _ = row_by_row(build("qwen3", "sdpa"), prompts, completions)
        with autocast():
            plain, _ = row_by_row(build("qwen3", "sdpa"), prompts, completions)
    assert seen == {torch.bfloat16}
    apart, usual = ((x - exact)[real].abs().mean() for x in (found, plain))
    assert 0 < apart < 1.5 * usual


def test_without_a_plan_the_attention_is_that_of_transformers():
    prompts, completions = forest()
    ids, mask, _ = padded(prompts, completions)
    with torch.no_grad():
        found = [build("window", name)(input_ids=ids, attention_mask=mask).logits for name in ("sdpa", NAME)]
    assert torch.equal(*found)


def test_a_model_that_does_not_hand_on_the_plan_is_told():
    ids, mask, kept = padded(*forest())
    with pytest.raises(CannotShare, match=f"0 of its {LAYERS} layers"):
        shared(build("qwen2", "eager"), ids, mask, kept)


@pytest.mark.parametrize(
    ("options", "named"),
    [({"softcap": 30.0}, "softcap"), ({"s_aux": torch.zeros(4)}, "s_aux"), ({"dropout": 0.1}, "dropout")],
)
def test_what_a_packed_row_cannot_have_is_refused(options, named):
    from rftt.model.prefix_sharing.pack import pack

    packed = pack([[1, 2, 3], [1, 2, 4]], [1, 1])
    states = torch.randn(1, 4, packed.tokens, 8)
    layer = torch.nn.Module().train()
    plan = Plan(packed.paths, torch.device("cpu"))
    with pytest.raises(CannotShare, match=named):
        attention.attention(layer, states, states, states, None, shared_prefixes=plan, **options)


def test_the_variable_length_kernel_gets_what_the_calls_compute(monkeypatch):
    """The kernel itself needs a GPU: here it is played by a loop over its rows, with its own arguments."""
    from torch.nn.attention import varlen

    from rftt.model.prefix_sharing.pack import pack

    def played(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale, window_size, enable_gqa=False):
        found = []
        for (a, b), (c, d) in zip(_pairs(cu_seq_q), _pairs(cu_seq_k), strict=True):
            assert b - a <= max_q and d - c <= max_k
            behind = torch.arange(d - c - (b - a), d - c)[:, None] - torch.arange(d - c)[None]
            seen = (behind >= 0) & ((window_size[0] < 0) | (behind <= window_size[0]))
            rows = (x.transpose(0, 1) for x in (query[a:b], key[c:d], value[c:d]))
            out = torch.nn.functional.scaled_dot_product_attention(
                *rows, attn_mask=seen, scale=scale, enable_gqa=enable_gqa
            )
            found.append(out.transpose(0, 1))
        return torch.cat(found)

    monkeypatch.setattr(varlen, "varlen_attn", played)
    prompts, completions = forest()
    packed = pack([p + c for p, c in zip(prompts, completions, strict=True)], [len(p) for p in prompts])
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(heads, packed.tokens, 8, generator=generator) for heads in (4, 2, 2))
    for window in (None, 6):
        plan = Plan(packed.paths, torch.device("cpu"))
        found = [kernel(query, key, value, plan, 0.3, window) for kernel in (attention._flash, attention._by_calls)]
        torch.testing.assert_close(*found, atol=2e-6, rtol=0)
    assert attention.flash_is_right.__wrapped__(torch.device("cpu"), torch.float32)


def _pairs(begins: torch.Tensor) -> list[tuple[int, int]]:
    return list(zip(begins.tolist(), begins.tolist()[1:]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_kernel_is_right():
    assert attention.flash_is_right(torch.device("cuda"), torch.bfloat16)
