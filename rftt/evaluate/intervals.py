"""95 % intervals of accuracies, and paired differences between two of them."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.stats import binomtest, t

Z = 1.959963984540054  # 97.5 % quantile of the normal distribution
RESAMPLES = 2000
PAIRED_RESAMPLES = 10_000
FEW = 16  # values, up to which resamples of them are too much alike


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean over questions.

    Args:
        values: one a question, in [0, 1]: a verdict, or the share of its samples that are correct.
        seed: seed of the bootstrap.

    Returns:
        low, high. Wilson's score interval when every value is 0 or 1, Student's of up to `FEW` values, else the percentile
        bootstrap over questions.

    Raises:
        ValueError: no value.
    """
    if not values:
        raise ValueError("an interval needs at least one value")
    if all(v in (0, 1) for v in values):
        return wilson(sum(values), len(values))
    if len(values) <= FEW:
        return _student(values, 0.0, 1.0)
    return _bootstrap(tuple(values), seed)


@lru_cache(maxsize=64)  # pass@1, and pass@1 of the questions of a benchmark's only subject, are the same values
def _bootstrap(values: tuple[float, ...], seed: int) -> tuple[float, float]:
    """Percentile bootstrap of the mean."""
    rng = random.Random(seed)
    means = sorted(math.fsum(rng.choices(values, k=len(values))) / len(values) for _ in range(RESAMPLES))
    return means[round(0.025 * (RESAMPLES - 1))], means[round(0.975 * (RESAMPLES - 1))]


def _student(values: Sequence[float], least: float, most: float) -> tuple[float, float]:
    """Student's interval of the mean of values in [least, most]; all of that if nothing shows how they vary."""
    n, mean = len(values), math.fsum(values) / len(values)
    spread = statistics.stdev(values) if n > 1 else 0.0
    if not spread:
        return least, most
    reach = float(t.ppf(0.975, n - 1)) * spread / math.sqrt(n)
    return max(least, mean - reach), min(most, mean + reach)


def wilson(successes: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a proportion."""
    p = successes / n
    middle = p + Z * Z / (2 * n)
    spread = Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    return max(0.0, (middle - spread) / (1 + Z * Z / n)), min(1.0, (middle + spread) / (1 + Z * Z / n))


def measured(values: Sequence[float], tokens: float) -> dict[str, float]:
    """A result as it stands in ``summary.json``.

    Args:
        values: one a question.
        tokens: generated tokens per question.
    """
    low, high = interval(values)
    return {
        "value": round(math.fsum(values) / len(values), 6),
        "low": round(low, 6),
        "high": round(high, 6),
        "n": len(values),
        "tokens": round(tokens, 2),
    }


@dataclass(frozen=True)
class Difference:
    """A paired difference of two means over the same questions.

    Args:
        value: mean of the second minus mean of the first.
        low, high: 95 % interval, percentile bootstrap over questions; Student's of up to `FEW` questions.
        p: two-sided p-value of no difference.
        test: ``"McNemar"`` (exact) where every value is 0 or 1, else ``"sign flips"`` (exact) of up to `FEW` questions and
            ``"paired bootstrap"`` of more.
        only_first, only_second: questions that only the first, only the second has (more) right.
    """

    value: float
    low: float
    high: float
    p: float
    test: str
    only_first: int
    only_second: int


def paired_difference(first: Sequence[float], second: Sequence[float], seed: int = 0) -> Difference:
    """How much better the second is than the first on the same questions.

    Args:
        first, second: one value a question, in the same order.
        seed: seed of the bootstrap.

    Raises:
        ValueError: they are empty or not of one length.
    """
    if not first or len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} values: expected one pair a question")
    differences = np.asarray(second, float) - np.asarray(first, float)
    value = math.fsum(differences) / len(differences)
    few = len(differences) <= FEW
    if not few:
        means = _resampled_means(differences, seed)
        low, high = np.quantile(means, (0.025, 0.975))
    elif differences.any():
        low, high = _student(differences.tolist(), -1.0, 1.0)
    else:
        low, high = 0.0, 0.0
    only_first, only_second = int((differences < 0).sum()), int((differences > 0).sum())
    if all(v in (0, 1) for v in (*first, *second)):
        discordant = only_first + only_second
        p = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
        test = "McNemar"
    elif few:
        p, test = _sign_flips(differences), "sign flips"
    else:
        # Resamples of the differences moved to mean 0: how often are they as far from it as what was seen?
        extreme = int((np.abs(means - value) >= abs(value) - 1e-12).sum())
        p, test = (extreme + 1) / (len(means) + 1), "paired bootstrap"
    return Difference(value, float(low), float(high), p, test, only_first, only_second)


def _sign_flips(differences: np.ndarray) -> float:
    """Share of the ways to swap the sides of questions whose mean is as far from 0 as what was seen."""
    sums = np.zeros(1)
    for difference in differences:
        sums = np.concatenate([sums + difference, sums - difference])
    return float((np.abs(sums) >= abs(differences.sum()) - 1e-9).mean())


def _resampled_means(values: np.ndarray, seed: int) -> np.ndarray:
    """Means of PAIRED_RESAMPLES bootstrap samples, in blocks that bound the memory."""
    rng, count = np.random.default_rng(seed), len(values)
    block = max(1, 2_000_000 // count)
    sizes = [min(block, PAIRED_RESAMPLES - start) for start in range(0, PAIRED_RESAMPLES, block)]
    return np.concatenate([values[rng.integers(count, size=(size, count))].mean(axis=1) for size in sizes])
