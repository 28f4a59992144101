"""Conversations as token ids with what the assistant wrote marked; outputs shuffled across conversations (SHAD, step 1)."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

from rftt.data.tables import whole_text
from rftt.errors import UsageError
from rftt.weighting.annotate import IGNORED
from search.functions import RFTT, FunctionSet
from search.prompt import chain_ids, habits_of, prompt_ids, system_first, text_of

Message = dict[str, Any]
Unit = Literal["turn", "sample"]
SPEAKERS = {"human": "user", "gpt": "assistant", "observation": "tool", "function": "tool"}  # of ShareGPT's layout
OTHER_TEXTS = ("qz", "zq")  # no text begins as both do


@dataclass(frozen=True)
class Conversation:
    """One sample of a chat data set.

    Args:
        name: name of the sample, unique in its file.
        messages: dicts with ``role`` and ``content``, a text, also ``tool_calls``; at least one is the assistant's.
        tools: JSON schemas of the tools that the prompt offers.
    """

    name: str
    messages: tuple[Message, ...]
    tools: tuple[Any, ...] | None = None

    @property
    def turns(self) -> tuple[int, ...]:
        """Where in `messages` the assistant speaks."""
        return tuple(i for i, message in enumerate(self.messages) if message["role"] == "assistant")


def conversations(
    rows: Iterable[Mapping[str, Any]], where: str, lines: Sequence[int] | None = None
) -> list[Conversation]:
    """Read samples: ``messages``, or ``prompt`` and ``completion`` as messages, or ShareGPT's ``conversations``; and
    ``tools``, as a list or as JSON text.

    A content may be a text, a list of text parts, or None beside tool calls.

    Args:
        rows: samples.
        where: name of their file.
        lines: line of each of them; they are counted by default.

    Raises:
        UsageError: a line holds none of them, no turn of the assistant or one that nothing asks for, or a content that is
            no text.
    """
    found = []
    for number, row in enumerate(rows):
        try:
            found.append(_conversation(str(number), row))
        except ValueError as error:
            line = lines[number] if lines else number + 1
            raise UsageError(f"{where}:{line}: {error}; mend the sample or leave it out") from error
    return found


def _conversation(name: str, row: Any) -> Conversation:
    """Raises:
    ValueError: the row is no conversation in which something is asked and the assistant answers.
    """
    if not isinstance(row, Mapping):
        raise ValueError(f"the sample is {_kind(row)}, expected an object with messages")
    row = whole_text(dict(row))
    messages = row.get("messages")
    if messages is None and isinstance(row.get("prompt"), list) and isinstance(row.get("completion"), list):
        messages = [*row["prompt"], *row["completion"]]
    if messages is None and isinstance(row.get("conversations"), list):
        messages = [_message_of(turn) for turn in row["conversations"]]
    if not isinstance(messages, list) or not all(
        isinstance(m, dict) and isinstance(m.get("role"), str) for m in messages
    ):
        raise ValueError("expected messages, a list of dicts with role, a text")
    if not any(message["role"] == "assistant" for message in messages):
        raise ValueError("expected messages, one of them with the role assistant")
    if messages[0]["role"] == "assistant":
        raise ValueError("the first message is the assistant's, so that nothing asks for it")
    return Conversation(name, tuple(_as_text(message) for message in messages), _tools(row.get("tools")))


def _tools(given: Any) -> tuple[Any, ...] | None:
    """Tools as a list, as one of them, or as JSON text of these; empty where there are none.

    Raises:
        ValueError: they are something else.
    """
    if isinstance(given, str):
        try:
            given = json.loads(given) if given.strip() else None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"tools is no JSON ({error})") from error
    tools = [given] if isinstance(given, dict) and given else given or []
    if not isinstance(tools, list | tuple) or not all(isinstance(tool, dict) for tool in tools):
        raise ValueError(f"tools is {_kind(given)}, expected a list of the tools' JSON schemas")
    return tuple(tools) or None


def _kind(value: Any) -> str:
    """What a value of the wrong kind is, for messages."""
    if isinstance(value, list | tuple):
        return "a list of other things than objects" if value else "an empty list"
    return f"of type {type(value).__name__}"


def _message_of(turn: Any) -> Any:
    """A turn of ShareGPT's layout, ``{"from", "value"}``, as a message."""
    if not isinstance(turn, dict) or "from" not in turn:
        return turn
    speaker = turn["from"]
    return {"role": SPEAKERS.get(speaker, speaker) if isinstance(speaker, str) else None, "content": turn.get("value")}


def _as_text(message: Message) -> Message:
    """The message with its content as text and without the empty fields that tables of unlike rows have."""
    return {k: v for k, v in message.items() if v is not None} | {"content": text_of(message.get("content"))}


def encode(
    sample: Conversation, tokenizer: Any, functions: FunctionSet = RFTT, *, last_only: bool = False
) -> dict[str, list[int]]:
    """``input_ids`` and ``labels``, which ignore all but what the assistant wrote, with the ends of its turns.

    A question with its chain, and whatever else ends in the only turn of the assistant, is exactly the prompt that asks
    it, the text and the token that ends the turn (`search.prompt`). Conversations of several turns, with tools or tool
    calls, are rendered by the chat template. Where it marks the assistant's text (``{% generation %}``), the marks decide.
    Else a turn is what the conversation up to its end adds to the prompt that asks for it, or, where the template does not
    keep to that prompt, what differs when the assistant says something else; up to the token that ends it.

    Args:
        sample: a conversation.
        tokenizer: tokenizer of the model that learns it.
        functions: the token set, whose tags are tokens of the assistant's text.
        last_only: learn the last turn of the assistant alone.

    Raises:
        UsageError: neither is possible with this template.
    """
    *earlier, last = sample.messages
    if sample.turns == (len(earlier),) and not sample.tools and not any("tool_calls" in m for m in sample.messages):
        try:
            prompt, chain = prompt_ids(tokenizer, earlier), chain_ids(tokenizer, last["content"], functions)
        except ValueError as error:
            raise UsageError(f"sample {sample.name}: {error}") from error
        return {"input_ids": [*prompt, *chain], "labels": [IGNORED] * len(prompt) + chain}
    return _rendered(sample, tokenizer, last_only)


def _rendered(sample: Conversation, tokenizer: Any, last_only: bool) -> dict[str, list[int]]:
    options: dict[str, Any] = {"tools": list(sample.tools) if sample.tools else None, "return_dict": True}
    habits = habits_of(tokenizer)
    messages = system_first(sample.messages, as_turn=habits.system)
    turns = [i for i, message in enumerate(messages) if message["role"] == "assistant"]

    def written(messages: Sequence[Mapping[str, Any]], **more: Any) -> Any:
        if habits.parts:
            messages = [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in messages]
        return tokenizer.apply_chat_template(list(messages), **options, **more)

    template = tokenizer.get_chat_template(tools=options["tools"])
    if "{% generation" in template or "{%- generation" in template:
        whole = written(messages, return_assistant_tokens_mask=True)
        marks, earlier = whole["assistant_masks"], 0
        if last_only:
            earlier = sum(written(messages[: turns[-1]], return_assistant_tokens_mask=True)["assistant_masks"])
        learnt = [bool(mark) and count > earlier for mark, count in zip(marks, accumulate(marks), strict=True)]
        return {"input_ids": whole["input_ids"], "labels": _labels(whole["input_ids"], learnt)}
    ids = written(messages)["input_ids"]
    learnt = [False] * len(ids)
    for turn in turns[-1:] if last_only else turns:
        prompt = written(messages[:turn], add_generation_prompt=True)["input_ids"]
        upto = written(messages[: turn + 1])["input_ids"]
        start = _shared(prompt, upto)
        if start < len(prompt):  # the template writes something else before a turn than in front of one that is to come
            others = ([*messages[:turn], {"role": "assistant", "content": text}] for text in OTHER_TEXTS)
            start = min(_shared(written(other)["input_ids"], upto) for other in others)
        stop = max((i + 1 for i in range(start, len(upto)) if upto[i] == habits.end), default=len(upto))
        if _shared(upto, ids) < stop:
            raise UsageError(
                f"sample {sample.name}: the chat template writes turn {turn + 1} differently when others follow, so its "
                "tokens cannot be told; take a template that marks the assistant's text with {% generation %}"
            )
        learnt[start:stop] = [True] * (stop - start)
    return {"input_ids": ids, "labels": _labels(ids, learnt)}


def shuffled(samples: Sequence[Conversation], unit: Unit, rng: random.Random) -> list[Conversation]:
    """Give every conversation outputs of others; none keeps an output of its own.

    Args:
        samples: the conversations.
        unit: ``turn`` shuffles single turns of the assistant; ``sample`` gives all turns of one conversation to another one,
            from the first again where it needs more than there are.
        rng: decides who gets what.

    Raises:
        UsageError: there is no such order: fewer than two samples, or one has more than half of all turns.
    """
    turns = [(number, at) for number, sample in enumerate(samples) for at in sample.turns]
    result = [list(sample.messages) for sample in samples]
    if unit == "turn":
        order = derangement([number for number, _ in turns], rng)
        for (number, at), source in zip(turns, order, strict=True):
            other, place = turns[source]
            result[number][at] = samples[other].messages[place]
    else:
        order = derangement(range(len(samples)), rng)
        for sample, messages, source in zip(samples, result, order, strict=True):
            theirs = samples[source].turns
            for count, at in enumerate(sample.turns):
                messages[at] = samples[source].messages[theirs[count % len(theirs)]]
    return [Conversation(s.name, tuple(messages), s.tools) for s, messages in zip(samples, result, strict=True)]


def derangement(owners: Sequence[int], rng: random.Random) -> list[int]:
    """A permutation p of the places in which no place gets what its owner owns: owners[p[i]] ≠ owners[i].

    Places are put in order by owner, owners and places at random, and everything moves on by as many places as the largest
    owner has.

    Raises:
        UsageError: one owner has more than half of the places.
    """
    sizes: dict[int, int] = {}
    for owner in owners:
        sizes[owner] = sizes.get(owner, 0) + 1
    largest = max(sizes.values(), default=0)
    if 2 * largest > len(owners) or not owners:
        raise UsageError(f"shad: {len(owners)} outputs of {len(sizes)} samples cannot be shuffled; give more samples")
    rank = {owner: rng.random() for owner in sizes}
    places = sorted(range(len(owners)), key=lambda i: (rank[owners[i]], owners[i], rng.random()))
    order = [0] * len(owners)
    for at, place in enumerate(places):
        order[place] = places[(at + largest) % len(places)]
    return order


def _labels(ids: Sequence[int], learnt: Sequence[bool]) -> list[int]:
    return [token if wanted else IGNORED for token, wanted in zip(ids, learnt, strict=True)]


def _shared(ids: Sequence[int], others: Sequence[int]) -> int:
    """Length of the common prefix."""
    return next((i for i, (a, b) in enumerate(zip(ids, others)) if a != b), min(len(ids), len(others)))
