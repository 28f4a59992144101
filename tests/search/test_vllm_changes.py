"""Contracts with vLLM: each test holds one name that a change of ours replaces, and says when it has gone."""

from __future__ import annotations

import inspect

import pytest

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
