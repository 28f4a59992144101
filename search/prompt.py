"""What a model is asked, as token ids: the one place where prompts are made.

Search in both phases, SFT, RL, evaluation and serving take their prompts from here, and a sample that is learnt is exactly
prompt ids + chain ids + the token that ends the turn. It is never rendered by the chat template a second time: some
templates write an assistant's turn of the past otherwise than the one that they open (Qwen3 puts an empty thought before
it), and a model that learnt the one would be asked with the other.

Chat templates differ. What is needed is found out by rendering marks: whether the content of a message has to be a list of
parts, whether a system turn is written at all, and which token ends the assistant's turn.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.functions import RFTT, FunctionSet
from search.plain_text import plain_ids

Message = Mapping[str, Any]

_MARKS = ("qzsysqz", "qzaskqz", "qzansqz")  # letters that no template writes or changes
_habits: dict[tuple[Any, ...], Habits] = {}


def question_ids(tokenizer: Any, question: str) -> list[int]:
    """Ids of the prompt that asks a question; those that the tokenizer has in ``prompts``, where it has any."""
    made: Mapping[str, Sequence[int]] = getattr(tokenizer, "prompts", None) or {}
    if question in made:
        return list(made[question])
    return prompt_ids(tokenizer, [{"role": "user", "content": question}])


def prompt_ids(tokenizer: Any, messages: Sequence[Message], begun: str = "") -> list[int]:
    """Ids of a conversation up to where the assistant goes on. What is typed as a control token stays text.

    Args:
        tokenizer: tokenizer with a chat template.
        messages: messages with ``role`` and ``content``, the last of them not the assistant's.
        begun: text that the assistant's turn begins with.

    Raises:
        ValueError: the template refuses the messages, or leaves out what the user says; a content is no text.
    """
    text = prompt_text(tokenizer, messages)
    written = _written(tokenizer, messages)
    if all(_is_plain(tokenizer, message["content"]) for message in written):
        return encode(tokenizer, text + begun)
    # The template's text and that of the messages are encoded apart: only the former may hold control tokens.
    marks = [f"qz{i}msgqz" for i in range(len(written))]
    frame = _rendered(tokenizer, [{**m, "content": mark} for m, mark in zip(written, marks, strict=True)])
    for contents in ([m["content"] for m in written], [m["content"].strip() for m in written]):  # some templates trim
        pieces = _pieces(frame, marks, contents)
        if "".join(piece for piece, _ in pieces) == text:
            ids = [i for piece, said in pieces for i in (plain_ids if said else encode)(tokenizer, piece)]
            return [*ids, *encode(tokenizer, begun)]
    raise ValueError(
        "a message holds control tokens of the model, and the chat template changes its text, so that they cannot be told "
        "from its own; leave them out"
    )


def prompt_text(tokenizer: Any, messages: Sequence[Message]) -> str:
    """The conversation as the chat template writes it, with the assistant's turn open.

    System turns are joined to one at the beginning. Where the template refuses or leaves it out, its text stands before
    that of the user's first turn instead.

    Args:
        tokenizer: tokenizer with a chat template. Where it has an attribute ``earlier``, these messages come first.
        messages: as in `prompt_ids`.

    Raises:
        ValueError: as `prompt_ids`.
    """
    return _rendered(tokenizer, _written(tokenizer, messages))


def chain_ids(tokenizer: Any, chain: str, functions: FunctionSet = RFTT) -> list[int]:
    """Ids of what the assistant writes after a prompt, the token that ends its turn included.

    Args:
        tokenizer: tokenizer of the model.
        chain: its text.
        functions: the token set, whose tags are the only control tokens that a chain may hold; others stay text.

    Raises:
        ValueError: neither the template nor the tokenizer has an end token.
    """
    pieces = re.split(f"({'|'.join(map(re.escape, functions.tags))})", chain)  # every second one is a tag
    if all(_is_plain(tokenizer, piece) for piece in pieces[::2]):
        return [*encode(tokenizer, chain), end_of_turn(tokenizer)]
    encoded = [(encode if i % 2 else plain_ids)(tokenizer, piece) for i, piece in enumerate(pieces)]
    return [*(i for ids in encoded for i in ids), end_of_turn(tokenizer)]


def end_of_turn(tokenizer: Any) -> int:
    """Id of the token that ends the assistant's turn: what the template writes there, else the end-of-sequence token.

    Raises:
        ValueError: there is neither.
    """
    found = habits_of(tokenizer).end
    if found is None:
        raise ValueError(
            "neither the chat template nor the tokenizer has a token that ends the assistant's turn; name one as eos_token "
            "in tokenizer_config.json"
        )
    return found


def end_ids(tokenizer: Any, listed: int | Iterable[int | None] | None) -> frozenset[int]:
    """Every id that ends what a model says.

    Args:
        tokenizer: its end-of-sequence token and the end of the assistant's turn are among them.
        listed: those of the generation settings.
    """
    ids: set[int | None] = {listed} if isinstance(listed, int) else set(listed or ())
    ids.add(tokenizer.eos_token_id)
    if getattr(tokenizer, "chat_template", None):
        ids.add(habits_of(tokenizer).end)
    return frozenset(i for i in ids if i is not None)


def encode(tokenizer: Any, text: str) -> list[int]:
    """Ids of text that is complete as it stands: nothing is put before or after it."""
    fast = getattr(tokenizer, "backend_tokenizer", None)  # half the time of the call around it
    return (
        fast.encode(text, add_special_tokens=False).ids
        if fast
        else tokenizer(text, add_special_tokens=False)["input_ids"]
    )


def text_of(content: Any) -> str:
    """The text of a message: a string, the parts of OpenAI's API, or nothing.

    Raises:
        ValueError: anything else, e.g. an image.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list | tuple):
        return "".join(_text_of_part(part) for part in content)
    raise ValueError(f"the content of a message is {_kind(content)}, expected text or a list of text parts")


def system_first(messages: Sequence[Message], *, as_turn: bool) -> list[Message]:
    """The conversation with what its system turns say at the beginning.

    Args:
        messages: messages whose contents are text.
        as_turn: whether as one system turn; else as the beginning of the user's first turn.
    """
    system = "\n\n".join(m["content"] for m in messages if m["role"] == "system" and m["content"])
    rest = [m for m in messages if m["role"] != "system"]
    first = next((i for i, m in enumerate(rest) if m["role"] == "user"), None)
    if not system:
        return rest
    if as_turn or first is None:
        return [{"role": "system", "content": system}, *rest]
    return [*rest[:first], {**rest[first], "content": f"{system}\n\n{rest[first]['content']}"}, *rest[first + 1 :]]


@dataclass(frozen=True)
class Habits:
    """What a chat template does.

    Args:
        parts: the content of a message has to be a list of parts.
        system: it writes a system turn.
        end: id of the token that ends the assistant's turn; None where neither template nor tokenizer has one.
    """

    parts: bool
    system: bool
    end: int | None


def habits_of(tokenizer: Any) -> Habits:
    """What a tokenizer's chat template does; found out once for each template.

    Raises:
        ValueError: it does not write what the user says.
    """
    template = getattr(tokenizer, "chat_template", None)
    key = (str(template), tokenizer.eos_token_id, getattr(tokenizer, "vocab_size", None)) if template else None
    if key is None:
        return _find_out(tokenizer)
    if key not in _habits:
        _habits[key] = _find_out(tokenizer)
    return _habits[key]


def _written(tokenizer: Any, messages: Sequence[Message]) -> list[Message]:
    """The messages as the template gets them, their contents as text."""
    every = [*getattr(tokenizer, "earlier", ()), *messages]
    texts = [{**message, "content": text_of(message.get("content"))} for message in every]
    return system_first(texts, as_turn=habits_of(tokenizer).system)


def _rendered(tokenizer: Any, written: Sequence[Message]) -> str:
    return _render(tokenizer, written, habits_of(tokenizer).parts, open_turn=True)


def _is_plain(tokenizer: Any, text: str) -> bool:
    """Whether the usual encoding of a text holds no control token."""
    return plain_ids(tokenizer, text) == encode(tokenizer, text)


def _pieces(frame: str, marks: Sequence[str], contents: Sequence[str]) -> list[tuple[str, bool]]:
    """A rendering of marks with the contents in their places: texts in order, and whether each is a message's."""
    said = dict(zip(marks, contents, strict=True))
    return [(said.get(p, p), p in said) for p in re.split(f"({'|'.join(marks)})", frame) if said.get(p, p)]


def _find_out(tokenizer: Any) -> Habits:
    system, asked, answered = _MARKS
    user = {"role": "user", "content": asked}
    parts, why = _first_that_writes(tokenizer, [user], (asked,))
    if parts is None:
        raise ValueError(f"the chat template does not write what the user says{why}; mend it or give another one")
    turn = {"role": "system", "content": system}
    with_system = _try(tokenizer, [turn, user], parts)
    closed = _try(tokenizer, [user, {"role": "assistant", "content": answered}], parts, open_turn=False)
    return Habits(
        parts,
        system in (with_system or "") and asked in (with_system or ""),
        _end(tokenizer, (closed or "").partition(answered)[2]),
    )


def _first_that_writes(tokenizer: Any, messages: Sequence[Message], marks: Iterable[str]) -> tuple[bool | None, str]:
    """Whether contents have to be parts; None where nothing is written either way, and why."""
    why = ""
    for parts in (False, True):
        try:
            text = _render(tokenizer, messages, parts, open_turn=True)
        except ValueError as error:
            why = why or f" ({error})"
            continue
        if all(mark in text for mark in marks):
            return parts, ""
    return None, why


def _try(tokenizer: Any, messages: Sequence[Message], parts: bool, *, open_turn: bool = True) -> str | None:
    try:
        return _render(tokenizer, messages, parts, open_turn=open_turn)
    except ValueError:
        return None


def _render(tokenizer: Any, messages: Sequence[Message], parts: bool, *, open_turn: bool) -> str:
    from jinja2 import TemplateError

    if parts:
        messages = [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in messages]
    try:
        return tokenizer.apply_chat_template(list(messages), add_generation_prompt=open_turn, tokenize=False)
    except (TemplateError, TypeError, KeyError, AttributeError) as error:  # a template is a program
        raise ValueError(f"the chat template refuses the messages: {error}") from error


def _end(tokenizer: Any, after: str) -> int | None:
    """The first token of its own right in what follows the assistant's text, else the end-of-sequence token."""
    own = set(getattr(tokenizer, "added_tokens_decoder", ()))
    return next((i for i in encode(tokenizer, after) if i in own), tokenizer.eos_token_id)


def _text_of_part(part: Any) -> str:
    text = part if isinstance(part, str) else part.get("text") if isinstance(part, Mapping) else None
    if not isinstance(text, str):
        raise ValueError(f"a part of a message is {_kind(part)}, expected a part with text")
    return text


def _kind(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"of type {value['type']!r}" if isinstance(value.get("type"), str) else "a dict"
    return f"of type {type(value).__name__}"
