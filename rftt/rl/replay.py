"""Replay of solved questions: a right path that was found once is not lost when the next visit finds none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from rftt.rl.sample import Sample


class SolvedPaths:
    """The latest right path of each question.

    A replayed path keeps the log-probs of the policy that sampled it; what the policy of today makes of them is corrected by
    TRL's importance sampling between engine and trainer.
    """

    def __init__(self) -> None:
        self._paths: dict[str, Sample] = {}

    def __len__(self) -> int:
        return len(self._paths)

    def exchange(self, paths: list[Sample]) -> list[Sample]:
        """Remember a right path of this visit; where there is none, put the one of an earlier visit in the last one's place.

        Args:
            paths: of one question.
        """
        right = next((p for p in paths if p.verdict == "correct"), None)
        question = paths[0].question_id
        if right is not None:
            self._paths[question] = replace(right, origin="replay", nodes=[], weight=1.0)  # beside another tree
            return paths
        known = self._paths.get(question)
        return paths if known is None else [*paths[:-1], known]

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(path) for path in self._paths.values()]

    def load(self, records: Iterable[dict[str, Any]]) -> None:
        """Add what `to_json` gave."""
        self._paths |= {record["question_id"]: Sample(**record) for record in records}
