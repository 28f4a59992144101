"""Step-preference pairs from sibling nodes, in TRL's conversational preference format (as Step-DPO and rStar-Math train on).

Two steps that continue the same path: the one whose rollouts earned most is chosen, the one whose rollouts earned least is
rejected. Both completions hold the shared path, so that what a loss sees of it cancels out.
"""

from __future__ import annotations

from typing import Any

from search.chain import Step, render
from search.collection import CollectionConfig
from search.functions import RFTT, FunctionSet
from search.tree import Node, Tree

SCHEMA = "rftt.preference/1"


def preferences(tree: Tree, config: CollectionConfig, functions: FunctionSet = RFTT) -> list[dict[str, Any]]:
    """Pairs of one tree, those with the most rollouts behind them first.

    Args:
        tree: a finished tree with verdicts.
        config: settings; at most ``preferences`` pairs, each at least ``preference_gap`` apart in mean reward.
        functions: the token set.

    Returns:
        Records ``{"schema", "question_id", "prompt", "chosen", "rejected", "values", "visits"}``; prompt, chosen and
        rejected are lists of messages.
    """
    found: list[tuple[int, Node, Node]] = []
    for parent in tree.nodes if config.preferences else ():
        seen = [c for c in tree.children(parent) if c.visits]
        best, worst = max(seen, key=_mean, default=parent), min(seen, key=_mean, default=parent)
        if seen and best.mean - worst.mean >= config.preference_gap:
            found.append((best.visits + worst.visits, best, worst))
    found.sort(key=lambda pair: -pair[0])
    return [
        {
            "schema": SCHEMA,
            "question_id": tree.question_id,
            "prompt": [{"role": "user", "content": tree.question}],
            "chosen": _message(tree, best, functions),
            "rejected": _message(tree, worst, functions),
            "values": [round(best.mean, 6), round(worst.mean, 6)],
            "visits": [best.visits, worst.visits],
        }
        for _, best, worst in found[: config.preferences]
    ]


def _mean(node: Node) -> float:
    return node.mean


def _message(tree: Tree, node: Node, functions: FunctionSet) -> list[dict[str, str]]:
    steps = [Step(n.function, n.text) for n in tree.path(node)]
    return [{"role": "assistant", "content": render(steps, functions)}]
