"""Each method on three tokens, worked out by hand; the loss for RL; slips are told by name."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch

from rftt.config import from_dict
from rftt.errors import UsageError
from rftt.weighting.interface import BOILERPLATE, NO_FUNCTION, NO_ROLE, REASONING, Tokens, Weighting
from rftt.weighting.registry import WEIGHTINGS, load_weighting
from rftt.weighting.rft_loss import coefficient, rft_loss
from search.functions import RFTT, ROOT, Function, FunctionSet

pytestmark = pytest.mark.weighting
LOSSES = (1.0, 3.0, 4.0)
MIXED = (BOILERPLATE, REASONING, REASONING)


def three(roles=MIXED, losses=LOSSES, functions=("verify", None, "output"), key=(False, False, True)) -> Tokens:
    names = [NO_FUNCTION if name is None else RFTT.names.index(name) for name in functions]
    return Tokens(
        ids=torch.tensor([5, 6, 7]),
        functions=torch.tensor(names),
        key=torch.tensor(key),
        losses=torch.as_tensor(losses),
        entropies=torch.tensor([0.5, 2.0, 0.1]),
        roles=torch.tensor(roles),
    )


def weighed(name, tokens=None, **options):
    return load_weighting(name, options)(tokens or three()).tolist()


def test_plain_weighs_one():
    assert weighed("plain") == [1, 1, 1]


def test_rft_adapts_to_the_groups_mean_losses():
    # L_b = 1, L_r = 3.5; ω_r = 1 / (1 + exp((1 − 3.5) / τ)); three tokens, one and two of each group
    omega = 1 / (1 + math.exp(-2.5 / 2))
    weights = weighed("rft", tau=2.0)
    assert weights == pytest.approx([3 * (1 - omega), 1.5 * omega, 1.5 * omega])
    mean = sum(w * loss for w, loss in zip(weights, LOSSES, strict=True)) / 3
    assert mean == pytest.approx((1 - omega) * 1 + omega * 3.5), "the mean weighted loss is ω_b·L_b + ω_r·L_r"


def test_rft_with_fixed_weights():
    assert weighed("rft", fixed=[0.4, 0.6]) == pytest.approx([1.2, 0.9, 0.9])


@pytest.mark.parametrize("options", [{}, {"fixed": (0.0, 1.0)}, {"fixed": (1.0, 0.0)}])
@pytest.mark.parametrize("role", [BOILERPLATE, REASONING])
def test_rft_with_an_empty_group_is_plain_sft_to_the_last_bit(role, options):
    assert weighed("rft", three(roles=(role,) * 3), **options) == [1, 1, 1]


@pytest.mark.parametrize("detach", [True, False])
def test_rft_lets_the_gradient_through_omega_only_when_asked(detach):
    losses = torch.tensor(LOSSES, dtype=torch.float64, requires_grad=True)
    weighting = load_weighting("rft", {"tau": 3.0, "detach": detach})
    (weighting(three(losses=losses)) * losses).mean().backward()
    omega = 1 / (1 + math.exp(-2.5 / 3))
    # d(ω_b·L_b + ω_r·L_r)/dL_r = ω_r + ω_r·ω_b·(L_r − L_b)/τ, of which each of the two tokens has a half
    extra = 0 if detach else omega * (1 - omega) * 2.5 / 3
    assert weighting.through_losses is not detach
    assert losses.grad.tolist() == pytest.approx([1 - omega - extra, (omega + extra) / 2, (omega + extra) / 2])


def test_key_weight_per_function_entropy_and_dft():
    assert weighed("key_weight", key_weight=4.0) == [1, 1, 4]
    assert weighed("per_function", weights={"verify": 2, "output": 0.5}) == [2, 1, 0.5]
    assert weighed("entropy", share=1 / 3) == [0, 3, 0]
    assert weighed("entropy", share=0.01) == [0, 3, 0], "one token is always kept"
    assert weighed("dft") == pytest.approx([math.exp(-1), math.exp(-3), math.exp(-4)])


@pytest.mark.parametrize("name", sorted(WEIGHTINGS))
def test_weights_have_the_type_of_the_losses(name):
    losses = torch.tensor(LOSSES, dtype=torch.float64)
    weights = load_weighting(name, {})(three(losses=losses))
    assert weights.dtype == torch.float64 and weights.shape == (3,) and (weights >= 0).all()


def test_the_auxiliary_loss_of_rl_counts_tokens_with_a_role_only():
    logps = torch.tensor([[-1.0, -3.0, -4.0], [-9.0, -9.0, -9.0], [-2.0, -7.0, -7.0]], requires_grad=True)
    roles = torch.tensor([MIXED, (NO_ROLE,) * 3, (REASONING, NO_ROLE, NO_ROLE)])
    loss = rft_loss(logps, roles, load_weighting("rft", {"tau": 2.0}))
    omega = 1 / (1 + math.exp(-2.5 / 2))
    assert loss.item() == pytest.approx((1 - omega) * 1 + omega * 3.5 + 2)
    loss.backward()
    assert logps.grad[1].eq(0).all() and logps.grad[2, 1:].eq(0).all()
    assert logps.grad[0].tolist() == pytest.approx([-(1 - omega), -omega / 2, -omega / 2])


def test_the_auxiliary_loss_without_a_right_path_is_a_zero_with_gradient():
    logps = torch.full((2, 3), -1.0, requires_grad=True)
    loss = rft_loss(logps, torch.full((2, 3), NO_ROLE), load_weighting("rft", {}))
    loss.backward()
    assert loss.item() == 0 and logps.grad.eq(0).all()


def test_lambda_stays_or_falls():
    assert [coefficient(step, 4, 0.5) for step in (0, 4)] == [0.5, 0.5]
    assert [coefficient(step, 4, 0.5, "linear") for step in (0, 1, 4, 5)] == [0.5, 0.375, 0, 0]


@dataclass(frozen=True)
class Late(Weighting):
    """A user's own: the last `count` tokens count twice."""

    count: int = 1

    def __call__(self, tokens: Tokens) -> torch.Tensor:
        weights = torch.ones_like(tokens.losses)
        weights[-self.count :] = 2
        return weights


def test_a_users_weighting_is_named_in_the_config(monkeypatch):
    import sys
    import types

    module = types.ModuleType("my_weighting")
    module.Late = Late
    monkeypatch.setitem(sys.modules, "my_weighting", module)
    settings = from_dict({"sft": {"weighting": {"name": "my_weighting:Late", "count": 2}}}).sft.weighting
    assert load_weighting(settings.name, settings.options)(three()).tolist() == [1, 2, 2]
    with pytest.raises(ValueError, match="cuont is not an option of my_weighting:Late; did you mean count"):
        load_weighting("my_weighting:Late", {"cuont": 2})
    with pytest.raises(ValueError, match="'my_weighting:Early' cannot be imported"):
        load_weighting("my_weighting:Early", {})


@pytest.mark.parametrize(
    ("weighting", "told"),
    [
        ({"name": "rtf"}, r"name: there is no weighting 'rtf'; did you mean rft"),
        ({"name": "rft"}, r"sft\.weighting\.roles: none with name: rft"),
        ({"name": "rft", "roles": "shad", "taw": 1}, r"sft\.weighting\.taw is unknown; did you mean tau"),
        ({"name": "rft", "roles": "shad", "tau": 0}, r"sft\.weighting\.tau: 0\.0 is not allowed"),
        ({"name": "rft", "roles": "shad", "fixed": [0.5, 0.6]}, r"add to 1"),
        ({"name": "per_function", "weights": {"verify": -2}}, r"verify is -2, expected 0 or more"),
        ({"roles": "regex", "boilerplate": ["("]}, r"boilerplate: '\(' is not a regular expression"),
    ],
)
def test_slips_are_told_by_name(weighting, told):
    with pytest.raises(UsageError, match=told):
        from_dict({"sft": {"weighting": weighting}})


def test_functions_are_those_of_the_token_set():
    weighting = load_weighting("per_function", {"weights": {"verfy": 2}})
    with pytest.raises(ValueError, match="verfy is not a function, expected some of clarify"):
        weighting.for_functions(RFTT)
    own = FunctionSet(
        (Function("answer", "answer", "Answer."),), {ROOT: ("answer",)}, {ROOT: ("answer",)}, "answer", "answer"
    )
    weighting = load_weighting("per_function", {"weights": {"answer": 3}}).for_functions(own)
    assert weighting(three(functions=("clarify", None, "clarify"))).tolist() == [3, 1, 3], "clarify has index 0"


def test_a_resolved_config_says_the_same():
    values = {"name": "rft", "roles": "shad", "tau": 2, "fixed": [0.3, 0.7]}
    config = from_dict({"sft": {"weighting": values, "key_stage": {"epochs": 2}}, "shad": {"learning_rate": 1e-3}})
    assert from_dict(config.to_dict()) == config
    assert config.shad.trainer == {"learning_rate": 1e-3}
    with pytest.raises(UsageError, match=r"sft\.key_stage\.steps: 3 is not allowed with epochs"):
        from_dict({"sft": {"key_stage": {"epochs": 1, "steps": 3}}})
