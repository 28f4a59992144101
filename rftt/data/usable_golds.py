"""The final answer in what data sets publish as one, and whether anything could match it.

Answers come as numbers, bare text, worked solutions that end in one, or lists of these. What is no answer (``proof``, prose,
an object) is found here, when data is loaded, and not after hours of rewards that are all 0.
"""

from __future__ import annotations

import ast
import json
import math
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from rewards import check_golds, gold_text
from rewards.golds import unboxed
from rewards.reading import read
from search.grading import alternatives, any_of

# What data sets write where there is no final answer.
NONE_SAID = frozenset({
    "proof", "notfound", "not found", "no answer", "none", "null", "nan", "n/a", "unknown", "see solution",
    "see the solution", "not provided", "omitted",
})  # fmt: skip
PROSE = 12  # words of an answer outside formulas, from which on it is a text and no answer
SECONDS = 60.0  # most time that golds of one source are checked by the grader

ANSWER_KEYS = ("answer", "final_answer", "ground_truth")  # of an object that holds nothing but an answer

# "the answer is 5", or a line "**Answer:** 5".
_MARK = re.compile(
    r"\b(?:the |final )*answer is\s*:?\s*(.+)|^[ \t*#]*(?:the |final )*answer[\s*]*:[\s*]*(.*[^\s*])[\s*]*$",
    re.IGNORECASE | re.MULTILINE,
)
# Where a sentence follows a number or a formula: "5. We are done".
_SENTENCE = re.compile(r"(?<=[\d$)}])\.\s+(?=[A-Z]\w*[^.]*\s[a-z]{2,})")


class NoAnswer(ValueError):
    """A value is no final answer; the message says what it is."""


def read_answer(value: Any, *, is_solution: bool = False, lists: Literal["any", "all"] = "any") -> str:
    """The final answer in a published answer field, or ``""``; several alternatives as `search.grading.any_of` writes them.

    Args:
        value: number, text, list of these, chat whose last turn is a solution, or None.
        is_solution: whether the field holds worked solutions, so that a text without a marked answer has none.
        lists: what several answers in a list are: ``any`` of them is right, or ``all`` together are the answer.

    Raises:
        NoAnswer: an object, or a list of objects.
    """
    if isinstance(value, Mapping):
        raise NoAnswer("an object, not an answer")
    if isinstance(value, list | tuple):
        return _of_list(value, is_solution, lists)
    if isinstance(value, bytes):
        raise NoAnswer("an answer that is not UTF-8")
    text = _unwrapped(plain_text(value))
    if len(alternatives(text)) > 1:
        return text
    if (record := _record_in_text(text)) is not None:
        known = [key for key in ANSWER_KEYS if key in record]
        if len(record) != 1 or not known:
            raise NoAnswer("an object, not an answer")
        return read_answer(record[known[0]], is_solution=is_solution, lists=lists)
    if (parts := _list_in_text(text)) is not None:
        return _of_list(parts, is_solution, lists)
    if "####" in text:
        last = next(iter(text.rsplit("####", 1)[1].strip().splitlines()), "").strip()
        return last.replace(",", "") if re.fullmatch(r"[-+$]*\d{1,3}(,\d{3})+(\.\d+)?", last) else last
    if (box := _last_box(text)) is not None:
        return box
    if marks := [match[1] or match[2] for match in _MARK.finditer(text)]:
        last = _not_bold(_SENTENCE.split(marks[-1].strip(), maxsplit=1)[0])
        return last.removesuffix(".").strip() if not re.search(r"\d\.\d*$", last) else last.removesuffix(".")
    return "" if is_solution else _not_bold(text)


def plain_text(value: Any) -> str:
    """A number or a text as text, whole numbers without a point; ``""`` for None."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value).strip()


def is_marked(value: Any) -> bool:
    """Whether a text is a worked solution that marks its answer."""
    return isinstance(value, str) and ("####" in value or _last_box(value) is not None or bool(_MARK.search(value)))


def said_by(value: Any, role: str) -> str | None:
    """What one side says last in a chat, of OpenAI's layout or ShareGPT's ``[{"from", "value"}]``; None for no chat."""
    if not isinstance(value, list | tuple) or not value or not all(isinstance(turn, Mapping) for turn in value):
        return None
    names = {"user": ("user", "human"), "assistant": ("assistant", "gpt")}[role]
    said = [turn for turn in value if turn.get("role", turn.get("from")) in names]
    if not said:
        return None if not any("role" in turn or "from" in turn for turn in value) else ""
    content = said[-1].get("content", said[-1].get("value"))
    if isinstance(content, list | tuple):
        parts: list[Any] = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        content = "".join(parts) if all(isinstance(part, str) for part in parts) else parts
    if content is not None and not isinstance(content, str):
        raise NoAnswer("a message that is no text")
    return content or ""


def why_unusable(gold: str) -> str | None:
    """What makes a gold one that nobody can match, as far as its words say it; None where it may be an answer."""
    said = " ".join(gold.split()).strip(" .").lower()
    if said in NONE_SAID:
        return "it says that there is no answer"
    if re.search(r"</?(think|answer|solution)>|\*\*[A-Za-z]", gold):
        return "markup around it"
    bare = re.sub(r"\\[a-zA-Z]+|\$[^$]*\$|\\\(.*?\\\)", " ", gold)
    if len(re.findall(r"[^\W\d_]{2,}", bare)) > PROSE:
        return "prose, not a final answer"
    return None


def unmatched(golds: Iterable[str], seconds: float = SECONDS) -> tuple[dict[str, str], int]:
    """Golds that the grader cannot grade against.

    Args:
        golds: reference answers.
        seconds: after so many the rest is left unchecked.

    Returns:
        Gold → why; and how many different golds were left unchecked.
    """
    end, found, left = time.monotonic() + seconds, {}, list(dict.fromkeys(golds))
    while left and time.monotonic() < end:
        chunk, left = left[:200], left[200:]
        for index, why in check_golds(chunk, timeout=2.0):
            if "equal itself" in why:
                found[chunk[index]] = "the grader does not accept it"
            elif not read(unboxed(chunk[index])).unsupported:  # which is equal to its own spelling only
                found[chunk[index]] = "the grader cannot read it"
    return found, len(left)


def _of_list(parts: Sequence[Any], is_solution: bool, lists: str) -> str:
    if (said := said_by(parts, "assistant")) is not None:
        return read_answer(said, is_solution=True)
    if any(isinstance(part, Mapping) for part in parts):
        raise NoAnswer("a list of objects, not an answer")
    if any(isinstance(part, list | tuple) for part in parts):  # points, intervals: one answer
        try:
            return gold_text(parts)
        except (ValueError, RecursionError) as error:
            raise NoAnswer("a list within a list, not an answer") from error
    texts = list(dict.fromkeys(filter(None, (read_answer(part, is_solution=is_solution) for part in parts))))
    return any_of(texts) if lists == "any" else ", ".join(texts)


def _unwrapped(text: str) -> str:
    """The text after the last thought, and of that what the last ``<answer>`` holds."""
    text = text.rpartition("</think>")[2].strip() or text
    return found[-1].strip() if (found := re.findall(r"<answer>(.*?)</answer>", text, re.DOTALL)) else text


def _not_bold(text: str) -> str:
    bold = re.fullmatch(r"\*\*([^*]+)\*\*(\.?)", text)
    return bold[1] + bold[2] if bold else text


def _record_in_text(text: str) -> dict[str, Any] | None:
    """The object that was written as JSON text; ``{}`` is the empty set."""
    if not (text.startswith("{") and text.endswith("}")):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found else None


def _list_in_text(text: str) -> list[Any] | None:
    """The strings of a list that was written as text, ``["2", "2.0"]``, as in Skywork-OR1."""
    if not (text.startswith(('["', "['")) and text.endswith("]")):
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            found = parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list) and all(isinstance(part, str) for part in found):
            return found
    return None


def _last_box(text: str) -> str | None:
    """Content of the last closed ``\\boxed{…}`` or ``\\fbox{…}``, also of ``\\boxed 7``."""
    for match in reversed(list(re.finditer(r"\\(?:boxed|fbox)\s*(\{|[^\s{}$\\]+)", text))):
        if match[1] != "{":
            return match[1].rstrip(".,")
        depth = 1
        for end in range(match.end(), len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0) if text[end - 1] != "\\" else 0
            if depth == 0:
                return text[match.end() : end].strip()
    return None
