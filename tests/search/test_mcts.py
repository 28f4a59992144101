"""Properties of the search that hold for every tree, whatever the model says."""

import asyncio
import json
import random
from collections import Counter

import pytest

from search import Question, SearchConfig, Tree, search_many
from search.engines import FakeEngine, Sampling
from search.functions import RFTT
from search.mcts import Flight, Rule, back_up, derived_seed, puct, select, uct
from tests.search.fakes import TOKENIZER, functional_engine, functional_script, prompted_engine, prompted_script


def trees(policy="functional", count=6, engine=None, **settings):
    engine = engine or (functional_engine() if policy == "functional" else prompted_engine())
    found = {}
    questions = [Question(f"q{i}", f"What is {i}?", "1") for i in range(count)]

    def keep(tree):
        found[tree.question_id] = tree

    config = SearchConfig(**({"rollouts": 24, "max_depth": 6} | settings))
    asyncio.run(search_many(questions, engine, config, keep, policy=policy))
    return [found[q.id] for q in questions], engine


SETTINGS = {
    "plain": {},
    "parallel": {"parallel_rollouts": 6},
    "puct": {"selection": "puct", "siblings": 3},
    "puct, parallel": {"selection": "puct", "parallel_rollouts": 6},
    "siblings": {"siblings": 3, "parallel_rollouts": 3},
    "budget": {"budget_tokens": 300, "parallel_rollouts": 4},
    "entropy": {"branch_entropy": 1.1, "siblings": 2},
}


@pytest.fixture(params=[(policy, name) for policy in ("functional", "prompted") for name in SETTINGS], ids=": ".join)
def grown(request):
    policy, name = request.param
    return trees(policy, **SETTINGS[name])


def test_visits_of_a_node_are_its_childrens_or_its_own_rollout(grown):
    for tree in grown[0]:
        for node in tree.nodes:
            below = sum(c.visits for c in tree.children(node))
            assert node.visits == (1 if node.rollout else below)


def test_values_stay_between_zero_and_visits(grown):
    for tree in grown[0]:
        assert all(0 <= n.value <= n.visits for n in tree.nodes)


def test_every_path_is_legal_under_its_transition_table(grown):
    for tree in grown[0]:
        table = getattr(RFTT, tree.made_by["policy"])
        for node in tree.nodes[1:]:
            assert node.function in table[tree.nodes[node.parent].function]


def test_no_request_is_made_twice(grown):
    _, engine = grown
    assert len(engine.log) == len(set(engine.log))


def test_one_request_per_expansion_and_one_for_the_start():
    found, engine = trees("functional")
    nodes = sum(len(t.nodes) - 1 for t in found)
    assert len(engine.log) == nodes + len(found)


def test_no_path_is_walked_twice_and_rollouts_are_numbered(grown):
    for tree in grown[0]:
        leaves = tree.leaves()
        assert [n.rollout for n in leaves] == list(range(1, len(leaves) + 1))
        assert all(n.visits == 1 for n in leaves)
        assert len(tree.spent) == len(leaves) and tree.spent == sorted(tree.spent)


def test_an_exhausted_tree_stops():
    found, _ = trees("functional", rollouts=10_000, max_depth=2)
    for tree in found:
        assert tree.root.closed
        assert tree.root.visits < 10_000
        assert all(n.visits for n in tree.nodes)


def test_the_depth_limit_truncates_and_earns_nothing():
    found, _ = trees("functional", max_depth=2)
    cut = [n for t in found for n in t.leaves() if n.status == "truncated"]
    assert cut and all(n.value == 0 and n.verdict == "no_answer" for n in cut)
    assert max(t.depth(n) for t in found for n in t.nodes) == 2


class Uneven(FakeEngine):
    """Answers after a time of its own for every request, so that answers come in another order than questions."""

    async def generate(self, prompt_ids, sampling):
        self.turns = random.Random(f"{len(prompt_ids)}/{sampling.seed}").randrange(30)
        return await super().generate(prompt_ids, sampling)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize(("policy", "script"), [("functional", functional_script), ("prompted", prompted_script)])
def test_a_tree_does_not_depend_on_how_many_are_in_flight(policy, script, settings):
    alone, _ = trees(policy, live_trees=1, **settings)
    uneven = Uneven(script, TOKENIZER, eos_ids=frozenset({0}))
    together, _ = trees(policy, live_trees=64, engine=uneven, **settings)
    assert [t.to_json() for t in alone] == [t.to_json() for t in together]


def test_parallel_rollouts_are_in_flight_together_and_never_more_than_wanted():
    class Counting(FakeEngine):
        now = most = 0

        async def generate(self, prompt_ids, sampling):
            self.now += 1
            self.most = max(self.most, self.now)
            found = await super().generate(prompt_ids, sampling)
            self.now -= 1
            return found

    def counting():
        return Counting(functional_script, TOKENIZER, eos_ids=frozenset({0}), turns=5)

    for parallel, rollouts, most in ((1, 20, 1), (8, 20, 8), (8, 3, 3)):
        [tree], engine = trees(count=1, parallel_rollouts=parallel, rollouts=rollouts, engine=counting())
        assert tree.root.visits == rollouts and engine.most == most


def test_a_lost_rollout_cancels_the_others_of_its_tree():
    cancelled = []

    class Breaking(FakeEngine):
        async def generate(self, prompt_ids, sampling):
            number = len(self.log)
            found = await super().generate(prompt_ids, sampling)
            if number == 8:
                await asyncio.sleep(0.1)
                raise RuntimeError("the engine is gone")
            try:
                await asyncio.sleep(60 if number > 8 else 0)
            except asyncio.CancelledError:
                cancelled.append(number)
                raise
            return found

    engine = Breaking(functional_script, TOKENIZER, eos_ids=frozenset({0}))
    with pytest.raises(RuntimeError, match="the engine is gone"):
        trees(count=1, parallel_rollouts=4, engine=engine)
    assert cancelled


def test_the_seed_changes_the_tree():
    assert trees(seed=1)[0][0].to_json() != trees(seed=2)[0][0].to_json()


def test_json_round_trip(grown):
    for tree in grown[0]:
        record = json.loads(json.dumps(tree.to_json()))
        assert Tree.from_json(record).to_json() == record


def test_a_record_of_another_schema_is_refused():
    with pytest.raises(ValueError, match="expected a record of schema"):
        Tree.from_json({"schema": "other/1", "nodes": []})


def test_min_prior_leaves_out_improbable_functions():
    found, _ = trees("functional", min_prior=0.16)
    for tree in found:
        for node in tree.nodes[1:]:
            assert node.prior >= 0.16


def test_puct_by_hand():
    assert puct(0.5, 3, 0.4, 16, 2.0) == pytest.approx(0.5 + 2 * 0.4 * 4 / 4)
    tree = Tree("q", "?")
    tree.root.options = {"analyze": 0.95, "next_step": 0.05}
    width, rule = {"analyze": 1, "next_step": 1}.__getitem__, Rule(1.0, 0, puct=True)
    assert select(tree, tree.root, rule, width, Flight(visits=Counter({0: 1}))) == "analyze"
    good = tree.add(tree.root, "analyze", 0, prior=0.95, visits=8, value=8.0, options={"output": 1.0})
    tree.root.visits, tree.root.value = 8, 8.0
    # UCT must try what it has not tried; PUCT may stay where value and prior are high: 1 + 0.95·√8/9 > 1 + 0.05·√8.
    assert select(tree, tree.root, rule, width) is good
    assert select(tree, tree.root, Rule(1.0, 0), width) == "next_step"


def test_uct_by_hand():
    tree = Tree("q", "?")
    child = tree.add(tree.root, "analyze", 0, visits=4, value=3.0)
    assert uct(child, 16, 2.0) == pytest.approx(0.75 + 2 * (2.772588722 / 4) ** 0.5)


def test_select_takes_the_likeliest_fresh_function_then_the_best_uct():
    tree = Tree("q", "?")
    tree.root.options = {"analyze": 0.2, "next_step": 0.7, "clarify": 0.1}
    width = {"analyze": 1, "next_step": 1, "clarify": 1}.__getitem__
    assert select(tree, tree.root, Rule(2.0, 0), width) == "next_step"
    for function, value in (("next_step", 0.0), ("analyze", 1.0), ("clarify", 0.0)):
        leaf = tree.add(tree.root, function, 0, prior=tree.root.options[function])
        leaf.options = {"output": 1.0}
        tree.root.visits, leaf.visits, leaf.value = tree.root.visits + 1, 1, value
    assert select(tree, tree.root, Rule(0.5, 0), width).function == "analyze"


def test_virtual_loss_sends_the_next_rollout_elsewhere():
    tree = Tree("q", "?")
    tree.root.options = {"analyze": 0.6, "next_step": 0.4}
    width = {"analyze": 1, "next_step": 1}.__getitem__
    flight = Flight(asked={(0, "analyze")})
    assert select(tree, tree.root, Rule(2.0, 0), width, flight) == "next_step"
    flight.asked.add((0, "next_step"))
    assert select(tree, tree.root, Rule(2.0, 0), width, flight) is None
    nodes = [tree.add(tree.root, f, 0, visits=2, value=v, options={"output": 1.0}) for f, v in
             (("analyze", 2.0), ("next_step", 1.0))]  # fmt: skip
    tree.root.visits = 4
    assert select(tree, tree.root, Rule(0.1, 0), width) is nodes[0]
    assert select(tree, tree.root, Rule(0.1, 0), width, Flight(visits=Counter({nodes[0].id: 4}))) is nodes[1]


def test_back_up_closes_an_exhausted_branch():
    tree = Tree("q", "?")
    tree.root.options = {"analyze": 1.0}
    leaf = tree.add(tree.root, "analyze", 0, status="answered")
    back_up(tree, leaf, 1.0)
    assert leaf.closed and tree.root.closed and tree.root.mean == 1.0


def test_seeds_depend_on_every_part():
    assert derived_seed(0, "a", "b") != derived_seed(0, "ab", "") != derived_seed(1, "a", "b")


def test_an_engine_that_breaks_stops_the_search_with_its_own_error():
    def broken(prompt_ids, sampling):
        raise RuntimeError("the engine is gone")

    engine = functional_engine()
    engine.script = broken
    with pytest.raises(RuntimeError, match="the engine is gone"):
        trees("functional", engine=engine)


def test_steps_have_a_temperature_of_their_own():
    for settings, expected in (({}, 0.7), ({"step_temperature": 0.1}, 0.1), ({"step_temperature": 0.0}, 0.0)):
        _, engine = trees(count=1, temperature=0.7, **settings)
        assert {sampling.temperature for _, sampling in engine.log} == {expected}


def test_with_widening_no_tree_runs_dry():
    few, _ = trees("functional", rollouts=400, max_depth=2)
    many, engine = trees("functional", rollouts=400, max_depth=2, widening=1.0, step_temperature=0.1, temperature=0.9)
    assert all(t.stopped == "exhausted" for t in few) and all(t.stopped == "rollouts" for t in many)
    assert all(len(t.leaves()) == 400 for t in many)
    assert {s.temperature for _, s in engine.log} == {0.1, 0.9}
    for tree in many:
        for node in tree.nodes:  # no sibling says what another one says
            said = [tuple(c.ids) for c in tree.children(node)]
            assert len(said) == len(set(said))


def test_a_function_that_only_repeats_itself_is_left_alone():
    def same(prompt_ids, sampling):
        return [functional_script(prompt_ids, Sampling(**{**vars(sampling), "seed": 1, "n": 1}))[0]] * sampling.n

    engine = functional_engine()
    engine.script = same
    found, _ = trees("functional", rollouts=400, max_depth=3, widening=2.0, engine=engine)
    for tree in found:
        assert tree.stopped == "exhausted" and tree.root.closed
        assert all(count <= 2 for n in tree.nodes for count in n.repeats.values())
        assert len(engine.log) < 400 * 4


@pytest.mark.parametrize(
    "settings",
    [
        {"widening": 1.0},
        {"widening": 2.0, "selection": "puct"},
        {"untried": "gumbel"},
        {"root": "halving"},
        {"root": "halving", "untried": "gumbel", "widening": 1.0},
    ],
)
@pytest.mark.parametrize("parallel", [1, 6])
def test_new_ways_keep_the_properties_of_a_tree(settings, parallel):
    settings = {"parallel_rollouts": parallel, **settings}
    alone, _ = trees("functional", live_trees=1, **settings)
    together, _ = trees("functional", engine=Uneven(functional_script, TOKENIZER, eos_ids=frozenset({0})), **settings)
    assert [t.to_json() for t in alone] == [t.to_json() for t in together]
    for tree in alone:
        for node in tree.nodes:
            assert node.visits == (1 if node.rollout else sum(c.visits for c in tree.children(node)))
        assert len(tree.leaves()) == tree.root.visits <= 24


def test_gumbel_noise_orders_untried_functions_and_samples_them_by_their_priors():
    first = Counter()
    for i in range(400):
        tree = Tree(f"q{i}", "?")
        tree.root.options = {"analyze": 0.7, "next_step": 0.3}
        first[select(tree, tree.root, Rule(2.0, 0, gumbel=True), lambda f: 1)] += 1
    assert 0.62 < first["analyze"] / 400 < 0.78


def test_sequential_halving_gives_the_better_half_of_the_root_more_rollouts():
    async def judge(tree, leaf):
        return float(tree.path(leaf)[0].function == "subquestion")

    from search.driver import make_policy
    from search.mcts import grow

    shares = []
    for halving in (False, True):
        policy = make_policy("functional", functional_engine(), SearchConfig(max_depth=6))
        rule = Rule(2.0, 0, halving=halving, rollouts=64)
        tree = asyncio.run(grow(Tree("q", "What?"), policy, judge, rule, rollouts=64))
        visits = Counter()
        for child in tree.children(tree.root):
            visits[child.function] += child.visits
        shares.append(visits["subquestion"] / 64)
        if halving:  # two rounds of four and of two functions
            assert sorted(visits.values())[0] == 8 and visits["subquestion"] >= 24
    assert shares[1] > 0.3


def test_accounting_tells_distinct_leaves_beside_rollouts():
    from search.accounting import CountedEngine

    def same(prompt_ids, sampling):
        return [functional_script(prompt_ids, Sampling(**{**vars(sampling), "seed": 1, "n": 1}))[0]] * sampling.n

    engine = functional_engine()
    engine.script = same
    counted = CountedEngine(engine)
    found, _ = trees("functional", count=1, siblings=3, rollouts=6, max_depth=3, engine=counted)
    counted.finished(found[0])
    figures = counted.figures()
    assert figures["rollouts_per_question"] == 6 > figures["leaves_per_question"] >= 1
