"""What the parser knows as data: relations, symbols, brackets; and the few nodes that are built with a rule of their
own.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from rewards.tokens import Malformed

Node = tuple[Any, ...]

MAX_DIGITS = 1000


def _commands(names: str) -> set[str]:
    return {"\\" + name for name in names.split()}


RELATIONS = {"=", "<", ">"} | _commands(
    "le ge ne in notin approx equiv to sim subset subseteq Rightarrow Leftrightarrow perp parallel propto"
)
BIG_OPERATORS = _commands("sum prod int iint oint lim")
ACCENTS = _commands(
    "overline bar hat vec widehat tilde angle triangle overrightarrow underline mathcal mathbb mathfrak mathscr dot "
    "ddot odot measuredangle bigtriangleup"
)
SYMBOLS = _commands(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega ell hbar nabla partial emptyset forall exists Re Im "
    "aleph imath jmath dots prime cdotp"
)
MATRICES = {"pmatrix", "bmatrix", "matrix", "array", "vmatrix", "Bmatrix", "smallmatrix", "Vmatrix"}
CLOSING = {")", "]", "}", "\\}", "\\rfloor", "\\rceil", "\\rangle", "\\right", "&", "\\\\", "\\end"}
CLOSED_BY = {"(": (")", "]"), "[": ("]", ")", "["), "]": ("]", "[")}
# What may stand behind an interval: there a `[` closes it.
AFTER_INTERVAL = {"", ",", ";", ")", "}", "\\}", ".", "|", "&", "\\\\"} | _commands("cup cap setminus and or to end")
STRUCK = _commands("cancel bcancel xcancel sout st not cancelto overset underset stackrel")
_NEGATING = (
    "not no never none neither nor isn isnt t wrong incorrect false invalid except unequal than less more least most at "
    "above below over under between or either excluded rejected impossible without"
)
NEGATIONS = frozenset(_NEGATING.split())
NO_FACTOR = _commands("and or pm mp cup cap setminus pmod bmod mod forall {")


def number(token: str) -> Node:
    if len(token) > MAX_DIGITS:
        raise Malformed("number too long")
    lowered = token.lower()
    exponent = 0
    if "e" in lowered:
        lowered, _, power = lowered.partition("e")
        exponent = int(power)
        if abs(exponent) > MAX_DIGITS:
            raise Malformed("number too long")
    places = len(lowered.partition(".")[2])
    value = Fraction(lowered if not lowered.startswith(".") else "0" + lowered) * Fraction(10) ** exponent
    return ("num", value, places if "." in lowered or exponent < 0 else None)


def matrix(environment: str, rows: list[tuple[Node, ...]]) -> Node:
    """A matrix, or the determinant that `vmatrix` stands for."""
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        raise Malformed("ragged matrix")
    node = ("matrix", tuple(rows))
    return ("op", "det", (node,)) if environment == "vmatrix" else node


def spelled(node: Node) -> bool:
    """Whether a node is a word: text, or three and more letters side by side."""
    if node[0] == "sym":
        return node[1].startswith('"')
    return node[0] == "mul" and len(node[1]) >= 3 and all(part[0] in ("sym", "const") for part in node[1])


def negated(node: Node) -> bool:
    """Whether a word, as the name of a value, says that the value is none: "not = 7", "Incorrect: 7"."""
    word = node[1] if node[0] == "sym" else "".join(str(part[1]) for part in node[1])
    return bool(NEGATIONS & set(re.findall(r"[a-z]+", word.lower())))


def product(factors: list[Node]) -> Node:
    return factors[0] if len(factors) == 1 else ("mul", tuple(factors))


def mixed(whole: Node, fraction: Node) -> Node | None:
    """A whole number directly followed by a proper fraction of whole numbers is their sum."""
    if whole[0] != "num" or whole[2] is not None or fraction[0] != "div":
        return None
    top, bottom = fraction[1], fraction[2]
    if top[0] == bottom[0] == "num" and top[2] is None and bottom[2] is None and 0 < top[1] < bottom[1]:
        return ("num", whole[1] + top[1] / bottom[1], None)
    return None
