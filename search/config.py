"""Settings of a search, declared here once for phase 1, RL, evaluation, `rftt solve` and `rftt serve`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from search.answer_rule import AnswerRule, Extract, Form
from search.functions import FunctionSet


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
        untried: the order of functions that were not tried, with UCT: ``"prior"``, the likeliest first, or ``"gumbel"``, by
            log prior and Gumbel noise, which samples them without replacement.
        root: how rollouts are shared out at the root: by `selection`, or by sequential ``"halving"`` among its functions.
        widening: functional policy only: further siblings of a node that was visited N times: widening · √N of them, and
            more where all that is below is explored, instead of closing it; 0 adds none.
        exploration: c of the UCT or PUCT formula.
        temperature: temperature of the samples; 0 is greedy.
        step_temperature: temperature of the steps of a tree; None takes `temperature`. What `widening` adds, what phase 1
            asks for a second time, and its functions that are `Function.varied` are sampled at `temperature`.
        top_p: nucleus, in (0, 1].
        max_step_tokens: longest step.
        max_tokens: longest chain of strategies that sample whole chains.
        min_prior: functional policy only: allowed functions less probable than this are not explored.
        branch_entropy: functional policy only: where the entropy of the next function is below this, in nats, only the most
            probable function is explored.
        siblings: functional policy only: steps sampled per chosen function.
        beam_width: beam strategies only: continuations of one beam; `rollouts` must be a multiple of it.
        generation: best-first only: branches that are continued at once, chosen together by the chains before them
            (`search.best_first`).
        growth: best-first only: branches that are chosen for each chain there is, up to `generation`; fewer make the search
            slower, more leave it less to decide on before it may stop.
        alternatives: best-first only: likeliest tokens at each position that the model is asked for; each is a branch.
        keep: best-first only: share of a prefix's log-probability in what its branches are worth; 1 goes by probability
            mass, 0 by what the model thinks at the branch alone.
        sharpness: best-first only: a chain votes with exp(sharpness × mean log-probability of its tokens).
        forced_weight: best-first only: factor of a chain's vote for each function in it that was forced, in (0, 1].
        stop_share: best-first only: stop once the leading answer holds more than this share of the vote; 1 never stops.
        stop_paths: best-first only: chains before which it does not stop for that.
        answers: answers that count, in samples, votes, trees and rewards alike: those of ``"well_formed"`` chains, or of
            ``"any"`` chain whose last terminal step holds one.
        extract: what counts as an answer there: ``"boxed"`` is the rule of RL, ``"lenient"`` also takes "the answer is …"
            and the like.
        vote_temperature: temperature of the samples of majority votes and best-of-n; None takes `temperature`.
        vote: rule by which finished paths elect the answer: ``"auto"`` for the one that suits the strategy (best-first:
            ``"content"``, its own weights; MCTS with a process reward model: ``"prm"``; others: majority), ``"majority"``,
            ``"prior"`` (weighted by the length-normalised probability of the chain), ``"prm"`` (weighted by the score of the
            process reward model), ``"best_prior"`` or ``"best_prm"`` (the one best candidate).
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
    untried: Literal["prior", "gumbel"] = "prior"
    root: Literal["selection", "halving"] = "selection"
    widening: float = 0.0
    temperature: float = 0.7
    step_temperature: float | None = None
    top_p: float = 0.95
    max_step_tokens: int = 512
    max_tokens: int = 2048
    min_prior: float = 0.0
    branch_entropy: float = 0.0
    siblings: int = 1
    beam_width: int = 4
    generation: int = 16
    growth: int = 4
    alternatives: int = 5
    keep: float = 1.0
    sharpness: float = 50.0
    forced_weight: float = 0.5
    stop_share: float = 1.0
    stop_paths: int = 4
    answers: Form = "well_formed"
    extract: Extract = "boxed"
    vote_temperature: float | None = None
    vote: Literal["auto", "majority", "content", "prior", "prm", "best_prior", "best_prm"] = "auto"
    live_trees: int = 64
    parallel_rollouts: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rollouts", "budget_tokens", "max_depth", "max_step_tokens", "max_tokens", "siblings", "beam_width",
                     "live_trees", "parallel_rollouts", "generation", "growth", "alternatives",
                     "stop_paths"):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: {value} is not allowed, expected 1 or more")
        if self.early_stop and self.vote not in ("auto", "majority"):
            raise ValueError(f"early_stop: True is not allowed with vote {self.vote}, expected vote majority")
        for name in (
            "exploration",
            "temperature",
            "step_temperature",
            "vote_temperature",
            "branch_entropy",
            "widening",
            "sharpness",
        ):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} is not allowed, expected 0 or more")
        for name, low in (
            ("min_prior", 0.0),
            ("top_p", 1e-6),
            ("keep", 0.0),
            ("forced_weight", 1e-6),
            ("stop_share", 0.0),
        ):
            if not low <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: {getattr(self, name)} is not allowed, expected a share between 0 and 1")

    @property
    def temperature_of_steps(self) -> float:
        """`step_temperature`, or what it takes where there is none."""
        return self.temperature if self.step_temperature is None else self.step_temperature

    def answer_rule(self, functions: FunctionSet, *, chains: bool = True) -> AnswerRule:
        """What counts as an answer.

        Args:
            functions: the token set.
            chains: whether the model writes chains of them; the answer of another one is never malformed.
        """
        return AnswerRule(self.answers if chains else "any", self.extract, functions)


# Where a search that answers questions differs from one that collects chains: `rftt solve`, `serve` and `eval` start here.
INFERENCE: dict[str, Any] = {"step_temperature": 0.1, "widening": 1.0, "stop_share": 0.8}
DEFAULTS = SearchConfig()
