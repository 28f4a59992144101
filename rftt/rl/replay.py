"""Replay of solved questions: a right rollout that was found once is not lost when the next visit finds none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from rftt.rl.rollout import Rollout


class SolvedRollouts:
    """The latest right rollout of each question.

    A replayed one keeps what it was: its origin, and so its loss mask, its weight, and the log-probs of the policy that
    sampled it; what the policy of today makes of them is corrected by TRL's importance sampling between engine and trainer.
    It shares no nodes with the tree that it stands beside. Replay is a bias by intention: a right path counts where none was
    found.
    """

    def __init__(self) -> None:
        self._rollouts: dict[str, Rollout] = {}

    def __len__(self) -> int:
        return len(self._rollouts)

    def exchange(self, rollouts: list[Rollout]) -> list[Rollout]:
        """Remember a right rollout of this visit; without one, put that of an earlier visit in the last one's place.

        Args:
            rollouts: rollouts of one question.
        """
        right = next((r for r in rollouts if r.verdict == "correct"), None)
        question = rollouts[0].question_id
        if right is not None:
            self._rollouts[question] = replace(right, replayed=True, nodes=[])  # beside another tree
            return rollouts
        known = self._rollouts.get(question)
        return rollouts if known is None else [*rollouts[:-1], known]

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(rollout) for rollout in self._rollouts.values()]

    def load(self, records: Iterable[dict[str, Any]]) -> None:
        """Add what `to_json` gave."""
        self._rollouts |= {record["question_id"]: Rollout(**record) for record in records}
