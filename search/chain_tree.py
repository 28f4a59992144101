"""The tree that chains of one question make: equal beginnings are shared, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from search.functions import FunctionSet
from search.mcts import back_up
from search.tree import Node, Status, Tree


@dataclass(frozen=True)
class Path:
    """A chain on its way into a tree.

    Args:
        ids: completion ids.
        logprobs: log-probabilities of each, natural log.
        answer: answer that it gives, if any.
        finished: whether the model ended it.
        worth: value of its leaf.
        score: score of the process reward model for its last step.
        spent: tokens generated when it was finished.
    """

    ids: Sequence[int]
    logprobs: Sequence[float]
    answer: str | None
    finished: bool
    worth: float
    score: float | None
    spent: int


def add_path(
    tree: Tree, path: Path, openings: Mapping[int, str], functions: FunctionSet, decode: Callable[[Sequence[int]], str]
) -> Node | None:
    """Add a chain to the tree of its question as one more rollout.

    Args:
        tree: tree of the question.
        path: the chain.
        openings: id of an opening tag → name of its function. What stands before a chain's first tag is left out.
        functions: the token set.
        decode: ids of a step → its text without tags.

    Returns:
        Its leaf; None for a chain that opens no function, or that is the beginning of another one.
    """
    starts = [place for place, id in enumerate(path.ids) if id in openings]
    node = tree.root
    for start, end in pairwise([*starts, len(path.ids)]):
        ids, function = list(path.ids[start:end]), openings[path.ids[start]]
        alike = [child for child in tree.children(node) if child.function == function]
        same = next((child for child in alike if child.ids == ids), None)
        if same is None:
            logprobs = list(path.logprobs[start:end])
            same = tree.add(node, function, len(alike), ids=ids, text=decode(ids), logprobs=logprobs)
        node = same
    if node is tree.root or node.terminal or node.children:
        return None
    node.status = _status(path, node.function, functions)
    node.answer, node.prm, node.rollout = path.answer, path.score, tree.root.visits + 1
    back_up(tree, node, path.worth)
    tree.spent.append(path.spent)
    return node


def _status(path: Path, last: str, functions: FunctionSet) -> Status:
    if not path.finished:
        return "truncated"
    return "answered" if last == functions.terminal else "malformed"
