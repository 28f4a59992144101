"""How a process reward model wants to read a solution, and where it says what each step is worth.

A format turns a question and its steps into token ids with one mark a step: the position whose output is the score of
that step. Formats are written so that the ids of a path begin with the ids of every shorter path: with a causal model, the
scores of all its prefixes are among the scores of a path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

QWEN_SYSTEM = (
    "Please reason step by step, and put your final answer within \\boxed{}."  # that of the published model card
)


class PRMError(RuntimeError):
    """A process reward model cannot score a solution; one line with what, where and the remedy. Never a score of 0."""


class PRMGone(PRMError):
    """The process reward model cannot score anything any more."""


@dataclass(frozen=True)
class Row:
    """One path as the model reads it.

    Args:
        ids: token ids of question and steps.
        marks: positions, one for each step, in `ids` whose output is its score; ascending.
    """

    ids: list[int]
    marks: list[int]


@dataclass(frozen=True)
class Format:
    """One way of writing a solution for a model.

    Args:
        name: one of `FORMATS`.
        encode: (question, texts of the steps) → `Row`.
        pair: the two vocabulary entries, good before bad, whose softmax is the score; None for a model with a head of two
            labels, of which label 1 means that the step is right.
    """

    name: str
    encode: Callable[[str, Sequence[str]], Row]
    pair: tuple[int, int] | None = None


def token_classification(tokenizer: Any, *, separator: str = "\n") -> Format:
    """The convention of TRL's PRMTrainer: question and steps one after the other, each step followed by the separator.

    The score of a step is p(label 1) at the last token of its separator. Texts are not templated, special tokens are not
    added but for the beginning of the sequence.

    Args:
        tokenizer: tokenizer of the model.
        separator: what the model was trained with (``PRMConfig.step_separator``).

    Raises:
        PRMError: the separator has no token.
    """
    separator_ids = _ids(tokenizer, separator)
    if not separator_ids:
        raise PRMError(f"prm.format_options.separator: {separator!r} has no token, expected text such as '\\n'")
    head = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
    clean = _without(tokenizer)

    def encode(question: str, steps: Sequence[str]) -> Row:
        ids, marks = head + _ids(tokenizer, clean(question)), []
        for step in steps:
            ids += _ids(tokenizer, clean(step)) + separator_ids
            marks.append(len(ids) - 1)
        return Row(ids, marks)

    return Format("token_classification", encode)


def math_shepherd(tokenizer: Any, *, mark: str = "ки", good: str = "+", bad: str = "-") -> Format:
    """Math-Shepherd (arXiv 2312.08935): a language model that says ``+`` or ``-`` at the mark behind each step.

    The text is ``{question} Step 1: {step} {mark}\\nStep 2: …``; the score of a step is the softmax over the two signs at
    the last token of its mark.

    Args:
        tokenizer: tokenizer of the model; a fast one, which knows the place of each token in the text.
        mark: what stands behind a step.
        good, bad: single tokens.

    Raises:
        PRMError: `good` or `bad` is not one token, or the tokenizer is a slow one.
    """
    if not tokenizer.is_fast:
        raise PRMError("prm.format: math_shepherd needs a fast tokenizer; convert it with tokenizer.save_pretrained")
    signs = [_ids(tokenizer, sign) for sign in (good, bad)]
    if [len(ids) for ids in signs] != [1, 1] or signs[0] == signs[1]:
        raise PRMError(f"prm.format_options: {good!r} and {bad!r} must be two tokens of the model; they are {signs}")
    clean = _without(tokenizer, mark)

    def encode(question: str, steps: Sequence[str]) -> Row:
        pieces, ends, at = [clean(question)], [], len(clean(question))
        for number, step in enumerate(steps, 1):
            text = clean(step)
            label = "" if re.match(rf"\s*Step {number}\b", text) else f"Step {number}: "
            pieces.append(f"{' ' if number == 1 else chr(10)}{label}{text} {mark}")
            at += len(pieces[-1])
            ends.append(at)
        found = tokenizer("".join(pieces), return_offsets_mapping=True, verbose=False)
        return Row(list(found["input_ids"]), _last_tokens(found["offset_mapping"], ends))

    return Format("math_shepherd", encode, (signs[0][0], signs[1][0]))


def qwen(tokenizer: Any, *, separator: str = "<extra_0>", system: str = QWEN_SYSTEM) -> Format:
    """Qwen2.5-Math-PRM (arXiv 2501.07301): a chat whose answer has the separator behind each step.

    The score of a step is p(label 1) at its separator. What follows the last separator is left out: a causal model does not
    see it.

    Args:
        tokenizer: tokenizer of the model, with its chat template.
        separator: a single entry of the vocabulary.
        system: the system prompt; empty for none.

    Raises:
        PRMError: the separator is not in the vocabulary, or the chat template leaves out the texts.
    """
    separator_id = tokenizer.get_vocab().get(separator)
    if separator_id is None:
        raise PRMError(
            f"prm.format: qwen needs {separator!r} in the vocabulary; give the folder of such a model, another format, or "
            "prm.format_options.separator"
        )
    ask, say = "\ue000question\ue001", "\ue000steps\ue001"  # stand in for texts that may hold special tokens
    messages = [{"role": "user", "content": ask}, {"role": "assistant", "content": say}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False)
    if rendered.count(ask) != 1 or rendered.count(say) != 1:
        raise PRMError(
            "prm.format: qwen needs a chat template that holds each message once; this tokenizer has another"
        )
    before, rest = rendered.split(ask)
    between = rest.split(say)[0]
    clean = _without(tokenizer, separator)

    def encode(question: str, steps: Sequence[str]) -> Row:
        ids, marks = _ids(tokenizer, f"{before}{clean(question)}{between}"), []
        for step in steps:
            ids += [*_ids(tokenizer, clean(step)), separator_id]
            marks.append(len(ids) - 1)
        return Row(ids, marks)

    return Format("qwen", encode)


FORMATS: dict[str, Callable[..., Format]] = {
    "token_classification": token_classification,
    "math_shepherd": math_shepherd,
    "qwen": qwen,
}


def build_format(name: str, tokenizer: Any, options: dict[str, Any] | None = None) -> Format:
    """The format `name` for a tokenizer.

    Args:
        name: one of `FORMATS`.
        tokenizer: tokenizer of the model.
        options: keyword arguments of the format, e.g. ``{"separator": "\\n\\n"}``.

    Raises:
        PRMError: there is no such format, it does not know an option, or the tokenizer does not fit it.
    """
    if name not in FORMATS:
        raise PRMError(f"prm.format: {name!r} is not allowed, expected one of {', '.join(FORMATS)}")
    try:
        return FORMATS[name](tokenizer, **(options or {}))
    except TypeError as error:
        raise PRMError(f"prm.format_options: {error} (format {name})") from error


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _without(tokenizer: Any, *marks: str) -> Callable[[str], str]:
    """Takes special tokens and marks out of a text: a solution must not end its turn or set a mark of its own.

    What is only a part of a word stays: the mark of Math-Shepherd is a syllable of Russian.
    """
    taken = sorted({*tokenizer.all_special_tokens, *marks} - {""}, key=len, reverse=True)
    pattern = re.compile("|".join(rf"(?<!\w){re.escape(t)}(?!\w)" if t.isalnum() else re.escape(t)
                                  for t in taken) or r"(?!)")  # fmt: skip
    return lambda text: pattern.sub(" ", text)


def _last_tokens(offsets: Sequence[tuple[int, int]], ends: Sequence[int]) -> list[int]:
    """For each end of a span of text (ascending), the last token that holds a part of the character before it."""
    found, token = [], 0
    for end in ends:
        while token + 1 < len(offsets) and offsets[token + 1][0] < end:
            token += 1
        found.append(token)
    return found
