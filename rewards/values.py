"""Do two expressions have the same value? Exact where it can be, floating point to reject, 40 digits to confirm.

`Comparer(quick=True)` runs in the calling process and only does what is bounded and exact; it raises `Undecided` where
a 40-digit evaluation is needed, which `Comparer(quick=False)` does in a worker.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from typing import Any

from rewards.exact import Residue, Undefined, rational
from rewards.numeric import (
    DIGITS,
    POINTS,
    SCALES,
    Digits,
    Doubles,
    Far,
    NotNumeric,
    Singular,
    Unreal,
    both,
    rational_value,
    value,
)
from rewards.syntax import Node

TOLERANCE = 1e-6  # relative, between a decimal and an exact value
CLEAR = 1e-9  # relative to the largest intermediate value: more than rounding in doubles explains
SEEDS = (0, 3)
MAX_SIGNS = 6  # symbols that take a negative value in their turn

# Computing these is the problem, not the answer: an answer may hold them only where the gold does.
UNEVALUATED = {
    "sum",
    "prod",
    "int",
    "iint",
    "oint",
    "lim",
    "det",
    "gcd",
    "lcm",
    "mod",
    "max",
    "min",
    "deg",
    "dim",
    "sup",
    "inf",
    "arg",
}
COUNTING = {"binom", "floor", "ceil", "fact", "abs"}  # as above for numbers; with symbols they are ordinary notation


class Undecided(Exception):
    """The quick comparison cannot tell."""


class Comparer:
    """Compares expressions.

    Args:
        quick: stay with what is bounded and exact, and raise `Undecided` for the rest.
    """

    def __init__(self, quick: bool) -> None:
        self.quick = quick

    def same_value(self, gold: Node, answer: Node) -> bool:
        """Whether the answer's value is the gold's.

        Raises:
            Undecided: only when quick.
        """
        if gold == answer:
            return True
        if _mentions_infinity(gold) or _mentions_infinity(answer):
            return False  # infinity is no number to calculate with
        try:
            exact_gold, exact_answer = rational(gold), rational(answer)
            if exact_gold is not None and exact_answer is not None:
                return _same_rational(gold, exact_gold, answer, exact_answer)
            if not _allowed(gold, answer):
                return False
            verdict = self._same_residue(gold, answer)
        except Undefined:
            return False
        if verdict is not None:
            return verdict and self._defined(answer)
        return self._same_number(gold, answer)

    def proportional(self, gold: Node, answer: Node, only_sign: bool = False) -> int:
        """The sign of the constant c with answer = c * gold as functions (0: there is none); |c| = 1 when `only_sign`.

        Raises:
            Undecided: only when quick.
        """
        if not _allowed(gold, answer):
            return 0
        if self.same_value(gold, answer):
            return 1
        if self.same_value(("neg", gold), answer):
            return -1
        if only_sign:
            return 0
        try:
            points = [Residue(seed) for seed in (0, 3, 4)]
            pairs = [(point.value(gold), point.value(answer)) for point in points]
        except Undefined:
            return 0
        if any(g == 0 or a == 0 for g, a in pairs):
            return 0
        (g0, a0), *rest = pairs
        prime = 2**127 - 1
        formal = any(point.formal for point in points)
        if not all(g0 * a % prime == a0 * g % prime for g, a in rest) and not formal:
            return 0
        ratios = []
        for g, a, precision in self._points(gold, answer, POINTS):
            if abs(g) < CLEAR * precision:
                if abs(a) < CLEAR * precision:
                    continue
                return 0
            ratios.append(a / g)
        if not ratios or abs(ratios[0].imag) > 1e-9 * abs(ratios[0]):
            return 0
        limit = 10.0**-9 if self.quick else 10.0 ** -(DIGITS - 5)
        if any(abs(ratio - ratios[0]) > limit * abs(ratios[0]) for ratio in ratios):
            return 0
        if self.quick and formal:
            raise Undecided
        return 1 if ratios[0].real > 0 else -1

    def number(self, node: Node) -> float | None:
        """A real value in doubles for putting things in order, None where there is none."""
        try:
            found = value(node, Doubles(0))
        except NotNumeric:
            return None
        return float(found.real) if abs(found.imag) <= 1e-9 * max(1.0, abs(found)) else None

    def _same_residue(self, gold: Node, answer: Node) -> bool | None:
        """Equality at random points of a finite field; None where disagreement proves nothing."""
        formal = False
        for seed in SEEDS:
            here, there = Residue(seed), Residue(seed)
            equal = here.value(gold) == there.value(answer)
            formal = formal or here.formal or there.formal
            if not equal:
                inexact = formal or _has_decimal(gold) or _has_decimal(answer)
                return None if inexact else False
        return True

    def _defined(self, answer: Node) -> bool:
        """Whether an expression has a value, as `0 \\ln 0` has not; what cannot be evaluated is taken to have one."""
        if not any(part[0] in ("fn", "log", "div", "pow", "fact", "op", "unit") for part in walk(answer)):
            return True
        domains = [Doubles(0), Doubles(1)] if self.quick else [Digits(0), Digits(1)]
        for domain in domains:
            try:
                value(answer, domain)
            except Singular:
                continue
            except NotNumeric:
                return True
            return True
        if self.quick:
            raise Undecided
        return False

    def _same_number(self, gold: Node, answer: Node) -> bool:
        decimal = _has_decimal(gold) != _has_decimal(answer)
        rounded = decimal and _may_be_rounded(gold, answer)
        close = seen = 0
        for g, a, precision in self._points(gold, answer, POINTS):
            seen += 1
            difference = abs(g - a)
            largest = max(abs(g), abs(a))
            if rounded and difference <= TOLERANCE * largest:
                close += 1
            elif self.quick:
                if difference > CLEAR * max(precision, largest):
                    return decimal and self._rounds(gold, answer)
            elif difference > precision * largest:
                return decimal and self._rounds(gold, answer)
        if seen and close == seen:
            return True
        if self.quick:
            raise Undecided
        return seen > 0

    def _rounds(self, gold: Node, answer: Node) -> bool:
        number = self.number(answer)
        exact = rational(gold)
        return (
            number is not None
            and exact is not None
            and not _has_decimal(answer)
            and rounds_to(gold, exact, Fraction(number))
        )

    def _points(self, gold: Node, answer: Node, count: int) -> Iterator[tuple[Any, Any, Any]]:
        """(gold, answer, precision) at points where both have a value; real functions are compared where both are real.

        The precision is the largest magnitude met when quick, else the relative difference that counts.
        """
        constant = not has_symbol(gold) and not has_symbol(answer)
        real = not constant and not _imaginary(gold) and not _imaginary(answer)
        kinked = real and (_kinked(gold) or _kinked(answer))  # far points take the place of the last one
        for point in range(1 if constant else count - kinked):
            try:
                g, a, precision = self._both(gold, answer, point)
            except NotNumeric:
                if point < count - 1 and not constant:
                    continue
                if self.quick:
                    raise Undecided from None
                continue
            if not constant and not _imaginary(gold):
                # Outside the domain where a formula is real, its branch is a matter of taste.
                unreal = [abs(side.imag) > 1e-12 * abs(side) for side in (g, a)]
                if all(unreal) or (any(unreal) and point == POINTS - 1):
                    continue
            yield g, a, precision
        if kinked:
            yield from self._far_points(gold, answer)

    def _far_points(self, gold: Node, answer: Node) -> Iterator[tuple[Any, Any, Any]]:
        """As `_points`, where a function with a kink has left the branch of the first points.

        A point where one side is not real decides nothing, unless only the other side has bars: `\\ln|x|` is no `\\ln x`.
        """
        bars = [any(part[0] == "abs" for part in walk(side)) for side in (gold, answer)]
        names = sorted({part[1] for side in (gold, answer) for part in walk(side) if part[0] == "sym"})
        for scale, whole, name in product(SCALES, (False, True), (None, *names[:MAX_SIGNS])):
            point = Far(scale, whole, name)
            real = []
            try:
                for side in (gold, answer):
                    try:
                        value(side, Doubles(point))
                        real.append(True)
                    except Unreal:
                        real.append(False)
                if all(real):
                    yield self._both(gold, answer, point)
            except NotNumeric:
                continue
            if real in ([True, False], [False, True]) and bars == real:
                yield 0, 1, 1e-30  # as different as can be

    def _both(self, gold: Node, answer: Node, point: int | Far) -> tuple[Any, Any, Any]:
        if self.quick:
            domain = Doubles(point)
            return value(gold, domain), value(answer, domain), domain.scale
        g, a, digits = both(gold, answer, point)
        import mpmath

        return g, a, mpmath.mpf(10) ** -digits


def rounds_to(gold: Node, exact_gold: Fraction, exact: Fraction) -> bool:
    """Whether an exact value, rounded or cut to the places that the gold gives, is the gold.

    The gold must be a decimal with two places and three significant digits or more; less is no evidence.
    """
    while gold[0] == "neg":
        gold = gold[1]
    if gold[0] != "num" or gold[2] is None or gold[2] < 2:
        return False
    unit = Fraction(1, 10 ** gold[2])
    if abs(exact_gold) < 100 * unit:
        return False
    difference = abs(exact) - abs(exact_gold)
    return exact * exact_gold > 0 and (
        abs(difference) * 2 <= unit or (0 <= difference < unit and abs(exact_gold) >= 1000 * unit)
    )


def _same_rational(gold: Node, exact_gold: Fraction, answer: Node, exact_answer: Fraction) -> bool:
    if exact_gold == exact_answer:
        return True
    decimal_gold, decimal_answer = _has_decimal(gold), _has_decimal(answer)
    if decimal_gold == decimal_answer:
        return False
    exact = exact_answer if decimal_gold else exact_gold
    if exact.denominator == 1:  # a whole number needs no rounding
        return False
    if abs(exact_gold - exact_answer) <= Fraction(TOLERANCE) * abs(exact):
        return True
    return decimal_gold and rounds_to(gold, exact_gold, exact_answer)


def _may_be_rounded(gold: Node, answer: Node) -> bool:
    """Whether a difference between a side with decimals and one without may come from rounding.

    It may where the exact side has something that decimals cannot write, and the other side is written in decimals
    throughout: a whole number needs no rounding, and neither does an exponent or what stands beside a root.
    """
    decimals, exact = (gold, answer) if _has_decimal(gold) else (answer, gold)
    if any(part[0] == "pow" and _has_decimal(part[2]) for part in walk(decimals)) or _irrational(decimals):
        return False
    fraction = rational_value(exact)
    if fraction is not None:
        return not _terminates(fraction)
    if not has_symbol(exact):
        return True
    return _irrational(exact) or any(
        part[0] == "num" and part[1] and not (_terminates(part[1]) and (not below or _terminates(1 / part[1])))
        for part, below in _numbers(exact, False)
    )


def _numbers(node: Node, below: bool) -> Iterator[tuple[Node, bool]]:
    """The numbers of a tree outside of exponents, and whether each stands in a denominator."""
    if node[0] == "num":
        yield node, below
    elif node[0] == "div":
        yield from _numbers(node[1], below)
        yield from _numbers(node[2], True)
    elif node[0] == "pow":
        exponent = rational_value(node[2])
        yield from _numbers(node[1], below or (exponent is not None and exponent < 0))
    else:
        for child in node[1:]:
            for part in child if isinstance(child, tuple) and child and not isinstance(child[0], str) else (child,):
                if isinstance(part, tuple) and part and isinstance(part[0], str):
                    yield from _numbers(part, below)


def _irrational(node: Node) -> bool:
    """Whether there is a number in a tree that is not rational as it is written."""
    return any(
        part in (("const", "pi"), ("const", "e")) or (part[0] in ("root", "fn", "log") and not has_symbol(part))
        for part in walk(node)
    )


def _terminates(fraction: Fraction) -> bool:
    """Whether decimals can write a fraction."""
    rest = fraction.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1


def _allowed(gold: Node, answer: Node) -> bool:
    """Whether the answer leaves nothing to be computed that the gold has computed."""
    known, used = operators(gold), operators(answer)
    extra = used - known
    if extra & UNEVALUATED:
        return False
    return not (extra & COUNTING) or bool(known & COUNTING) or has_symbol(answer)


def operators(node: Node) -> set[str]:
    found: set[str] = set()
    for part in walk(node):
        if part[0] == "op":
            found.add(part[1])
        elif part[0] in ("fact", "abs"):
            found.add(part[0])
    return found


def walk(node: Any) -> Iterator[Node]:
    """Every node of a tree, from the root."""
    if isinstance(node, tuple):
        if node and isinstance(node[0], str):
            yield node
        for child in node:
            if isinstance(child, tuple):
                yield from walk(child)


def has_symbol(node: Node) -> bool:
    """Whether a node depends on an unknown."""
    return any(part[0] == "sym" for part in walk(node))


def _has_decimal(node: Node) -> bool:
    return any(part[0] == "num" and part[2] is not None for part in walk(node))


def _kinked(node: Node) -> bool:
    """Whether a part of a function may follow different formulas in different places."""
    return any(
        part[0] == "abs"
        or (part[0] == "op" and part[1] in ("floor", "ceil", "max", "min"))
        or (part[0] == "fn" and part[1].startswith("arc"))
        or (part[0] == "root" and not (part[1][0] == "num" and part[1][1] % 2 == 1))
        or (part[0] == "pow" and (exponent := rational_value(part[2])) is not None and exponent.denominator % 2 == 0)
        for part in walk(node)
    )


def _mentions_infinity(node: Node) -> bool:
    return any(part == ("const", "inf") for part in walk(node))


def _imaginary(node: Node) -> bool:
    return any(part == ("const", "i") for part in walk(node))
