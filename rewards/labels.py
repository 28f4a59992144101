"""Names that answers carry: `x = 3`, `f(n) = 2n`, `(p, q) = (1, 2)`, `AB = 5`. What is only named is compared by its
value.
"""

from __future__ import annotations

from rewards.grammar import negated
from rewards.syntax import Node
from rewards.values import has_symbol, walk


def labels(items: list[Node]) -> list[Node] | None:
    """The names of the items, None where one has none."""
    found = [split_label(item)[0] if item[0] == "rel" else None for item in items]
    return [label for label in found if label is not None] if found and all(found) else None


def unlabelled(items: list[Node]) -> list[Node]:
    return [split_label(item)[1] if item[0] == "rel" else item for item in items]


def by_label(items: tuple[Node, ...]) -> tuple[Node, ...] | None:
    """The values of a list whose items all have a name, in the order of the names."""
    names = labels(list(items))
    if names is None:
        return None
    values = unlabelled(list(items))
    return tuple(value for _, value in sorted(zip(names, values), key=lambda pair: repr(pair[0])))


def distinct_letters(names: list[Node]) -> bool:
    """Whether the names are different unknowns and not numbered roots of one."""
    letters = [str(label[1]).partition("_")[0] for label in names]
    return len(set(letters)) == len(letters)


def split_label(relation: Node) -> tuple[Node | None, Node]:
    """(name, value) of `x = 3`, `3 = x`, `f(x) = 2x`, `(x, y) = (1, 2)`; (None, the relation) where nothing is only
    named.
    """
    if relation[0] != "rel" or (set(relation[2]) - {"="} and relation[2] != ("approx",)):
        return None, relation
    left, right = relation[1][0], relation[1][-1]
    if not all(map(has_symbol, relation[1][1:-1])):
        return None, relation  # x = 7 = 8
    if _is_label(left, right):
        return left, right
    if len(relation[1]) == 2 and right[0] == "sym" and not any(part == right for part in walk(left)):
        return right, left
    return None, relation


def begins_with_label(chain: Node) -> bool:
    """Whether a chain such as `x = 1/3 = 2/6` begins with a name."""
    return _is_label(chain[1][0], chain[1][-1])


def _is_label(left: Node, right: Node) -> bool:
    kind = left[0]
    if kind == "mul" and len(left[1]) >= 3 and all(letter[0] in ("sym", "const") for letter in left[1]):
        return right[0] == "num" and not negated(left)  # a word
    if kind in ("sym", "const"):
        return not any(part == left for part in walk(right)) or kind == "const"
    if kind == "app":
        return all(part[0] != "app" for part in walk(right) if part[:2] == left[:2])
    if kind == "seq":
        return all(item[0] == "sym" for item in left[3])
    if kind == "op":
        return left[1] not in ("binom", "floor", "ceil")
    if kind == "abs":
        return _is_name(left[1])
    if kind in ("div", "ratio"):
        parts = left[1:] if kind == "div" else left[1]
        return all(map(_is_name, parts))
    return _is_name(left)


def _is_name(node: Node) -> bool:
    """Capital letters side by side name a segment or an angle: AB."""
    letters = node[1] if node[0] == "mul" else (node,)
    return all(letter[0] == "sym" and letter[1][:1].isupper() for letter in letters)


def same_function(ours: Node, theirs: Node) -> bool:
    """f(n) and f(m) name the same function of differently named arguments."""
    return (
        ours[0] == theirs[0] == "app"
        and ours[1] == theirs[1]
        and len(ours[2]) == len(theirs[2])
        and all(argument[0] == "sym" for argument in (*ours[2], *theirs[2]))
    )
