"""What a strategy found: its candidates, the vote and the answer."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from search.tree import Tree
from search.voting import Group, group, weights

SCHEMA = "rftt.solution/1"


@dataclass(frozen=True)
class Candidate:
    """A finished chain.

    Args:
        text: text of the chain, tags included.
        answer: extracted from it; None where there is none.
        tokens: length of the chain.
        spent: tokens that the strategy had generated when it was finished.
        logprob: mean log-probability of its tokens, natural; None where nobody asked.
        score: score of the process reward model for its last step.
        node: id of its leaf in the tree.
        weight: logarithm of the weight that its strategy gives its vote; None where the strategy gives none.
        forced: functions in it that the search forced.
        ids: ids of its tokens, as they were sampled.
        ended: whether it ended by itself, not at a limit of tokens, of the context or of the depth.
    """

    text: str
    answer: str | None
    tokens: int
    spent: int
    logprob: float | None = None
    score: float | None = None
    node: int | None = None
    weight: float | None = None
    forced: int = 0
    ids: tuple[int, ...] = field(default=(), repr=False)
    ended: bool = True


@dataclass
class Solution:
    """What a strategy found.

    Args:
        question_id, question: what was asked.
        strategy: name of the strategy.
        answer: elected by the vote; None where no candidate has an answer.
        votes: groups of equal answers, heaviest first.
        candidates: candidates in the order in which they were finished.
        tokens: generated in all.
        requests, rounds: made to the engine; made one after the other.
        stopped: ``"rollouts"``, ``"budget"``, ``"decided"`` or ``"exhausted"``.
        vote: rule of the vote.
        tree: tree of MCTS.
    """

    question_id: str
    question: str
    strategy: str
    vote: str
    candidates: list[Candidate] = field(default_factory=list)
    tokens: int = 0
    requests: int = 0
    rounds: int = 0
    stopped: str = "rollouts"
    tree: Tree | None = None
    votes: list[Group] = field(default_factory=list)
    answer: str | None = None

    def elect(self) -> Solution:
        """Fill `votes` and `answer`; compares answers, so it may take a while."""
        self.votes = _votes(self.candidates, self.vote)
        self.answer = self.votes[0].answer if self.votes else None
        return self

    @property
    def share(self) -> float:
        """The elected answer's share of the vote, in [0, 1]; 0 without an answer."""
        total = sum(group.weight for group in self.votes)
        return self.votes[0].weight / total if total else 0.0

    def answer_at(self, tokens: int) -> str | None:
        """The answer that a budget of so many tokens would have given; the first candidate is finished in any case."""
        done = [c for c in self.candidates if c.spent <= tokens] or self.candidates[:1]
        votes = _votes(done, self.vote)
        return votes[0].answer if votes else None

    def to_json(self) -> dict[str, Any]:
        shown = ("question_id", "question", "strategy", "vote", "answer", "tokens", "requests", "rounds", "stopped")
        return {
            "schema": SCHEMA,
            **{name: getattr(self, name) for name in shown},
            "votes": [votes.to_json() for votes in self.votes],
            "candidates": [
                {name: value for name, value in asdict(candidate).items() if name != "ids"}
                for candidate in self.candidates
            ],
            "tree": self.tree.to_json() if self.tree else None,
        }


def _votes(candidates: list[Candidate], rule: str) -> list[Group]:
    answers = [c.answer for c in candidates]
    own = [c.weight for c in candidates]
    return group(answers, weights(rule, answers, [c.logprob for c in candidates], [c.score for c in candidates], own))
