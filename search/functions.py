"""The functional tokens and who may follow whom, as data (RFTT, arXiv 2502.13389, section 3.1).

Everything that is particular to a functional token stands in this file: its tags, the words that describe it (used to
initialise its embedding), the prompt that asks an un-tuned model to perform it, and the two transition tables.
Another token set is another `FunctionSet`; no other module names a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

ROOT = "question"  # the pseudo-function of a tree's root: the question itself


@dataclass(frozen=True)
class Function:
    """One reasoning function.

    Args:
        name: the tag's name, e.g. ``"verify"`` for ``<verify>`` … ``</verify>``.
        description: words that say what the step does; new embedding rows start at the mean of their rows.
        prompt: instruction that asks an un-tuned model for this step (phase 1); empty when the function is never prompted.
        children: how many siblings one expansion proposes in phase 1.
    """

    name: str
    description: str
    prompt: str = ""
    children: int = 2

    @property
    def open(self) -> str:
        return f"<{self.name}>"

    @property
    def close(self) -> str:
        return f"</{self.name}>"


@dataclass(frozen=True)
class FunctionSet:
    """A set of functions with its transition tables.

    Args:
        functions: all functions, in vocabulary order.
        prompted: parent name → allowed child names while functions are performed by prompting (phase 1).
        functional: parent name → allowed child names while the tuned model proposes functions (phase 2, inference).
        answering: a step after which phase 1 stops because it states the final answer.
        correcting: the function that a merged chain gives to the first step after a verification.
        checking: the function whose text says where the preceding steps go wrong.
        terminal: the function that holds the final answer and ends a chain.
        merge_prompt: instruction that asks for the `checking` step of a merged chain; ``{reference}`` is the correct rest.

    Raises:
        ValueError: a table names an unknown function, or a special role does.
    """

    functions: tuple[Function, ...]
    prompted: Mapping[str, tuple[str, ...]]
    functional: Mapping[str, tuple[str, ...]]
    answering: str
    correcting: str
    checking: str
    terminal: str
    merge_prompt: str

    def __post_init__(self) -> None:
        names = {f.name for f in self.functions}
        if len(names) != len(self.functions):
            raise ValueError("functions: a name occurs twice")
        for label, table in (("prompted", self.prompted), ("functional", self.functional)):
            for parent, children in table.items():
                unknown = ({parent} - {ROOT} | set(children)) - names
                if unknown:
                    raise ValueError(f"{label} transitions name unknown functions: {', '.join(sorted(unknown))}")
        for role in (self.answering, self.correcting, self.checking, self.terminal):
            if role not in names:
                raise ValueError(f"unknown function in a role: {role}")

    def __getitem__(self, name: str) -> Function:
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Function]:
        return {f.name: f for f in self.functions}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.functions)

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """All tags in vocabulary order: open and close of each function."""
        return tuple(tag for f in self.functions for tag in (f.open, f.close))


RFTT = FunctionSet(
    functions=(
        Function(
            "clarify",
            "clarify restate the question and its goal",
            "Restate the problem in your own words: what is given and what is asked. Do not solve it.",
        ),
        Function(
            "analyze",
            "analyze think of an idea or plan",
            "Give a short idea or plan for the rest of the solution. Do not calculate.",
        ),
        Function(
            "subquestion",
            "subquestion propose a smaller problem to solve next",
            "Ask one smaller question that can be answered from what is known and that helps to solve the problem.",
        ),
        Function(
            "next_step",
            "next step do exactly one step of reasoning",
            "Write exactly one next step of the solution, and nothing after it.",
        ),
        Function(
            "direct_answer",
            "direct answer finish the rest of the solution",
            "Finish the solution from here and put the final answer in \\boxed{}.",
            children=1,
        ),
        Function("verify", "verify check the preceding steps for a mistake"),
        Function("refine", "refine correct the step that was wrong"),
        Function("output", "output the final answer"),
    ),
    prompted={
        ROOT: ("clarify", "analyze", "subquestion", "next_step", "direct_answer"),
        "clarify": ("analyze", "subquestion", "next_step", "direct_answer"),
        "analyze": ("subquestion", "next_step", "direct_answer"),
        "subquestion": ("next_step", "direct_answer"),
        "next_step": ("next_step", "subquestion", "direct_answer"),
        "direct_answer": (),
    },
    functional={
        ROOT: ("clarify", "analyze", "subquestion", "next_step"),
        "clarify": ("analyze", "subquestion", "next_step", "direct_answer"),
        "analyze": ("subquestion", "next_step", "direct_answer"),
        "subquestion": ("next_step", "direct_answer"),
        "next_step": ("next_step", "subquestion", "direct_answer", "verify", "output"),
        "direct_answer": ("output", "verify"),
        "verify": ("next_step", "subquestion", "direct_answer", "refine", "verify", "output"),
        "refine": ("next_step", "subquestion", "direct_answer", "verify", "output"),
        "output": (),
    },
    answering="direct_answer",
    correcting="refine",
    checking="verify",
    terminal="output",
    merge_prompt=(
        "The steps above may contain a mistake. A correct solution continues like this:\n{reference}\n"
        "Compare and say where the steps above go wrong."
    ),
)
