"""Conversations as token ids with what the assistant wrote marked; outputs shuffled across conversations (SHAD, step 1)."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rftt.errors import UsageError
from rftt.weighting.annotate import IGNORED

Message = dict[str, Any]
Unit = Literal["turn", "sample"]


@dataclass(frozen=True)
class Conversation:
    """One sample of a chat data set.

    Args:
        name: of the sample, unique in its file.
        messages: dicts with ``role`` and ``content``, also ``tool_calls``; at least one is the assistant's.
        tools: JSON schemas of the tools that the prompt offers.
    """

    name: str
    messages: tuple[Message, ...]
    tools: tuple[Any, ...] | None = None

    @property
    def turns(self) -> tuple[int, ...]:
        """Where in `messages` the assistant speaks."""
        return tuple(i for i, message in enumerate(self.messages) if message["role"] == "assistant")


def conversations(rows: Iterable[Mapping[str, Any]], where: str) -> list[Conversation]:
    """Read samples: ``messages``, or ``prompt`` and ``completion`` as messages; and ``tools``, as a list or as JSON text.

    Raises:
        UsageError: a line holds none of them, or no turn of the assistant.
    """
    found = []
    for number, row in enumerate(rows):
        messages = row.get("messages")
        if messages is None and isinstance(row.get("prompt"), list) and isinstance(row.get("completion"), list):
            messages = [*row["prompt"], *row["completion"]]
        usable = isinstance(messages, list) and all(isinstance(m, dict) and "role" in m for m in messages)
        if not usable or not any(m["role"] == "assistant" for m in messages or ()):
            raise UsageError(
                f"{where}:{number + 1}: expected messages, a list of dicts with role, one of them assistant"
            )
        tools = json.loads(row["tools"]) if isinstance(row.get("tools"), str) else row.get("tools")
        found.append(Conversation(str(number), tuple(messages or ()), tuple(tools) if tools else None))
    return found


def encode(sample: Conversation, tokenizer: Any) -> dict[str, list[int]]:
    """``input_ids`` and ``labels``, which ignore all but what the assistant wrote, with the ends of its turns.

    Where the chat template marks the assistant's text (``{% generation %}``), the marks decide. Else a turn is what the
    conversation up to its end adds to the conversation before it.

    Raises:
        UsageError: neither is possible with this template.
    """
    options: dict[str, Any] = {"tools": list(sample.tools) if sample.tools else None, "return_dict": True}
    messages = list(sample.messages)
    template = tokenizer.get_chat_template(tools=options["tools"])
    if "{% generation" in template or "{%- generation" in template:
        whole = tokenizer.apply_chat_template(messages, return_assistant_tokens_mask=True, **options)
        ids, learnt = whole["input_ids"], [bool(m) for m in whole["assistant_masks"]]
        return {"input_ids": ids, "labels": _labels(ids, learnt)}
    ids = tokenizer.apply_chat_template(messages, **options)["input_ids"]
    learnt = [False] * len(ids)
    for turn in sample.turns:
        before = tokenizer.apply_chat_template(messages[:turn], add_generation_prompt=True, **options)["input_ids"]
        upto = tokenizer.apply_chat_template(messages[: turn + 1], **options)["input_ids"]
        if _shared(upto, ids) < len(upto):
            raise UsageError(
                f"sample {sample.name}: the chat template writes turn {turn + 1} differently when others follow, so its "
                "tokens cannot be told; take a template that marks the assistant's text with {% generation %}"
            )
        start = _shared(before, upto)
        learnt[start : len(upto)] = [True] * (len(upto) - start)
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
