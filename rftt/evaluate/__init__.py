"""Measure a model on held-out questions: plain samples, search at several budgets, votes at equal generated tokens.

    rftt eval CONFIG

pass@1 is the mean over independent samples. The search knows no gold: its paths are valued by agreement, its answer is
the majority of its paths, and the answer after k rollouts is that of the tree when it had k. maj@k is the majority over
so many plain samples as cost the tokens of the search with the largest budget (RFTT, section 3.4; arXiv 2510.20272 asks for
this comparison). Every sample and tree is kept; a killed evaluation goes on with the questions that are missing.

run.py puts a result together from samples.py, tree_search.py and budgets.py with the pure functions of metrics.py; about.py
says under which conditions it came about; compare.py and harness.py read what was written.
"""

from typing import Any

__all__ = ["Job", "evaluate_model"]


def __getattr__(name: str) -> Any:
    if name == "Job":
        from rftt.evaluate.job import Job

        return Job
    if name == "evaluate_model":
        from rftt.evaluate.run import evaluate_model

        return evaluate_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
