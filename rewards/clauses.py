r"""Clauses behind an answer: `2k+1` "where k is an integer". What only says what a letter stands for may be left out;
whatever else a clause says, a further value before all, belongs to the answer.
"""

from __future__ import annotations

import re

from rewards.labels import split_label
from rewards.realsets import looks_like_set
from rewards.syntax import Node
from rewards.values import walk

_SET = re.compile(r"\\mathbb \{ ([A-Z]) \}( [_^] (?:\{ [^{}]{1,9} \}|[^ {]))?(?![^ ])")
_LETTER = r"(?:[A-Za-z]|\\[a-z]+)(?: _ (?:\w|\{ \w+ \}))?"
_CONDITION = re.compile(rf"({_LETTER}) (?:<|>|\\le|\\ge|\\ne) -? ?\d+(?:\.\d+)?(?![^ ])")
_OPENING = ["where", "for", "with", "such", "that", "as", "since", "given"]
_JOINING = ["is", "are", "be", "a", "an", "the", "in", "of", "set", "and", "can", "let", "\\in", "\\forall", ","]
_ANY = {"all", "any", "every", "each", "some", "arbitrary", "\\forall"}
_REAL = {"real", "reals", "R"}
_KIND = {
    "integer", "integers", "integral", "whole", "natural", "rational", "complex", "number", "numbers", "constant",
    "constants", "parameter", "parameters", "Z", "N", "Q", "C",
}  # fmt: skip
_RESTRICTION = {"positive", "negative", "nonnegative", "non-negative", "nonzero", "non-zero", "odd", "even"}
_WORDS = _ANY | _REAL | _KIND | _RESTRICTION | {*_OPENING, *_JOINING}
_COUNTERS = frozenset("klmn")


def may_be_left_out(clause: str, answer: Node) -> bool:
    """Whether a clause says no more than what a letter of the answer stands for: "where k is an integer", "for x > 0".

    Args:
        clause: its tokens, with blanks between.
        answer: what stands before it.
    """
    bare = _numbers_named(clause)
    conditions = _CONDITION.findall(bare)
    rest = _CONDITION.sub(" ", bare).split()
    letters = {word for word in rest if word not in _WORDS and re.fullmatch(_LETTER, word)}
    said = {word for word in rest if word not in letters}
    if not said <= _WORDS or not (conditions or said & (_ANY | _REAL | _KIND | _RESTRICTION)):
        return False
    if not conditions and not said & (_KIND | _RESTRICTION):
        return True
    about = letters | {letter.replace(" ", "") for letter in conditions}
    named = split_label(answer)[0] if answer[0] == "rel" else None
    if looks_like_set(answer) or (named is not None and named[1] in about and (conditions or said & _RESTRICTION)):
        return not any(part[0] == "sym" and part[1] in about for part in walk(answer))
    present = {part[1] for part in walk(answer) if part[0] == "sym"}
    return not (conditions or said & _RESTRICTION) or "since" in said or about <= present


def _numbers_named(clause: str) -> str:
    r"""A clause with `Z` for `\mathbb{Z}`; what is set below or above it, `\mathbb{Z}^+`, restricts it."""
    return _SET.sub(lambda match: f" {match[1]} {'positive' if match[2] else ''} ", clause.replace('"', " "))


def whole_letter(clause: str) -> str | None:
    """The one letter of a clause that says that it is any integer."""
    words = _numbers_named(clause).split()
    letters = [word for word in words if word not in _WORDS]
    whole = {"Z", "integer", "integers"} & set(words)
    if not whole or len(letters) != 1 or set(words) & _RESTRICTION or not re.fullmatch(_LETTER, letters[0]):
        return None
    return letters[0]


def same_letter(gold: Node, gold_clause: str, clause: str) -> tuple[str, str] | None:
    """(letter of the answer, letter of the gold) that both stand for any integer: `k\\pi` is `n\\pi` then."""
    theirs = whole_letter(clause)
    ours = whole_letter(gold_clause) if gold_clause else None
    if not gold_clause:
        counters = {part[1] for part in walk(gold) if part[0] == "sym" and part[1] in _COUNTERS}
        ours = counters.pop() if len(counters) == 1 else None
    if ours is None or theirs is None or ours == theirs:
        return None
    return theirs, ours


def with_clause(tree: Node) -> Node:
    r"""`k\pi, k \in \mathbb{Z}` as `k\pi` with a clause."""
    if tree[0] != "list" or tree[1][-1][0] != "rel" or tree[1][-1][2] != ("in",):
        return tree
    letter, numbers = tree[1][-1][1]
    domain = re.fullmatch(r"\\mathbb\(([A-Z])\)", numbers[1]) if numbers[0] == "sym" else None
    if domain is None or letter[0] != "sym" or any(item[0] == "rel" and item[2] == ("in",) for item in tree[1][:-1]):
        return tree
    rest = tree[1][:-1]
    answer = rest[0] if len(rest) == 1 else ("list", rest, tree[2])
    return ("given", answer, f'"where {letter[1]} \\in \\mathbb {{ {domain[1]} }}')
