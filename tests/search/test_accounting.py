"""What a search says it cost is what it cost."""

import asyncio
import random
from array import array

import pytest

from search import Question, SearchConfig, Solver, search_many, solve_many
from search.accounting import CountedEngine, PrefixCount
from search.engines import FakeEngine
from tests.search.fakes import TOKENIZER, functional_engine, functional_script, prompted_engine


@pytest.mark.parametrize("seed", range(20))
def test_prefixes_are_counted_as_a_trie_counts_them(seed):
    dice, count, trie = random.Random(seed), PrefixCount(), set()
    for _ in range(60):
        ids = [dice.choice((0, 1, 255, 256, 70_000)) for _ in range(dice.randrange(8))]
        count.add(array("I", ids))
        trie |= {tuple(ids[: i + 1]) for i in range(len(ids))}
        assert count.unique == len(trie)


def searched(engine, policy="functional", **settings):
    counted, trees = CountedEngine(engine), []

    def keep(tree):
        trees.append(tree)
        counted.finished(tree)

    config = SearchConfig(**({"rollouts": 6, "max_depth": 5} | settings))
    questions = [Question(f"q{i}", f"What is {i}?", "1") for i in range(5)]
    asyncio.run(search_many(questions, counted, config, keep, policy=policy))
    return trees, counted.figures(), engine


@pytest.mark.parametrize(("policy", "engine"), [("functional", functional_engine), ("prompted", prompted_engine)])
def test_requests_tokens_and_redundancy(policy, engine):
    trees, figures, engine = searched(engine(), policy)
    assert sum(t.requests for t in trees) == len(engine.log) == figures["requests"]
    assert sum(t.tokens for t in trees) == engine.stats.generated_tokens == figures["generated_tokens"]
    assert figures["requests_per_question"] == len(engine.log) / 5 and figures["questions"] == 5
    unique = PrefixCount()
    for prompt, sampling in engine.log:
        for generation in engine.script(list(prompt), sampling):
            # The trees ask different questions, so one trie for all of them counts their shared beginning once.
            unique.add(array("I", [len(prompt) and int(sampling.tree[1:]) + 1000, *prompt, *generation.ids]))
    without_marks = unique.unique - 5
    assert figures["redundancy"] == pytest.approx(engine.stats.computed_tokens / without_marks)


@pytest.mark.parametrize("strategy", ["majority", "beam", "best_first", "mcts"])
def test_a_solution_is_counted_and_its_tokens_forgotten_whatever_the_strategy(strategy):
    counted, solutions, held = CountedEngine(functional_engine()), [], []

    def keep(solution):
        counted.answered(solution)
        solutions.append(solution)
        held.append(len(counted._open))

    questions = [Question(f"q{i}", f"What is {i}?") for i in range(5)]
    solver = Solver(counted, SearchConfig(rollouts=4, live_trees=1), strategy)
    asyncio.run(solve_many(questions, solver, keep))
    figures = counted.figures()
    assert held == [0] * 5 and figures["questions"] == 5 and figures["redundancy"] >= 1
    assert figures["rollouts_per_question"] == sum(len(s.candidates) for s in solutions) / 5
    assert figures["requests_per_question"] == sum(s.requests for s in solutions) / 5


def test_an_engine_that_caches_every_prefix_has_no_redundancy():
    class Caching(FakeEngine):
        async def generate(self, prompt_ids, sampling):
            seen = [p + g.ids for p, s in self.log for g in self.script(list(p), s)]
            best = max((shared(prompt_ids, s) for s in seen), default=0)
            self.stats.computed_tokens -= best
            return await super().generate(prompt_ids, sampling)

    def shared(one, other):
        return next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))

    engine = Caching(functional_script, TOKENIZER, eos_ids=frozenset({0}), turns=0)
    _, figures, _ = searched(engine, live_trees=1)
    # A prefix that two questions share is counted once a tree, but prefilled once.
    assert 0.8 < figures["redundancy"] <= 1.0


def test_rounds_are_the_longest_series_of_waits():
    one_by_one, _, _ = searched(functional_engine())
    assert all(t.rounds == t.requests for t in one_by_one)
    together, _, _ = searched(functional_engine(), parallel_rollouts=6)
    assert all(t.rounds < t.requests for t in together)


def test_time_outside_the_engine_is_what_the_engine_did_not_use():
    class Slow(FakeEngine):
        async def generate(self, prompt_ids, sampling):
            await asyncio.sleep(0.002)
            self.stats.seconds += 0.002  # one at a time: a request is a step
            return await super().generate(prompt_ids, sampling)

    engine = Slow(functional_script, TOKENIZER, eos_ids=frozenset({0}), turns=0)
    _, figures, _ = searched(engine, live_trees=1)
    assert 0 < figures["outside_engine"] < 0.6
    assert figures["seconds"] >= 0.002 * figures["requests"]
