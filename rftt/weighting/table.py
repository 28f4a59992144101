"""Roles without a pass of the model: a table of what SHAD said of a token behind another one.

For samples that SHAD has not seen, e.g. what the policy writes during RL.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from rftt.weighting.interface import NO_ROLE
from rftt.weighting.roles import role_of


class RoleTable:
    """A token's role by its mean LD behind the same preceding token, else by its mean LD anywhere, else by all tokens'.

    Args:
        records: records of ``roles.jsonl``.
        threshold: threshold of LD, in nats.
        least: how often a pair must have been seen.
    """

    def __init__(self, records: Iterable[dict[str, Any]], threshold: float = 0.0, least: int = 3) -> None:
        self._threshold = threshold
        seen: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [0, 0.0])
        for record in records:
            ids, differences = record["ids"], record["ld"]
            for i, difference in enumerate(differences):
                if difference is not None:
                    for context in ((), (ids[i],), (ids[i - 1], ids[i])):
                        seen[context][0] += 1
                        seen[context][1] += difference
        if not seen:
            raise ValueError("no token with a role to learn from")
        self._means = {context: total / n for context, (n, total) in seen.items() if len(context) < 2 or n >= least}

    def roles(self, ids: Sequence[int], learnt: Sequence[bool]) -> list[int]:
        """As `annotate.RoleSource`; a first token has nothing before it."""
        found = []
        for i, token in enumerate(ids):
            contexts = ((*ids[max(0, i - 1) : i], token), (token,), ())
            difference = next(self._means[c] for c in contexts if c in self._means)
            found.append(role_of(difference, self._threshold) if learnt[i] else NO_ROLE)
        return found
