"""Plain calculations in a text, such as ``84 - 9 = 75``: what is calculated, what is stated, and whether it is right."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

_NUMBER = r"\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
_UNIT = r"\$?\s*"
_SIGN = r"\s*(?:\\times|\\div|\\cdot|[-+*/×÷·−–]|x(?=\s*\$?\s*\d))\s*"
_NUMBERS = re.compile(_NUMBER)
_CALCULATION = re.compile(
    rf"({_UNIT}(?:{_NUMBER})(?:{_SIGN}{_UNIT}(?:{_NUMBER}))+)\s*=\s*{_UNIT}(-?{_UNIT}(?:{_NUMBER}))(?!\d|\s*%)"
)
_PART = re.compile(rf"({_NUMBER})|({_SIGN})")
_SIGNS = {"\\times": "*", "\\cdot": "*", "×": "*", "·": "*", "x": "*", "\\div": "/", "÷": "/", "−": "-", "–": "-"}
_TIED = "+-*/×÷·−–^)(}{"  # what binds the first number to something before it, or the stated one to something after
_LONGEST = 12  # numbers in one calculation


@dataclass(frozen=True)
class Calculation:
    """Args:
    left: what is calculated, as it is written.
    stated: the result that is stated, as `numbers` writes it.
    value: the exact result; None for a division by zero.
    right: whether the stated result is the exact one, or one with decimal places that is rounded to them.
    """

    left: str
    stated: str
    value: Fraction | None
    right: bool

    @property
    def key(self) -> tuple[str, str]:
        """Equal for the same calculation however it is spaced."""
        return re.sub(r"[\s$,]", "", self.left), self.stated


def numbers(text: str) -> list[str]:
    """Numbers of a text in one spelling: without separators of thousands, without zeros that say nothing."""
    return [_plain(found) for found in _NUMBERS.findall(text)]


def all_used(question: str, steps: Iterable[str]) -> bool:
    """Whether every number of a question stands in one of those steps that hold an equation; False where it has none."""
    given = set(numbers(question))
    return bool(given) and given <= {n for text in steps if "=" in text for n in numbers(text)}


def calculations(text: str) -> list[Calculation]:
    """Sums, differences, products and quotients of numbers, each with the result that is stated for it.

    Left out is what cannot be read without doubt: parts of a longer expression, brackets, percentages and powers.
    """
    found = []
    for match in _CALCULATION.finditer(text):
        start = match.end() - len(match.group().lstrip())
        before, after = text[:start].rstrip(), text[match.end() :].lstrip()
        if before.endswith(tuple(_TIED)) or text[max(start - 1, 0) : start].isalnum():
            continue
        if (after[:1] and after[0] in "*/×÷^+") or re.match(r"[-−–]\s*\$?\d", after):
            continue
        left = match.group(1).strip()
        terms = _terms(left)
        if len(terms) > 2 * _LONGEST:
            continue
        stated = match.group(2).replace("$", "").replace(" ", "")
        value = _value(terms)
        found.append(Calculation(left, _plain(stated), value, value is not None and _agrees(stated, value)))
    return found


def written(value: Fraction) -> str:
    """A number for people: whole where it is whole, else with at most two decimal places."""
    return _plain(f"{float(value):.2f}")


def _plain(number: str) -> str:
    text = number.replace(",", "")
    sign = "-" if text.startswith("-") else ""
    whole, _, places = text.lstrip("-").partition(".")
    whole, places = whole.lstrip("0") or "0", places.rstrip("0")
    return sign + (f"{whole}.{places}" if places else whole)


def _terms(left: str) -> list[str]:
    """Numbers and signs in turn."""
    parts = []
    for match in _PART.finditer(left):
        sign = (match.group(2) or "").strip()
        parts.append(match.group(1).replace(",", "") if match.group(1) else _SIGNS.get(sign, sign))
    return parts


def _value(terms: list[str]) -> Fraction | None:
    """Products and quotients first, then from left to right."""
    total, sign, product = Fraction(0), 1, Fraction(terms[0])
    for operator, number in zip(terms[1::2], terms[2::2], strict=True):
        value = Fraction(number)
        if operator == "*":
            product *= value
        elif operator == "/":
            if not value:
                return None
            product /= value
        else:
            total, sign, product = total + sign * product, 1 if operator == "+" else -1, value
    return total + sign * product


def _agrees(stated: str, value: Fraction) -> bool:
    number = Decimal(stated.replace(",", ""))
    places = max(-int(number.as_tuple().exponent), 0)
    return abs(Fraction(number) - value) <= Fraction(1, 2 * 10**places) if places else Fraction(number) == value
