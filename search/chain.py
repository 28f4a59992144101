"""A chain of functional steps as text, and whether it is well formed.

A chain is the assistant turn: ``<tag>\\n{text}\\n</tag>\\n`` for each step, ending in the terminal function
(RFTT, section 3.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rewards import Place, extract_answer, in_place
from search.functions import RFTT, ROOT, FunctionSet


@dataclass(frozen=True)
class Step:
    """One step of a chain: which function, and the text between its tags."""

    function: str
    text: str


class ChainError(ValueError):
    """The text is not a well-formed chain; the message says what and where."""


def render(steps: Iterable[Step], functions: FunctionSet = RFTT) -> str:
    return "".join(f"{functions[s.function].open}\n{s.text}\n{functions[s.function].close}\n" for s in steps)


@lru_cache(maxsize=8)
def _tag_pattern(tags: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(tag) for tag in tags))


def holds_tags(text: str, functions: FunctionSet = RFTT) -> bool:
    """Whether any functional tag occurs in a piece of text that should hold none."""
    return _tag_pattern(functions.tags).search(text) is not None


def answering_part(text: str, functions: FunctionSet = RFTT) -> str:
    """Where the answer of a chain stands: in its last terminal step, and nowhere in a chain without one.

    Text without functional tags is returned as it is; tags that a malformed terminal step holds are left out.
    """
    terminal = functions[functions.terminal]
    return Place(terminal.open, terminal.close, functions.tags).part(text) or ""


def parse(text: str, functions: FunctionSet = RFTT) -> list[Step]:
    """Split a chain into its steps.

    Raises:
        ChainError: text outside of steps, a tag that is not closed, or a tag inside a step.
    """
    steps: list[Step] = []
    by_open = {f.open: f for f in functions.functions}
    at = 0
    while text[at:].strip():
        opening = _tag_pattern(functions.tags).search(text, at)
        if opening is None or text[at : opening.start()].strip() or opening.group() not in by_open:
            raise ChainError(f"step {len(steps) + 1}: expected an opening tag, found {text[at : at + 20]!r}")
        function = by_open[opening.group()]
        closing = _tag_pattern(functions.tags).search(text, opening.end())
        if closing is None or closing.group() != function.close:
            found = "the end of the text" if closing is None else closing.group()
            raise ChainError(f"step {len(steps) + 1}: {function.open} is not closed before {found}")
        steps.append(Step(function.name, text[opening.end() : closing.start()].strip()))
        at = closing.end()
    return steps


def check(
    steps: Sequence[Step],
    functions: FunctionSet = RFTT,
    table: Mapping[str, tuple[str, ...]] | None = None,
    *,
    extract: str = "boxed",
) -> None:
    """Check the order of the steps and the end of the chain.

    Args:
        steps: the chain.
        functions: the token set.
        table: transitions that are allowed; the functional table by default.
        extract: ``"boxed"``, or ``"lenient"`` for a chain that may state its answer otherwise.

    Raises:
        ChainError: no step, a transition the table forbids, a chain that does not end in the terminal function, or an
            end without a boxed answer.
    """
    table = functions.functional if table is None else table
    if not steps:
        raise ChainError("the chain has no step")
    parent = ROOT
    for i, step in enumerate(steps, 1):
        if step.function not in table.get(parent, ()):
            raise ChainError(f"step {i}: <{step.function}> may not follow {parent}")
        parent = step.function
    if parent != functions.terminal:
        raise ChainError(f"the chain ends in <{parent}>, not in <{functions.terminal}>")
    found = in_place(steps[-1].text) if extract == "boxed" else extract_answer(steps[-1].text, rule=extract) is not None
    if not found:
        raise ChainError(f"<{functions.terminal}> holds no \\boxed{{}} answer")


def well_formed(text: str, functions: FunctionSet = RFTT, *, extract: str = "boxed") -> bool:
    """Whether a generated text is a chain that the functional transition table allows, and states an answer."""
    try:
        check(parse(text, functions), functions, extract=extract)
    except ChainError:
        return False
    return True
