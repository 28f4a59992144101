"""Best-first search: exact at every smaller budget, the same whatever is in flight, and never malformed by its own doing."""

import asyncio
import math
import random
from itertools import pairwise

import pytest

from search import Question, SearchConfig, Solver
from search.best_first import shares
from search.chain import parse, well_formed
from search.engines import FakeEngine
from search.functions import RFTT
from tests.search.fakes import RFTT_MODEL, Scripted, functional_engine

QUESTION = Question("q", "What is 1 + 1?")


def solve(engine=None, question=QUESTION, strategy="best_first", **settings):
    config = SearchConfig(**({"rollouts": 40, "max_tokens": 200} | settings))
    return asyncio.run(Solver(engine or functional_engine(), config, strategy).solve(question))


def plain(solution):
    """What a solution found, without what it took."""
    return [(c.text, c.answer, c.spent, round(c.weight, 9)) for c in solution.candidates]


def test_the_first_chain_is_the_greedy_one():
    greedy = functional_engine()
    greedy.script = lambda prompt, sampling: [RFTT_MODEL.likeliest(prompt, sampling)]
    expected = solve(greedy, strategy="greedy").candidates[0].text
    assert solve(rollouts=5).candidates[0].text == expected


@pytest.mark.parametrize("generation", [1, 3, 8])
@pytest.mark.parametrize("question", ["a", "b", "c"])
def test_a_smaller_budget_gives_what_is_read_off_a_larger_one(generation, question):
    question = Question(question, question)
    whole = solve(question=question, generation=generation, rollouts=60, budget_tokens=1200)
    for budget in (1, 60, 100, 150, 222, 300, 450, 600, 601, 602, 603, 900, 1199):
        engine = functional_engine()
        cut = solve(engine, question=question, generation=generation, rollouts=60, budget_tokens=budget)
        assert cut.answer == whole.answer_at(budget)
        assert plain(cut) == plain(whole)[: len(cut.candidates)]
        within = [c for c in whole.candidates if c.spent <= budget] or whole.candidates[:1]
        assert len(cut.candidates) == len(within)
        assert cut.stopped == "budget" and cut.tokens == engine.stats.generated_tokens
        # What was in flight when the budget was used up.
        assert cut.tokens <= max(budget + generation * 100, whole.candidates[0].spent)


def test_one_branch_at_a_time_keeps_to_the_budget_exactly():
    for budget in range(200, 700, 37):
        assert solve(generation=1, budget_tokens=budget).tokens <= budget


def test_shares_fill_the_room_and_the_last_one_gets_what_is_left():
    assert shares([(0, 58), (0, 108), (0, 18), (0, 58)], 200) == [58, 108, 18, 16]
    assert shares([(0, 58), (0, 108)], 50) == [50]
    # Where all fit, they share what is left over.
    assert shares([(0, 40), (20, 50)], 100) == [55, 45]
    # One that is longer than expected gets as much once more.
    assert shares([(58, 58), (0, 108)], 70) == [58, 12]


class Diverse(Scripted):
    """Steps of very different lengths, so that nothing foretells that of a chain."""

    def _next(self, written):
        tag, number = super()._next(written), random.Random(written).randrange(6)
        return tag if number or not tag.startswith("</") or "output" in tag else "0"


def test_a_budget_gives_the_first_chains_however_long_they_turn_out():
    beyond, budgets = 0, range(200, 1200, 125)
    for name in "abc":
        question = Question(name, name)
        whole = solve(functional_engine(Diverse()), question=question, budget_tokens=1300)
        for budget in budgets:
            engine = functional_engine(Diverse())
            cut = solve(engine, question=question, budget_tokens=budget)
            within = [c for c in whole.candidates if c.spent <= budget] or whole.candidates[:1]
            assert plain(cut) == plain(whole)[: len(within)]
            assert cut.tokens == engine.stats.generated_tokens
            beyond += max(0, cut.tokens - max(budget, whole.candidates[0].spent))
    # Lost, with nothing to foretell a chain's length: tokens of later branches that went before an earlier one.
    assert 0 < beyond < 0.1 * 3 * sum(budgets)


def test_near_the_budget_as_many_are_in_flight_as_are_likely_to_fit():
    class Waves(FakeEngine):
        inside = 0

        async def generate(self, prompt_ids, sampling):
            waves.append(self.inside == 0)
            self.inside += 1
            found = await super().generate(prompt_ids, sampling)
            self.inside -= 1
            return found

    waves = []
    engine = Waves(RFTT_MODEL.functional, RFTT_MODEL.tokenizer, eos_ids=frozenset({0}), turns=5)
    solution = solve(engine, budget_tokens=1000, generation=16)
    assert solution.stopped == "budget" and len(solution.candidates) == 29
    # 1, 4, 16 and 16 chains, of which the budget cuts off the last ones. So many as surely fit would be 13 waves.
    assert sum(waves) <= 10


def test_what_is_in_flight_changes_nothing():
    class Uneven(FakeEngine):
        async def generate(self, prompt_ids, sampling):
            self.turns = random.Random(f"{len(prompt_ids)}/{sampling.max_tokens}").randrange(30)
            return await super().generate(prompt_ids, sampling)

    uneven = Uneven(RFTT_MODEL.functional, RFTT_MODEL.tokenizer, eos_ids=frozenset({0}))
    assert solve(uneven).to_json() == solve().to_json()


def test_branches_of_a_generation_are_in_flight_together():
    class Counting(FakeEngine):
        now = most = 0

        async def generate(self, prompt_ids, sampling):
            self.now += 1
            self.most = max(self.most, self.now)
            found = await super().generate(prompt_ids, sampling)
            self.now -= 1
            return found

    for generation in (1, 4, 16):
        engine = Counting(RFTT_MODEL.functional, RFTT_MODEL.tokenizer, eos_ids=frozenset({0}), turns=5)
        solution = solve(engine, generation=generation, rollouts=40)
        assert engine.most == generation and len(solution.candidates) == 40
        assert solution.rounds < 3 * (40 / generation + 6)


def test_no_chain_is_found_twice_and_the_frontier_does_not_run_dry():
    solution = solve(rollouts=200)
    texts = [c.text for c in solution.candidates]
    assert len(set(texts)) == 200 and solution.stopped == "rollouts"


class Stubborn(Scripted):
    """Closes every step but the last as next_step."""

    def closing(self, function, said):
        return self.functions[function if function == self.functions.terminal else "next_step"].close

    def _follow(self, function):
        return tuple(f for f in ("next_step", "output") if f in self.functions.functional[function])


def test_a_step_that_was_forced_closes_with_its_own_tag():
    engine = functional_engine(Stubborn())
    solution = solve(engine, rollouts=30)
    forced = [c for c in solution.candidates if c.forced]
    assert forced and all(well_formed(c.text) for c in solution.candidates)
    assert {s.function for c in forced for s in parse(c.text)} >= {"analyze", "subquestion"}


def test_votes_weigh_by_the_probability_of_the_text_and_less_for_what_was_forced():
    solution = solve(rollouts=20, forced_weight=0.5, sharpness=10.0)
    for c in solution.candidates:
        assert c.weight == pytest.approx(10.0 * c.logprob + c.forced * -0.6931472)
    assert solution.vote == "content" and solution.votes[0].weight == max(g.weight for g in solution.votes)
    assert 0 < solution.share <= 1
    assert solve(rollouts=20, vote="majority").votes[0].weight == solve(rollouts=20, vote="majority").votes[0].count


def test_a_process_reward_model_guides_and_votes():
    asked = []

    async def scorer(question, steps):
        asked.append(steps)
        return [0.9 if len(set(step)) % 2 else 0.1 for step in steps]

    config = SearchConfig(rollouts=20, max_tokens=200)
    plain_chains = [c.text for c in solve(rollouts=20).candidates]
    found = asyncio.run(Solver(functional_engine(), config, "best_first", scorer=scorer).solve(QUESTION))
    assert len(asked) == 20 and [c.text for c in found.candidates] != plain_chains
    for candidate, steps in zip(found.candidates, asked, strict=True):
        assert steps == [s.text for s in parse(candidate.text)]
        content = 50 * candidate.logprob - 0.6931472 * candidate.forced
        assert candidate.weight == pytest.approx(content + math.log(candidate.score))


def test_the_search_stops_when_the_leader_holds_enough_of_the_vote():
    counts = []
    for share in (0.34, 0.6, 1.0):
        solution = solve(rollouts=40, stop_share=share, stop_paths=4)
        counts.append(len(solution.candidates))
        assert (solution.stopped == "decided") == (share < 1 and solution.share > share)
    assert counts[0] >= 4 and counts[-1] == 40
    assert all(a <= b for a, b in pairwise(counts))


def test_the_steps_of_the_first_chain_are_told_and_change_nothing():
    told = []
    config = SearchConfig(rollouts=12, max_tokens=200)
    solver = Solver(functional_engine(), config, "best_first", on_step=told.append)
    solution = asyncio.run(solver.solve(QUESTION))
    assert plain(solution) == plain(solve(rollouts=12))
    assert told == parse(solution.candidates[0].text)[:-1] and told


def test_the_chains_are_a_tree():
    solution = solve(rollouts=30)
    tree = solution.tree
    assert tree.root.visits == 30 == len(tree.leaves()) and tree.spent == [c.spent for c in solution.candidates]
    for candidate in solution.candidates:
        steps = tree.path(tree.nodes[candidate.node])
        assert [s.function for s in steps] == [s.function for s in parse(candidate.text)]
        assert tree.nodes[candidate.node].answer == candidate.answer
    assert len(tree.nodes) < 1 + sum(len(parse(c.text)) for c in solution.candidates)


def test_a_model_without_functional_tokens_branches_in_its_text():
    class Plain(type(RFTT_MODEL.tokenizer)):
        def get_vocab(self):
            return {t: i for t, i in self.vocabulary.items() if t not in RFTT.tags}

    engine = functional_engine()
    engine.tokenizer = Plain()
    solution = solve(engine, rollouts=10)
    assert len(solution.candidates) == 10 and not any(c.forced for c in solution.candidates)
    assert solution.tree is None


class Untagged(type(RFTT_MODEL.tokenizer)):
    """Of a model that has one of the functions only."""

    def get_vocab(self):
        kept = (RFTT["next_step"].open, RFTT["next_step"].close)
        return {t: i for t, i in self.vocabulary.items() if t in kept or t not in RFTT.tags}


def test_only_tags_that_are_tokens_are_forced():
    engine = functional_engine(Stubborn())
    engine.tokenizer = Untagged()
    assert len(solve(engine, rollouts=20).candidates) == 20


@pytest.mark.parametrize("longest", [9, 12, 20])
def test_no_chain_is_longer_than_it_may_be(longest):
    engine = functional_engine()
    solution = solve(engine, rollouts=64, max_tokens=longest)
    assert max(c.tokens for c in solution.candidates) == longest
    prompt = len(engine.log[0][0])
    assert all(len(ids) - prompt + sampling.max_tokens <= longest for ids, sampling in engine.log)


class Repeating(Scripted):
    """Opens one step after the other, ninety times."""

    def _next(self, written):
        opening = self.functions["next_step"].open
        return opening if written.count(opening) < 90 else "<eos>"


def test_a_chain_that_is_told_is_cut_where_another_one_is():
    told, config = [], SearchConfig(rollouts=1, max_tokens=30)
    streamed, at_once = (
        asyncio.run(Solver(functional_engine(Repeating()), config, "best_first", on_step=tell).solve(QUESTION))
        for tell in (told.append, None)
    )
    assert streamed.candidates == at_once.candidates and streamed.tokens == 30 and not streamed.candidates[0].ended
    assert len(told) == 29
