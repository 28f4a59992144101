"""Contracts with vLLM: each test holds one name that a change of ours replaces, and says when it has gone."""

from __future__ import annotations

import inspect

import pytest
import torch

from search.engines import vllm_changes

pytestmark = [pytest.mark.vllm, pytest.mark.slow]


def test_linear_layers_on_a_cpu_are_dispatched_by_the_function_that_is_replaced(monkeypatch):
    vllm_changes.prepare_environment()
    utils = pytest.importorskip("vllm.model_executor.layers.utils")
    monkeypatch.setattr(utils, "dispatch_cpu_unquantized_gemm", utils.dispatch_cpu_unquantized_gemm)
    original = utils.dispatch_cpu_unquantized_gemm
    assert list(inspect.signature(original).parameters) == ["layer", "remove_weight"]
    from vllm.model_executor.layers import linear

    assert "dispatch_cpu_unquantized_gemm(layer" in inspect.getsource(linear), "vLLM packs its weights elsewhere"
    vllm_changes.allow_weight_updates_on_cpu()
    from vllm.platforms import current_platform

    assert (utils.dispatch_cpu_unquantized_gemm is not original) == current_platform.is_cpu()


def test_the_scheduler_says_how_many_tokens_a_step_computes():
    vllm_changes.prepare_environment()
    scheduler = pytest.importorskip("vllm.v1.core.sched.scheduler")
    assert "SchedulerOutput" in str(inspect.signature(scheduler.Scheduler.schedule).return_annotation)
    from vllm.v1.core.sched.output import SchedulerOutput

    assert "total_num_scheduled_tokens" in SchedulerOutput.__annotations__


def test_a_large_vocabulary_is_sampled_by_the_method_that_is_replaced(monkeypatch):
    vllm_changes.prepare_environment()
    sampler = pytest.importorskip("vllm.v1.sample.ops.topk_topp_sampler")
    original = getattr(sampler.TopKTopPSampler.forward_cpu, "replaced", sampler.TopKTopPSampler.forward_cpu)
    assert list(inspect.signature(original).parameters) == ["self", "logits", "generators", "k", "p"]
    monkeypatch.setattr(sampler.TopKTopPSampler, "forward_cpu", original)
    vllm_changes.sample_fast_on_cpu()
    changed = sampler.TopKTopPSampler.forward_cpu
    from vllm.platforms import current_platform

    assert (changed is not original) == current_platform.is_cpu()
    vllm_changes.sample_fast_on_cpu()
    assert sampler.TopKTopPSampler.forward_cpu is changed, "replaced twice"


def test_a_small_vocabulary_is_sampled_as_vllm_samples_it():
    vllm_changes.prepare_environment()
    sampler_module = pytest.importorskip("vllm.v1.sample.ops.topk_topp_sampler")
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        pytest.skip("needs vLLM for the CPU")
    logits_BV = torch.randn(4, 200, generator=torch.Generator().manual_seed(0))
    p_B = torch.tensor([0.9, 0.5, 1.0, 0.95])
    original = getattr(sampler_module.TopKTopPSampler.forward_cpu, "replaced", None)
    vllm_changes.sample_fast_on_cpu()
    changed = sampler_module.TopKTopPSampler.forward_cpu
    sampler = sampler_module.TopKTopPSampler()

    def seeded() -> dict[int, torch.Generator]:
        return {row: torch.Generator().manual_seed(row) for row in range(4)}

    theirs = (original or changed.replaced)(sampler, logits_BV.clone(), seeded(), None, p_B)[0]
    assert changed(sampler, logits_BV.clone(), seeded(), None, p_B)[0].tolist() == theirs.tolist()
