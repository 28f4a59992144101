"""A solution for people: the answer, the vote, and the tree as text."""

from __future__ import annotations

from collections.abc import Iterator

from search.functions import ROOT
from search.solution import Solution
from search.tree import Node, Tree

LINES = {True: ("├─ ", "└─ ", "│  ", "…"), False: ("|- ", "`- ", "|  ", "...")}


def show(solution: Solution, *, width: int = 100, most: int = 60, unicode: bool = True) -> str:
    """Answer, votes, and the tree, or the winning chain of a strategy that grows none.

    Args:
        solution: solution with its vote.
        width: width of a line, in characters.
        most: lines of the tree.
        unicode: False keeps to ASCII, for terminals that know no more.
    """
    none = sum(c.answer is None for c in solution.candidates)
    votes = [f"{printable(g.answer)} × {g.count}" for g in solution.votes] + ([f"none × {none}"] if none else [])
    spent = (
        f"{solution.strategy}, {len(solution.candidates)} paths, {solution.tokens} tokens, stopped: {solution.stopped}"
    )
    lines = [
        f"Answer: {'none' if solution.answer is None else printable(solution.answer)}",
        f"Votes:  {', '.join(votes)}   ({spent})",
        "",
    ]
    if solution.tree is not None:
        lines += tree_lines(solution.tree, width=width, most=most, unicode=unicode)
    else:
        winners = solution.votes[0].members if solution.votes else range(len(solution.candidates))
        for place in list(winners)[:1]:
            lines += [printable(line) for line in solution.candidates[place].text.strip().splitlines()]
    text = "\n".join(lines)
    return text if unicode else text.replace("×", "x").encode("ascii", "backslashreplace").decode()


def tree_lines(tree: Tree, *, width: int, most: int, unicode: bool) -> list[str]:
    """The visited nodes, most visited siblings first: function, visits, mean value, prior, answer of a leaf, text."""
    lines = list(_below(tree, tree.root, "", width, LINES[unicode]))
    head = f"{ROOT} ×{tree.root.visits}"
    if len(lines) > most:
        lines = [*lines[:most], f"{LINES[unicode][3]} {len(lines) - most} more nodes (all of them with --json)"]
    return [head, *lines]


def _below(tree: Tree, node: Node, indent: str, width: int, marks: tuple[str, ...]) -> Iterator[str]:
    """A stack and no recursion: trees may be deeper than Python's stack."""
    todo = [(child, indent, last) for child, last in _children(tree, node)]
    while todo:
        node, indent, last = todo.pop(0)
        about = f"{node.function} ×{node.visits} Q {node.mean:.2f} P {node.prior:.2f}"
        end = (
            f"  → {printable(node.answer)}"
            if node.answer is not None
            else f"  → {node.status}"
            if node.terminal
            else ""
        )
        shown = indent if len(indent) <= width // 2 else f"{marks[3]} {len(indent) // 3} deep "
        line = f"{shown}{marks[1] if last else marks[0]}{about}{end}  "
        room = max(width - len(line), 12)
        text = printable(node.text)
        yield line + (text if len(text) <= room else text[: room - 1] + marks[3])
        deeper = indent + ("   " if last else marks[2])
        todo[:0] = [(child, deeper, last) for child, last in _children(tree, node)]


def _children(tree: Tree, node: Node) -> list[tuple[Node, bool]]:
    children = sorted((c for c in tree.children(node) if c.visits), key=lambda c: (-c.visits, c.id))
    return [(child, child is children[-1]) for child in children]


def printable(text: str) -> str:
    """On one line and without control characters: what a model wrote must not steer a terminal."""
    return "".join(c if c.isprintable() else "�" for c in " ".join(text.split()))


def _end(node: Node) -> str:
    """How a path ended."""
    if node.answer is not None:
        return printable(node.answer)
    return "no answer" if node.status == "answered" else node.status
