"""95 % intervals of accuracies."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

Z = 1.959963984540054  # 97.5 % quantile of the normal distribution
RESAMPLES = 2000


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean over questions.

    Args:
        values: one a question, in [0, 1]: a verdict, or the share of its samples that are correct.
        seed: of the bootstrap.

    Returns:
        low, high. Wilson's score interval when every value is 0 or 1, else the percentile bootstrap over questions.

    Raises:
        ValueError: no value.
    """
    if not values:
        raise ValueError("an interval needs at least one value")
    if all(v in (0, 1) for v in values):
        return wilson(sum(values), len(values))
    rng = random.Random(seed)
    means = sorted(math.fsum(rng.choices(values, k=len(values))) / len(values) for _ in range(RESAMPLES))
    return means[round(0.025 * (RESAMPLES - 1))], means[round(0.975 * (RESAMPLES - 1))]


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
