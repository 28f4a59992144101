"""Is this answer right?

A grader for mathematics that a policy cannot fool, hang or make run code, and TRL reward functions on top.

>>> from rewards import grade
>>> grade("\\\\frac{1}{2}", "so it is \\\\boxed{0.5}").status
'correct'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rewards.extraction import extract_answer
    from rewards.golds import gold_text
    from rewards.grader import Verdict, grade, grade_async, grade_many, shutdown
    from rewards.outcome import (
        check_golds,
        format_reward,
        in_place,
        math_reward,
        math_reward_from,
        outcome_and_format_reward,
    )
    from rewards.place import Place

__all__ = [
    "Place",
    "Verdict",
    "check_golds",
    "extract_answer",
    "format_reward",
    "gold_text",
    "grade",
    "grade_async",
    "grade_many",
    "in_place",
    "math_reward",
    "math_reward_from",
    "outcome_and_format_reward",
    "shutdown",
]
_HOMES = {
    "extract_answer": "extraction",
    **dict.fromkeys(("Verdict", "grade", "grade_async", "grade_many", "shutdown"), "grader"),
    "gold_text": "golds",
    "Place": "place",
    **dict.fromkeys(
        (
            "check_golds",
            "format_reward",
            "in_place",
            "math_reward",
            "math_reward_from",
            "outcome_and_format_reward",
        ),
        "outcome",
    ),
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: `import rewards` itself costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'rewards' has no attribute {name!r}")
    return getattr(import_module(f"rewards.{_HOMES[name]}"), name)
