"""Sampling from a large vocabulary by one random number: the distribution is the nucleus's, whatever its size."""

from __future__ import annotations

import pytest
import torch

from search.engines.vllm_changes import drawn

VOCABULARY, DRAWS = 4_000, 20_000


def nucleus(logits_V: torch.Tensor, top_p: float) -> torch.Tensor:
    """Probabilities of the tokens, written down from the definition: the fewest likeliest ones with a mass of top_p."""
    masses_V, ids_V = logits_V.double().softmax(-1).sort(descending=True)
    kept_V = torch.zeros_like(masses_V)
    mass = 0.0
    for place, each in enumerate(masses_V.tolist()):
        if mass >= top_p:
            break
        kept_V[ids_V[place]] = each
        mass += each
    return kept_V / kept_V.sum()


def chi_square(counts_V: torch.Tensor, expected_V: torch.Tensor) -> tuple[float, int]:
    """Over tokens that are expected five times or more, and all others together."""
    often_V = expected_V >= 5
    observed = [*counts_V[often_V].tolist(), float(counts_V[~often_V].sum())]
    expected = [*expected_V[often_V].tolist(), float(expected_V[~often_V].sum())]
    terms = [(o - e) ** 2 / e for o, e in zip(observed, expected, strict=True) if e > 0]
    return sum(terms), len(terms) - 1


@pytest.mark.parametrize(
    ("spread", "top_p"),
    [(4.0, 0.95), (4.0, None), (3.0, 0.9), (0.5, 0.6), (0.5, None)],
    ids=["few-candidates", "whole-peaked", "peaked", "more-than-are-looked-at-first", "whole-flat"],
)
def test_tokens_come_as_often_as_their_share_of_the_nucleus(spread, top_p):
    torch.manual_seed(1)
    logits_V = torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(0)) * spread
    counts_V = torch.zeros(VOCABULARY, dtype=torch.float64)
    rows = 500
    for _ in range(DRAWS // rows):
        p_B = None if top_p is None else torch.full((rows,), top_p)
        ids_B = drawn(logits_V.expand(rows, -1), {}, p_B)
        counts_V += torch.bincount(ids_B, minlength=VOCABULARY)
    expected_V = nucleus(logits_V, 1.0 if top_p is None else top_p) * DRAWS
    if top_p is not None:
        assert not counts_V[expected_V == 0].any(), "a token outside of the nucleus"
    square, freedom = chi_square(counts_V, expected_V)
    assert freedom > 10
    assert square < freedom + 5 * (2 * freedom) ** 0.5, (square, freedom)


def test_rows_with_different_nuclei_are_each_drawn_from_their_own():
    peaked_V, flat_V = torch.zeros(VOCABULARY), torch.zeros(VOCABULARY)
    peaked_V[7] = 20.0
    logits_BV = torch.stack([peaked_V, flat_V, peaked_V, flat_V])
    torch.manual_seed(0)
    drawn_BT = torch.stack([drawn(logits_BV, {}, torch.tensor([0.9, 0.9, 0.5, 1.0])) for _ in range(200)], 1)
    assert (drawn_BT[[0, 2]] == 7).all()
    assert all(len(row.unique()) > 180 for row in drawn_BT[[1, 3]])


def test_a_seed_gives_the_same_token_whatever_else_is_in_the_batch():
    logits_BV = torch.randn(6, VOCABULARY, generator=torch.Generator().manual_seed(0))
    for top_p in (None, 0.95):
        p_B = None if top_p is None else torch.full((6,), top_p)
        alone = [
            int(drawn(logits_BV[[row]], {0: torch.Generator().manual_seed(row)}, None if p_B is None else p_B[:1]))
            for row in range(6)
        ]
        together = drawn(logits_BV, {row: torch.Generator().manual_seed(row) for row in range(6)}, p_B)
        assert together.tolist() == alone
        torch.manual_seed(3)
        some = drawn(logits_BV, {4: torch.Generator().manual_seed(4)}, p_B)
        assert int(some[4]) == alone[4]
