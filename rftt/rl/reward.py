"""What a path earns in the end: for its answer (RFTT, section 3.3), and perhaps for its form.

Both follow the rules of `rewards.outcome`: what a verdict earns, and that an answer must stand in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rewards import grade_many
from rewards.outcome import outcome
from search.answers import AnswerRule
from search.functions import RFTT, FunctionSet


class OutcomeReward:
    """A TRL reward function that reads the verdicts which the search reached already.

    A row without a verdict is graded here. A path that was cut off, or is no chain, earns nothing whatever it holds.

    Args:
        tokenizer: decodes rows that have no verdict; their tags are kept.
        eos_ids: a row without a verdict that does not end in one of these was cut off.
        wrong: reward of an answer that is not correct, in [0, 1).
        functions: the token set; a chain answers in its terminal step alone.
    """

    __name__ = "outcome"  # TRL's name for it in metrics

    def __init__(
        self, tokenizer: Any, eos_ids: Sequence[int], wrong: float = 0.1, functions: FunctionSet = RFTT
    ) -> None:
        self.rule = AnswerRule(functions=functions)
        self.tokenizer = tokenizer
        self.eos_ids = frozenset(eos_ids)
        self.wrong = wrong

    def __call__(
        self,
        *,
        completion_ids: Sequence[Sequence[int]],
        answer: Sequence[str],
        verdict: Sequence[str | None] | None = None,
        **_: Any,
    ) -> list[float]:
        """Args: completion_ids, the gold answers and the verdicts, one a path, as TRL passes columns and fields."""
        verdicts: list[str | None] = list(verdict) if verdict is not None else [None] * len(completion_ids)
        for row, found in zip(self._open(verdicts), self._grade(completion_ids, answer, verdicts), strict=True):
            verdicts[row] = found
        return [outcome(v or "no_answer", self.wrong) for v in verdicts]

    def _open(self, verdicts: Sequence[str | None]) -> list[int]:
        return [row for row, verdict in enumerate(verdicts) if verdict is None]

    def _grade(
        self, completion_ids: Sequence[Sequence[int]], answer: Sequence[str], verdicts: Sequence[str | None]
    ) -> list[str]:
        rows = self._open(verdicts)
        whole = [row for row in rows if completion_ids[row] and completion_ids[row][-1] in self.eos_ids]
        # The last id is the end of the sequence, which is no part of the chain.
        decoded = (self.tokenizer.decode(completion_ids[row][:-1], skip_special_tokens=False) for row in whole)
        texts = [self.rule.part(text) for text in decoded]
        graded = grade_many([(answer[row], text) for row, text in zip(whole, texts, strict=True)])
        found = {row: verdict.status for row, verdict in zip(whole, graded, strict=True)}
        return [found.get(row, "no_answer") for row in rows]


class FormatReward:
    """A TRL reward function: 1 for a path that is a whole chain, which ends in an answer in its place, else 0."""

    __name__ = "format"

    def __call__(self, *, status: Sequence[str], verdict: Sequence[str | None] | None = None, **_: Any) -> list[float]:
        """Args: how each path ended and the verdict on its answer, fields of the rollout."""
        verdicts = verdict if verdict is not None else [None] * len(status)
        return [float(s == "answered" and v != "no_answer") for s, v in zip(status, verdicts, strict=True)]
