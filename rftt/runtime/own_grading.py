"""How a run grades answers: by the grader of mathematics, or by ``reward.function``."""

from __future__ import annotations

from rftt.config import Config
from rftt.errors import UsageError
from search.grading import Grading, load_grading


def grading_of(config: Config) -> Grading:
    """Raises:
    UsageError: there is no such function, or it takes other arguments.
    """
    try:
        return load_grading(config.reward.function, config.reward.threshold)
    except ValueError as error:
        raise UsageError(str(error)) from error
