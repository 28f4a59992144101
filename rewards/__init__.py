"""Is this answer right? A grader for mathematics that a policy cannot fool, hang or make run code, and TRL reward
functions on top.

>>> from rewards import grade
>>> grade("\\\\frac{1}{2}", "so it is \\\\boxed{0.5}").status
'correct'
"""

from rewards.extraction import extract_answer
from rewards.grader import Verdict, grade, grade_many, shutdown
from rewards.outcome import check_golds, format_reward, math_reward, outcome_and_format_reward

__all__ = [
    "Verdict",
    "check_golds",
    "extract_answer",
    "format_reward",
    "grade",
    "grade_many",
    "math_reward",
    "outcome_and_format_reward",
    "shutdown",
]
