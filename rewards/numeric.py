"""Values of expressions in floating point: in doubles to tell different ones apart, with 40 digits and more to confirm
equal ones.

One pass over the tree with a fixed number of digits, which counts how many of them hide a difference: in `10^40 + 1` the
one stands 40 digits behind the first. `both` goes over two trees again with as many digits more. Magnitudes that would
make a single operation expensive are refused. Symbols get values that depend on their name and the point only, so that
gold and answer are evaluated at the same place.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from rewards.exact import Undefined, rational, stable_hash
from rewards.syntax import Node

DIGITS = 40
GUARD = 15  # digits beyond those that count
SLACK = 10  # hidden digits that need no second pass
TINY = 1e-30  # a value below may be rounding
MAX_HIDDEN = 3000  # digits that may hide a difference
MAX_EXPONENT = 1e5  # of a power of e in a 40-digit value
POINTS = 4
SCALES = (1, 5, 50, 2000)  # of the far points


class NotNumeric(ArithmeticError):
    """The expression has no value here: an operator without a number behind it, infinity, or an operation beyond the
    bounds.
    """


class Singular(NotNumeric):
    """The expression has no value: it divides by zero, takes the logarithm of zero, or names infinity."""


class Unreal(NotNumeric):
    """A part of the expression is not real at a far point."""


@dataclass(frozen=True)
class Far:
    """A point away from the first ones, for functions with a kink: everything is real there.

    Args:
        scale: about how large the symbols are, `whole`: whether they are whole numbers, `negative`: the one symbol that
            is negative, if any. With two of them, `\\sqrt{a/b}` and `\\sqrt{ab}/b` would differ.
    """

    scale: int
    whole: bool
    negative: str | None


class Doubles:
    """Complex doubles at one point.

    Attributes:
        scale: the largest magnitude met on the way; differences far below it are rounding.
    """

    pi: Any = math.pi
    e: Any = math.e
    nothing: Any = 1e-13  # a divisor that is smaller, and not exact, may be zero
    poles = 1e13  # a trigonometric function beyond that may have a pole here

    def __init__(self, point: int | Far) -> None:
        self.point = point
        self.real = isinstance(point, Far)
        self.scale = 0.0

    def add(self, left: Any, right: Any) -> Any:
        return self.keep(left + right)

    def number(self, value: Fraction) -> Any:
        try:
            return complex(float(value))
        except OverflowError:
            raise NotNumeric from None

    def symbol(self, name: str) -> Any:
        return complex(_coordinate(name, self.point))

    def keep(self, value: Any) -> Any:
        magnitude = abs(value)
        if not magnitude < 1e300:
            raise NotNumeric
        if self.real and abs(value.imag) > 1e-12 * magnitude:
            raise Unreal
        self.scale = max(self.scale, magnitude)
        return value

    def power(self, base: Any, exponent: Any) -> Any:
        if base == 0:
            if exponent.real <= 0:
                raise Singular
            return 0j
        if exponent.imag == 0 and exponent.real == int(exponent.real) and abs(exponent.real) <= 64:
            return base ** int(exponent.real)
        return cmath.exp(exponent * cmath.log(base))

    def function(self, name: str, value: Any) -> Any:
        if name in ("gamma", "zeta"):
            if value.imag or not -170 < value.real < 170:
                raise NotNumeric
            if value.real <= 0 and value.real == int(value.real):
                raise Singular
            return complex(math.gamma(value.real))
        if value == 0 and name in ("ln", "cot", "csc", "coth", "csch"):
            raise Singular
        return self.unless_pole(name, _FUNCTIONS[name](cmath, value))

    def unless_pole(self, name: str, value: Any) -> Any:
        if name in _PERIODIC and abs(value) > self.poles:
            raise Singular
        return value

    def floor(self, value: Any) -> Any:
        if value.imag:
            raise NotNumeric
        nearest = round(value.real)
        return complex(nearest if abs(value.real - nearest) <= 1e-9 * abs(nearest) else math.floor(value.real))


class Digits(Doubles):
    """Complex numbers with many digits, by mpmath. Only for worker processes: its precision is global.

    Args:
        point: number of the point.
        digits: how many of them count; some guard digits are added.

    Attributes:
        hidden: decimal digits behind which a difference may hide, summed over the tree.
    """

    def __init__(self, point: int | Far, digits: int = DIGITS) -> None:
        super().__init__(point)
        import mpmath

        mpmath.mp.dps = digits + GUARD
        self.mp = mpmath
        self.pi = mpmath.mpf(mpmath.pi)
        self.e = mpmath.mpf(mpmath.e)
        self.nothing = 0  # sums and functions are exactly zero where they are nothing but rounding
        self.rounding = mpmath.mpf(10) ** -(digits + GUARD // 2)
        self.poles = mpmath.mpf(10) ** (digits + GUARD // 2)
        self.hidden = 0.0

    def hide(self, binary: Any) -> None:
        self.hidden += abs(float(binary)) * math.log10(2)

    def add(self, left: Any, right: Any) -> Any:
        """The sum; exactly zero where the two cancel as far as the digits go."""
        total = left + right
        if left and right:
            self.hide(self.mp.mag(left) - self.mp.mag(right))
            if abs(total) < self.rounding * abs(left):
                return self.mp.mpc(0)
        return self.keep(total)

    def number(self, value: Fraction) -> Any:
        return self.mp.mpc(self.mp.mpf(value.numerator) / value.denominator)

    def symbol(self, name: str) -> Any:
        return self.number(_coordinate(name, self.point))

    def keep(self, value: Any) -> Any:
        if not self.mp.isfinite(value):
            raise Singular
        if value and abs(self.mp.mag(value)) > 4e5:
            raise NotNumeric
        return value

    def power(self, base: Any, exponent: Any) -> Any:
        if base == 0:
            if exponent.real <= 0:
                raise Singular
            return self.mp.mpc(0)
        if exponent and self.mp.mag(exponent) < 0:
            self.hide(self.mp.mag(exponent))
        if exponent.imag == 0 and exponent.real == int(exponent.real) and abs(exponent.real) < 2**32:
            if abs(exponent.real * self.mp.mag(base)) > MAX_EXPONENT:
                raise NotNumeric
            return base ** int(exponent.real)
        return self.function("exp", exponent * self.mp.log(base))

    def function(self, name: str, value: Any) -> Any:
        if not name.startswith(("ln", "arc")) and abs(value) > (1e30 if name in _PERIODIC else MAX_EXPONENT):
            raise NotNumeric
        if value:
            self.hide(2 * self.mp.mag(value))
        if name in _HYPERBOLIC:  # e^x/2 is all that is seen of cosh x and sinh x, 1 of tanh x
            self.hide(2 * abs(value.real) / math.log(2))
        if name == "gamma":
            if value.imag == 0 and value.real <= 0 and value.real == int(value.real):
                raise Singular
            return self.mp.mpc(self.mp.gamma(value))
        if value == 0 and name in ("ln", "cot", "csc", "coth", "csch"):
            raise Singular
        result = self.unless_pole(name, self.mp.mpc(_FUNCTIONS[name](self.mp, value)))
        if name in _PERIODIC and abs(result) < self.rounding * abs(value):
            return self.mp.mpc(0)
        return result

    def floor(self, value: Any) -> Any:
        if value.imag:
            raise NotNumeric
        nearest = self.mp.nint(value.real)
        rounding = abs(value.real - nearest) <= self.rounding * abs(nearest)  # 3 times a third is not below 1
        return self.mp.mpc(nearest if rounding else self.mp.floor(value.real))


_PERIODIC = frozenset(["sin", "cos", "tan", "cot", "sec", "csc"])
_HYPERBOLIC = frozenset(["sinh", "cosh", "tanh", "coth", "sech", "csch"])
_FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "exp": lambda m, x: m.exp(x),
    "ln": lambda m, x: m.log(x),
    "sin": lambda m, x: m.sin(x),
    "cos": lambda m, x: m.cos(x),
    "tan": lambda m, x: m.tan(x),
    "cot": lambda m, x: 1 / m.tan(x),
    "sec": lambda m, x: 1 / m.cos(x),
    "csc": lambda m, x: 1 / m.sin(x),
    "sinh": lambda m, x: m.sinh(x),
    "cosh": lambda m, x: m.cosh(x),
    "tanh": lambda m, x: m.tanh(x),
    "coth": lambda m, x: 1 / m.tanh(x),
    "sech": lambda m, x: 1 / m.cosh(x),
    "csch": lambda m, x: 1 / m.sinh(x),
    "arcsin": lambda m, x: m.asin(x),
    "arccos": lambda m, x: m.acos(x),
    "arctan": lambda m, x: m.atan(x),
    "arccot": lambda m, x: m.pi / 2 - m.atan(x),
    "arcsec": lambda m, x: m.acos(1 / x),
    "arccsc": lambda m, x: m.asin(1 / x),
    "arcsinh": lambda m, x: m.asinh(x),
    "arccosh": lambda m, x: m.acosh(x),
    "arctanh": lambda m, x: m.atanh(x),
}


def value(node: Node, domain: Doubles) -> Any:
    """The value of an expression.

    Raises:
        NotNumeric: it has none within the bounds; Singular: it has none at all.
    """
    try:
        return _value(node, domain)
    except NotNumeric:
        raise
    except (ZeroDivisionError, ValueError) as error:  # a "math domain error" is a pole
        raise Singular from error
    except (ArithmeticError, TypeError, AttributeError, KeyError) as error:
        raise NotNumeric from error


def both(gold: Node, answer: Node, point: int | Far) -> tuple[Any, Any, int]:
    """(value, value, digits that must agree) of two expressions at a point, with as many digits as tell them apart.

    Raises:
        NotNumeric: one of them has no value within the bounds.
    """
    hidden = 0
    for _ in range(4):
        domain = Digits(point, DIGITS + hidden + SLACK)
        values = value(gold, domain), value(answer, domain)
        if domain.hidden <= hidden + SLACK:
            if any(one and abs(one) < TINY for one in values):
                finer = Digits(point, DIGITS + hidden + SLACK + DIGITS)
                values = _or_zero(values[0], value(gold, finer)), _or_zero(values[1], value(answer, finer))
            return *values, DIGITS + hidden
        if domain.hidden > MAX_HIDDEN:
            raise NotNumeric
        hidden = math.ceil(domain.hidden)
    raise NotNumeric


def _or_zero(rough: Any, fine: Any) -> Any:
    """Zero where a value is nothing but rounding: with more digits it gets smaller and smaller."""
    return fine if abs(fine) > abs(rough) * 1e-20 else fine * 0


def _value(node: Node, domain: Doubles) -> Any:
    kind = node[0]
    if kind == "num":
        return domain.keep(domain.number(node[1]))
    if kind == "sym":
        return domain.symbol(node[1])
    if kind == "const":
        if node[1] == "inf":
            raise Singular
        return domain.keep({"pi": domain.pi + 0j, "e": domain.e + 0j, "i": domain.number(Fraction(0)) + 1j}[node[1]])
    if kind == "neg":
        return -_value(node[1], domain)
    if kind == "add":
        total = _value(node[1][0], domain)
        for term in node[1][1:]:
            total = domain.add(total, _value(term, domain))
        return total
    if kind == "mul":
        product = _value(node[1][0], domain)
        for factor in node[1][1:]:
            product = domain.keep(product * _value(factor, domain))
        return product
    if kind == "div":
        top, bottom = _value(node[1], domain), _value(node[2], domain)
        if abs(bottom) < domain.nothing and rational_value(node[2]) is None:
            raise Singular
        return domain.keep(top / bottom)
    if kind == "pow":
        return domain.keep(domain.power(_value(node[1], domain), _value(node[2], domain)))
    if kind == "root":
        return domain.keep(_root(node, domain))
    if kind == "fn":
        return domain.keep(domain.function(node[1], _value(node[2], domain)))
    if kind == "log":
        base = domain.function("ln", _value(node[1], domain))
        return domain.keep(domain.function("ln", _value(node[2], domain)) / base)
    if kind == "abs":
        return abs(_value(node[1], domain)) + 0j
    if kind == "fact":
        return domain.keep(_factorial(_value(node[1], domain), domain))
    if kind == "unit":
        return domain.keep(
            _value(node[2], domain) * node[1].factor if node[1].dimension != "angle" else _degrees(node, domain)
        )
    if kind == "app" and len(node[2]) == 1:
        return domain.keep(_value(node[1], domain) * _value(node[2][0], domain))
    if kind == "op":
        return domain.keep(_operator(node[1], node[2], domain))
    raise NotNumeric


def _factorial(value: Any, domain: Doubles) -> Any:
    return domain.function("gamma", domain.add(value, domain.number(Fraction(1))))


def rational_value(node: Node) -> Fraction | None:
    """`rational`, None where it is not defined."""
    try:
        return rational(node)
    except Undefined:
        return None


def _root(node: Node, domain: Doubles) -> Any:
    radicand, index = _value(node[2], domain), _value(node[1], domain)
    odd = node[1][0] == "num" and node[1][1].denominator == 1 and node[1][1] % 2 == 1
    if odd and radicand.imag == 0 and radicand.real < 0:
        return -domain.power(-radicand, 1 / index)  # the real root, as everybody writes it
    return domain.power(radicand, 1 / index)


def _degrees(node: Node, domain: Doubles) -> Any:
    inner = _value(node[2], domain)
    return inner * domain.pi / 180 if node[1].factor != 1.0 else inner


def _operator(name: str, arguments: tuple[Node, ...], domain: Doubles) -> Any:
    if name == "binom":
        top, bottom = (_value(argument, domain) for argument in arguments)
        below = _factorial(bottom, domain) * _factorial(domain.add(top, -bottom), domain)
        return _factorial(top, domain) / below
    if name == "floor":
        return domain.floor(_value(arguments[0], domain))
    if name == "ceil":
        return -domain.floor(-_value(arguments[0], domain))
    if name in ("max", "min"):
        values = [_value(argument, domain) for argument in arguments]
        if any(v.imag for v in values):
            raise NotNumeric
        return (max if name == "max" else min)(values, key=lambda v: v.real)
    if name in ("gcd", "lcm"):
        numbers = [rational(argument) for argument in arguments]
        if any(n is None or n.denominator != 1 for n in numbers):
            raise NotNumeric
        whole = [int(n) for n in numbers if n is not None]
        return domain.number(Fraction(math.gcd(*whole) if name == "gcd" else math.lcm(*whole)))
    raise NotNumeric


@lru_cache(maxsize=4096)
def _coordinate(name: str, point: int | Far) -> Fraction:
    """A rational number that depends on the name: in (0, 1) at the first two points, in (1, 3) then, at the last in
    (-1, 1); of the scale's size at a far point.
    """
    unit = Fraction(stable_hash(f"point {point} {name}") % 1000003 + 1, 1000005)
    if isinstance(point, Far):
        size = point.scale * (unit + Fraction(1, 3))
        return (round(size) if point.whole else size) * Fraction(-1 if name == point.negative else 1)
    if point < 2:
        return unit
    return 1 + 2 * unit if point == 2 else 2 * unit - 1
