"""Settings of phase 1: a search, and what becomes of its trees (RFTT, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

from search.config import SearchConfig


@dataclass(frozen=True)
class CollectionConfig(SearchConfig):
    """A search that collects SFT chains.

    Args:
        processes: number of engines at once, each in a process of its own with its share of the questions.
        chains_per_question: largest number of SFT chains of one question.
        chains_by_difficulty: whether a question has only its share of wrong paths of that number, rounded up, so that hard
            questions teach more than easy ones (as in DART-Math, arXiv 2407.13690).
        merged_share: share of chains that hold a mistake, its verification and its correction, where a wrong path exists.
        preferences: largest number of step-preference pairs of one question; 0 writes none.
        preference_gap: least difference in mean reward between the steps of such a pair.
        rounds: number of rounds of search and SFT, each with the model of the one before as the searcher.

    Raises:
        ValueError: a value is out of its range; the message names field, value and range.
    """

    processes: int = 1
    chains_per_question: int = 1
    chains_by_difficulty: bool = False
    merged_share: float = 0.5
    preferences: int = 0
    preference_gap: float = 0.5
    rounds: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("processes", 1), ("chains_per_question", 1), ("rounds", 1), ("preferences", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: {getattr(self, name)} is not allowed, expected {least} or more")
        for name, low in (("merged_share", 0.0), ("preference_gap", 1e-6)):
            if not low <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: {getattr(self, name)} is not allowed, expected a share between 0 and 1")
