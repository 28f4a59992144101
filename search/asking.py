"""How phase 1 asks an un-tuned model for a step: two ways to write the prompt and to read what comes back.

With worked examples a token set is asked by *transcript*: the examples as earlier turns, the question, and an open assistant
turn whose lines are the steps so far; a function is chosen by beginning its line with its label. The rest of the solution is
asked for in the model's own words (`Function.form`). Without examples a token set is asked by *instruction*: the question,
the steps so far and the function's prompt as one user turn.

Both put first what siblings and descendants share, so that an engine's prefix cache serves them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from rewards import extract_answer
from search.functions import Function, FunctionSet
from search.prompt import encode, prompt_ids, prompt_text
from search.step_rules import sentences
from search.tree import Node, Tree

BOX = "The final answer is \\boxed{"
_MARK = "\x02question\x03"
_CLOSING = ("\\]", "$$", "$", "\\)", "```")  # a line that only closes a formula belongs to the line before it


@dataclass(frozen=True)
class Request:
    """Args:
    prompt_ids: what the engine continues.
    max_tokens: longest continuation.
    stop_ids: tokens that end it.
    """

    prompt_ids: list[int]
    max_tokens: int
    stop_ids: tuple[int, ...] = ()


class Way(Protocol):
    """A way to ask. `cuts` says whether it reads only a part of what comes back."""

    cuts: bool

    def start_ids(self, question: str) -> list[int]:
        """What every prompt of a tree begins with, or may begin with."""
        ...

    def step_ids(self, function: str, text: str) -> list[int]:
        """A step as later prompts hold it."""
        ...

    def request(self, tree: Tree, steps: Sequence[Node], function: Function, max_step_tokens: int) -> Request:
        """Asks for one step after `steps`."""
        ...

    def instructed(self, tree: Tree, steps: Sequence[Node], instruction: str) -> list[int]:
        """Ids of a prompt that asks for anything else about `steps`."""
        ...


class ByInstruction:
    """The question, the steps so far and an instruction as one user turn."""

    cuts = False

    def __init__(self, tokenizer: Any, functions: FunctionSet) -> None:
        self.tokenizer = tokenizer
        self.functions = functions
        self._before, self._after = chat_frame(tokenizer)
        self._encoded: dict[str, list[int]] = {}

    def start_ids(self, question: str) -> list[int]:
        return encode(self.tokenizer, self._before + shared_text(question))

    def step_ids(self, function: str, text: str) -> list[int]:
        return encode(self.tokenizer, step_text(text))

    def request(self, tree: Tree, steps: Sequence[Node], function: Function, max_step_tokens: int) -> Request:
        ids = self.instructed(tree, steps, function.prompt)
        return Request(ids, function.limit(max_step_tokens))

    def instructed(self, tree: Tree, steps: Sequence[Node], instruction: str) -> list[int]:
        return [*tree.prompt_ids, *(i for step in steps for i in step.ids), *self._instruction_ids(instruction)]

    def _instruction_ids(self, instruction: str) -> list[int]:
        """The end of a prompt; those of the functions are encoded once."""
        if instruction not in self._encoded:
            ids = encode(self.tokenizer, instruction_text(instruction) + self._after)
            if not any(instruction == f.prompt for f in self.functions.functions):
                return ids
            self._encoded[instruction] = ids
        return self._encoded[instruction]


class ByTranscript:
    """Worked examples, the question, and lines of which each begins with the label of its function."""

    cuts = True

    def __init__(self, tokenizer: Any, functions: FunctionSet) -> None:
        self.tokenizer = tokenizer
        self.functions = functions
        self._stops: dict[str, tuple[int, ...]] = {}

    def start_ids(self, question: str) -> list[int]:
        return prompt_ids(self.tokenizer, transcript(self.functions, question))

    def step_ids(self, function: str, text: str) -> list[int]:
        return encode(self.tokenizer, f"{self.functions[function].begins} {_one_line(text)}\n")

    def request(self, tree: Tree, steps: Sequence[Node], function: Function, max_step_tokens: int) -> Request:
        limit = function.limit(max_step_tokens)
        if function.form == "rest":
            begun = "".join(f"{step.text}\n" for step in steps)
            asked = {"role": "user", "content": f"{tree.question}\n\n{function.prompt}"}
            return Request(prompt_ids(self.tokenizer, [asked], begun), limit)
        ids = [*tree.prompt_ids, *(i for step in steps for i in step.ids), *encode(self.tokenizer, function.begins)]
        if function.name not in self._stops:
            texts = ("\n", *function.ends)
            self._stops[function.name] = tuple(
                i for i, piece in _pieces(self.tokenizer) if any(t in piece for t in texts)
            )
        return Request(ids, limit, self._stops[function.name])

    def instructed(self, tree: Tree, steps: Sequence[Node], instruction: str) -> list[int]:
        asked = user_text(tree.question, [step.text for step in steps], instruction)
        return prompt_ids(self.tokenizer, [{"role": "user", "content": asked}])


def way_of(tokenizer: Any, functions: FunctionSet) -> Way:
    return ByTranscript(tokenizer, functions) if functions.examples else ByInstruction(tokenizer, functions)


def transcript(functions: FunctionSet, question: str) -> list[dict[str, str]]:
    """The conversation whose open assistant turn the lines of a solution continue."""
    asked = [f for f in functions.functions if any(f.name in names for names in functions.prompted.values())]
    lines = "\n".join(f"{f.begins} {f.prompt}" for f in asked)
    messages = [{
        "role": "system",
        "content": f"Solve the problem in lines. Each line begins with one of these labels:\n{lines}",
    }]  # fmt: skip
    for example in functions.examples:
        solved = "\n".join(f"{functions[name].begins} {text}" for name, text in example.lines)
        messages += [{"role": "user", "content": example.question}, {"role": "assistant", "content": solved}]
    return [*messages, {"role": "user", "content": question}]


def read_step(text: str, function: Function, stopped: bool) -> tuple[str, bool]:
    """The step in what a model wrote for a function of a transcript.

    Args:
        text: text as it was decoded, without special tokens.
        function: function that was asked for.
        stopped: whether it ended by itself.

    Returns:
        The step, and whether it is whole.
    """
    if function.form == "rest":
        kept = up_to_box(text)
        return kept.strip(), stopped or extract_answer(kept, rule="boxed") is not None
    line, newline, _ = text.strip().partition("\n")
    cut = min((line.find(end) + len(end) for end in function.ends if end in line), default=len(line))
    found = sentences(line[:cut])
    most = function.sentences or len(found)
    kept = "".join(found[:most]).strip() if len(found) > most else line[:cut].strip()
    return kept, stopped or bool(newline) or cut < len(line) or len(found) > most


def begun_again(function: Function, fault: str, text: str) -> tuple[str, str]:
    """How a line that broke a rule is begun in the second request for it.

    Args:
        function: function that was asked for.
        fault: rule that the line broke.
        text: the refused line.

    Returns:
        What its line of the transcript begins with, and the part of that which belongs to the step; both empty where it is
        asked for as before.
    """
    if words := dict(function.continued).get(fault):
        begun = text.rstrip(" .!?:;,") + words
        return begun, begun
    return dict(function.anew).get(fault, ""), ""


def up_to_box(text: str) -> str:
    """A text up to the end of the line that states the first boxed answer; all of it where there is none."""
    lines = text.split("\n")
    for count in range(1, len(lines) + 1):
        if "boxed" in lines[count - 1] and extract_answer("\n".join(lines[:count]), rule="boxed") is not None:
            closing = count < len(lines) and lines[count].strip() in _CLOSING
            return "\n".join(lines[: count + closing])
    return text


def user_text(question: str, steps: Iterable[str], instruction: str) -> str:
    """The user turn that asks for one step by instruction."""
    return shared_text(question) + "".join(step_text(s) for s in steps) + instruction_text(instruction)


def shared_text(question: str) -> str:
    return f"{question}\n\nSteps so far:\n"


def step_text(text: str) -> str:
    return f"{text}\n"


def instruction_text(instruction: str) -> str:
    return f"\n{instruction}"


def chat_frame(tokenizer: Any) -> tuple[str, str]:
    """What the chat template writes before and after the text of a single user turn."""
    before, after = prompt_text(tokenizer, [{"role": "user", "content": _MARK}]).split(_MARK)
    return before, after


def _one_line(text: str) -> str:
    return " ".join(text.split())


@lru_cache(maxsize=4)
def _pieces(tokenizer: Any) -> tuple[tuple[int, str], ...]:
    """Every token of a vocabulary with its text."""
    return tuple((i, tokenizer.decode([i])) for i in sorted(tokenizer.get_vocab().values()))
