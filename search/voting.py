"""Voting over answers by mathematical equivalence (methods: RFTT, section 3.4; the paper leaves the rule open)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rewards import grade
from search.tree import Node, Tree


@dataclass
class Group:
    """Answers that are equal: the first one seen, how often it was given, with what weight, by which candidates."""

    answer: str
    count: int = 0
    weight: float = 0.0
    members: list[int] = field(default_factory=list)


def group(answers: Iterable[str | None], weights: Sequence[float] | None = None) -> list[Group]:
    """Group answers by mathematical equivalence.

    Args:
        answers: candidates in order; None is no vote.
        weights: one a candidate; 1 each by default.

    Returns:
        Groups, heaviest first; equal weights keep the order in which the answers came.
    """
    groups: list[Group] = []
    for i, answer in enumerate(answers):
        if answer is None:
            continue
        found = next((g for g in groups if equal(g.answer, answer)), None)
        if found is None:
            groups.append(found := Group(answer))
        found.count += 1
        found.weight += 1.0 if weights is None else weights[i]
        found.members.append(i)
    return sorted(groups, key=lambda g: -g.weight)


def majority(answers: Iterable[str | None]) -> str | None:
    """The answer given most often; the earlier one when two are given equally often; None without any answer."""
    groups = group(answers)
    return groups[0].answer if groups else None


def equal(one: str, other: str) -> bool:
    return one == other or grade(one, other, extract="none").correct


async def agreement(tree: Tree, leaf: Node) -> float:
    """Value of a path where no gold is known: the share of this tree's answers so far that agree with its answer."""
    return await asyncio.to_thread(_agreement, tree, leaf)


def _agreement(tree: Tree, leaf: Node) -> float:
    if leaf.answer is None:
        return 0.0
    answers = [n.answer for n in tree.leaves()] + [leaf.answer]
    return sum(a is not None and equal(a, leaf.answer) for a in answers) / len(answers)
