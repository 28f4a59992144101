"""math-verify as the last resort: for well-formed LaTeX that our parser does not know. Only inside worker processes.

It sees nothing that could blow up, reads LaTeX only (its default also scrapes the first number out of what it cannot
parse), and its "equal" counts only when 40-digit values agree. Parsed objects are never turned into text: printing
some of them never ends.
"""

from __future__ import annotations

import itertools
import logging
import re
from typing import Any

from rewards.normalise import normalise

MAX_CHARS = 600
MAX_NESTING = 12
_UNEVALUATED = re.compile(
    r"\\(?:sum|prod|i*int|oint|lim|det|gcd|lcm|b?mod|pmod|max|min|d?binom|l?floor|l?ceil)(?![A-Za-z])|!|\\frac\{d\}|\\begin\{[vV]matrix"
)
_BIG = re.compile(
    r"\d{16,}|\d{5,}\s*\}?\s*!|\^\s*\{?\s*-?\d{5,}|\^\s*\{[^{}]*\^|\^\s*\d+\s*\^|\^[^{\\]*\^\s*\{[^{}]*\^"
)


def load(depth: str) -> None:
    """Import and warm up the libraries that a depth needs, before the first deadline runs."""
    import mpmath

    mpmath.log(mpmath.mpf(2))
    if depth == "symbolic":
        # math-verify warns on every call that its own timeouts are off; ours is outside.
        logging.disable(logging.WARNING)
        fallback_equal(r"\frac{1}{2}+x", r"x+\frac{2}{4}")


def fallback_equal(gold: str, answer: str) -> bool:
    """Whether math-verify finds two normalised answers equal and their values agree to 40 digits."""
    gold, answer = normalise(gold), normalise(answer)
    if not (_harmless(gold) and _harmless(answer)):
        return False
    if set(_UNEVALUATED.findall(answer)) - set(_UNEVALUATED.findall(gold)):
        return False
    from math_verify import LatexExtractionConfig, parse, verify

    def parsed(text: str) -> list[Any]:
        config = [LatexExtractionConfig(boxed_match_priority=0)]
        found = parse(rf"\boxed{{{text}}}", config, fallback_mode="no_fallback", parsing_timeout=None)
        return [one for one in found if not isinstance(one, str)]

    ours, theirs = parsed(gold), parsed(answer)
    if len(ours) != 1 or len(theirs) != 1:
        return False
    if not verify(ours, theirs, strict=True, allow_set_relation_comp=False, timeout_seconds=None):
        return False
    return _values_agree(ours[0], theirs[0])


def _harmless(text: str) -> bool:
    if len(text) > MAX_CHARS or _BIG.search(text):
        return False
    depth = deepest = 0
    for character in text:
        depth += (character in "{([") - (character in "})]")
        deepest = max(deepest, depth)
    return deepest <= MAX_NESTING


def _values_agree(gold: Any, answer: Any) -> bool:
    """Independent of sympy's simplification: both sides evaluated with 40 digits at three rational points."""
    import sympy

    ours, theirs = _expressions(gold), _expressions(answer)
    if len(ours) != len(theirs) or not ours:
        return False
    for left, right in itertools.zip_longest(ours, theirs):
        symbols = sorted(left.free_symbols | right.free_symbols, key=lambda symbol: symbol.name)
        for point in range(3):
            places = {symbol: sympy.Rational(7 * index + 3 * point + 5, 11) for index, symbol in enumerate(symbols)}
            a, b = (sympy.N(side.subs(places), 45) for side in (left, right))
            if not (a.is_number and b.is_number and a.is_finite and b.is_finite):
                return False
            if abs(a - b) > sympy.Float(10, 45) ** -38 * (abs(a) + abs(b)):
                return False
    return True


def _expressions(parsed: Any) -> list[Any]:
    """The numbers and expressions in a parsed answer, in order; empty where there is something else."""
    import sympy

    if isinstance(parsed, sympy.FiniteSet):
        return sorted(parsed.args, key=sympy.default_sort_key)
    if isinstance(parsed, sympy.Tuple):
        return list(parsed.args)
    if isinstance(parsed, sympy.MatrixBase):
        return list(parsed)
    return [parsed] if isinstance(parsed, sympy.Expr) else []
