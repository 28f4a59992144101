"""Every strategy keeps to its budget, answers with what its candidates elect, and says what it spent."""

import asyncio
import json

import pytest

from search import STRATEGIES, Question, SearchConfig, Solver, solve_many
from search.engines import FakeEngine
from search.engines.engine import EngineError
from search.functions import RFTT
from search.voting import majority, weights
from tests.search.fakes import RFTT_MODEL, functional_engine, prompted_engine

QUESTION = Question("q", "What is 1 + 1?", gold="2")


def solve(strategy, engine=None, scorer=None, **settings):
    engine = engine or functional_engine()
    config = SearchConfig(**({"rollouts": 8, "max_depth": 8, "beam_width": 2} | settings))
    solver = Solver(engine, config, strategy, scorer=scorer)
    return asyncio.run(solver.solve(QUESTION)), engine


async def shorter_is_better(question, steps):
    """A process reward model that likes short solutions."""
    return [1 / (1 + len(steps))] * len(steps)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_answer_is_what_the_candidates_elect_and_the_spending_is_the_engines(strategy):
    solution, engine = solve(strategy)
    assert solution.strategy == strategy and solution.candidates
    assert solution.tokens == engine.stats.generated_tokens
    assert solution.requests == engine.stats.requests >= solution.rounds >= 1
    spent = [c.spent for c in solution.candidates]
    assert spent == sorted(spent) and spent[-1] <= solution.tokens
    answers = [c.answer for c in solution.candidates]
    if solution.vote == "majority":
        assert solution.answer == majority(answers)
    assert solution.answer in answers
    assert solution.answer_at(solution.tokens) == solution.answer
    json.dumps(solution.to_json())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_candidate_says_whether_it_ended_by_itself(strategy):
    whole, _ = solve(strategy, max_depth=15)
    cut, _ = solve(strategy, max_tokens=12, max_depth=1)
    assert all(c.ended for c in whole.candidates if c.answer) and any(c.ended for c in whole.candidates)
    assert cut.candidates and not any(c.ended for c in cut.candidates)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_same_seed_gives_the_same_solution(strategy):
    assert solve(strategy)[0].to_json() == solve(strategy)[0].to_json()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_gold_is_never_used(strategy):
    async def with_gold(gold):
        solver = Solver(functional_engine(), SearchConfig(rollouts=4, beam_width=2), strategy)
        return (await solver.solve(Question("q", "What is 1 + 1?", gold))).to_json()

    assert asyncio.run(with_gold("0")) == asyncio.run(with_gold("1"))


@pytest.mark.parametrize("strategy", [s for s in STRATEGIES if s != "greedy"])
@pytest.mark.parametrize("parallel", [1, 4])
def test_a_budget_of_tokens_stops_the_search_but_not_before_a_first_candidate(strategy, parallel):
    whole, _ = solve(strategy, rollouts=64, parallel_rollouts=parallel)
    for budget in (1, 150, 400):
        cut, engine = solve(strategy, rollouts=64, parallel_rollouts=parallel, budget_tokens=budget)
        assert cut.stopped == "budget" and cut.candidates and cut.tokens < whole.tokens
        assert cut.tokens == engine.stats.generated_tokens
        longest_step, longest_chain = 40, 8 * 40
        in_flight = 64 * longest_step if strategy in ("beam", "dvts") else parallel * longest_chain
        assert cut.tokens <= budget + in_flight


@pytest.mark.parametrize("strategy", ["majority", "best_of_n"])
def test_samples_beyond_the_budget_do_not_vote_whatever_is_in_flight(strategy):
    whole, _ = solve(strategy, rollouts=64, budget_tokens=10**6)
    for budget in (1, 100, 400, 900):
        expected = [c for c in whole.candidates if c.spent <= budget] or whole.candidates[:1]
        for parallel in (1, 3, 8):
            cut, engine = solve(strategy, rollouts=64, budget_tokens=budget, parallel_rollouts=parallel)
            assert cut.candidates == expected and cut.answer == whole.answer_at(budget)
            assert cut.tokens == engine.stats.generated_tokens
            assert cut.tokens <= max(budget + (parallel - 1) * 100, expected[0].spent)


@pytest.mark.parametrize("strategy", ["majority", "mcts"])
def test_an_early_stop_changes_no_answer(strategy):
    saved = 0
    for seed in range(12):
        whole, _ = solve(strategy, rollouts=12, seed=seed, temperature=1.0)
        early, _ = solve(strategy, rollouts=12, seed=seed, temperature=1.0, early_stop=True)
        if strategy == "mcts":  # samples come in other requests, so they are other samples
            assert early.answer == whole.answer
            assert [c.text for c in early.candidates] == [c.text for c in whole.candidates][: len(early.candidates)]
        saved += early.stopped == "decided"
        groups = [g.count for g in early.votes] + [0, 0]
        assert early.stopped != "decided" or groups[0] - groups[1] > 12 - len(early.candidates)
    assert saved


@pytest.mark.parametrize("selection", ["uct", "puct"])
def test_both_selections_solve(selection):
    solution, _ = solve("mcts", selection=selection)
    assert solution.tree.made_by["selection"] == selection and len(solution.candidates) == 8


def test_a_process_reward_model_decides_where_it_is_asked_to():
    for strategy in ("best_of_n", "majority", "beam", "dvts", "mcts"):
        solution, _ = solve(strategy, scorer=shorter_is_better, vote="best_prm")
        scored = [c for c in solution.candidates if c.answer is not None]
        assert solution.answer == max(scored, key=lambda c: c.score).answer
    assert all(n.prm is not None for n in solution.tree.path(solution.tree.nodes[scored[0].node]))


def test_beams_prefer_what_the_scorer_prefers():
    with_scorer, _ = solve("beam", scorer=shorter_is_better, rollouts=16, beam_width=4)
    without, _ = solve("beam", rollouts=16, beam_width=4)
    assert with_scorer.to_json() != without.to_json()


@pytest.mark.parametrize(("strategy", "at_once"), [("best_of_n", 8), ("beam", 8), ("mcts", 1)])
def test_what_is_to_be_scored_is_asked_for_at_once(strategy, at_once):
    asking, most = 0, 0

    async def scorer(question, steps):
        nonlocal asking, most
        asking += 1
        most = max(most, asking)
        await asyncio.sleep(0.001)
        asking -= 1
        return [0.5] * len(steps)

    solve(strategy, scorer=scorer)
    assert most >= at_once


def test_dvts_keeps_its_beams_apart():
    solution, engine = solve("dvts", rollouts=8, beam_width=2)
    starts = [prompt for prompt, sampling in engine.log if sampling.n == 2]
    assert len(starts) >= 4
    assert solution.rounds <= 9


def test_votes_by_prior_and_by_score():
    answers, logprobs, scores = ["1", "2", "2", None], [-0.1, -3.0, -3.0, None], [0.2, 0.5, 0.6, None]
    assert weights("majority", answers, logprobs, scores) == [1, 1, 1, 1]
    assert weights("prior", answers, logprobs, scores)[0] > sum(weights("prior", answers, logprobs, scores)[1:])
    assert weights("prm", answers, logprobs, scores) == [0.2, 0.5, 0.6, 0]
    assert weights("best_prm", answers, logprobs, scores) == [0, 0, 1, 0]
    assert weights("best_prior", answers, logprobs, scores) == [1, 0, 0, 0]
    with pytest.raises(ValueError, match="no scores"):
        weights("prm", answers, logprobs, [None] * 4)
    with pytest.raises(ValueError, match="expected one of"):
        weights("loudest", answers, logprobs, scores)


def test_where_the_next_function_is_certain_the_tree_does_not_branch():
    free, _ = solve("mcts", rollouts=16)
    never, _ = solve("mcts", rollouts=16, branch_entropy=10.0)
    assert never.stopped == "exhausted" and len(never.candidates) == 1
    assert all(len(n.options or "x") == 1 for n in never.tree.nodes)
    some, _ = solve("mcts", rollouts=16, branch_entropy=1.0)
    widths = [len(n.options) for n in some.tree.nodes if n.options]
    assert 1 in widths and max(widths) > 1
    assert max(len(n.options) for n in free.tree.nodes if n.options) == max(map(len, RFTT.functional.values()))


def test_a_model_without_functional_tokens_searches_by_prompting():
    class Plain(type(prompted_engine().tokenizer)):
        def get_vocab(self):
            return {t: i for t, i in self.vocabulary.items() if t not in RFTT.tags}

    engine = prompted_engine()
    engine.tokenizer = Plain()
    assert solve("mcts", engine=engine)[0].tree.made_by["policy"] == "prompted"
    for strategy in ("beam", "dvts"):
        with pytest.raises(ValueError, match="rftt tokens"):
            solve(strategy, engine=engine)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategy": "oracle"}, "expected one of greedy"),
        ({"strategy": "beam", "rollouts": 7}, "multiple of beam_width"),
        ({"strategy": "mcts", "vote": "prm"}, "process reward model"),
        ({"strategy": "majority", "vote": "content"}, "needs strategy 'best_first'"),
        ({"strategy": "mcts", "vote": "prior", "early_stop": True}, "early_stop"),
    ],
)
def test_settings_that_do_not_fit_are_told(settings, message):
    engine = functional_engine()
    with pytest.raises(ValueError, match=message):
        solve(engine=engine, **settings)
    assert engine.log == []


def test_a_question_that_is_too_long_fails_alone():
    failed, solved = [], []
    questions = [Question("long", "x" * 5000), Question("short", "What is 1 + 1?")]
    solver = Solver(functional_engine(), SearchConfig(rollouts=2), "mcts")
    asyncio.run(solve_many(questions, solver, solved.append, on_failure=lambda q, e: failed.append((q.id, str(e)))))
    assert [s.question_id for s in solved] == ["short"]
    assert failed[0][0] == "long" and "leaves no room" in failed[0][1]
    with pytest.raises(EngineError):
        asyncio.run(solve_many(questions, solver, solved.append))


@pytest.mark.parametrize("strategy", ["majority", "beam", "mcts", "best_first"])
def test_a_request_that_fails_leaves_no_other_one_behind(strategy):
    class Failing(FakeEngine):
        begun = left = 0

        async def generate(self, prompt_ids, sampling):
            self.begun += 1
            if self.begun == 4:
                raise EngineError("refused")
            self.left += 1
            try:
                return await super().generate(prompt_ids, sampling)
            finally:
                self.left -= 1

    engine = Failing(RFTT_MODEL.functional, RFTT_MODEL.tokenizer, eos_ids=frozenset({0}), turns=20)

    async def run():
        config = SearchConfig(parallel_rollouts=8, budget_tokens=5000, beam_width=2)
        with pytest.raises(EngineError, match="refused"):
            await Solver(engine, config, strategy).solve(QUESTION)
        assert engine.left == 0

    asyncio.run(run())
