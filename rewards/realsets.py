"""Sets of real numbers: intervals, unions, solved inequalities and set-builder notation as one list of pieces."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from rewards.syntax import Node
from rewards.values import Comparer, has_symbol

_INFINITY: Node = ("const", "inf")
_MINUS_INFINITY: Node = ("neg", _INFINITY)
_REALS = ("sym", "\\mathbb(R)")
_INTEGERS, _NATURALS = ("sym", "\\mathbb(Z)"), ("sym", "\\mathbb(N)")
_FLIPPED = {"<": ">", ">": "<", "le": "ge", "ge": "le", "ne": "ne", "=": "=", "approx": "="}
MAX_PIECES = 60


class NotASet(ValueError):
    """The node does not describe a set of reals."""


@dataclass(frozen=True)
class Piece:
    """An interval; a point is a closed interval from itself to itself.

    Args:
        low, high: end points as expressions, `at_low`, `at_high`: their values, `closed_low`, `closed_high`: whether
            they belong to it.
    """

    low: Node
    high: Node
    at_low: float
    at_high: float
    closed_low: bool
    closed_high: bool


def looks_like_set(node: Node) -> bool:
    """Whether a node can only be read as a set of reals (so that a pair opposite to it is an interval)."""
    kind = node[0]
    if kind in ("union", "inter", "minus", "builder"):
        return True
    if kind == "seq" and len(node[3]) == 2:
        return node[1] == "[" or node[2] == "]" or any(_is_infinite(end) for end in node[3])
    if kind == "rel":
        if any(op in ("<", ">", "le", "ge", "ne") for op in node[2]):
            return True
        return node[2] == ("in",) and (
            looks_like_set(node[1][1]) or node[1][1][0] in ("seq", "set") or node[1][1] == _REALS
        )
    if kind == "list":
        return all(item[0] == "rel" for item in node[1]) and any(looks_like_set(item) for item in node[1])
    return node in (_REALS, ("sym", "\\emptyset"))


def variable(node: Node) -> Node | None:
    """What a solved inequality is about; None for a bare set."""
    if node[0] == "rel":
        unknown = [_inside_bars(part) for part in node[1] if _is_unknown(_inside_bars(part))]
        return unknown[0] if len(unknown) == 1 else None
    if node[0] == "list":
        return variable(node[1][0])
    return None


def pieces(node: Node, comparer: Comparer) -> list[Piece]:
    """The set as disjoint pieces in order.

    Raises:
        NotASet: it is none, or it is not written in solved form.
    """
    return _merged(_pieces(node, comparer), comparer)


def same_set(gold: Node, answer: Node, comparer: Comparer) -> bool:
    """Whether two nodes describe the same set; brackets count.

    Raises:
        NotASet: one of them does not describe a set.
    """
    ours, theirs = pieces(gold, comparer), pieces(answer, comparer)
    return len(ours) == len(theirs) and all(
        a.closed_low == b.closed_low
        and a.closed_high == b.closed_high
        and comparer.same_value(a.low, b.low)
        and comparer.same_value(a.high, b.high)
        for a, b in zip(ours, theirs)
    )


def _pieces(node: Node, comparer: Comparer) -> list[Piece]:
    kind = node[0]
    if node == _REALS:
        return [_piece(_MINUS_INFINITY, _INFINITY, False, False, comparer)]
    if node == ("sym", "\\emptyset") or node == ("set", ()):
        return []
    if kind == "seq" and len(node[3]) == 2:
        low, high = node[3]
        return [_piece(low, high, node[1] == "[", node[2] == "]", comparer)]
    if kind == "set":
        return [_piece(item, item, True, True, comparer) for item in node[1]]
    if kind == "union":
        return _limited(_pieces(node[1], comparer) + _pieces(node[2], comparer))
    if kind == "inter":
        return _intersection(_pieces(node[1], comparer), _pieces(node[2], comparer))
    if kind == "minus" or (kind == "add" and len(node[1]) == 2 and node[1][1][0] == "neg"):
        left, right = (node[1], node[2]) if kind == "minus" else (node[1][0], node[1][1][1])
        return _intersection(
            _pieces(left, comparer), _complement(_merged(_pieces(right, comparer), comparer), comparer)
        )
    if kind == "builder":
        return _builder(node, comparer)
    if kind == "rel":
        return _relation(node, comparer)
    if kind == "list":
        return _conditions(node, comparer)
    if kind == "given":
        return _pieces(node[1], comparer)
    raise NotASet


def _builder(node: Node, comparer: Comparer) -> list[Piece]:
    element, condition = node[1], node[2]
    about, domain = element[1] if element[0] == "rel" and element[2] == ("in",) else (element, _REALS)
    named = variable(condition)
    if named is not None and named != about:
        raise NotASet
    found = _pieces(condition, comparer)
    return found if domain == _REALS else _whole(found, domain, comparer)


def _whole(found: list[Piece], domain: Node, comparer: Comparer) -> list[Piece]:
    """The whole numbers in a set."""
    if domain not in (_INTEGERS, _NATURALS):
        raise NotASet
    numbers: list[int] = []
    for piece in found:
        if not (abs(piece.at_low) < 1e9 and piece.at_high - piece.at_low < MAX_PIECES):
            raise NotASet
        low, high = math.ceil(piece.at_low), math.floor(piece.at_high)
        inside = range(low + (low == piece.at_low and not piece.closed_low), high + 1)
        numbers += [n for n in inside if n != piece.at_high or piece.closed_high]
    if domain == _NATURALS:
        if 0 in numbers:
            raise NotASet  # some count it, some do not
        numbers = [n for n in numbers if n > 0]
    nodes: list[Node] = [("num", Fraction(n), None) for n in numbers]
    return _limited([_piece(node, node, True, True, comparer) for node in nodes])


def _relation(node: Node, comparer: Comparer) -> list[Piece]:
    parts, ops = node[1], node[2]
    if ops == ("in",):
        return _pieces(parts[1], comparer)
    if len(parts) == 2 and ops[0] in _FLIPPED:
        left, right, op = parts[0], parts[1], "=" if ops[0] == "approx" else ops[0]
        if not _is_unknown(_inside_bars(left)):
            left, right, op = right, left, _FLIPPED[op]
        if not _is_unknown(_inside_bars(left)) or _is_unknown(right):
            raise NotASet
        if left[0] == "abs":
            return _absolute(left[1], op, right, comparer)
        if op == "=":
            return [_piece(right, right, True, True, comparer)]
        if op == "ne":
            return [
                _piece(_MINUS_INFINITY, right, False, False, comparer),
                _piece(right, _INFINITY, False, False, comparer),
            ]
        if op in ("<", "le"):
            return [_piece(_MINUS_INFINITY, right, False, op == "le", comparer)]
        return [_piece(right, _INFINITY, op == "ge", False, comparer)]
    if len(parts) == 3 and _is_unknown(parts[1]):
        if all(op in ("<", "le") for op in ops):
            return [_piece(parts[0], parts[2], ops[0] == "le", ops[1] == "le", comparer)]
        if all(op in (">", "ge") for op in ops):
            return [_piece(parts[2], parts[0], ops[1] == "ge", ops[0] == "ge", comparer)]
    raise NotASet


def _absolute(unknown: Node, op: str, bound: Node, comparer: Comparer) -> list[Piece]:
    """`|x| > 1` as two rays, `|x| < 1` as one interval."""
    place = _place(bound, comparer)
    if has_symbol(bound) or place <= 0 or place == float("inf"):
        raise NotASet
    low: Node = ("neg", bound)
    if op in ("<", "le"):
        return [_piece(low, bound, op == "le", op == "le", comparer)]
    if op in (">", "ge"):
        rays = [(_MINUS_INFINITY, low, False, op == "ge"), (bound, _INFINITY, op == "ge", False)]
        return [_piece(*ray, comparer) for ray in rays]
    sides: list[Node] = [("rel", (unknown, end), (op,)) for end in (low, bound)]
    found = [_pieces(side, comparer) for side in sides]
    return _intersection(*found) if op == "ne" else found[0] + found[1]


def _conditions(node: Node, comparer: Comparer) -> list[Piece]:
    """`x < 1 or x > 3` is a union, joined by "and" an intersection, and by a comma as well unless that leaves nothing."""
    items, joint = node[1], node[2]
    names = {variable(item) for item in items if item[0] == "rel"}
    if len(names) > 1:
        raise NotASet
    sets = [_merged(_pieces(item, comparer), comparer) for item in items]
    if joint != "or":
        common = sets[0]
        for other in sets[1:]:
            common = _intersection(common, other)
        if common or joint == "and":
            return common
    return _limited([piece for one in sets for piece in one])


def _piece(low: Node, high: Node, closed_low: bool, closed_high: bool, comparer: Comparer) -> Piece:
    at_low, at_high = _place(low, comparer), _place(high, comparer)
    if at_low > at_high and not has_symbol(low) and not has_symbol(high):
        raise NotASet
    return Piece(low, high, at_low, at_high, closed_low, closed_high)


def _place(node: Node, comparer: Comparer) -> float:
    """Where an end point lies; symbols have a value of their own, so that `(a, b)` can be compared too."""
    if node == _INFINITY:
        return float("inf")
    if node == _MINUS_INFINITY:
        return float("-inf")
    place = comparer.number(node)
    if place is None:
        raise NotASet
    return place


def _intersection(left: list[Piece], right: list[Piece]) -> list[Piece]:
    found = []
    for a in left:
        for b in right:
            low = max((a, b), key=lambda p: (p.at_low, not p.closed_low))
            high = min((a, b), key=lambda p: (p.at_high, p.closed_high))
            if low.at_low < high.at_high or (low.at_low == high.at_high and low.closed_low and high.closed_high):
                found.append(Piece(low.low, high.high, low.at_low, high.at_high, low.closed_low, high.closed_high))
    return _limited(found)


def _complement(ordered: list[Piece], comparer: Comparer) -> list[Piece]:
    found = []
    low, closed = _MINUS_INFINITY, False
    for piece in ordered:
        if piece.at_low > float("-inf"):
            found.append(_piece(low, piece.low, closed, not piece.closed_low, comparer))
        low, closed = piece.high, not piece.closed_high
    if low != _INFINITY:
        found.append(_piece(low, _INFINITY, closed, False, comparer))
    return found


def _merged(unordered: list[Piece], comparer: Comparer) -> list[Piece]:
    merged: list[Piece] = []
    for piece in sorted(unordered, key=lambda p: (p.at_low, not p.closed_low)):
        if piece.at_low == piece.at_high and not (piece.closed_low and piece.closed_high):
            continue  # (a, a) is empty
        if merged and _touches(merged[-1], piece):
            last = merged[-1]
            high = max((last, piece), key=lambda p: (p.at_high, p.closed_high))
            merged[-1] = Piece(last.low, high.high, last.at_low, high.at_high, last.closed_low, high.closed_high)
        else:
            merged.append(piece)
    return merged


def _touches(left: Piece, right: Piece) -> bool:
    return right.at_low < left.at_high or (right.at_low == left.at_high and (left.closed_high or right.closed_low))


def _limited(found: list[Piece]) -> list[Piece]:
    if len(found) > MAX_PIECES:
        raise NotASet
    return found


def _is_unknown(node: Node) -> bool:
    """A variable, or something named: f(x), |z| is not."""
    return node[0] == "sym" or (node[0] == "app" and node[1][0] == "sym")


def _inside_bars(node: Node) -> Node:
    return node[1] if node[0] == "abs" else node


def _is_infinite(node: Node) -> bool:
    return node in (_INFINITY, _MINUS_INFINITY)
