"""Voting over answers by mathematical equivalence (RFTT, section 3.4; the paper leaves the rule open)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rewards import grade, grade_async

RULES = ("majority", "content", "prior", "prm", "best_prior", "best_prm")


@dataclass
class Group:
    """Answers that are equal: the first one seen, how often it was given, with what weight, by which candidates."""

    answer: str
    count: int = 0
    weight: float = 0.0
    members: list[int] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {"answer": self.answer, "count": self.count, "weight": round(self.weight, 6), "members": self.members}


class Poll:
    """Answers that come one by one, grouped by mathematical equivalence. Each spelling is compared only once."""

    def __init__(self) -> None:
        self.groups: list[Group] = []
        self.total = 0
        self._known: dict[str, Group] = {}

    def add(self, answer: str | None, weight: float = 1.0) -> Group | None:
        """Count one candidate; None is no vote, but a candidate.

        Returns:
            The group that it joined.
        """
        group = None
        if answer is not None and (group := self._known.get(answer)) is None:
            group = next((g for g in self.groups if grade(g.answer, answer, extract="none").correct), None)
        return self._count(answer, weight, group)

    async def add_async(self, answer: str | None, weight: float = 1.0) -> Group | None:
        """`add` for an event loop, which hard comparisons do not block."""
        group = None
        if answer is not None and (group := self._known.get(answer)) is None:
            for other in self.groups:
                if (await grade_async(other.answer, answer, extract="none")).correct:
                    group = other
                    break
        return self._count(answer, weight, group)

    def _count(self, answer: str | None, weight: float, group: Group | None) -> Group | None:
        place, self.total = self.total, self.total + 1
        if answer is None:
            return None
        if group is None:
            self.groups.append(group := Group(answer))
        self._known[answer] = group
        group.count += 1
        group.weight += weight
        group.members.append(place)
        return group

    def ranking(self) -> list[Group]:
        """Groups, heaviest first; equal weights keep the order in which the answers came."""
        return sorted(self.groups, key=lambda g: -g.weight)

    def decided(self, left: int) -> bool:
        """Whether `left` more candidates of weight 1 cannot change who wins."""
        weights = [*sorted((g.weight for g in self.groups), reverse=True), 0.0, 0.0]
        return weights[0] - weights[1] > left


def group(answers: Iterable[str | None], weights: Sequence[float] | None = None) -> list[Group]:
    """Group answers by mathematical equivalence.

    Args:
        answers: candidates in order; None is no vote.
        weights: one a candidate; 1 each by default.

    Returns:
        Groups, heaviest first; equal weights keep the order in which the answers came.
    """
    poll = Poll()
    for i, answer in enumerate(answers):
        poll.add(answer, 1.0 if weights is None else weights[i])
    return poll.ranking()


def majority(answers: Iterable[str | None]) -> str | None:
    """The answer given most often; the earlier one when two are given equally often; None without any answer."""
    groups = group(answers)
    return groups[0].answer if groups else None


def weights(
    rule: str,
    answers: Sequence[str | None],
    logprobs: Sequence[float | None],
    scores: Sequence[float | None],
    own: Sequence[float | None] = (),
) -> list[float]:
    """What each candidate's vote weighs.

    Args:
        rule: ``"majority"`` 1 each; ``"content"`` what the strategy itself says, relative to its heaviest; ``"prior"`` exp
            of the mean log-probability per token; ``"prm"`` the score of the process reward model; ``"best_prior"`` and
            ``"best_prm"`` 1 for the candidate with the highest of these, among those with an answer.
        own: logarithms of the weights that the strategy gives them.
        answers, logprobs, scores: of the candidates; log-probs natural, per token; scores in [0, 1].

    Raises:
        ValueError: there is no such rule, or a candidate lacks what it weighs by.
    """
    if rule == "majority":
        return [1.0] * len(answers)
    if rule not in RULES:
        raise ValueError(f"vote {rule!r}: expected one of {', '.join(RULES)}")
    if rule == "content":
        if len(own) != len(answers) or None in own:
            raise ValueError(f"vote {rule!r}: only best_first weighs its candidates itself")
        given = [weight for weight in own if weight is not None]
        return [math.exp(weight - max(given)) for weight in given]
    by_prior = rule.endswith("prior")
    known = logprobs if by_prior else scores
    if any(value is None and answer is not None for value, answer in zip(known, answers, strict=True)):
        lacking = "log-probabilities" if by_prior else "scores of a process reward model"
        raise ValueError(f"vote {rule!r}: the candidates have no {lacking}")
    found = [
        0.0 if value is None or answer is None else math.exp(value) if by_prior else value
        for value, answer in zip(known, answers, strict=True)
    ]
    if not rule.startswith("best"):
        return found
    best = max((i for i, answer in enumerate(answers) if answer is not None), key=found.__getitem__, default=None)
    return [float(i == best) for i in range(len(found))]
