"""What people see of a solution."""

import asyncio

import pytest

from search import Question, SearchConfig, Solver
from search.show import printable, show
from search.solution import Candidate, Solution
from search.tree import Tree
from tests.search.fakes import functional_engine


def solved(strategy="mcts", **settings):
    solver = Solver(functional_engine(), SearchConfig(rollouts=8, max_depth=6, **settings), strategy)
    return asyncio.run(solver.solve(Question("q", "What is 1 + 1?")))


@pytest.mark.parametrize("strategy", ["mcts", "majority"])
def test_answer_votes_and_reasoning_are_shown(strategy):
    solution = solved(strategy)
    text = show(solution)
    assert text.splitlines()[0] == f"Answer: {solution.answer}"
    assert all(f"{g.answer} × {g.count}" in text for g in solution.votes)
    assert strategy in text and "step" in text


def test_every_visited_node_is_a_line_within_the_width():
    solution = solved()
    lines = show(solution, width=90, most=1000).splitlines()[4:]
    assert len(lines) == sum(n.visits > 0 for n in solution.tree.nodes) - 1
    assert max(map(len, lines)) <= 90 + 12
    few = show(solution, most=5).splitlines()
    assert few[-1].startswith("…") and "more nodes" in few[-1]


def test_a_terminal_that_knows_only_ascii_gets_ascii():
    assert show(solved(), unicode=False).isascii()


def test_what_a_model_writes_cannot_steer_the_terminal():
    assert "\x1b" not in printable("\x1b[2J\x07 hidden \u202e\n two")
    tree = Tree("q", "?")
    node = tree.add(tree.root, "output", 0, text="\x1b]0;owned\x07", answer="\x1b[31m7", status="answered", rollout=1)
    node.visits = tree.root.visits = 1
    solution = Solution("q", "?", "mcts", "majority", [Candidate("\x1b[2J", "\x1b[31m7", 3, 3)], tree=tree).elect()
    assert "\x1b" not in show(solution)


def test_a_tree_deeper_than_the_stack():
    tree = Tree("q", "?")
    node = tree.root
    for _ in range(3000):
        node = tree.add(node, "next_step", 0, visits=1)
    lines = show(Solution("q", "?", "mcts", "majority", tree=tree), width=80, most=60).splitlines()
    assert "2940 more nodes" in lines[-1] and max(map(len, lines)) <= 80 + 12
