"""TRL's fused head with the gradient of some rows alone: the same values to the bit, and the same gradients there."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import pytest
import torch

from rftt.model import fused_head

VOCABULARY, WIDTH, TOKENS = 300, 16, 40
ROWS = [3, 150, 299]


@pytest.fixture
def utils(monkeypatch):
    """`trl.trainer.utils`, which is as it was afterwards."""
    utils = pytest.importorskip("trl.trainer.utils")
    for name in ("_ChunkedLogProbFunction", "_use_triton"):
        monkeypatch.setattr(utils, name, getattr(utils, name))
    if isinstance(utils._ChunkedLogProbFunction, fused_head.RowsOfHead):
        monkeypatch.setattr(utils, "_ChunkedLogProbFunction", utils._ChunkedLogProbFunction.function)
    return utils


def head(seed=0):
    generator = torch.Generator().manual_seed(seed)
    hidden_ND = torch.randn(TOKENS, WIDTH, generator=generator, requires_grad=True)
    weight_VD = torch.nn.Parameter(torch.randn(VOCABULARY, WIDTH, generator=generator))
    targets_N = torch.randint(VOCABULARY, (TOKENS,), generator=generator)
    targets_N[:3] = torch.tensor(ROWS)
    return hidden_ND, weight_VD, targets_N


def test_trl_calls_what_is_replaced_with_these_arguments(utils):
    parameters = list(inspect.signature(utils._ChunkedLogProbFunction.forward).parameters)
    assert parameters == ["ctx", "hidden", "weight", "bias", "targets", "temperature", "chunk_size",
                          "final_logit_softcapping", "logit_scale", "outputs"]  # fmt: skip
    source = inspect.getsource(utils.add_fused_lm_head)
    assert "_ChunkedLogProbFunction.apply(" in source and "compact = _use_triton(hidden_states.device)" in source


@pytest.mark.parametrize(("temperature", "softcap", "scale"), [(1.0, None, 1.0), (0.7, None, 0.25), (1.0, 5.0, 1.0)])
def test_values_are_the_same_to_the_bit_and_gradients_those_of_the_rows(utils, temperature, softcap, scale):
    theirs = utils._ChunkedLogProbFunction
    found = []
    for rows in (None, ROWS):
        hidden_ND, weight_VD, targets_N = head()
        if rows:
            fused_head.train_rows_of_head([weight_VD], rows)
        function = utils._ChunkedLogProbFunction if rows else theirs
        logps_N, entropy_N, *_ = function.apply(
            hidden_ND, weight_VD, None, targets_N, temperature, 128, softcap, scale, ("log_probs", "entropy")
        )
        weights_N = torch.linspace(-1, 1, TOKENS)
        ((logps_N * weights_N).sum() + 0.3 * (entropy_N * weights_N.flip(0)).sum()).backward()
        found.append((logps_N.detach(), entropy_N.detach(), hidden_ND.grad, weight_VD.grad))
    (logps, entropy, hidden, weight), (logps_2, entropy_2, hidden_2, weight_2) = found
    assert torch.equal(logps, logps_2) and torch.equal(entropy, entropy_2) and torch.equal(hidden, hidden_2)
    assert (weight[ROWS] - weight_2[ROWS]).abs().max() < 1e-4 * weight[ROWS].abs().max()
    others = [i for i in range(VOCABULARY) if i not in ROWS]
    assert weight[others].abs().max() > 0 and not weight_2[others].any()


def test_weights_that_name_no_rows_and_evaluation_are_left_to_trl(utils):
    fused_head.train_rows_of_head([], ROWS)
    hidden_ND, weight_VD, targets_N = head()
    arguments = (hidden_ND, weight_VD, None, targets_N, 1.0, 128, None, 1.0, ("log_probs",))
    utils._ChunkedLogProbFunction.apply(*arguments)[0].sum().backward()
    assert (weight_VD.grad.abs().sum(1) > 0).all()
    fused_head.train_rows_of_head([weight_VD], ROWS)
    with torch.no_grad():
        assert not utils._ChunkedLogProbFunction.apply(*arguments)[0].requires_grad
    assert isinstance(utils._ChunkedLogProbFunction, fused_head.RowsOfHead)
    assert not isinstance(utils._ChunkedLogProbFunction.function, fused_head.RowsOfHead), "replaced twice"


def test_a_weight_that_zero_partitions_reaches_trl_as_it_is(utils):
    """TRL gathers it by what ZeRO wrote on it, which a detached copy has not."""
    hidden_ND, weight_VD, targets_N = head()
    fused_head.train_rows_of_head([weight_VD], ROWS)
    weight_VD.ds_id, seen = 0, []
    trl_s = SimpleNamespace(apply=lambda hidden, weight, *rest: seen.append(weight))
    fused_head.RowsOfHead(trl_s).apply(hidden_ND, weight_VD, None, targets_N, 1.0, 128, None, 1.0, ("log_probs",))
    assert seen[0] is weight_VD


@pytest.mark.parametrize("vocabulary", [300, 20_000])
def test_only_learnt_positions_are_scored_with_a_large_vocabulary_on_a_cpu(utils, vocabulary):
    model = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: SimpleNamespace(vocab_size=vocabulary)))
    fused_head.score_what_is_learnt(model)
    large = vocabulary >= fused_head.LARGE_VOCABULARY
    assert utils._use_triton(torch.device("cpu")) == large


def test_what_is_scored_does_not_change_by_leaving_the_rest_out(utils):
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(vocab_size=20_000, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
                         num_key_value_heads=1)  # fmt: skip
    model = Qwen2ForCausalLM(config)
    utils.add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    ids_BT = torch.randint(20_000, (2, 12))
    labels_BT = ids_BT.clone()
    labels_BT[0, :7] = labels_BT[1, 9:] = -100
    found = []
    scored = []
    original = utils._ChunkedLogProbFunction

    class Counting:
        @staticmethod
        def apply(hidden, *arguments):
            scored.append(len(hidden))
            return original.apply(hidden, *arguments)

    utils._ChunkedLogProbFunction = Counting
    for change in (False, True):
        if change:
            fused_head.score_what_is_learnt(model)
        model.zero_grad()
        output = model(input_ids=ids_BT, labels=labels_BT, fused_lm_head=True)
        output.loss.backward()
        found.append((output.log_probs.detach(), model.lm_head.weight.grad.clone()))
    assert scored == [22, 5 + 8]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*found, strict=True))
