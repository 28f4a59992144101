"""Walks of known tokens are samples of the policy: on one that can be enumerated, and among trees that a search grew."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter

import pytest

from search.engines import Sampling
from search.shared_prefix import draw, known_tokens
from search.token_trie import TokenTrie
from tests.search import enumerable

CHAINS = dict(enumerable.chains())


def test_the_policy_is_a_distribution_with_chains_of_many_kinds():
    assert sum(CHAINS.values()) == pytest.approx(1.0) and len(CHAINS) > 40
    assert 0.1 < enumerable.value() < 0.9


@pytest.mark.parametrize("at_once", [1, 8])
def test_draws_have_the_distribution_of_the_policy_whatever_is_known_before(at_once):
    engine, counts, groups = enumerable.engine(), Counter(), 1500

    async def sample() -> None:
        for seed in range(groups):
            tree = await enumerable.grown(engine, seed, 3)
            trie = known_tokens(tree, enumerable.OPENING_IDS)
            drawn = await draw(trie, engine, tree.prompt_ids, Sampling(60, seed=seed), 4, at_once=at_once)
            counts.update(one.generation.ids for one in drawn)
            for one in drawn:
                logprob = sum(one.generation.logprobs)
                assert logprob == pytest.approx(math.log(CHAINS[one.generation.ids])) and one.generation.stopped

    asyncio.run(sample())
    number = 4 * groups
    chi_square = sum((counts[ids] - number * p) ** 2 / (number * p) for ids, p in CHAINS.items())
    freedom = len(CHAINS) - 1
    assert abs(chi_square - freedom) < 4 * math.sqrt(2 * freedom), "four standard deviations"


def test_a_group_costs_fewer_tokens_than_separate_samples_and_does_not_depend_on_timing():
    def cost(at_once: int) -> tuple[int, list]:
        engine = enumerable.engine(question=None)
        found = [
            asyncio.run(draw(TokenTrie(), engine, [], Sampling(60, seed=k), 16, at_once=at_once)) for k in range(20)
        ]
        return sum(d.generated for group in found for d in group), [d.generation.ids for g in found for d in g]

    (serial, first), (flying, _), (_, again) = cost(1), cost(16), cost(1)
    assert serial < flying < 0.8 * sum(len(ids) for ids in first)
    assert first == again


def test_tempered_samples_are_refused():
    for options in ({"temperature": 0.7}, {"top_p": 0.9}):
        with pytest.raises(ValueError, match="expected 1 and 1"):
            asyncio.run(draw(TokenTrie(), enumerable.engine(), [], Sampling(9, **options), 1))


def test_what_is_set_aside_is_not_drawn_and_the_rest_keeps_its_proportions():
    trie = TokenTrie()
    paths = {(1, 2): 0.5 * 0.4, (1, 3): 0.5 * 0.6, (4,): 0.3}  # and 0.2 for tokens that are not known
    trie.add((1, 2), (math.log(0.5), math.log(0.4)), ended=True)
    trie.add((1, 3), (math.log(0.5), math.log(0.6)), ended=True)
    trie.add((4,), (math.log(0.3),), ended=True)
    assert trie.exclude((1, 3)) == pytest.approx(0.3) and trie.open == pytest.approx(0.7)
    rng, counts = random.Random(0), Counter()
    for _ in range(20_000):
        walk = trie.walk(rng)
        counts[walk.ids if walk.ended else "unknown"] += 1
        assert walk.ended or (walk.ids == () and walk.forbidden == (1, 4))
    assert (1, 3) not in counts
    for path, p in (((1, 2), paths[1, 2]), ((4,), 0.3), ("unknown", 0.2)):
        share = p / 0.7
        assert abs(counts[path] / 20_000 - share) < 4 * math.sqrt(share * (1 - share) / 20_000)
    trie.exclude((1, 2))
    trie.exclude((4,))
    assert trie.open == pytest.approx(0.2)


def test_a_walk_stops_where_the_search_stopped_or_where_the_model_has_to_write():
    trie = TokenTrie()
    trie.add((1,), (0.0,), ended=False)
    trie.know((1,), [(2, math.log(0.5)), (3, math.log(0.5))])
    walk = trie.walk(random.Random(0))
    assert walk.ids in ((1, 2), (1, 3)) and not walk.ended and walk.forbidden == ()
    assert walk.logprobs == pytest.approx((0.0, math.log(0.5)))
    with pytest.raises(ValueError, match="as many"):
        trie.add((1, 2), (0.0,), ended=True)
    alone = TokenTrie()
    alone.add((7,), (0.0,), ended=True)
    alone.exclude((7,))
    with pytest.raises(ValueError, match="set aside"):
        alone.walk(random.Random(0))
