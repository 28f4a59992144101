"""The frontier of a best-first search: which branches of the chains so far are worth the most. Plain data, no engine.

A chain is generated greedily. At every token that it generated it could have gone on otherwise: with another token of the
step's text (a content branch), or, where a step opens, with another function (a forced branch, whatever the model thinks of
that function: after RL it is nearly certain of one, yet another mends many of its errors). A branch is worth the probability
of the prefix it keeps, times that of the token it takes, or, where it forces a function, times the model's doubt about the
step which that function replaces. With a process reward model a branch is worth more the more that trusts the steps before,
and the more it doubts the step that is changed. Relatives are stochastic beams, which sample without replacement (arXiv
1903.06059), and chain-of-thought decoding (arXiv 2402.10200).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from search.functions import ROOT, FunctionSet

TINY = 1e-12
LEAST_DOUBT = 0.02  # of a step that a process reward model is sure of
DIGITS = 3  # of the logarithm of a branch's worth: what differs less is equal, as batches differ in numerics


@dataclass(frozen=True)
class Chain:
    """A chain that was generated from some position on.

    Args:
        ids: completion ids.
        logprobs: log-probabilities of each id under the model, natural log.
        top: likeliest ids at each position with their log-probabilities; empty before `start`.
        start: the first position that was generated for this chain; what is before is a branch of another one.
        forced: positions whose tag was forced on the model.
        scores: scores of a process reward model, by the position where each step opens; empty where nobody scored.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    top: tuple[tuple[tuple[int, float], ...], ...]
    start: int = 0
    forced: tuple[int, ...] = ()
    scores: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Branch:
    """Where a chain is to be continued otherwise.

    Args:
        ids: ids that it keeps, and the one that it takes instead.
        logprobs: log-probabilities of these.
        forced: positions of forced tags among them.
    """

    ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    forced: tuple[int, ...] = ()


@dataclass(frozen=True)
class Order:
    """What a branch is worth.

    Args:
        openings, closings: id of the tag → name of the function; empty for a model without functional tokens.
        functions: the token set.
        barred: ids that no content branch takes, since they end the text.
        keep: share of the prefix's log-probability that counts: 1 orders by probability mass, 0 by what the model thinks
            at the branch alone.
    """

    openings: Mapping[int, str]
    closings: Mapping[int, str]
    functions: FunctionSet
    barred: frozenset[int]
    keep: float = 1.0

    @property
    def neutral(self) -> frozenset[str]:
        """Functions that may be forced: those without a role of their own in a chain."""
        f = self.functions
        return frozenset(f.names) - {f.answering, f.terminal, f.checking, f.correcting}


class Frontier:
    """Branches of all chains of one question, the most valuable first.

    Args:
        order: what they are worth.
    """

    def __init__(self, order: Order) -> None:
        self.order = order
        self._ids = {name: id for id, name in order.openings.items()}
        self._chains: list[Chain] = []
        # (−worth, number of the branch, number of its chain, position, id there, log-probability of the id, forced)
        self._heap: list[tuple[float, int, int, int, int, float, bool]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._heap)

    def take(self, count: int) -> list[Branch]:
        """Up to `count` branches, the most valuable first; equal ones in the order in which they were found."""
        return [self._branch(*heapq.heappop(self._heap)[2:]) for _ in range(min(count, len(self._heap)))]

    def _branch(self, number: int, place: int, id: int, logprob: float, forced: bool) -> Branch:
        chain = self._chains[number]
        return Branch(
            (*chain.ids[:place], id),
            (*chain.logprobs[:place], logprob),
            (*(p for p in chain.forced if p < place), *((place,) if forced else ())),
        )

    def add(self, chain: Chain) -> None:
        """Add the branches of what was generated for a chain."""
        self._chains.append(chain)
        forced = frozenset(chain.forced)
        doubts = self._doubts(chain)
        mass, function, inside = 0.0, ROOT, not self.order.openings
        # Logarithms of what a process reward model says: the lowest score of the steps before, the score of the step under
        # way, and how much it is doubted.
        trust = score = doubted = 0.0
        for place, id in enumerate(chain.ids):
            opens = id in self.order.openings
            if opens and chain.scores:
                trust, score = min(trust, score), math.log(max(chain.scores.get(place, 1.0), TINY))
                doubted = math.log(max(1.0 - chain.scores.get(place, 1.0), LEAST_DOUBT))
            if place >= chain.start:
                worth = self.order.keep * mass + trust + doubted
                if opens:
                    doubt = 0.0 if place in chain.scores else math.log(max(doubts[place], TINY))
                    self._force(chain, place, function, worth + doubt)
                if inside:
                    self._vary(chain, place, function, worth)
            if opens:
                function = self.order.openings[id]
            if self.order.openings:
                inside = opens or (inside and id not in self.order.closings)
            if place not in forced:
                mass += chain.logprobs[place]

    def _force(self, chain: Chain, place: int, parent: str, worth: float) -> None:
        """Every other neutral function that may follow `parent`."""
        for name in self.order.functions.functional.get(parent, ()):
            id = self._ids[name]
            if name in self.order.neutral and id != chain.ids[place]:
                self._push(worth, place, id, 0.0, forced=True)

    def _vary(self, chain: Chain, place: int, function: str, worth: float) -> None:
        """Every other likely token of the text, or the tag that closes the step."""
        order = self.order
        for id, logprob in chain.top[place]:
            legal = id not in order.barred and id not in order.openings and order.closings.get(id, function) == function
            if legal and id != chain.ids[place]:
                self._push(worth + logprob, place, id, logprob, forced=False)

    def _push(self, worth: float, place: int, id: int, logprob: float, *, forced: bool) -> None:
        number = len(self._chains) - 1
        heapq.heappush(self._heap, (-round(worth, DIGITS), self._count, number, place, id, logprob, forced))
        self._count += 1

    def _doubts(self, chain: Chain) -> dict[int, float]:
        """1 minus the probability of the text of each step, by the position where it opens."""
        doubts: dict[int, float] = {}
        opened, mass = None, 0.0
        for place, id in enumerate(chain.ids):
            if id in self.order.openings:
                if opened is not None:
                    doubts[opened] = -math.expm1(mass)
                opened, mass = place, 0.0
            else:
                mass += chain.logprobs[place]
        if opened is not None:
            doubts[opened] = -math.expm1(mass)
        return doubts
