r"""Where in a text an answer may stand: after the thought, before a turn of somebody else, in the answering part.

No tag has a meaning here. A caller that knows which part of its texts answers says so with a `Place`. Without one the
shape of the text decides: where it is a chain of blocks (`<name>` first in its line or right after another block, up to
`</name>`), the answer stands in the last of them, or in the text after it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

MAX_NESTING = 3  # of blocks in blocks that are looked into

_THINK_OPEN, _THINK_CLOSE = "<think>", "</think>"
# Special tokens that end a turn in the chat templates of Qwen, Llama, Gemma, Mistral, Phi and DeepSeek.
_TURN_TOKEN = re.compile(
    r"<\|(?:im_start|im_end|endoftext|eot_id|eom_id|end_of_text|start_header_id|end|user|system)\|>"
    r"|</s>|<eos>|<end_of_turn>|<start_of_turn>|\[/?INST\]|<｜(?:User|end▁of▁sentence)｜>"
)
# A role written out: the model goes on with a dialogue of its own after its answer.
_TURN_ROLE = re.compile(
    r"\n[ \t#*]*(?:Human|User|Question|Problem|Instruction|Q)\b[ \t*]*:|\n(?:user|human|system)[ \t]*\n"
)
_SPACE = re.compile(r"\s*")
_HTML = "p|div|span|center|br|hr|em|strong|u|sub|sup|ul|ol|li|table|tr|td|th|pre|code|h[1-6]"  # sets text, and no block
_TAG = re.compile(rf"(^[ \t]*)?<(/?)(?!(?:{_HTML})>)([A-Za-z][A-Za-z0-9_-]{{0,39}})>", re.MULTILINE)


@dataclass(frozen=True)
class Place:
    """The part of a text that answers.

    Args:
        opening, closing: what stands before and behind it, e.g. `<answer>` and `</answer>`.
        tags: every tag of the token set. A text with one of them is a chain, and answers in that part or not at all; a
            text with none of them is read as a whole. Where no tags are given, these two are all.

    Raises:
        ValueError: `opening` or `closing` is empty.
    """

    opening: str
    closing: str
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.opening or not self.closing:
            raise ValueError("the answering part needs a text before it and a text behind it, e.g. <answer>, </answer>")

    def part(self, text: str) -> str | None:
        """The last answering part; None for a chain without one. Tags that it holds are left out."""
        pattern = _any_of((self.opening, self.closing, *self.tags))
        if not pattern.search(text):
            return text
        _, found, rest = text.rpartition(self.opening)
        return pattern.sub("", rest.partition(self.closing)[0]) if found else None


@lru_cache(maxsize=16)
def _any_of(tags: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(set(tags), key=len, reverse=True))))


def place_of(within: Place | tuple[str, str] | None) -> Place | None:
    """A `Place` from what callers may give for one."""
    return within if within is None or isinstance(within, Place) else Place(*within)


Finder = Callable[[str, int], int | None]


def answering_part(text: str, within: Place | None, answers: Finder, counts: Finder) -> str | None:
    """The part of the text where an answer counts, or None where there is none. Takes linear time.

    Args:
        text: a chain or a completion.
        within: the caller's answering part.
        answers: (text, position) → end of the first sign of an answer from there on, None without one.
        counts: the same for the signs that the rule in force accepts.
    """
    leading = _TURN_TOKEN.match(text.lstrip())
    turn = None if leading else _TURN_TOKEN.search(text)
    if turn:
        text = text[: turn.start()]
    _, _, text = text.rpartition(_THINK_CLOSE)
    if _THINK_OPEN in text:
        return None
    part = within.part(text) if within else _last_block(text, counts)
    if part is None:
        return None
    first = answers(part, 0)
    for role in _TURN_ROLE.finditer(part) if first is not None else ():
        if role.start() >= first:  # type: ignore[operator]
            return part[: role.start()]
    return part


def _last_block(text: str, counts: Finder) -> str:
    """The last block of a chain, or what follows it when that holds an answer; a text without blocks as it is."""
    for _ in range(MAX_NESTING):
        block = _top_block(text)
        if block is None:
            return text
        start, end, behind = block
        text = text[behind:] if counts(text, behind) is not None else text[start:end]
    return text


def _top_block(text: str) -> tuple[int, int, int] | None:
    """(start, end of what is in it, end of its closing tag) of the last block that stands in no other."""
    last_closing = {tag[3]: tag.start() for tag in _TAG.finditer(text) if tag[2]}
    block = None
    next_place = 0  # where a block may begin without beginning its line
    opened: re.Match[str] | None = None
    for tag in _TAG.finditer(text):
        if tag[2]:
            if opened is not None and tag[3] == opened[3]:
                block = (opened.end(), tag.start(), tag.end())
                next_place = _after_space(text, tag.end())
                opened = None
        elif (tag[1] is not None or tag.start() <= next_place) and (
            opened is None or last_closing.get(opened[3], -1) < tag.start()
        ):
            opened = tag
    if opened is not None and (block is not None or opened.start() <= _after_space(text, 0)):
        return opened.end(), len(text), len(text)  # cut off
    return block


def _after_space(text: str, position: int) -> int:
    return _SPACE.match(text, position).end()  # type: ignore[union-attr]
