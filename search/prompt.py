"""What a model is asked, as token ids: the one place where prompts are made.

Search in both phases, SFT, RL, evaluation and serving take their prompts from here, and a sample that is learnt is exactly
prompt ids + chain ids + the token that ends the turn. It is never rendered by the chat template a second time: some
templates write an assistant's turn of the past otherwise than the one that they open (Qwen3 puts an empty thought before
it), and a model that learnt the one would be asked with the other.

Chat templates differ. What is needed is found out by rendering marks: whether the content of a message has to be a list of
parts, whether a system turn is written at all, and which token ends the assistant's turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Message = Mapping[str, Any]

_MARKS = ("qzsysqz", "qzaskqz", "qzansqz")  # letters that no template writes or changes
_habits: dict[tuple[Any, ...], Habits] = {}


def question_ids(tokenizer: Any, question: str) -> list[int]:
    """Ids of the prompt that asks a question."""
    return prompt_ids(tokenizer, [{"role": "user", "content": question}])


def prompt_ids(tokenizer: Any, messages: Sequence[Message], begun: str = "") -> list[int]:
    """Ids of a conversation up to where the assistant goes on.

    Args:
        tokenizer: with a chat template.
        messages: with ``role`` and ``content``, the last of them not the assistant's.
        begun: text that the assistant's turn begins with.

    Raises:
        ValueError: the template refuses the messages, or leaves out what the user says; a content is no text.
    """
    return encode(tokenizer, prompt_text(tokenizer, messages) + begun)


def prompt_text(tokenizer: Any, messages: Sequence[Message]) -> str:
    """The conversation as the chat template writes it, with the assistant's turn open.

    System turns are joined to one at the beginning. Where the template refuses or leaves it out, its text stands before
    that of the user's first turn instead.

    Args:
        tokenizer: with a chat template. Where it has an attribute ``earlier``, these messages come first.
        messages: as in `prompt_ids`.

    Raises:
        ValueError: as `prompt_ids`.
    """
    habits = habits_of(tokenizer)
    every = [*getattr(tokenizer, "earlier", ()), *messages]
    written = [{**message, "content": text_of(message.get("content"))} for message in every]
    return _render(tokenizer, system_first(written, as_turn=habits.system), habits.parts, open_turn=True)


def chain_ids(tokenizer: Any, chain: str) -> list[int]:
    """Ids of what the assistant writes after a prompt, the token that ends its turn included.

    Raises:
        ValueError: neither the template nor the tokenizer has an end token.
    """
    return [*encode(tokenizer, chain), end_of_turn(tokenizer)]


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


def end_ids(tokenizer: Any, listed: int | Iterable[int] | None) -> frozenset[int]:
    """Every id that ends what a model says.

    Args:
        tokenizer: its end-of-sequence token and the end of the assistant's turn are among them.
        listed: those of the generation settings.
    """
    ids = {listed} if isinstance(listed, int) else set(listed or ())
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
        messages: whose contents are text.
        as_turn: as one system turn; else as the beginning of the user's first turn.
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
            why = f" ({error})"
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
