"""An even sample of the trees (search/trees.jsonl, eval/trees-….jsonl), and the path that each one marks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from rftt.report.lines import (
    Record,
    benchmark_folders,
    by_model,
    clip,
    evenly,
    fitted,
    line_spans,
    note_broken,
    records_at,
)  # fmt: skip
from rftt.report.pieces import Pieces
from search.tree import Node, Tree

TREE_BYTES = 2_000_000  # of JSON, for all files together
LEFT_OUT = ("ids", "logprobs", "branch_logprobs", "children")  # of a node
STEP_CHARS = 2000  # of the text of one node
SHADED = 4000  # tokens of one tree whose pieces and log-probs are kept


def trees_of(run: Path, limit: int, levels: dict[Any, Any], notes: list[str], share: float = 1.0) -> list[Record]:
    """One part for each file of trees: how many it holds, and an even sample of them.

    Args:
        run: the run folder.
        limit: largest number of trees of each file.
        levels: question id → level, for trees that do not tell it.
        notes: gets a line for what could not be read.
        share: share of the bytes that all runs of the page have together.
    """
    search = run / "search" / "trees.jsonl"
    files = [("search", "", search)] if search.is_file() else []
    files += [
        (model, benchmark, path)
        for benchmark, folder in benchmark_folders(run).items()
        for model, path in by_model(folder, "trees").items()
    ]
    pieces = Pieces.of_run(run) if files else None
    parts = []
    for source, benchmark, path in files:
        spans = line_spans(path)
        name = path.relative_to(run).as_posix()
        records, broken = [], 0
        for record in records_at(path, evenly(spans, limit)):
            try:
                tree = _slim_tree(record or {}, source, pieces)
            except (ValueError, TypeError, KeyError, AttributeError):
                broken += 1
                continue
            if tree["level"] is None:
                tree["level"] = levels.get(tree["question_id"])
            records.append(tree)
        note_broken(notes, name, broken)
        shown = fitted(records, int(TREE_BYTES * share / len(files)))
        parts.append({"source": source, "benchmark": benchmark, "path": name, "total": len(spans), "records": shown})
    return parts


def _slim_tree(record: Record, source: str, pieces: Pieces | None) -> Record:
    """A tree as the page embeds it: nodes without token ids, and the leaf of the chosen chain.

    Nodes with log-probs keep them with the pieces of text that their tokens spell, in a tree of up to `SHADED` tokens.

    Raises:
        ValueError, TypeError, KeyError: the record is no tree.
    """
    tree = Tree.from_json(record)
    for place, node in enumerate(tree.nodes):
        if node.id != place or (node.parent is None) != (place == 0) or not -1 < (node.parent or 0) < max(place, 1):
            raise ValueError(f"node {place} is out of place")
    by_vote = source != "search"
    # The evaluation keeps the vote at each budget; the tree as it stands is that of the largest.
    votes: dict[str, Record] = record.get("votes") or {}
    budgets = [budget for budget in votes if budget.isdigit()]
    voted = votes[max(budgets, key=int)]["answer"] if budgets else None
    chosen = chosen_leaf(tree, voted=voted, by_vote=by_vote)
    shaded = sum(len(node.ids) for node in tree.nodes) <= SHADED
    nodes = []
    for raw, node in zip(record["nodes"], tree.nodes):
        slim = {k: v for k, v in raw.items() if k not in LEFT_OUT}
        slim |= {k: _short(raw[k]) for k in ("prior", "options") if k in raw}
        if node.text:
            slim["text"] = clip(node.text, STEP_CHARS)
        if node.ids:
            slim["tokens"] = len(node.ids)
        if node.logprobs:
            slim["mean_logprob"] = round(sum(node.logprobs) / len(node.logprobs), 4)
            if shaded and pieces and len(node.ids) == len(node.logprobs) and (spelled := pieces(node.ids)):
                slim |= {"pieces": spelled, "logprobs": [round(value, 2) or 0 for value in node.logprobs]}
        nodes.append(slim)
    return {
        "question_id": tree.question_id,
        "question": clip(tree.question),
        "gold": record.get("gold"),
        "level": record.get("level", tree.made_by.get("level")),
        "voted": voted,
        "votes": votes,
        "made_by": tree.made_by,
        "prompt_tokens": len(tree.prompt_ids),
        "spent": tree.spent,
        "by_vote": by_vote,
        "chosen": chosen.id if chosen else None,
        "nodes": nodes,
    }


def _short(probability: Any) -> Any:
    """A probability, or a table of them, to four digits."""
    if isinstance(probability, dict):
        return {name: _short(value) for name, value in probability.items()}
    return round(probability, 4)


def chosen_leaf(tree: Tree, *, voted: str | None = None, by_vote: bool = False) -> Node | None:
    """The leaf whose path the report marks.

    With gold it is the correct path with the best mean score, without it (`by_vote`) the best path among those that
    end in the voted answer. A step's score is its PRM score where every step has one, else Q/N; ties go to fewer
    repeated steps, then to the shorter path.

    Args:
        tree: the tree.
        voted: the answer that the search returned; the most frequent one as written when it is not recorded.
        by_vote: choose by the vote, not by the verdict.
    """
    leaves = [leaf for leaf in tree.leaves() if leaf.answer is not None]
    if by_vote:
        if voted is None and leaves:
            voted = Counter(leaf.answer for leaf in leaves).most_common(1)[0][0]
        candidates = [leaf for leaf in leaves if leaf.answer == voted]
    else:
        candidates = [leaf for leaf in leaves if leaf.verdict == "correct"]
    return max(candidates, key=lambda leaf: _score(tree, leaf), default=None)


def _score(tree: Tree, leaf: Node) -> tuple[float, int, int]:
    path = tree.path(leaf)
    prm = [node.prm for node in path if node.prm is not None]
    scores = prm if len(prm) == len(path) else [node.mean for node in path]
    return sum(scores) / len(scores), -tree.repeated_steps(leaf), -len(path)
