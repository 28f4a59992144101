"""What a finished path is worth: one judge a tree, with what it has learned about its answers.

With gold a path earns 1 if its answer is right (RFTT, section 3.2). Without gold it earns the share of the tree's answers
that agree with its own (self-consistency), or the score that a process reward model gives its last step.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from search.answer_rule import AnswerRule
from search.grading import Asked, Graded, Grading, grade_math
from search.tree import Node, Tree
from search.voting import Poll

STRICT = AnswerRule()


class Scorer(Protocol):
    """A process reward model: one score in [0, 1] for each step of a solution."""

    def __call__(self, question: str, steps: Sequence[str]) -> Awaitable[list[float]]: ...


class GoldJudge:
    """1 if the answer of a finished path equals gold, else 0, or what a reward function says; sets answer and verdict."""

    def __init__(self, gold: str, rule: AnswerRule = STRICT, grading: Grading = grade_math) -> None:
        self.gold, self.rule, self.grading = gold, rule, grading
        self._graded: dict[str, Graded] = {}

    async def __call__(self, tree: Tree, leaf: Node) -> float:
        if not self.rule.counts(leaf):
            leaf.verdict = "no_answer"
            return 0.0
        if leaf.text not in self._graded:
            asked = Asked(tree.question_id, tree.question, self.gold)
            self._graded[leaf.text] = await self.grading(asked, leaf.text, self.rule.extract)
        graded = self._graded[leaf.text]
        leaf.answer, leaf.verdict, leaf.score = graded.answer, graded.status, graded.score
        return graded.value


class AgreementJudge:
    """The share of the tree's answers so far that agree with this one."""

    def __init__(self, rule: AnswerRule = STRICT) -> None:
        self.rule = rule
        self.poll = Poll()

    async def __call__(self, tree: Tree, leaf: Node) -> float:
        leaf.answer = self.rule.leaf_answer(leaf)
        group = await self.poll.add_async(leaf.answer)
        return group.count / self.poll.total if group else 0.0


class ScorerJudge(AgreementJudge):
    """The score of the path's last step; 0 for a path without an answer. Every node of the path keeps its score."""

    def __init__(self, scorer: Scorer, rule: AnswerRule = STRICT) -> None:
        super().__init__(rule)
        self.scorer = scorer

    async def __call__(self, tree: Tree, leaf: Node) -> float:
        await super().__call__(tree, leaf)
        path = tree.path(leaf)
        if leaf.answer is None or not path:
            return 0.0
        for node, score in zip(path, await self.scorer(tree.question, [n.text for n in path]), strict=True):
            node.prm = score
        return leaf.prm or 0.0
