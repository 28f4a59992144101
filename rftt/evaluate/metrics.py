"""Figures from samples: pure functions on plain records.

A sample is a record with ``verdict`` (a grader status), ``tokens`` (generated) and ``stopped`` (False when cut off); samples
come in groups, by question id.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rewards.grader import STATUSES
from rftt.evaluate.intervals import measured

Sample = Mapping[str, Any]
Groups = Mapping[str, Sequence[Sample]]
Result = dict[str, float]


@dataclass(frozen=True)
class Outcome:
    """One metric, question by question.

    Args:
        values: question id → share in [0, 1].
        tokens: question id → generated tokens that the value cost.
        mean_tokens: over all questions.
    """

    values: Mapping[str, float]
    tokens: Mapping[str, float]
    mean_tokens: float

    def result(self) -> Result:
        return measured(list(self.values.values()), self.mean_tokens)

    def among(self, ids: Iterable[str]) -> Outcome:
        """The same metric on some of the questions."""
        kept = [i for i in ids if i in self.values]
        tokens = {i: self.tokens[i] for i in kept}
        return Outcome({i: self.values[i] for i in kept}, tokens, mean(tokens.values()))


def share(groups: Groups, holds: Callable[[Sample], bool]) -> Outcome:
    """The share of samples for which something holds."""
    return Outcome(
        {id: mean(float(holds(s)) for s in group) for id, group in groups.items()},
        {id: mean(s["tokens"] for s in group) for id, group in groups.items()},
        mean(s["tokens"] for group in groups.values() for s in group),
    )


def elected(statuses: Mapping[str, str], tokens: Mapping[str, float]) -> Outcome:
    """Whether the one answer that each question was given is right.

    Args:
        statuses: question id → status of the answer by the grader.
        tokens: question id → generated tokens that it cost.
    """
    return Outcome({id: float(s == "correct") for id, s in statuses.items()}, tokens, mean(tokens.values()))


def correct(sample: Sample) -> bool:
    return bool(sample["verdict"] == "correct")


def correct_in_any_form(sample: Sample) -> bool:
    """Whether the answer is right that a chain gives in its last terminal step, malformed or cut off as it may be."""
    return bool(sample.get("any_form", sample["verdict"]) == "correct")


def pass_at_k(n: int, c: int, k: int) -> float:
    """Probability that one of k samples is correct, from c correct ones of n: 1 − C(n−c, k) ÷ C(n, k).

    The unbiased estimator of Chen et al. (2021, arXiv 2107.03374).

    Raises:
        ValueError: k is not in 1…n, or c not in 0…n.
    """
    if not (1 <= k <= n and 0 <= c <= n):
        raise ValueError(f"pass@{k} with {c} correct of {n} samples: expected 1 ≤ k ≤ n and 0 ≤ c ≤ n")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def passes(groups: Groups, k: int) -> Outcome:
    """Unbiased pass@k of every question."""
    values = {id: pass_at_k(len(group), sum(map(correct, group)), k) for id, group in groups.items()}
    tokens = {id: k * mean(s["tokens"] for s in group) for id, group in groups.items()}
    return Outcome(values, tokens, mean(tokens.values()))


def powers_of_two(most: int) -> list[int]:
    """1, 2, 4, … and `most` itself."""
    return sorted({2**i for i in range(most.bit_length()) if 2**i <= most} | {most})


def statuses(found: Iterable[str]) -> dict[str, int]:
    """How often each status of the grader occurs; all of them, so that a zero is seen as one."""
    counts = Counter(found)
    return {status: counts[status] for status in (*STATUSES, *sorted(set(counts) - set(STATUSES)))}


def lengths(groups: Groups) -> dict[str, float | None]:
    """Generated tokens of a sample: mean, median, 95th percentile, longest; the share that was cut off; and the means of
    the right ones and of the rest, None where there are none.
    """
    samples = [s for group in groups.values() for s in group]
    ordered = sorted(s["tokens"] for s in samples)
    right = [s["tokens"] for s in samples if correct(s)]
    rest = [s["tokens"] for s in samples if not correct(s)]
    return {
        "mean": round(mean(ordered), 2),
        "median": quantile(ordered, 0.5),
        "p95": quantile(ordered, 0.95),
        "max": ordered[-1],
        "truncated": round(mean(float(not s["stopped"]) for s in samples), 6),
        "correct": round(mean(right), 2) if right else None,
        "other": round(mean(rest), 2) if rest else None,
    }


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def by_group(outcome: Outcome, names: Mapping[str, str | None]) -> dict[str, Result]:
    """A metric for the questions of each level or subject, in the order of its numbers, or else of the names.

    Args:
        outcome: outcome of all questions.
        names: question id → level or subject; None leaves the question out.
    """
    members: dict[str, list[str]] = {}
    for id, name in names.items():
        if name is not None and id in outcome.values:
            members.setdefault(name, []).append(id)
    ordered = sorted(members, key=lambda name: (0, float(name), name) if _is_number(name) else (1, 0.0, name))
    return {name: outcome.among(members[name]).result() for name in ordered}


def tokens_per_correct(result: Mapping[str, float]) -> float | None:
    """Generated tokens for each question that is answered correctly; None where none is."""
    return round(result["tokens"] / result["value"], 2) if result["value"] else None


def mean(values: Iterable[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed) if listed else 0.0


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
