"""Trees while they grow, for whoever shows progress: a first tree may take minutes."""

from __future__ import annotations

from typing import Any

from search.tree import Tree


class LiveTrees:
    """A policy that knows the trees it serves; all it is asked it passes on.

    Args:
        policy: does the work.
    """

    def __init__(self, policy: Any) -> None:
        self._policy = policy
        self._growing: dict[str, Tree] = {}
        self._rollouts = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)

    async def start(self, tree: Tree) -> int:
        self._growing[tree.question_id] = tree
        tokens: int = await self._policy.start(tree)
        return tokens

    def finished(self, tree: Tree) -> None:
        """Count a tree that grows no further."""
        self._growing.pop(tree.question_id, None)
        self._rollouts += tree.root.visits

    @property
    def rollouts(self) -> int:
        """Rollouts that have come back so far, over all trees."""
        return self._rollouts + sum(tree.root.visits for tree in self._growing.values())
