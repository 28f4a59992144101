"""Search over functional tokens: functions, trees, policies, engines."""

from search.collection import CollectionConfig
from search.config import SearchConfig
from search.driver import Question, search_many
from search.solution import Candidate, Solution
from search.strategies import STRATEGIES, Solver, solve_many
from search.tree import Node, Tree

__all__ = [
    "STRATEGIES",
    "Candidate",
    "CollectionConfig",
    "Node",
    "Question",
    "SearchConfig",
    "Solution",
    "Solver",
    "Tree",
    "search_many",
    "solve_many",
]
