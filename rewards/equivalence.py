"""Are two answers equal? Typed comparison, on what the gold is.

`decide` is pure: the same two texts give the same status. It goes to a depth: "quick" is bounded exact arithmetic and
safe anywhere; "numeric" evaluates with 40 digits and "symbolic" asks math-verify as well, which may take long on
hostile input and belong in a process that can be killed. Where a depth does not suffice it raises `Undecided`;
`rewards.grader` goes down one by one.
"""

from __future__ import annotations

import re
from fractions import Fraction

from rewards.choices import choice, is_choice_gold, several
from rewards.clauses import may_be_left_out, same_letter
from rewards.counted import bare_forms
from rewards.labels import begins_with_label, by_label, distinct_letters, labels, same_function, split_label, unlabelled
from rewards.normalise import normalise, plain
from rewards.reading import Reading, read
from rewards.realsets import NotASet, looks_like_set, same_set, variable
from rewards.syntax import Node
from rewards.units import Unit, find_unit
from rewards.values import Comparer, Undecided, operators, walk

__all__ = ["Undecided", "decide"]

MAX_QUICK_ITEMS = 12
_EQUAL = ("=",)
_ELEMENT = ("in",)
_INEQUALITIES = {"<": 1, "le": 1, ">": -1, "ge": -1}
_LETTERS = re.compile(r"[A-H]{3,8}")  # choices without commas
_LITERAL = re.compile(r"-?\d{1,300}(?:\.\d{1,300})?")
_CLOCK = re.compile(r"(\d{1,2}(?::\d\d){1,2})\s*(?:([ap])\.?\s?m\.?)?(?:\s*hours)?", re.IGNORECASE)
_CLOCK_LAYOUT = re.compile(r"\\(?:text[a-z]*|mathrm|mbox)(?![A-Za-z])|[{}]|(?<=:)\s+|\s+(?=:)")


def decide(gold: str, answer: str, depth: str = "symbolic") -> str:
    """ "correct", "wrong" or "unparseable".

    Args:
        gold, answer: bare answers.
        depth: "quick", "numeric" or "symbolic".

    Raises:
        Undecided: this depth cannot tell; never at "symbolic".
    """
    try:
        return _decide(gold, answer, depth)
    except RecursionError:
        if depth == "quick":
            raise Undecided from None
        return "unparseable"


def _decide(gold: str, answer: str, depth: str) -> str:
    plain_gold, plain_answer = plain(gold), plain(answer)
    if plain_gold == plain_answer:
        return "correct"
    if _LITERAL.fullmatch(plain_gold) and _LITERAL.fullmatch(plain_answer):
        return "correct" if Fraction(plain_gold) == Fraction(plain_answer) else "wrong"
    for form in bare_forms(answer, _is_bare_number(gold)):
        if len(form) < len(answer) and _decide(gold, form, depth) == "correct":
            return "correct"
    return _decide_as_written(gold, answer, depth)


def _is_bare_number(gold: str) -> bool:
    trees = read(gold, gold=True).trees
    return bool(trees) and all(part[0] in ("num", "neg", "div", "mul", "pow") for part in walk(trees[0]))


def _decide_as_written(gold: str, answer: str, depth: str) -> str:
    ours, theirs = _clock(gold), _clock(answer)
    if ours and theirs:
        if ours[0] == theirs[0] and (not ours[1] or not theirs[1] or ours[1] == theirs[1]):
            return "correct"
        if ours[2] or theirs[2]:
            return "wrong"
    if is_choice_gold(gold):
        letter, value = choice(gold) or ("", "")
        chosen = choice(answer)
        if chosen:
            return "correct" if letter == chosen[0] else "wrong"
        if value:
            return _decide(value, answer, depth)
    if _LETTERS.fullmatch(plain(gold)) and (letters := several(gold)) and letters == several(answer):
        return "correct"
    wanted, given = read(gold, gold=True), read(answer)
    if not given.readable and not (given.unsupported or wanted.unsupported):
        return "unparseable"
    equality = _Equality(Comparer(quick=depth == "quick"))
    if any(equality.equal(g, a) for g in wanted.trees for a in given.trees):
        return "correct"
    if wanted.words is not None and _spoken(wanted.words) == _spoken(given.words or _letters(answer)):
        return "correct"
    if _needs_fallback(wanted, given):
        if depth != "symbolic":
            raise Undecided
        from rewards.symbolic import fallback_equal

        return "correct" if fallback_equal(gold, answer) else "wrong" if given.readable else "unparseable"
    return "wrong"


def _letters(answer: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[a-z0-9]+", answer.lower()))


def _spoken(words: tuple[str, ...]) -> tuple[str, ...]:
    """Without what only joins: "line, circle" is "line and circle"."""
    return tuple(word for word in words if word != "and")


def _needs_fallback(wanted: Reading, given: Reading) -> bool:
    """The symbolic library is asked only where a text is well-formed but beyond our parser, never where it is
    garbage.
    """
    if not (wanted.unsupported or given.unsupported):
        return False
    return (wanted.unsupported or bool(wanted.trees)) and (given.unsupported or bool(given.trees))


def tells_time(answer: str) -> bool:
    """Whether a bare answer is a time of day."""
    return _clock(answer) is not None


def _clock(answer: str) -> tuple[tuple[int, ...], str, bool] | None:
    """(hours, minutes, seconds), the half of the day, "a", "p" or "", and whether it can be no ratio, of an answer that
    is nothing else.
    """
    if ":" not in answer or len(answer) > 100:
        return None
    text = _CLOCK_LAYOUT.sub("", normalise(answer))
    time = _CLOCK.fullmatch(text.strip(" ."))
    if time is None:
        return None
    half = (time[2] or "").lower()
    return tuple(map(int, time[1].split(":"))), half, bool(half) or ":0" in time[1]


class _Equality:
    """Equality of trees; `comparer` decides about values."""

    def __init__(self, comparer: Comparer) -> None:
        self.comparer = comparer

    def equal(self, gold: Node, answer: Node) -> bool:
        if gold == answer:
            return True
        gold, answer = _unwrapped(gold), _unwrapped(answer)
        if gold[0] == "given" or answer[0] == "given":
            return self._same_given(gold, answer)
        if looks_like_set(gold) or looks_like_set(answer):
            result = self._same_set(gold, answer)
            if result is not None:
                return result
            if gold[0] == answer[0] and gold[0] in ("union", "inter"):
                return self._same_multiset(_operands(gold), _operands(answer))
            if gold[0] == answer[0] == "builder":
                return self._same_builder(gold, answer)
        if gold[0] == "rel" or answer[0] == "rel":
            return self._same_relation(gold, answer)
        if gold[0] in ("list", "set") or answer[0] in ("list", "set"):
            return self._same_collection(gold, answer)
        if gold[0] == "seq" or answer[0] == "seq":
            return self._same_sequence(gold, answer)
        if gold[0] == "matrix" or answer[0] == "matrix":
            return self._same_matrix(gold, answer)
        if gold[0] == "ratio" or answer[0] == "ratio":
            return self._same_ratio(gold, answer)
        if gold[0] == "base" or answer[0] == "base":
            return gold == answer
        return self._same_quantity(gold, answer)

    def _same_quantity(self, gold: Node, answer: Node) -> bool:
        """Values with units. Where only one side names a unit, the other has left it out, or (percent, degrees)
        multiplied it in.
        """
        gold_unit, gold_value = _split_unit(gold)
        answer_unit, answer_value = _split_unit(answer)
        if gold_unit and not answer_unit:  # `5 h` against five hours
            answer_unit, answer_value = _lettered_unit(answer, gold_unit)
        elif answer_unit and not gold_unit:
            gold_unit, gold_value = _lettered_unit(gold, answer_unit)
        if gold_unit and answer_unit:
            if gold_unit.dimension != answer_unit.dimension:
                return gold_unit.dimension == answer_unit.dimension == "count"
            if gold_unit.factor == answer_unit.factor:
                return self.comparer.same_value(gold_value, answer_value)
            return self._same_converted(gold_value, gold_unit, answer_value, answer_unit)
        unit = gold_unit or answer_unit
        if unit is None:
            return self.comparer.same_value(gold, answer)
        if unit.dimension == "percent" and not gold_unit:
            amount = gold_value[1] if gold_value[0] == "neg" else gold_value
            if amount[0] != "num" or amount[1] < 1:  # 0.07 and 7/4 are values, 7 asks for percent
                answer_value = ("div", answer_value, ("num", Fraction(100), None))
        if self.comparer.same_value(gold_value, answer_value):
            return True
        if unit.dimension == "percent" and gold_unit:  # 62.5% against 5/8
            hundred: Node = ("num", Fraction(100), None)
            return self.comparer.same_value(gold_value, ("mul", (answer_value, hundred)))
        if unit.dimension == "angle":
            return self.comparer.same_value(_radians(gold_value, gold_unit), _radians(answer_value, answer_unit))
        return False

    def _same_converted(self, gold: Node, gold_unit: Unit, answer: Node, answer_unit: Unit) -> bool:
        if gold_unit.dimension == "angle":
            return self.comparer.same_value(_radians(gold, gold_unit), _radians(answer, answer_unit))
        factor: Node = ("num", gold_unit.exact / answer_unit.exact, None)
        return self.comparer.same_value(("mul", (gold, factor)), answer)

    def _same_ratio(self, gold: Node, answer: Node) -> bool:
        if gold[0] == "ratio" and answer[0] == "ratio":
            ours, theirs = gold[1], answer[1]
            return len(ours) == len(theirs) and all(
                self.comparer.same_value(("mul", (ours[0], theirs[k])), ("mul", (ours[k], theirs[0])))
                for k in range(1, len(ours))
            )
        ours = ("div", *gold[1]) if gold[0] == "ratio" and len(gold[1]) == 2 else gold
        theirs = ("div", *answer[1]) if answer[0] == "ratio" and len(answer[1]) == 2 else answer
        return ours[0] != "ratio" and theirs[0] != "ratio" and self.equal(ours, theirs)

    def _same_collection(self, gold: Node, answer: Node) -> bool:
        """Lists and sets in any order, repetitions counted in lists; a bare list may be meant as a tuple, and then its
        order counts.
        """
        if gold[0] == "seq" or answer[0] == "seq":
            sequence, other = (gold, answer) if gold[0] == "seq" else (answer, gold)
            if other[0] == "set":
                return False
            named = by_label(other[1])
            items = named if named is not None else other[1]
            return (
                _is_tuple(sequence)
                and len(items) == len(sequence[3])
                and all(map(self.equal, _order(gold, items), _order(answer, items)))
            )
        if gold[0] == "matrix" or answer[0] == "matrix":
            return False
        ours, theirs = _items(gold), _items(answer)
        if gold[0] == "set" or answer[0] == "set":
            ours, theirs = self._distinct(ours), self._distinct(theirs)
        if len(ours) != len(theirs):
            return False
        our_labels, their_labels = labels(ours), labels(theirs)
        if (our_labels is None) != (their_labels is None):
            ours, theirs = unlabelled(ours), unlabelled(theirs)
            if our_labels and distinct_letters(our_labels):
                # `a=1, b=2` against `2, 1`: whoever leaves the names out keeps the order.
                return all(map(self.equal, ours, theirs))
        return self._same_multiset(ours, theirs)

    def _same_multiset(self, ours: list[Node], theirs: list[Node]) -> bool:
        if self.comparer.quick and len(ours) > MAX_QUICK_ITEMS:
            raise Undecided
        left = list(theirs)
        for item in ours:
            for index, other in enumerate(left):
                if item == other:
                    del left[index]
                    break
            else:
                for index, other in enumerate(left):
                    if (item[0] == "set") == (other[0] == "set") and self.equal(item, other):
                        del left[index]
                        break
                else:
                    return False
        return not left

    def _distinct(self, items: list[Node]) -> list[Node]:
        kept: list[Node] = []
        for item in items:
            if item not in kept:
                kept.append(item)
        return kept

    def _same_sequence(self, gold: Node, answer: Node) -> bool:
        if gold[0] == "seq" and answer[0] == "seq":
            return (
                gold[1:3] == answer[1:3] and len(gold[3]) == len(answer[3]) and all(map(self.equal, gold[3], answer[3]))
            )
        sequence, other = (gold, answer) if gold[0] == "seq" else (answer, gold)
        if other[0] == "matrix" and _is_tuple(sequence) and len(other[1][0]) == 1:  # a column vector
            column = tuple(row[0] for row in other[1])
            pairs = (column, answer[3]) if other is gold else (gold[3], column)
            return len(column) == len(sequence[3]) and all(map(self.equal, *pairs))
        return False

    def _same_matrix(self, gold: Node, answer: Node) -> bool:
        if gold[0] != "matrix" or answer[0] != "matrix":
            matrix = gold if gold[0] == "matrix" else answer
            other = answer if matrix is gold else gold
            scalar = other[0] == "mul" and len(other[1]) == 2 and other[1][1][0] == "matrix"
            if not scalar:
                return False
            factor, inner = other[1]
            scaled = ("matrix", tuple(tuple(("mul", (factor, cell)) for cell in row) for row in inner[1]))
            return self._same_matrix(*((gold, scaled) if matrix is gold else (scaled, answer)))
        ours, theirs = gold[1], answer[1]
        return (len(ours), len(ours[0])) == (len(theirs), len(theirs[0])) and all(
            self.equal(a, b) for row, other in zip(ours, theirs) for a, b in zip(row, other)
        )

    def _same_set(self, gold: Node, answer: Node) -> bool | None:
        """None where one of them turns out not to be a set of reals."""
        ours, theirs = variable(gold), variable(answer)
        if ours and theirs and ours != theirs:
            return False
        try:
            return same_set(gold, answer, self.comparer)
        except NotASet:
            if gold[0] == "rel" and gold[2] == ("in",) and not looks_like_set(answer):
                return False
            return None

    def _same_builder(self, gold: Node, answer: Node) -> bool:
        """`{2k+1 : k in Z}` by its parts; the letter that is bound may be another."""
        ours, theirs = gold[2], answer[2]
        if (
            ours[0] == theirs[0] == "rel"
            and ours[2] == theirs[2] == _ELEMENT
            and ours[1][0][0] == theirs[1][0][0] == "sym"
        ):
            free = {part for part in walk(answer[1]) if part[0] == "sym"}
            if ours[1][0] == theirs[1][0] or ours[1][0] not in free:
                answer = _renamed(answer, {theirs[1][0]: ours[1][0]})
        return self.equal(gold[1], answer[1]) and self.equal(gold[2], answer[2])

    def _same_given(self, gold: Node, answer: Node) -> bool:
        """A clause such as "for all x" says nothing that the other side may not leave out; "if" does, and so does a
        clause of the answer with a further value in it.
        """
        ours, theirs = (node[2] if node[0] == "given" else "" for node in (gold, answer))
        bare_gold = gold[1] if gold[0] == "given" else gold
        bare_answer = answer[1] if answer[0] == "given" else answer
        letters = same_letter(bare_gold, ours, theirs)
        if letters is not None:
            bare_answer = _renamed(bare_answer, {("sym", letters[0]): ("sym", letters[1])})
        elif ours != theirs and ((ours and theirs) or ours.startswith(('"if', '"when'))):
            return False
        if theirs not in ("", ours) and not may_be_left_out(theirs, answer[1]):
            return False
        return self.equal(bare_gold, bare_answer)

    def _same_relation(self, gold: Node, answer: Node) -> bool:
        gold, answer = self._reduced(gold), self._reduced(answer)
        if gold[0] == "rel" and answer[0] == "rel":
            return self._both_relations(gold, answer)
        if gold[0] == "rel":
            label, right = split_label(gold)
            if label is None:
                return self._solves(gold, answer)
            return self.equal(right, answer)
        if answer[0] == "rel":
            if answer[2] == _ELEMENT and answer[1][1][0] == "set" and gold[0] in ("list", "set"):
                return self.equal(gold, answer[1][1])  # x is one of them
            label, right = split_label(answer)
            return label is not None and right[0] != "rel" and self.equal(gold, right)
        return self.equal(gold, answer)

    def _reduced(self, node: Node) -> Node:
        """A chain of equalities, `x = 5 + 5 = 10` or `1/3 \\approx 0.33`, as what it ends in, provided that it is
        true.
        """
        if node[0] != "rel" or len(node[1]) < 2 or any(op not in ("=", "approx") for op in node[2]):
            return node
        label = node[1][0] if begins_with_label(node) else None
        values = node[1][1:] if label is not None else node[1]
        if len(values) == 1:
            return node
        if label is None and len(values) == 2 and (any(part[0] == "sym" for part in walk(node))):
            return node
        if any(value[0] in ("rel", "list", "seq", "set") for value in values):
            return node
        for left, right, op in zip(values, values[1:], node[2][-len(values) + 1 :]):
            consistent = self.comparer.same_value(left, right) if op == "=" else self._approximates(left, right)
            if not consistent and not (left[0] == "op" and op == "="):
                return node
        best = values[0] if "approx" in node[2] and values[0][0] != "op" else values[-1]
        return ("rel", (label, best), _EQUAL) if label is not None else best

    def _approximates(self, left: Node, right: Node) -> bool:
        ours, theirs = self.comparer.number(left), self.comparer.number(right)
        return ours is not None and theirs is not None and abs(ours - theirs) <= 0.01 * max(abs(ours), abs(theirs))

    def _both_relations(self, gold: Node, answer: Node) -> bool:
        if len(gold[1]) != 2 or len(answer[1]) != 2:
            same_direction = gold[2] == answer[2] and len(gold[1]) == len(answer[1])
            if same_direction and all(map(self.equal, gold[1], answer[1])):
                return True
            mirrored = tuple({"<": ">", ">": "<", "le": "ge", "ge": "le"}.get(op, op) for op in reversed(answer[2]))
            return gold[2] == mirrored and all(map(self.equal, gold[1], tuple(reversed(answer[1]))))
        op, other = (("=" if node[2][0] == "approx" else node[2][0]) for node in (gold, answer))
        if op == other == "=":
            return self._same_equation(gold, answer)
        if op in _INEQUALITIES and other in _INEQUALITIES:
            if (op in ("<", ">")) != (other in ("<", ">")):
                return False
            sign = self.comparer.proportional(_difference(gold), _difference(answer), only_sign=_solved(gold))
            return sign * _INEQUALITIES[op] * _INEQUALITIES[other] > 0
        return op == other and all(map(self.equal, gold[1], answer[1]))

    def _same_equation(self, gold: Node, answer: Node) -> bool:
        our_label, our_value = split_label(gold)
        their_label, their_value = split_label(answer)
        if our_label is not None and their_label is not None:
            if our_label == their_label:
                return self.equal(our_value, their_value)
            if same_function(our_label, their_label):
                renaming = dict(zip(our_label[2], their_label[2]))
                return self.equal(_renamed(our_value, renaming), their_value)
            if our_label[0] == their_label[0] == "seq" or operators(our_label) | operators(their_label):
                return self.equal(our_label, their_label) and self.equal(our_value, their_value)
        if any(
            side[0] in ("seq", "set", "list", "matrix", "rel", "ratio", "union", "base")
            for node in (gold, answer)
            for side in node[1]
        ):
            return all(map(self.equal, gold[1], answer[1]))
        if not any(part[0] == "sym" for part in walk(gold)):
            return all(map(self.equal, gold[1], answer[1]))  # `\\log_6 216 = 3` says nothing about any unknown
        return self.comparer.proportional(_difference(gold), _difference(answer), only_sign=_solved(gold)) != 0

    def _solves(self, equation: Node, expression: Node) -> bool:
        """`xy = 6` against `6/x`: put in for the one symbol it lacks, the expression must make the equation an
        identity.
        """
        if equation[2] != _EQUAL or expression[0] in ("list", "set", "seq", "matrix", "union"):
            return False
        present = {part for part in walk(expression) if part[0] == "sym"}
        missing = {part for part in walk(equation) if part[0] == "sym"} - present
        if len(missing) != 1 or not present:
            return False
        (symbol,) = missing
        left, right = equation[1]
        if (
            sum(part == symbol for part in walk(equation)) != 1
            or not _linear_in(left, symbol)
            or not _linear_in(right, symbol)
        ):
            return False
        return self.comparer.same_value(_renamed(left, {symbol: expression}), _renamed(right, {symbol: expression}))


def _unwrapped(node: Node) -> Node:
    """Without brackets that mean nothing: `[5]` stays, a list of one does not."""
    if node[0] == "list" and len(node[1]) == 1:
        return node[1][0]
    return node


def _operands(node: Node) -> list[Node]:
    """The sets of a union or an intersection of several."""
    left = _operands(node[1]) if node[1][0] == node[0] else [node[1]]
    return left + (_operands(node[2]) if node[2][0] == node[0] else [node[2]])


def _split_unit(node: Node) -> tuple[Unit | None, Node]:
    if node[0] == "unit":
        return node[1], node[2]
    if node[0] == "neg" and node[1][0] == "unit":
        return node[1][1], ("neg", node[1][2])
    if node[0] in ("mul", "add") and node[1][-1][0] == "unit":
        last = node[1][-1]
        if node[0] == "mul" or all(term[0] == "unit" and term[1] == last[1] for term in node[1]):
            bare = tuple(part[2] if part[0] == "unit" else part for part in node[1])
            return last[1], (node[0], bare)
    return None, node


def _lettered_unit(node: Node, like: Unit) -> tuple[Unit | None, Node]:
    """The unit written in letters, where the other side shows that letters are one: `5 h`, `9 m^2`, `12 km/h`."""
    found = _letters_of_unit(node)
    return found if found and found[0].dimension == like.dimension else (None, node)


def _letters_of_unit(node: Node) -> tuple[Unit, Node] | None:
    if node[0] == "unit":
        return node[1], node[2]
    if node[0] == "div":
        top, bottom = _letters_of_unit(node[1]), _letters_of_unit(("mul", (node[1], node[2])))
        if top is None or bottom is None:
            return None
        return Unit(f"{top[0].dimension}/{bottom[0].dimension}", top[0].factor / bottom[0].factor), top[1]
    if node[0] != "mul":
        return None
    value, *letters = node[1]
    power = 1
    if letters[-1][0] == "pow" and letters[-1][2][0] == "num" and letters[-1][2][1] in (2, 3):
        power = int(letters[-1][2][1])
        letters[-1] = letters[-1][1]
    if any(letter[0] != "sym" for letter in letters):
        return None
    unit = find_unit("".join(letter[1] for letter in letters), power)
    return (unit, value) if unit else None


def _radians(inner: Node, unit: Unit | None) -> Node:
    if unit is None or unit.factor == 1.0:
        return inner
    return ("div", ("mul", (inner, ("const", "pi"))), ("mul", (("num", Fraction(180), None),)))


def _is_tuple(node: Node) -> bool:
    return (node[1], node[2]) in (("(", ")"), ("[", "]"))


def _order(side: Node, items: tuple[Node, ...]) -> tuple[Node, ...]:
    return side[3] if side[0] == "seq" else items


def _items(node: Node) -> list[Node]:
    """What a list or set holds; `n = 2, 3, 4` names all of them."""
    if node[0] not in ("list", "set"):
        return [node]
    items = list(node[1])
    if items and items[0][0] == "rel" and all(item[0] != "rel" for item in items[1:]) and len(items) > 1:
        label, value = split_label(items[0])
        if label is not None:
            return [value, *items[1:]]
    return items


def _solved(relation: Node) -> bool:
    """`x = 3`, `x > 2`: the unknown stands alone, and an answer must isolate it too."""
    constants = [not any(part[0] == "sym" for part in walk(side)) for side in relation[1]]
    return any(side[0] == "sym" and constant for side, constant in zip(relation[1], reversed(constants)))


def _renamed(node: Node, renaming: dict[Node, Node]) -> Node:
    if node in renaming:
        return renaming[node]
    return tuple(_renamed(child, renaming) if isinstance(child, tuple) else child for child in node)


def _difference(relation: Node) -> Node:
    left, right = relation[1]
    return ("add", (left, ("neg", right)))


def _linear_in(node: Node, symbol: Node) -> bool:
    """Whether a symbol that occurs once stands in sums, products and numerators only."""
    if node == symbol or not any(part == symbol for part in walk(node)):
        return True
    if node[0] in ("add", "mul"):
        return all(_linear_in(child, symbol) for child in node[1])
    if node[0] in ("neg", "div"):
        return all(_linear_in(child, symbol) for child in node[1:2]) and (
            node[0] == "neg" or not any(p == symbol for p in walk(node[2]))
        )
    return False
