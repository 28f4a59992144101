"""Nodes and trees: plain data, pure functions on them, and their JSON."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from search.functions import ROOT
from search.step_counts import Counts

SCHEMA = "rftt.tree/1"
Status = Literal["open", "answered", "truncated", "malformed"]


@dataclass
class Node:
    """One step of a tree.

    Args:
        id: position in ``Tree.nodes``.
        parent: id of the parent; None for the root.
        function: name of the function; ``"question"`` for the root.
        sibling: 0, 1, … among children of one parent with the same function.
        ids: token ids of the step as the engine sampled them, tags included when the policy samples tags.
        text: the step's text without tags.
        prior: probability of the function among the allowed ones at the parent, in [0, 1].
        logprobs: log-probability of each of `ids` under the policy, natural log; empty where nobody asked.
        visits: N, the number of rollouts that went through the node.
        value: Q, the sum of their rewards.
        prm: score of a process reward model in [0, 1].
        answer: extracted answer of an answered leaf.
        verdict: status of the grader for `answer`; None where no gold is known.
        score: score of a reward function for `answer`, in [0, 1]; None where the verdict says all.
        rollout: 1-based number of the rollout that finished here; None for inner nodes.
        status: ``"open"`` may have children; ``"answered"``, ``"truncated"`` (by depth or length) and ``"malformed"`` end
            a path.
        closed: nothing below is left to explore.
        options: functions that a child may have, with their priors; None until the policy has proposed them.
        branch_logprobs: log-probability under the policy of the token that opens each allowed function here.
        children: ids of the children that were generated.
        repeats: function → further siblings that said what one before said, and are left out.
    """

    id: int
    parent: int | None
    function: str
    sibling: int = 0
    ids: list[int] = field(default_factory=list)
    text: str = ""
    prior: float = 1.0
    logprobs: list[float] = field(default_factory=list)
    visits: int = 0
    value: float = 0.0
    prm: float | None = None
    answer: str | None = None
    verdict: str | None = None
    score: float | None = None
    rollout: int | None = None
    status: Status = "open"
    closed: bool = False
    options: dict[str, float] | None = None
    branch_logprobs: dict[str, float] = field(default_factory=dict)
    children: list[int] = field(default_factory=list)
    repeats: dict[str, int] = field(default_factory=dict)

    @property
    def terminal(self) -> bool:
        return self.status != "open"

    @property
    def mean(self) -> float:
        """Q/N; 0 for a node that was never visited."""
        return self.value / self.visits if self.visits else 0.0


@dataclass
class Tree:
    """The search tree of one question.

    Args:
        question_id: id of the problem.
        question: its text.
        gold: the right answer where it is known and may be used.
        prompt_ids: ids of the prompt that every path continues.
        nodes: all nodes; the first is the root.
        spent: tokens generated after each finished rollout, cumulative, siblings and priors included.
        tokens: generated in all.
        requests: made to the engine.
        rounds: longest series of requests each of which had to wait for the one before.
        steps: steps of phase 1: how many were asked for and valid, by function (`search.step_counts`).
        stopped: why it grew no further: ``"rollouts"``, ``"budget"`` of tokens, vote ``"decided"``, tree ``"exhausted"``.
        made_by: what made the tree: policy, model, settings, seed.
    """

    question_id: str
    question: str
    gold: str | None = None
    prompt_ids: list[int] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    spent: list[int] = field(default_factory=list)
    tokens: int = 0
    requests: int = 0
    rounds: int = 0
    steps: Counts = field(default_factory=dict)
    stopped: str = ""
    made_by: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.nodes:
            self.nodes.append(Node(0, None, ROOT))

    @property
    def root(self) -> Node:
        return self.nodes[0]

    def add(self, parent: Node, function: str, sibling: int, **values: Any) -> Node:
        return self.attach(parent, Node(-1, None, function, sibling, **values))

    def attach(self, parent: Node, child: Node) -> Node:
        """Make `child`, which is in no tree yet, a child of `parent`; sets its id and parent."""
        child.id, child.parent = len(self.nodes), parent.id
        self.nodes.append(child)
        parent.children.append(child.id)
        return child

    def children(self, node: Node) -> list[Node]:
        return [self.nodes[i] for i in node.children]

    def path(self, node: Node) -> list[Node]:
        """Nodes from below the root down to `node`."""
        nodes: list[Node] = []
        while node.parent is not None:
            nodes.append(node)
            node = self.nodes[node.parent]
        return nodes[::-1]

    def path_ids(self, node: Node) -> list[int]:
        """Token ids from below the prompt down to `node`."""
        return [i for step in self.path(node) for i in step.ids]

    def depth(self, node: Node) -> int:
        return len(self.path(node))

    def key(self, node: Node) -> str:
        """The node's place in the tree, the same whatever order the tree grew in."""
        return "/".join(f"{n.function}.{n.sibling}" for n in self.path(node))

    def leaves(self) -> list[Node]:
        """Visited leaves in the order in which rollouts finished at them."""
        return sorted((n for n in self.nodes if n.rollout is not None), key=lambda n: n.rollout or 0)

    def repeated_steps(self, node: Node) -> int:
        texts = [n.text for n in self.path(node)]
        return len(texts) - len(set(texts))

    def to_json(self) -> dict[str, Any]:
        """Fields with their default value are left out of a node."""
        record = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "nodes"}
        if not self.steps:
            del record["steps"]
        return {"schema": SCHEMA, **record, "nodes": [_node_json(n) for n in self.nodes]}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Tree:
        """Raises:
        ValueError: the record has another schema.
        """
        if record.get("schema") != SCHEMA:
            raise ValueError(f"expected a record of schema {SCHEMA}, found {record.get('schema')!r}")
        known = {f.name for f in fields(cls)} - {"nodes"}
        nodes = [Node(**n) for n in record["nodes"]]
        return cls(**{k: v for k, v in record.items() if k in known}, nodes=nodes)


_DEFAULTS = vars(Node(-1, None, ""))
_ALWAYS = ("id", "parent", "function")


def _node_json(node: Node) -> dict[str, Any]:
    return {k: _rounded(v) for k, v in vars(node).items() if k in _ALWAYS or v != _DEFAULTS[k]}


def _rounded(value: Any) -> Any:
    """Six digits are enough for probabilities, and keep the files small."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return {k: _rounded(v) for k, v in value.items()} if isinstance(value, dict) else value
