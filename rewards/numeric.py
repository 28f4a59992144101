"""Values of expressions in floating point: in doubles to tell different ones apart, with 40 digits to confirm equal
ones.

One pass over the tree with a fixed number of digits; magnitudes that would make a single operation expensive are
refused. Symbols get values that depend on their name and the point only, so that gold and answer are evaluated at the
same place.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

from rewards.exact import rational, stable_hash
from rewards.syntax import Node

DIGITS = 40
MAX_EXPONENT = 1e5  # of a power of e in a 40-digit value
POINTS = 4


class NotNumeric(ArithmeticError):
    """The expression has no value here: an operator without a number behind it, infinity, or an operation beyond the
    bounds.
    """


class Doubles:
    """Complex doubles at one point.

    Attributes:
        scale: the largest magnitude met on the way; differences far below it are rounding.
    """

    pi: Any = math.pi
    e: Any = math.e

    def __init__(self, point: int) -> None:
        self.point = point
        self.scale = 0.0

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
        self.scale = max(self.scale, magnitude)
        return value

    def power(self, base: Any, exponent: Any) -> Any:
        if base == 0:
            if exponent.real <= 0:
                raise NotNumeric
            return 0j
        if exponent.imag == 0 and exponent.real == int(exponent.real) and abs(exponent.real) <= 64:
            return base ** int(exponent.real)
        return cmath.exp(exponent * cmath.log(base))

    def function(self, name: str, value: Any) -> Any:
        if name in ("gamma", "zeta"):
            if value.imag or not -170 < value.real < 170:
                raise NotNumeric
            return complex(math.gamma(value.real))
        return _FUNCTIONS[name](cmath, value)

    def floor(self, value: Any) -> Any:
        if value.imag:
            raise NotNumeric
        return complex(math.floor(value.real))


class Digits(Doubles):
    """Complex numbers with `DIGITS` and some guard digits, by mpmath. Only for worker processes: its precision is
    global.
    """

    def __init__(self, point: int) -> None:
        super().__init__(point)
        import mpmath

        mpmath.mp.dps = DIGITS + 15
        self.mp = mpmath
        self.pi = mpmath.mpf(mpmath.pi)
        self.e = mpmath.mpf(mpmath.e)

    def number(self, value: Fraction) -> Any:
        return self.mp.mpc(self.mp.mpf(value.numerator) / value.denominator)

    def symbol(self, name: str) -> Any:
        return self.number(_coordinate(name, self.point))

    def keep(self, value: Any) -> Any:
        if not self.mp.isfinite(value) or (value and abs(self.mp.mag(value)) > 4e5):
            raise NotNumeric
        return value

    def power(self, base: Any, exponent: Any) -> Any:
        if base == 0:
            if exponent.real <= 0:
                raise NotNumeric
            return self.mp.mpc(0)
        if exponent.imag == 0 and exponent.real == int(exponent.real) and abs(exponent.real) < 2**32:
            if abs(exponent.real * self.mp.mag(base)) > MAX_EXPONENT:
                raise NotNumeric
            return base ** int(exponent.real)
        return self.function("exp", exponent * self.mp.log(base))

    def function(self, name: str, value: Any) -> Any:
        if abs(value) > (MAX_EXPONENT if name in ("exp", "gamma", "sinh", "cosh", "tanh") else 1e30):
            raise NotNumeric
        if name == "gamma":
            if value.imag == 0 and value.real <= 0 and value.real == int(value.real):
                raise NotNumeric
            return self.mp.mpc(self.mp.gamma(value))
        return self.mp.mpc(_FUNCTIONS[name](self.mp, value))

    def floor(self, value: Any) -> Any:
        if value.imag:
            raise NotNumeric
        return self.mp.mpc(self.mp.floor(value.real))


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
        NotNumeric: it has none within the bounds.
    """
    try:
        return _value(node, domain)
    except (ArithmeticError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise NotNumeric from error


def _value(node: Node, domain: Doubles) -> Any:
    kind = node[0]
    if kind == "num":
        return domain.keep(domain.number(node[1]))
    if kind == "sym":
        return domain.symbol(node[1])
    if kind == "const":
        if node[1] == "inf":
            raise NotNumeric
        return {"pi": domain.pi + 0j, "e": domain.e + 0j, "i": domain.number(Fraction(0)) + 1j}[node[1]]
    if kind == "neg":
        return -_value(node[1], domain)
    if kind == "add":
        total = _value(node[1][0], domain)
        for term in node[1][1:]:
            total = domain.keep(total + _value(term, domain))
        return total
    if kind == "mul":
        product = _value(node[1][0], domain)
        for factor in node[1][1:]:
            product = domain.keep(product * _value(factor, domain))
        return product
    if kind == "div":
        return domain.keep(_value(node[1], domain) / _value(node[2], domain))
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
        return domain.keep(domain.function("gamma", _value(node[1], domain) + 1))
    if kind == "unit":
        return domain.keep(
            _value(node[2], domain) * node[1].factor if node[1].dimension != "angle" else _degrees(node, domain)
        )
    if kind == "app" and len(node[2]) == 1:
        return domain.keep(_value(node[1], domain) * _value(node[2][0], domain))
    if kind == "op":
        return domain.keep(_operator(node[1], node[2], domain))
    raise NotNumeric


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
        gamma = domain.function
        return gamma("gamma", top + 1) / gamma("gamma", bottom + 1) / gamma("gamma", top - bottom + 1)
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
def _coordinate(name: str, point: int) -> Fraction:
    """A rational number that depends on the name: in (0, 1) at the first two points, in (1, 3) then, at the last in
    (-1, 1).
    """
    unit = Fraction(stable_hash(f"point {point} {name}") % 1000003 + 1, 1000005)
    if point < 2:
        return unit
    return 1 + 2 * unit if point == 2 else 2 * unit - 1
