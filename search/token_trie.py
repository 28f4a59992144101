"""What is known of a policy's token distribution below one prompt, and exact samples from it for few new tokens.

A generated token comes with its log-probability. So wherever a prefix was walked before, the next token can be drawn
without the model: one of those that are known, each with its probability, or, with the rest, one that is not. Only in the
second case has the model to write, from there on, with the known tokens forbidden at the first position. Such a draw has
exactly the distribution of the policy, whatever put the known tokens there, and draws are independent of each other.

Paths can be set aside (`exclude`): then the draws come from the policy given that they are none of those. With the paths
L that are set aside, each counted with its probability, and r draws from the rest,

    E[f] = Σ_{l ∈ L} π(l) f(l)  +  (1 − Σ_{l ∈ L} π(l)) · E[f | not in L]

holds for any L, also one that a search chose for what it found there (Kool et al. 2020, arXiv 2002.06043, "sum and sample";
tries: Shi et al. 2020, arXiv 2002.09067).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Prefix:
    """A known prefix: the known tokens after it with their probabilities; `open` is the share that is not set aside."""

    children: dict[int, _Prefix] = field(default_factory=dict)
    probabilities: dict[int, float] = field(default_factory=dict)
    logprobs: dict[int, float] = field(default_factory=dict)
    ended: bool = False
    open: float = 1.0

    @property
    def rest(self) -> float:
        """Probability of all tokens that are not known here."""
        return max(0.0, 1.0 - sum(self.probabilities.values()))


@dataclass(frozen=True)
class Walk:
    """A draw, as far as what is known can tell.

    Args:
        ids: the known part of the path.
        logprobs: log-probabilities of each of `ids`, natural log.
        ended: whether that is the whole path. Otherwise it goes on with a token that the policy has to draw.
        forbidden: ids that this token is none of.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    ended: bool
    forbidden: tuple[int, ...] = ()


class TokenTrie:
    """Known paths below one prompt.

    Samples are those of the policy at temperature 1 without a nucleus: the log-probabilities are the policy's own.
    """

    def __init__(self) -> None:
        self._root = _Prefix()
        self._paths = 0

    def __len__(self) -> int:
        """Number of whole paths that are known."""
        return self._paths

    @property
    def open(self) -> float:
        """Probability, in [0, 1], that a path of the policy is none of those set aside."""
        return self._root.open

    def add(self, ids: Sequence[int], logprobs: Sequence[float], *, ended: bool) -> None:
        """Make a path known.

        Args:
            ids: ids from the prompt on.
            logprobs: log-probabilities of each of `ids` under the policy, full vocabulary, natural log.
            ended: whether an episode ends after them, by an end-of-sequence token or because it is cut off there.

        Raises:
            ValueError: as many log-probabilities as ids are needed.
        """
        if len(ids) != len(logprobs):
            raise ValueError(f"{len(ids)} ids and {len(logprobs)} log-probabilities, expected as many of both")
        prefix = self._root
        for i, logprob in zip(ids, logprobs, strict=True):
            if i not in prefix.children:
                prefix.children[i] = _Prefix()
                prefix.logprobs[i] = logprob
                prefix.probabilities[i] = math.exp(logprob)
            prefix = prefix.children[i]
        if ended and not prefix.ended:
            prefix.ended = True
            self._paths += 1

    def know(self, ids: Sequence[int], following: Iterable[tuple[int, float]]) -> None:
        """Make tokens after a known prefix known, without what follows them.

        Args:
            ids: the prefix.
            following: ids with their log-probabilities.
        """
        prefix = self._path(ids)[-1]
        for i, logprob in following:
            if i not in prefix.children:
                prefix.children[i] = _Prefix()
                prefix.logprobs[i] = logprob
                prefix.probabilities[i] = math.exp(logprob)

    def exclude(self, ids: Sequence[int]) -> float:
        """Set a known path aside: no later walk goes through its end.

        Returns:
            Its probability under the policy.
        """
        prefixes = self._path(ids)
        prefixes[-1].open = 0.0
        for prefix in reversed(prefixes[:-1]):
            prefix.open = prefix.rest + sum(p * prefix.children[i].open for i, p in prefix.probabilities.items())
        return math.prod(p.probabilities[i] for p, i in zip(prefixes, ids, strict=False))

    def walk(self, rng: random.Random) -> Walk:
        """Draw a path among those that are not set aside.

        Raises:
            ValueError: everything that the policy can do is set aside.
        """
        if self._root.open <= 0.0:
            raise ValueError("all paths are set aside")
        ids: list[int] = []
        logprobs: list[float] = []
        prefix = self._root
        while not prefix.ended:
            # `choices` walks to None where the policy has to draw a token that is not known.
            weights = {i: p * prefix.children[i].open for i, p in prefix.probabilities.items()}
            [chosen] = rng.choices([*weights, None], [*weights.values(), prefix.rest])
            if chosen is None:
                return Walk(tuple(ids), tuple(logprobs), False, tuple(prefix.children))
            ids.append(chosen)
            logprobs.append(prefix.logprobs[chosen])
            prefix = prefix.children[chosen]
        return Walk(tuple(ids), tuple(logprobs), True)

    def _path(self, ids: Sequence[int]) -> list[_Prefix]:
        prefixes = [self._root]
        for i in ids:
            prefixes.append(prefixes[-1].children[i])
        return prefixes
