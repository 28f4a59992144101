"""Rewards of tasks other than mathematics, as users write them."""

from __future__ import annotations

import json
from typing import Any


def sorted_letters(gold: str, answer: str) -> float:
    """A word's letters in order: the share of places that hold the right one."""
    right = sum(a == b for a, b in zip(gold, answer.strip(), strict=False))
    return right / max(len(gold), len(answer.strip()), 1)


def holds_words(row: dict[str, Any], answer: str) -> bool:
    """A sentence that holds all words of the row's answer, an object: ``{"words": […]}``."""
    wanted = json.loads(row["answer"])["words"]
    return "write" in row["question"].lower() and all(word in answer.lower().split() for word in wanted)


async def slowly(gold: str, answer: str) -> str:
    return "correct" if gold == answer else "wrong"


def digit(gold: str, answer: str) -> float:
    """How near one digit is to another."""
    return 1 - abs(int(gold) - int(answer)) / 9


def out_of_range(gold: str, answer: str) -> float:
    return 7.0


def failing(gold: str, answer: str) -> float:
    raise KeyError("no such thing")


def of_three(gold: str, answer: str, more: str) -> float:
    return 1.0
