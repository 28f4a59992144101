"""The functional tokens and who may follow whom, as data (RFTT, arXiv 2502.13389, section 3.1).

Everything that is particular to a functional token stands in this file: its tags, the words that describe it (used to
initialise its embedding), how an un-tuned model is asked to perform it and what counts as doing so, and the two transition
tables. The worked examples of the paper's set are in `worked_examples`. Another token set is another `FunctionSet`, which
`function_files` reads from YAML; no other module names a token.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from search.step_rules import RULES
from search.worked_examples import RFTT_EXAMPLES, WorkedExample

ROOT = "question"  # the pseudo-function of a tree's root: the question itself
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
REFERENCE = "{reference}"  # in a merge prompt, the place of the correct rest

Table = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Function:
    """One reasoning function.

    Args:
        name: the tag's name, e.g. ``"verify"`` for ``<verify>`` … ``</verify>``.
        description: words that say what the step does; new embedding rows start at the mean of their rows.
        prompt: instruction that asks an un-tuned model for this step (phase 1); empty when the function is never prompted.
        children: how many siblings one expansion proposes in phase 1.
        label: what the step's line begins with in a transcript; by default the name, as words.
        form: form of the step in a transcript. A ``"line"`` of its own; or the ``"rest"`` of the solution in the model's own
            words, asked for by the question and `prompt` as the only turn, with the steps so far as the beginning of the
            answer.
        length: longest step, as a share of ``max_step_tokens`` of the search, in every phase.
        sentences: phase 1 keeps at most so many of a step; None keeps all.
        ends: phase 1 keeps a step up to the first of these texts, which is kept.
        valid: rules (`search.step_rules.RULES`) that a step of phase 1 has to keep; one that breaks one is asked for once
            more, and left out when that does as well.
        continued: (rule, words): a line of a transcript that breaks the rule is not asked for anew but continued after these
            words, which take the place of the mark at its end.
        anew: (rule, words): the second request for a line that breaks the rule begins with these words, which the step
            leaves out.
        varied: phase 1 samples it at ``temperature`` of the search, not at ``step_temperature``: at a low temperature it
            would propose once more what it proposed before.
        unused: phase 1 offers it only while a number of the question stands in no equation of the steps so far: what is
            left to find after that is what the question asks.

    Raises:
        ValueError: the name is not fit for a tag, the description is empty, there are no children, a number is out of its
            range, or there is no such form or rule.
    """

    name: str
    description: str
    prompt: str = ""
    children: int = 2
    label: str = ""
    form: Literal["line", "rest"] = "line"
    length: float = 1.0
    sentences: int | None = None
    ends: tuple[str, ...] = ()
    valid: tuple[str, ...] = ("whole", "new")
    continued: tuple[tuple[str, str], ...] = ()
    anew: tuple[tuple[str, str], ...] = ()
    varied: bool = False
    unused: bool = False

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name) or self.name == ROOT:
            raise ValueError(
                f"functions: {self.name!r} is not fit for a tag, expected up to 40 letters, digits, _ and -, a letter "
                f"first, and not {ROOT}"
            )
        if not self.description.strip():
            raise ValueError(f"functions: {self.name} has no description, expected words that say what the step does")
        if self.children < 1:
            raise ValueError(f"functions: {self.name}.children is {self.children}, expected 1 or more")
        if self.form not in ("line", "rest"):
            raise ValueError(f"functions: {self.name}.form is {self.form!r}, expected line or rest")
        if not 0 < self.length <= 1:
            raise ValueError(f"functions: {self.name}.length is {self.length}, expected a share above 0, at most 1")
        if self.sentences is not None and self.sentences < 1:
            raise ValueError(f"functions: {self.name}.sentences is {self.sentences}, expected 1 or more, or none")
        if "" in self.ends:
            raise ValueError(f"functions: {self.name}.ends holds an empty text")
        if unknown := [rule for rule in self.valid if rule not in RULES]:
            raise ValueError(f"functions: {self.name}.valid: no rule {unknown[0]}, expected some of {', '.join(RULES)}")
        for rule, words in (*self.continued, *self.anew):
            if rule not in self.valid or not words.strip():
                raise ValueError(
                    f"functions: {self.name}: continued and anew name {rule}, expected words for one of its rules"
                )

    @property
    def open(self) -> str:
        return f"<{self.name}>"

    @property
    def close(self) -> str:
        return f"</{self.name}>"

    @property
    def begins(self) -> str:
        """What the step's line of a transcript begins with."""
        return f"{self.label or self.name.replace('_', ' ').capitalize()}:"

    def limit(self, max_step_tokens: int) -> int:
        """Longest step in tokens, where the search allows `max_step_tokens`."""
        return max(1, round(self.length * max_step_tokens))


@dataclass(frozen=True)
class FunctionSet:
    """A set of functions with its transition tables.

    Args:
        functions: all functions, in vocabulary order.
        prompted: parent name → allowed child names while functions are performed by prompting (phase 1).
        functional: parent name → allowed child names while the tuned model proposes functions (phase 2, inference).
        answering: a step after which phase 1 stops because it states the final answer.
        terminal: the function that holds the final answer and ends a chain.
        checking: the function whose text says where the preceding steps go wrong; None for a set without merged chains.
        correcting: the function that a merged chain gives to the first step after a verification.
        merge_prompt: instruction that asks for the `checking` step of a merged chain; ``{reference}`` is the correct rest.
            Without it that step is written by rule (`search.fault`).
        examples: worked questions. With them phase 1 asks for the next line of a transcript, without them by instruction.

    Raises:
        ValueError: the tables, the roles or the examples name unknown functions, a path cannot end, or phase 1 could not
            write a chain.
    """

    functions: tuple[Function, ...]
    prompted: Table
    functional: Table
    answering: str
    terminal: str
    checking: str | None = None
    correcting: str | None = None
    merge_prompt: str = ""
    examples: tuple[WorkedExample, ...] = ()

    def __post_init__(self) -> None:
        names = {f.name for f in self.functions}
        if len(names) != len(self.functions):
            twice = next(n for n in names if sum(f.name == n for f in self.functions) > 1)
            raise ValueError(f"functions: the name {twice} occurs twice")
        for label, table in (("prompted", self.prompted), ("functional", self.functional)):
            for parent, children in table.items():
                unknown = ({parent} - {ROOT} | set(children)) - names
                if unknown:
                    raise ValueError(f"{label} transitions name unknown functions: {', '.join(sorted(unknown))}")
        roles = {"answering": self.answering, "terminal": self.terminal, "checking": self.checking,
                 "correcting": self.correcting}  # fmt: skip
        for role, name in roles.items():
            if name is not None and name not in names:
                raise ValueError(f"{role}: unknown function {name}, expected one of {', '.join(self.names)}")
        self._check_paths("prompted", self.prompted, self.answering)
        self._check_paths("functional", self.functional, self.terminal)
        self._check_phase_1()
        self._check_merging()
        self._check_examples()

    def _check_paths(self, label: str, table: Table, last: str) -> None:
        """Every path from the root comes to `last`, and ends there."""
        if table.get(last):
            raise ValueError(f"{label} transitions: {last} ends a path, so nothing may follow it")
        reached = _reached(table)
        if last not in reached:
            raise ValueError(f"{label} transitions: there is no way from {ROOT} to {last}")
        for name in sorted(reached):
            if last not in _reached(table, name):
                raise ValueError(f"{label} transitions: {name} leads nowhere, expected a way on to {last}")

    def _check_phase_1(self) -> None:
        """Functions that are prompted have a prompt, and what phase 1 finds can become a chain."""
        for name in sorted(_reached(self.prompted) - {ROOT}):
            if not self[name].prompt.strip():
                raise ValueError(f"functions: {name} has no prompt, which the prompted transitions need")
        unused = sorted(set(self.names) - _reached(self.functional))
        if unused:
            raise ValueError(f"functional transitions: there is no way from {ROOT} to {', '.join(unused)}")
        both = {parent: tuple(set(children) & set(self.functional.get(parent, ())))
                for parent, children in self.prompted.items()}  # fmt: skip
        ends = self.answering == self.terminal or self.terminal in self.functional[self.answering]
        if not ends:
            raise ValueError(f"functional transitions: {self.terminal} must be allowed after {self.answering}")
        if self.answering not in _reached(both):
            raise ValueError(
                f"transitions: no path from {ROOT} to {self.answering} is allowed by both tables, so phase 1 finds no chain"
            )

    def _check_merging(self) -> None:
        if self.checking is None and self.correcting is None:
            return
        if self.checking is None or self.correcting is None:
            raise ValueError("checking and correcting: one is missing, expected both or none")
        if self.merge_prompt and REFERENCE not in self.merge_prompt:
            raise ValueError(f"merge_prompt: expected an instruction that holds {REFERENCE}, or none")
        for before, after in ((self.answering, self.checking), (self.checking, self.correcting)):
            if after not in self.functional[before]:
                raise ValueError(
                    f"functional transitions: {after} must be allowed after {before}, or no merged chain is legal"
                )

    def _check_examples(self) -> None:
        """Examples show steps in an order that phase 1 allows, and each line can be told by its label."""
        prompted = [self[name] for name in self.names if name in _reached(self.prompted)]
        labels = [f.begins for f in prompted]
        if self.examples and len(set(labels)) < len(labels):
            raise ValueError(f"functions: two have the label {next(b for b in labels if labels.count(b) > 1)}")
        for number, example in enumerate(self.examples, 1):
            parent = ROOT
            for name, _ in example.lines:
                if name not in self.prompted.get(parent, ()):
                    raise ValueError(
                        f"examples[{number}]: {name} may not follow {parent} by the prompted transitions, expected one of "
                        f"{', '.join(self.prompted.get(parent, ())) or 'nothing'}"
                    )
                parent = name

    def merge_instruction(self, reference: str) -> str:
        """The merge prompt with the correct rest in its place."""
        return self.merge_prompt.replace(REFERENCE, reference)

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


def _reached(table: Table, start: str = ROOT) -> set[str]:
    """What a path can come to, its start included."""
    reached, frontier = {start}, [start]
    while frontier:
        new = set(table.get(frontier.pop(), ())) - reached
        reached |= new
        frontier += new
    return reached


_LINE = ("whole", "new", "no_box", "own_numbers")  # what every line of a transcript has to be

RFTT = FunctionSet(
    functions=(
        Function(
            "clarify",
            "clarify restate the question and its goal",
            "Restate the problem in your own words: what is given and what is asked. Do not solve it.",
            children=1,
            label="Given",
            length=0.25,
            sentences=3,
            valid=(*_LINE, "short", "no_calculation"),
        ),
        Function(
            "analyze",
            "analyze think of an idea or plan",
            "Give a short idea or plan for the rest of the solution. Do not calculate.",
            children=1,
            label="Plan",
            length=0.25,
            sentences=3,
            valid=(*_LINE, "short", "no_calculation"),
        ),
        Function(
            "subquestion",
            "subquestion propose a smaller problem to solve next",
            "Ask one smaller question that can be answered from what is known and that helps to solve the problem.",
            children=1,
            label="Smaller question",
            length=0.125,
            ends=("?",),
            valid=(*_LINE, "asks", "smaller"),
            anew=(("smaller", "First, about only one part of the problem:"), ("new", "About something else:")),
            varied=True,
            unused=True,
        ),
        Function(
            "next_step",
            "next step do exactly one step of reasoning",
            "Calculate exactly one new number that the solution needs, with the calculation and its result.",
            children=1,
            label="Calculation",
            length=0.25,
            valid=(*_LINE, "concrete", "computes", "arithmetic"),
            continued=(("concrete", ":"), ("computes", ", so")),
        ),
        Function(
            "direct_answer",
            "direct answer finish the rest of the solution",
            "Please reason step by step, and put your final answer within \\boxed{}.",
            children=1,
            label="Answer",
            form="rest",
            valid=("whole", "boxed"),
        ),
        Function("verify", "verify check the preceding steps for a mistake", length=0.5),
        Function("refine", "refine correct the step that was wrong"),
        Function("output", "output the final answer", length=0.25),
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
    terminal="output",
    checking="verify",
    correcting="refine",
    examples=RFTT_EXAMPLES,
)
