"""What words say in mathematics: numbers written out, and the sets that have a name."""

from __future__ import annotations

import re
from fractions import Fraction

from rewards.grammar import Node
from rewards.units import find_unit

_ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
_TENS = dict(zip(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], range(20, 100, 10)))
_SCALES = {"thousand": 1000, "million": 10**6, "billion": 10**9}
_PARTS = {
    "half": 2, "halve": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8,
    "ninth": 9, "tenth": 10, "eleventh": 11, "twelfth": 12, "twentieth": 20, "hundredth": 100, "thousandth": 1000,
}  # fmt: skip
SCALES = {"hundred": 100, **_SCALES, "trillion": 10**12}  # behind digits
NUMBER_WORDS = frozenset(
    [
        *_ONES,
        *_TENS,
        *SCALES,
        *(word + "s" for word in SCALES),
        "first",
        "second",
        *_PARTS,
        *(word + "s" for word in _PARTS),
    ]
)
_REALS = re.compile(
    r"(?:[a-z] (?:is|are|can be) )?(?:set of )?(?:all|any|every) reals?(?: numbers?| values?)?(?: (?:of |for )?[a-z])?"
    r"|(?:set of )?(?:real numbers|reals)"
)
_NUMBERS = re.compile(r"(?:set of )?(?:all )(integer|natural number|rational number|complex number)s?")
_NAMES = {"integer": "Z", "natural number": "N", "rational number": "Q", "complex number": "C"}
_EMPTY = re.compile(r"(?:empty|null) set|(?:there (?:is|are) )?no (?:real )?(?:solutions?|roots?)(?: exists?)?")
MAX_WORDS = 16


def spoken(words: tuple[str, ...]) -> Node | None:
    """The number or set that words say, None where they say something else.

    Args:
        words: words in lower case, without articles and hyphens.
    """
    if len(words) > MAX_WORDS:
        return None
    text = " ".join(words)
    if _REALS.fullmatch(text):
        return ("sym", "\\mathbb(R)")
    if numbers := _NUMBERS.fullmatch(text):
        return ("sym", f"\\mathbb({_NAMES[numbers[1]]})")
    if _EMPTY.fullmatch(text):
        return ("sym", "\\emptyset")
    negative = words[:1] in (("minus",), ("negative",))
    rest = words[negative:]
    for end in range(len(rest), 0, -1):
        value = _value(rest[:end])
        if value is None:
            continue
        unit = find_unit(" ".join(rest[end:])) if end < len(rest) else None
        if end < len(rest) and unit is None:
            return None
        node: Node = ("num", -value if negative else value, None)
        return ("unit", unit, node) if unit else node
    return None


def _value(words: tuple[str, ...]) -> Fraction | None:
    """A cardinal number, a fraction, or the sum of both."""
    if "point" in words:
        return _decimal(words)
    parts = _PARTS.get(words[-1]) or _PARTS.get(words[-1].removesuffix("s"))
    if parts is None:
        whole = _cardinal(words)
        return None if whole is None else Fraction(whole)
    if words[:-1] == () or (words[-2:-1] == ("and",) and words[-1] in ("half", "quarter")):
        count, before = 1, words[:-1]
        if not before and words[-1] != "half":
            return None  # the third, the fourth
    else:
        split = max((k for k, word in enumerate(words) if word == "and"), default=-1)
        found = _cardinal(words[split + 1 : -1])
        if found is None:
            found, split = _cardinal(words[:-1]), -1
        if found is None:
            return None
        count, before = found, words[: split + 1]
    if not before:
        return Fraction(count, parts)
    whole = _cardinal(before[:-1])
    return None if whole is None or before[-1] != "and" else whole + Fraction(count, parts)


def _decimal(words: tuple[str, ...]) -> Fraction | None:
    at = words.index("point")
    whole = _cardinal(words[:at])
    digits = [_ONES.index(word) if word in _ONES[:10] else None for word in words[at + 1 :]]
    if whole is None or not digits or None in digits:
        return None
    return Fraction(f"{whole}." + "".join(map(str, digits)))


def _cardinal(words: tuple[str, ...]) -> int | None:
    total = current = 0
    for word in words:
        if word in _ONES:
            current += _ONES.index(word)
        elif word in _TENS:
            current += _TENS[word]
        elif word == "hundred":
            current = (current or 1) * 100
        elif word in _SCALES:
            total, current = total + (current or 1) * _SCALES[word], 0
        elif word != "and":
            return None
    number = total + current
    said = [word for word in words if word != "and"]
    if words[:1] == ("and",) or words[-1:] == ("and",):
        return None
    # Only what is said as one says it is a number: not "two three".
    return number if said and said in (_said(number), _said(number)[1:]) and said != [] else None


def _said(number: int) -> list[str]:
    """A cardinal number in words."""
    for scale, word in ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if number >= scale:
            return [*_said(number // scale), word, *(_said(number % scale) if number % scale else [])]
    if number < 20:
        return [_ONES[number]]
    tens = list(_TENS)[number // 10 - 2]
    return [tens, *([_ONES[number % 10]] if number % 10 else [])]
