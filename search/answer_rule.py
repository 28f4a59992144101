"""What counts as the answer of a chain: one rule for samples, votes, trees, rewards and the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rewards import extract_answer
from search.chain import answering_part, well_formed
from search.functions import RFTT, FunctionSet
from search.tree import Node

Form = Literal["well_formed", "any"]
Extract = Literal["boxed", "lenient"]


@dataclass(frozen=True)
class AnswerRule:
    """Which answer a finished chain gives.

    Args:
        form: ``"well_formed"`` takes the answer of a chain that the transition table allows, as RL does; ``"any"`` also that
            of a malformed one, as long as its last terminal step holds it. Models without functional tokens write no chains:
            theirs is ``"any"``.
        extract: ``"boxed"`` or ``"lenient"``, see `rewards.extract_answer`.
        functions: the token set.
    """

    form: Form = "well_formed"
    extract: Extract = "boxed"
    functions: FunctionSet = RFTT

    def part(self, text: str) -> str:
        """The text in which a grader finds the answer of a chain; empty where it gives none."""
        if self.form == "well_formed" and not well_formed(text, self.functions, extract=self.extract):
            return ""
        return answering_part(text, self.functions)

    def answer(self, text: str) -> str | None:
        """The answer of a chain; None where it gives none."""
        return extract_answer(self.part(text), rule=self.extract)

    def counts(self, leaf: Node) -> bool:
        """Whether the text of a leaf may give the answer of its path."""
        if self.form == "well_formed" or leaf.status != "malformed":
            return leaf.status == "answered"
        return leaf.function == self.functions.terminal

    def leaf_answer(self, leaf: Node) -> str | None:
        """The answer of a path that ends at a leaf."""
        return extract_answer(leaf.text, rule=self.extract) if self.counts(leaf) else None
