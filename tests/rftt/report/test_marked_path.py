"""The path that the report marks in a tree."""

from __future__ import annotations

from rftt.report import chosen_leaf
from search.tree import Node, Tree


def path_of(tree: Tree, *steps: tuple[str, float], answer: str, verdict: str | None = None, **values) -> Node:
    node = tree.root
    for text, mean in steps:
        node = tree.add(node, "next_step", len(node.children), text=text, visits=1, value=mean, **values)
    node.status, node.answer, node.verdict, node.rollout = "answered", answer, verdict, len(tree.leaves()) + 1
    return node


def test_with_gold_the_correct_path_with_the_best_mean_score_is_chosen():
    tree = Tree("a", "?")
    assert chosen_leaf(tree) is None
    path_of(tree, ("a", 1.0), ("b", 1.0), answer="3", verdict="wrong")
    path_of(tree, ("a", 0.2), ("b", 1.0), answer="2", verdict="correct")
    best = path_of(tree, ("a", 0.5), ("b", 1.0), answer="2", verdict="correct")
    path_of(tree, ("a", 0.5), ("a", 1.0), answer="2", verdict="correct")
    assert chosen_leaf(tree) is best
    best = path_of(tree, ("a", 0.3), answer="2", verdict="correct", prm=0.9)
    assert chosen_leaf(tree) is best


def test_without_gold_the_vote_chooses():
    tree = Tree("a", "?")
    lone = path_of(tree, ("a", 1.0), answer="3")
    path_of(tree, ("a", 0.1), answer="2")
    best = path_of(tree, ("a", 0.2), answer="2")
    assert chosen_leaf(tree, by_vote=True) is best
    assert chosen_leaf(tree, by_vote=True, voted="3") is lone
    assert chosen_leaf(tree, by_vote=True, voted="4") is None
