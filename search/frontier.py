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
from functools import cached_property

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
        top: likeliest ids at each position with their log-probabilities, the likeliest first; empty before `start`.
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
        replaced: number of tokens that the chain had behind them.
    """

    ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    forced: tuple[int, ...] = ()
    replaced: int = 0


@dataclass(frozen=True)
class Order:
    """What a branch is worth.

    Args:
        openings, closings: id of the tag → name of the function; empty for a model without functional tokens.
        functions: the token set.
        barred: ids that no content branch takes, since they end the text.
        keep: share of the prefix's log-probability that counts: 1 orders by probability mass, 0 by what the model thinks
            at the branch alone.
        longest: most tokens of a chain; a branch that leaves no room for a further one is none.
    """

    openings: Mapping[int, str]
    closings: Mapping[int, str]
    functions: FunctionSet
    barred: frozenset[int]
    keep: float = 1.0
    longest: int | None = None

    @cached_property
    def neutral(self) -> frozenset[str]:
        """Functions that may be forced: those without a role of their own in a chain."""
        f = self.functions
        return frozenset(f.names) - {f.answering, f.terminal, f.checking, f.correcting}


class Frontier:
    """Branches of all chains of one question, the most valuable first; equal ones in the order of chains and positions.

    Of the content branches at one position only the best that is left waits in line.

    Args:
        order: what they are worth.
    """

    def __init__(self, order: Order) -> None:
        self.order = order
        self._ids = {name: id for id, name in order.openings.items()}
        self._chains: list[Chain] = []
        # (−worth, chain, position, rank there, worth of the position, function of its step, id); a forced id has a rank < 0.
        self._heap: list[tuple[float, int, int, int, float, str, int]] = []

    def take(self, count: int) -> list[Branch]:
        """Up to `count` branches, the most valuable first."""
        found: list[Branch] = []
        while self._heap and len(found) < count:
            found.append(self._pop())
        return found

    def _pop(self) -> Branch:
        _, number, place, rank, worth, function, id = heapq.heappop(self._heap)
        chain = self._chains[number]
        logprob, forced = 0.0, tuple(p for p in chain.forced if p < place)
        if rank < 0:
            forced = (*forced, place)
        else:
            logprob = chain.top[place][rank][1]
            self._vary(number, place, rank + 1, worth, function)
        return Branch((*chain.ids[:place], id), (*chain.logprobs[:place], logprob), forced, len(chain.ids) - place - 1)

    def add(self, chain: Chain) -> None:
        """Add the branches of what was generated for a chain."""
        number = len(self._chains)
        self._chains.append(chain)
        forced = frozenset(chain.forced)
        doubts = self._doubts(chain)
        mass, function, inside = 0.0, ROOT, not self.order.openings
        # Logarithms of what a process reward model says: the lowest score of the steps before, the score of the step under
        # way, and how much it is doubted.
        trust = score = doubted = 0.0
        room = None if self.order.longest is None else self.order.longest - 1
        for place, id in enumerate(chain.ids[:room]):
            opens = id in self.order.openings
            if opens and chain.scores:
                trust, score = min(trust, score), math.log(max(chain.scores.get(place, 1.0), TINY))
                doubted = math.log(max(1.0 - chain.scores.get(place, 1.0), LEAST_DOUBT))
            if place >= chain.start:
                worth = self.order.keep * mass + trust + doubted
                if opens:
                    doubt = 0.0 if place in chain.scores else math.log(max(doubts[place], TINY))
                    self._force(number, place, function, worth + doubt)
                if inside:
                    self._vary(number, place, 0, worth, function)
            if opens:
                function = self.order.openings[id]
            if self.order.openings:
                inside = opens or (inside and id not in self.order.closings)
            if place not in forced:
                mass += chain.logprobs[place]

    def _force(self, number: int, place: int, parent: str, worth: float) -> None:
        """Every other neutral function that may follow `parent`."""
        names = self.order.functions.functional.get(parent, ())
        for rank, name in enumerate(names, -len(names)):
            id = self._ids.get(name)  # None: the vocabulary has no such tag
            if id is not None and name in self.order.neutral and id != self._chains[number].ids[place]:
                entry = (-round(worth, DIGITS), number, place, rank, worth, parent, id)
                heapq.heappush(self._heap, entry)

    def _vary(self, number: int, place: int, rank: int, worth: float, function: str) -> None:
        """The likeliest other token of the text from `rank` on, or the tag that closes the step."""
        order, chain = self.order, self._chains[number]
        top, taken = chain.top[place], chain.ids[place]
        for other in range(rank, len(top)):
            id, logprob = top[other]
            if (
                id == taken
                or id in order.barred
                or id in order.openings
                or order.closings.get(id, function) != function
            ):
                continue
            heapq.heappush(self._heap, (-round(worth + logprob, DIGITS), number, place, other, worth, function, id))
            return

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
