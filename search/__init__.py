"""Search over functional tokens: functions, trees, policies, engines."""

from search.config import SearchConfig
from search.driver import Question, search_many
from search.tree import Node, Tree

__all__ = ["Node", "Question", "SearchConfig", "Tree", "search_many"]
