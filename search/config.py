"""Settings of a search, declared here once for phase 1, RL, evaluation, `rftt solve` and `rftt serve`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class SearchConfig:
    """How trees grow; the defaults are those of the paper's phase 1 (RFTT, section 3.2).

    Args:
        rollouts: per question; for strategies that sample chains, the number of chains.
        budget_tokens: a search that has generated so many tokens starts nothing new; its first path is finished all the
            same. None leaves the budget to `rollouts`.
        early_stop: stop when the rollouts that are left cannot change the vote any more; only where no gold is known.
        max_depth: longest path in steps.
        selection: ``"uct"`` goes to unvisited children first, the one with the highest prior before others; ``"puct"``
            weighs the exploration of a child with its prior.
        exploration: c of the UCT or PUCT formula.
        temperature: of the samples; 0 is greedy.
        top_p: nucleus, in (0, 1].
        max_step_tokens: longest step.
        max_tokens: longest chain of strategies that sample whole chains.
        min_prior: functional policy only: allowed functions less probable than this are not explored.
        branch_entropy: functional policy only: where the entropy of the next function is below this, in nats, only the most
            probable function is explored.
        siblings: functional policy only: steps sampled per chosen function.
        beam_width: beam strategies only: continuations of one beam; `rollouts` must be a multiple of it.
        vote: how finished paths elect the answer: ``"majority"``, ``"prior"`` (weighted by the length-normalised
            probability of the chain), ``"prm"`` (weighted by the score of the process reward model), ``"best_prior"`` or
            ``"best_prm"`` (the one best candidate).
        live_trees: questions in flight at once; bounds memory.
        parallel_rollouts: rollouts of one question in flight at once, kept apart by virtual loss.
        seed: seed of every random choice.

    Raises:
        ValueError: a value is out of its range; the message names field, value and range.
    """

    rollouts: int = 16
    budget_tokens: int | None = None
    early_stop: bool = False
    max_depth: int = 15
    selection: Literal["uct", "puct"] = "uct"
    exploration: float = 2.0
    temperature: float = 0.7
    top_p: float = 0.95
    max_step_tokens: int = 512
    max_tokens: int = 2048
    min_prior: float = 0.0
    branch_entropy: float = 0.0
    siblings: int = 1
    beam_width: int = 4
    vote: Literal["majority", "prior", "prm", "best_prior", "best_prm"] = "majority"
    live_trees: int = 64
    parallel_rollouts: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rollouts", "budget_tokens", "max_depth", "max_step_tokens", "max_tokens", "siblings", "beam_width",
                     "live_trees", "parallel_rollouts"):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: {value} is not allowed, expected 1 or more")
        if self.early_stop and self.vote != "majority":
            raise ValueError(f"early_stop: True is not allowed with vote {self.vote}, expected vote majority")
        for name in ("exploration", "temperature", "branch_entropy"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} is not allowed, expected 0 or more")
        for name, low in (("min_prior", 0.0), ("top_p", 1e-6)):
            if not low <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: {getattr(self, name)} is not allowed, expected a share between 0 and 1")
