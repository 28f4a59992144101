"""The schedules that the benchmark compares do what they say, and all grow the same trees."""

import asyncio
from collections import Counter

import pytest

from search import Question, SearchConfig
from search.engines import FakeEngine, Sampling
from tests.benchmarks import _schedules as schedules
from tests.benchmarks._schedules import Recorder, StepEngine
from tests.search.fakes import TOKENIZER, prompted_engine, prompted_script

QUESTIONS = [Question(f"q{i}", f"What is {i}?", "1") for i in range(7)]
CONFIG = SearchConfig(rollouts=5, max_depth=4, live_trees=7)


class Watched(FakeEngine):
    """A fake whose answers come at different times, and which notes what is in flight when a request is made."""

    def __init__(self):
        super().__init__(prompted_script, TOKENIZER, eos_ids=frozenset({0}))
        self.inside, self.done, self.seen = Counter(), 0, []

    async def generate(self, prompt_ids, sampling):
        self.seen.append((sampling.tree, sampling.n, sum(self.inside.values()), self.done))
        self.inside[sampling.tree] += 1
        for _ in range(len(self.seen) % 9):
            await asyncio.sleep(0)
        generations = await super().generate(prompt_ids, sampling)
        self.inside[sampling.tree] -= 1
        self.done += 1
        return generations


def plain(run):
    return {name: tree.to_json() for name, tree in run.trees.items()}


@pytest.fixture(scope="module")
def ours():
    return schedules.ours(QUESTIONS, prompted_engine(), CONFIG)


def test_lockstep_waits_for_the_last_answer_of_a_batch_of_all_live_trees(ours):
    engine = Watched()
    run = schedules.lockstep(QUESTIONS, engine, CONFIG)
    assert plain(run) == plain(ours)
    requests = {name: tree.requests for name, tree in run.trees.items()}
    batches = []
    for tree, _, inside, _ in engine.seen:
        if not inside:
            batches.append([])
        batches[-1].append(tree)
    for number, batch in enumerate(batches):
        # Every tree that wants more than `number` requests is in this batch, once.
        assert sorted(batch) == sorted(name for name, wanted in requests.items() if wanted > number)
    starts = [done for _, _, inside, done in engine.seen if not inside]
    assert starts == [sum(len(b) for b in batches[:i]) for i in range(len(batches))]


def test_lockstep_takes_more_questions_than_fit_in_groups(ours, monkeypatch):
    monkeypatch.setattr(schedules, "AT_ONCE", 3)
    engine = Watched()
    run = schedules.lockstep(QUESTIONS, engine, CONFIG)
    assert plain(run) == plain(ours) and run.figures["questions"] == 7
    assert max(inside for _, _, inside, _ in engine.seen) == 2


def test_serial_has_one_sequence_in_flight(ours):
    engine = Watched()
    run = schedules.serial(QUESTIONS, engine, CONFIG)
    assert all(n == 1 and not inside for _, n, inside, _ in engine.seen)
    order = [tree for tree, _, _, _ in engine.seen]
    assert [t for i, t in enumerate(order) if i == 0 or order[i - 1] != t] == [q.id for q in QUESTIONS]
    assert run.figures["requests"] == len(engine.seen) >= sum(t.requests for t in run.trees.values())
    assert run.figures["requests_per_question"] == len(engine.seen) / 7


def test_ours_waits_for_nobody():
    engine = Watched()
    schedules.ours(QUESTIONS, engine, CONFIG)
    assert sum(inside == 0 for _, _, inside, _ in engine.seen) < 5


def test_the_recorder_keeps_every_request_and_changes_nothing(ours):
    recorder = Recorder(prompted_engine())
    assert plain(schedules.ours(QUESTIONS, recorder, CONFIG)) == plain(ours)
    asked = [(tuple(r.prompt_ids), r.sampling) for r in recorder.requests]
    assert asked == recorder.engine.log
    assert sum(n for r in recorder.requests for n in r.lengths) == ours.figures["generated_tokens"]


@pytest.mark.parametrize(("tokens", "lengths"), [(14, [3, 3, 2, 2, 2, 2]), (4, [1, 1, 1, 1]), (12, [2] * 6)])
def test_chains_have_as_many_tokens_together(tokens, lengths):
    found = schedules.chains([[1], [2]], 3, tokens, Sampling(9))
    assert [r.lengths for r in found] == [(n,) for n in lengths]
    assert [r.prompt_ids for r in found] == [[1], [1], [1], [2], [2], [2]][: len(lengths)]
    assert len({r.sampling.seed for r in found}) == len(found)
    assert [(r.sampling.max_tokens,) for r in found] == [r.lengths for r in found]


def step_engine(**options):
    options = {"step_seconds": 1e-4, "token_seconds": 0.0} | options
    return StepEngine(prompted_script, TOKENIZER, eos_ids=frozenset({0}), **options)


@pytest.mark.parametrize("most", [1, 3, 256])
def test_the_simulated_engine_gives_the_same_trees_and_one_token_a_step(ours, most):
    engine = step_engine(max_num_seqs=most)
    run = schedules.ours(QUESTIONS, engine, CONFIG)
    assert plain(run) == plain(ours)
    tokens = engine.stats.generated_tokens
    assert tokens == ours.figures["generated_tokens"]
    assert engine.steps == tokens if most == 1 else tokens / most <= engine.steps < tokens
    assert engine.stats.seconds >= 1e-4 * engine.steps
    assert 0 < run.figures["outside_engine"] < 1


def test_a_request_takes_as_many_steps_as_its_longest_continuation():
    engine = step_engine()
    prompt = TOKENIZER("Give the final answer.")["input_ids"]
    generations = asyncio.run(engine.generate(prompt, Sampling(99, n=3, seed=1)))
    assert engine.steps == max(len(g.ids) for g in generations) and engine.sequences == 3


def test_a_step_takes_longer_where_it_computes_more():
    engine = step_engine(token_seconds=1e-3, fresh=20)
    asyncio.run(engine.generate(list(range(50)), Sampling(99, n=2, seed=1)))
    rest = engine.stats.generated_tokens
    assert engine.stats.seconds >= 1e-3 * (20 + rest)
    assert engine.stats.cached_tokens == 2 * 30


def test_the_scripted_model_says_the_same_in_other_tokens():
    class Shifted:
        """The characters of the tests' tokenizer under other ids."""

        eos_token_id = 7

        def __call__(self, text, add_special_tokens=True):
            return {"input_ids": [i + 1000 for i in TOKENIZER(text)["input_ids"]]}

        def decode(self, ids):
            return TOKENIZER.decode([i - 1000 for i in ids])

    tokenizer = Shifted()
    prompt, sampling = "Put the final answer in a box.", Sampling(99, n=2, seed=3)
    wanted = prompted_script(TOKENIZER(prompt)["input_ids"], sampling)
    for longer_by in ((0, 0), (5, 8)):
        found = schedules.scripted(tokenizer, longer_by)(tokenizer(prompt)["input_ids"], sampling)
        for one, other in zip(wanted, found, strict=True):
            more = len(other.ids) - len(one.ids)
            assert longer_by[0] <= more <= longer_by[1] and other.ids[-1] == 7
            assert tokenizer.decode(other.ids[more:-1]) == TOKENIZER.decode(one.ids[:-1])
