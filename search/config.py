"""Settings of a search."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SearchConfig:
    """How trees grow; the defaults are those of the paper's phase 1 (RFTT, section 3.2).

    Args:
        rollouts: per question.
        max_depth: longest path in steps.
        exploration: c of the UCT formula.
        temperature: of the samples; 0 is greedy.
        top_p: nucleus, in (0, 1].
        max_step_tokens: longest step.
        min_prior: functional policy only: allowed functions less probable than this are not explored.
        siblings: functional policy only: steps sampled per chosen function.
        live_trees: questions in flight at once; bounds memory.
        parallel_rollouts: rollouts of one question in flight at once, kept apart by virtual loss.
        processes: phase 1 only: engines at once, each in a process of its own with its share of the questions.
        chains_per_question: phase 1 only: most SFT chains of one question.
        merged_share: phase 1 only: share of chains that hold a mistake, its verification and its correction, where a wrong
            path exists.
        seed: of every random choice.

    Raises:
        ValueError: a value is out of its range; the message names field, value and range.
    """

    rollouts: int = 16
    max_depth: int = 15
    exploration: float = 2.0
    temperature: float = 0.7
    top_p: float = 0.95
    max_step_tokens: int = 512
    min_prior: float = 0.0
    siblings: int = 1
    live_trees: int = 64
    parallel_rollouts: int = 1
    processes: int = 1
    chains_per_question: int = 1
    merged_share: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rollouts", "max_depth", "max_step_tokens", "siblings", "live_trees", "parallel_rollouts",
                     "processes", "chains_per_question"):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is not allowed, expected 1 or more")
        for name in ("exploration", "temperature"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} is not allowed, expected 0 or more")
        for name, low in (("merged_share", 0.0), ("min_prior", 0.0), ("top_p", 1e-6)):
            if not low <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: {getattr(self, name)} is not allowed, expected a share between 0 and 1")
