"""Reference answers as data sets hold them: text, whole numbers, floats, fractions, or a list of those."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from numbers import Integral, Rational, Real
from typing import Any

from rewards.extraction import extract_answer

Gold = str | int | float | Fraction | Sequence[Any]


def gold_text(gold: Any) -> str:
    """A reference answer as text.

    A float is written with the 15 digits that doubles hold, so that 0.1 + 0.2 is 0.3. A list names several answers, in
    any order; a list or tuple inside it is one answer in brackets.

    Raises:
        ValueError: it is empty, not finite, or of no such type.
    """
    text = _text(gold)
    if not text.strip():
        raise ValueError(
            f"gold answer is empty or no answer: {gold!r:.200}; every problem needs a reference answer to be graded, "
            "as text, a number or a list of those"
        )
    return text


def unboxed(gold: str) -> str:
    """A gold without the box it may come in."""
    return (extract_answer(gold) or gold) if "\\boxed" in gold or "\\fbox" in gold else gold


def _text(gold: Any) -> str:
    if isinstance(gold, str):
        return gold
    if isinstance(gold, bool):
        return str(gold)
    if gold is None:
        return ""
    if hasattr(gold, "tolist"):  # an array or a scalar of numpy, or a tensor
        return _text(gold.tolist())
    if isinstance(gold, Integral):
        return str(int(gold))
    if isinstance(gold, Rational):
        return f"{gold.numerator}/{gold.denominator}"
    if isinstance(gold, Real):
        value = float(gold)
        if value != value or value in (float("inf"), float("-inf")):
            return ""
        return str(int(value)) if value.is_integer() and abs(value) < 1e16 else f"{value:.15g}"
    if isinstance(gold, (list, tuple)):
        return _listed(gold)
    return ""


def _listed(items: Sequence[Any]) -> str:
    texts = [f"({_text(item)})" if isinstance(item, (list, tuple)) else _text(item) for item in items]
    return ", ".join(texts) if all(text.strip("() ") for text in texts) else ""
