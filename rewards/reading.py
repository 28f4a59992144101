"""From an answer's text to what it says: words, or a tree with its alternatives where a notation has two readings."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from rewards.clauses import with_clause
from rewards.counted import scaled
from rewards.normalise import has_list_reading, normalise, plain
from rewards.spoken import spoken
from rewards.syntax import MAX_ITEMS, Node, parse
from rewards.tokens import NAMES, Malformed, Unsupported
from rewards.units import find_unit

MAX_SIGNS = 6  # of independent plus-minus signs in one answer

_TEXT = re.compile(r"\\(?:text|textbf|textit|textrm|textnormal|mathrm|mathbf|mbox|operatorname|emph)\*?\s*\{([^{}]*)\}")
_WORD = re.compile(r"[A-Za-z]{2,}")
_SPACED_EXPONENT = re.compile(r"(?<![A-Za-z\d])(\d+(?:\.\d+)?)\s*[eE]\s*([-+])\s*(\d{1,3})(?![\d.A-Za-z])")
_MATHEMATICAL_WORDS = frozenset(NAMES) | {"exp", "arg", "deg", "cm", "mm", "km", "kg", "ml"}
_SHORT_WORDS = frozenset(
    [
        "yes",
        "no",
        "odd",
        "even",
        "true",
        "false",
        "none",
        "one",
        "two",
        "six",
        "ten",
        "red",
        "all",
        "east",
        "west",
        "left",
        "right",
        "north",
        "south",
    ]
)
_THOUSANDS = re.compile(r"-?\d{1,3}(?:,\d{3})+")
_NUMBER_WITH_UNIT = re.compile(r"(-?\d+(?:\.\d+)?)\s+([A-Za-z]{2,}(?: [A-Za-z]+){1,3})")
_BASED = re.compile(r"([0-9A-Z]*\d[0-9A-Z]*|[0-9A-Z]{2,})_\{?(1[1-9]|2\d|3[0-6])\}?")
_AMOUNT = re.compile(r"(-?)\s*(\\\$|[$€£¥₹])\s*(-?\d[\d.,{}\\! ]*)")
_MATH = re.compile(r"(?<!\\)\$(?=.*\$)|(?<=\d)\$|\\[()]")
_ARTICLES = re.compile(r"\b(?:a|an|the)\s+")


@dataclass(frozen=True)
class Reading:
    """What an answer may say.

    Attributes:
        trees: readings of it as mathematics, the likeliest first; empty when there is none.
        words: the words in it, in lower case, when it is text; None otherwise.
        unsupported: it is well-formed as far as it was read, with a construct that only the symbolic fallback may know.
    """

    trees: tuple[Node, ...]
    words: tuple[str, ...] | None
    unsupported: bool = False

    @property
    def readable(self) -> bool:
        return bool(self.trees) or self.words is not None


@lru_cache(maxsize=1024)
def read(text: str, gold: bool = False) -> Reading:
    """The readings of an answer. Never raises.

    Args:
        text: the answer.
        gold: it is a reference answer, where `12,345` is one number and no list of two.
    """
    normal = normalise(text)
    words = _words(normal)
    trees: list[Node] = []
    unsupported = False
    if words is not None and words[1]:
        said = spoken(words[0])
        return Reading((said,) if said else (), words[0])
    for candidate in _candidates(text, normal, gold):
        try:
            tree = _expand_signs(with_clause(parse(candidate)))
            if tree not in trees:
                trees.append(tree)
        except Unsupported:
            unsupported = True
        except (Malformed, RecursionError):
            continue
    based = _BASED.fullmatch(plain(text))
    if based and not based[1].isdigit() and all(int(digit, 36) < int(based[2]) for digit in based[1]):
        trees = [("base", based[1], int(based[2]))]
    amount = _money(text) or _scaled(normal)
    if amount is not None:
        trees = [amount]
    if trees:
        words = None
    return Reading(tuple(trees), words[0] if words else None, unsupported and not trees and words is None)


def _money(text: str) -> Node | None:
    """An amount of money: the sign of a currency and a number."""
    signed = any(sign in text for sign in "$€£¥₹") and len(text) < 60
    amount = _AMOUNT.fullmatch(_MATH.sub("", text).strip(" .")) if signed else None
    if amount is None:
        return None
    try:
        number = parse(normalise(amount[1] + amount[3]))
    except Malformed:
        return None
    unit = find_unit({"€": "euro", "¥": "yuan", "₹": "rupee", "£": "sterling"}.get(amount[2], "dollar"))
    return ("unit", unit, number) if number[0] in ("num", "neg") else None


def _scaled(normal: str) -> Node | None:
    """`2.5 million`, with a unit or without."""
    found = scaled(normal) if len(normal) < 60 else None
    if found is None:
        return None
    number, factor, rest = found
    unit = find_unit(rest) if rest else None
    if rest and unit is None:
        return None
    node: Node = ("num", Fraction(number) * factor, None)
    return ("unit", unit, node) if unit else node


def _candidates(text: str, normal: str, gold: bool) -> list[str]:
    candidates = [normal]
    if "," in text and has_list_reading(text) and not (gold and _THOUSANDS.fullmatch(text.strip(" $."))):
        candidates.append(normalise(re.sub(r"(?<=\d),(?=\d)", ", ", text)))
    if _SPACED_EXPONENT.search(normal):
        candidates.append(_SPACED_EXPONENT.sub(r"\1e\2\3", normal))
        candidates.append(_SPACED_EXPONENT.sub(r"\1 e \2 \3", normal))
    bare = _NUMBER_WITH_UNIT.fullmatch(normal)
    if bare and find_unit(bare[2]):
        candidates.append(rf"{bare[1]}\text{{ {bare[2]} }}")
    return candidates


def _words(normal: str) -> tuple[tuple[str, ...], bool] | None:
    """(the words, whether they are nothing but words) of an answer with text in it, None where there is no word."""
    opened = _TEXT.sub(lambda match: f" {match[1]} ", normal)
    if not _WORD.search(opened):
        return None
    commands = re.search(r"\\[A-Za-z]+|[=<>^_+*/\\|]", opened)
    runs = _WORD.findall(re.sub(r"\\[A-Za-z]+", " ", opened))
    vocabulary = [run for run in runs if run.lower() not in _MATHEMATICAL_WORDS]
    if not vocabulary:
        return None
    in_text = any(_WORD.search(match) for match in _TEXT.findall(normal))
    wordy = any(len(run) >= 4 or run.lower() in _SHORT_WORDS for run in vocabulary)
    if not (in_text or wordy):
        return None
    only_words = not commands and not re.search(r"\d", opened)
    spoken = re.sub(r"(?<=[a-z])-(?=[a-z])", " ", _ARTICLES.sub("", opened.lower().replace("\\", " ")))
    return tuple(re.findall(r"[a-z0-9]+|[^\sa-z0-9.,;:'\"$(){}]", spoken)), only_words


def _expand_signs(tree: Node) -> Node:
    """A tree with plus-minus signs as the list of what they stand for."""
    if tree[0] == "list":
        items: list[Node] = []
        for item in tree[1]:
            if len(items) > MAX_ITEMS:
                raise Malformed("too many items")
            expanded = _expand_signs(item)
            items.extend(expanded[1] if expanded[0] == "list" else (expanded,))
        return ("list", tuple(items), tree[2])
    if tree[0] == "set":
        inner = _expand_signs(("list", tree[1], ","))
        return ("set", inner[1])
    if tree[0] == "rel" and tree[2] == ("=",):
        right = _expand_signs(tree[1][1])
        if right[0] == "list":
            return ("list", tuple(("rel", (tree[1][0], item), ("=",)) for item in right[1]), ",")
        return tree
    count = _count_signs(tree)
    if count == 0:
        return tree
    if count > MAX_SIGNS:
        raise Malformed("too many plus-minus signs")
    variants: list[Node] = []
    for signs in itertools.product((1, -1), repeat=count):
        variant = _with_signs(tree, iter(signs))
        if variant not in variants:
            variants.append(variant)
    return ("list", tuple(variants), ",")


def _count_signs(node: object) -> int:
    if not isinstance(node, tuple):
        return 0
    return (bool(node) and node[0] == "pm") + sum(_count_signs(child) for child in node)


def _with_signs(node: Any, signs: Iterator[int]) -> Any:
    if not isinstance(node, tuple):
        return node
    if node and node[0] == "pm":
        left = _with_signs(node[1], signs) if node[1] is not None else None
        right = _with_signs(node[2], signs)
        signed = right if next(signs) * node[3] > 0 else ("neg", right)
        return signed if left is None else ("add", (left, signed))
    return tuple(_with_signs(child, signs) for child in node)
