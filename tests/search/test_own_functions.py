"""Searching with a token set of one's own: no verification, so no merged chains, and an answer step of another name."""

import asyncio

import pytest

from rewards import grade
from search import Question, Solver, search_many, solve_many
from search.chain import answering_part, check, parse, well_formed
from search.collection import CollectionConfig
from search.functions import RFTT
from search.merge import chains
from search.preferences import preferences
from search.prompted import PromptedPolicy
from tests.own_functions import OWN
from tests.search.fakes import Scripted, functional_engine, prompted_engine

MODEL = Scripted(OWN)
CONFIG = CollectionConfig(rollouts=12, max_depth=5, chains_per_question=3, merged_share=1.0, preferences=2)
CHAIN = "<plan>\nfirst\n</plan>\n<solve>\nso \\boxed{1}\n</solve>\n<answer>\n\\boxed{2}\n</answer>\n"


def grown(engine, policy, **settings):
    trees = []
    config = CollectionConfig(**{"rollouts": 12, "max_depth": 5, "preferences": 2, **settings})
    asked = [Question(str(i), f"What is {i}?", "0") for i in range(4)]
    asyncio.run(search_many(asked, engine, config, trees.append, policy=policy, functions=OWN))
    return trees


def test_prompted_trees_become_plain_chains_of_the_set():
    engine = prompted_engine(MODEL)
    records = []
    for tree in grown(engine, "prompted"):
        assert {n.function for n in tree.nodes[1:]} <= {"plan", "step", "solve"}
        assert {n.function for n in tree.leaves() if n.status == "answered"} <= {"solve"}
        asked = len(engine.log)
        records += asyncio.run(chains(tree, PromptedPolicy(engine, OWN), CONFIG, OWN))
        assert len(engine.log) == asked, "no verification is asked for"
        for pair in preferences(tree, CONFIG, OWN):
            assert pair["chosen"][0]["content"].startswith(("<plan>\n", "<step>\n", "<solve>\n"))
    assert records and {r["kind"] for r in records} == {"plain"}
    for record in records:
        steps = parse(record["messages"][-1]["content"], OWN)
        check(steps, OWN)
        assert [s.function for s in steps[-2:]] == ["solve", "answer"]


def test_functional_trees_follow_the_table_of_the_set():
    trees = grown(functional_engine(MODEL), "functional")
    for tree in trees:
        for node in tree.nodes[1:]:
            assert node.function in OWN.functional[tree.nodes[node.parent].function]
    answered = [leaf for tree in trees for leaf in tree.leaves() if leaf.status == "answered"]
    assert answered and {leaf.function for leaf in answered} == {"answer"}


@pytest.mark.parametrize("strategy", ["greedy", "majority", "best_of_n", "beam", "dvts", "mcts"])
def test_every_strategy_answers(strategy):
    solutions = []
    config = CollectionConfig(rollouts=8, beam_width=2, max_depth=8, max_tokens=2000)
    solver = Solver(functional_engine(MODEL), config, strategy, functions=OWN)
    assert solver.tuned
    asyncio.run(solve_many([Question("q", "What is 1?")], solver, solutions.append))
    assert solutions[0].answer in {"0", "1", "2"}


def test_a_model_without_the_tags_of_the_set_searches_by_prompting():
    assert not Solver(prompted_engine(), CONFIG, "mcts", functions=OWN).tuned


def test_the_answer_stands_in_the_terminal_step_alone():
    assert answering_part(CHAIN, OWN) == "\n\\boxed{2}\n"
    assert answering_part(CHAIN[: CHAIN.index("<answer>")], OWN) == "", "a chain that was cut off has no answer yet"
    assert answering_part("It is \\boxed{3}.", OWN) == "It is \\boxed{3}."


def test_a_terminal_step_that_another_tag_closes_has_its_answer_all_the_same():
    chain = "<next_step>\n1\n</next_step>\n<output>\n\\boxed{1}\n</direct_answer>"
    assert not well_formed(chain) and grade("1", answering_part(chain)).correct and grade("1", chain).correct
    assert well_formed(CHAIN, OWN) and not well_formed(CHAIN, RFTT)
