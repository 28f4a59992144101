"""Exact values of expressions: rational numbers, and residues modulo a prime that stand for whole functions.

Two expressions that agree as elements of the field of P = 2^127 - 1 elements at random points are the same rational
function, up to a chance below degree / P (Schwartz 1980, Zippel 1979). What is not rational (roots, logarithms, pi) is
taken as an unknown of its own that depends on its argument only; agreement is then still proof, disagreement is not,
and `Residue.formal` says which case it is.

Everything is bounded: one pass over the tree, numbers of at most `MAX_BITS` bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from hashlib import blake2b

from rewards.syntax import Node

P = 2**127 - 1
MAX_BITS = 8192
MAX_FACTORIAL = 3000


class Undefined(ArithmeticError):
    """Division by zero, or a value that does not fit the bounds."""


def rational(node: Node) -> Fraction | None:
    """The value of a constant made of rational numbers and + - * / ^; None for anything else.

    Raises:
        Undefined: division by zero.
    """
    kind = node[0]
    if kind == "num":
        return node[1]
    if kind == "neg":
        value = rational(node[1])
        return None if value is None else -value
    if kind in ("add", "mul"):
        total = Fraction(0 if kind == "add" else 1)
        for child in node[1]:
            value = rational(child)
            if value is None:
                return None
            total = total + value if kind == "add" else total * value
            if total.numerator.bit_length() + total.denominator.bit_length() > MAX_BITS:
                return None
        return total
    if kind == "div":
        top, bottom = rational(node[1]), rational(node[2])
        if top is None or bottom is None:
            return None
        if bottom == 0:
            raise Undefined
        return top / bottom
    if kind == "pow":
        base, exponent = rational(node[1]), rational(node[2])
        return None if base is None or exponent is None else _power(base, exponent)
    if kind == "app" and len(node[2]) == 1:
        return None
    return None


def _power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if exponent.denominator != 1:
        return None
    if base == 0 and exponent <= 0:
        raise Undefined
    size = max(base.numerator.bit_length(), base.denominator.bit_length())
    if abs(exponent) * size > MAX_BITS:
        return None
    return base ** int(exponent)


@dataclass
class Residue:
    """An evaluation point: every symbol has a whole number as its value, so that `2^n` is as exact as `n^2`.

    Args:
        seed: number of the point.

    Attributes:
        formal: something that is not rational was met.
    """

    seed: int
    formal: bool = False

    def value(self, node: Node) -> int:
        """The residue of a node modulo P.

        Raises:
            Undefined: division by zero.
        """
        kind = node[0]
        if kind == "num":
            return _fraction(node[1])
        if kind == "sym":
            return self.symbol(node[1])
        if kind == "neg":
            return -self.value(node[1]) % P
        if kind == "add":
            return sum(map(self.value, node[1])) % P
        if kind == "mul":
            product = 1
            for factor in node[1]:
                product = product * self.value(factor) % P
            return product
        if kind == "div":
            return self.value(node[1]) * _inverse(self.value(node[2])) % P
        if kind == "pow":
            return self.power(node[1], node[2])
        if kind == "app" and len(node[2]) == 1:
            return self.symbol(node[1][1]) * self.value(node[2][0]) % P
        if kind == "fact":
            argument = rational(node[1])
            if argument is not None and argument.denominator == 1 and 0 <= argument <= MAX_FACTORIAL:
                return _factorial(int(argument))
        self.formal = True
        if kind == "const":
            return stable_hash("const " + node[1])
        if kind == "root" and node[1][0] == "num":
            return self.radical(self.value(node[2]), node[1][1])
        return self.unknown(node)

    def symbol(self, name: str) -> int:
        return _symbol(name, self.seed)

    def power(self, base: Node, exponent: Node) -> int:
        count = self.integer(exponent)
        if base == ("const", "e") and count is None:
            self.formal = True
            return self.unknown(("pow", base, exponent))
        value = self.value(base)
        if count is not None and count.denominator == 1:
            if value == 0 and count <= 0:
                raise Undefined
            return pow(value, int(count) % (P - 1), P)
        self.formal = True
        if count is not None and count.denominator <= 64:
            return self.radical(pow(value, count.numerator % (P - 1), P), Fraction(count.denominator))
        return _mix(f"pow {count}", [value, 0 if count is not None else self.value(exponent)])

    def radical(self, value: int, degree: Fraction) -> int:
        return _mix(f"root {degree}", [value])

    def integer(self, node: Node) -> Fraction | None:
        """The exponent's value at this point as a rational number of bounded size; None where it is not rational."""
        kind = node[0]
        value: Fraction | None
        if kind == "num":
            return node[1]
        if kind == "sym":
            return Fraction(self.symbol(node[1]))
        if kind == "neg":
            value = self.integer(node[1])
            return None if value is None else -value
        if kind in ("add", "mul"):
            total = Fraction(0 if kind == "add" else 1)
            for child in node[1]:
                value = self.integer(child)
                if value is None:
                    return None
                total = total + value if kind == "add" else total * value
                if total.numerator.bit_length() > MAX_BITS:
                    return None
            return total
        if kind == "div":
            top, bottom = self.integer(node[1]), self.integer(node[2])
            return None if top is None or not bottom else top / bottom
        if kind == "pow":
            base, exponent = self.integer(node[1]), self.integer(node[2])
            return None if base is None or exponent is None else _power(base, exponent)
        return None

    def unknown(self, node: Node) -> int:
        """A value that depends on the kind of the node and the values of its children, and on nothing else."""
        label = [str(node[0])]
        values = []
        for child in node[1:]:
            if isinstance(child, tuple) and child and isinstance(child[0], str):
                values.append(self.value(child))
            elif isinstance(child, tuple):
                label.append(f"({len(child)})")
                for part in child:
                    if isinstance(part, tuple) and part and isinstance(part[0], str):
                        values.append(self.value(part))
                    elif isinstance(part, tuple):
                        values.extend(self.value(cell) for cell in part)
                    else:
                        label.append(repr(part))
            else:
                label.append(repr(child))
        return _mix(" ".join(label), values)


def _fraction(value: Fraction) -> int:
    if value.denominator == 1:
        return value.numerator % P
    return value.numerator * _inverse(value.denominator % P) % P


def _inverse(value: int) -> int:
    if value == 0:
        raise Undefined
    return pow(value, -1, P)


def _mix(label: str, values: list[int]) -> int:
    mixed = stable_hash(label)
    for value in values:
        mixed = pow((mixed * 31 + value + 1) % P, 5, P)
    return mixed


@lru_cache(maxsize=4096)
def stable_hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(errors="replace"), digest_size=16).digest(), "big") % P


@lru_cache(maxsize=4096)
def _symbol(name: str, seed: int) -> int:
    # Small enough for exponents; the seeds give both parities, which (-1)^n can tell apart.
    return (stable_hash(f"{name} {seed // 2}") % 2**40 | 1) + seed % 2


@lru_cache(maxsize=256)
def _factorial(count: int) -> int:
    product = 1
    for factor in range(2, count + 1):
        product = product * factor % P
    return product
