r"""The final answer out of what a model wrote: one channel, so that nobody can guess twice.

A second place where an answer may stand is a second guess, so each rule reads exactly one:

- "boxed" (RL): the last closed `\boxed{...}` or `\fbox{...}` after the last `</think>` and before any turn marker.
  Boxes that only commas or "and" separate are one list; different boxes in one sentence are a hedge, which is no answer.
- "lenient" (evaluation): the box where there is one, else what follows the last "answer is", "Answer:" or "####", else
  a lone formula at the end.
- "none": the text is the answer.

The first two look only where an answer may stand (`rewards.place`). All take time linear in the text.
"""

from __future__ import annotations

import re

from rewards.place import Place, answering_part, place_of

RULES = ("boxed", "lenient", "none")

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")
_BOXED_TOKEN = re.compile(r"(?:\\[A-Za-z]+|[A-Za-z0-9])(?![A-Za-z0-9,{(^_\\]|\.[^\s$])")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)

# Between two boxes: what only lays out, what separates a list, and where a sentence ends.
_LAYOUT = re.compile(r"\\[()\[\],;:! ]|\\(?:q?quad|text(?:rm|bf|it)?|mathrm|mbox|displaystyle)(?![A-Za-z])|[$~{}*]")
_LIST_JOINT = re.compile(r"(?:[\s,;&、，；]|\b(?:and|AND|And)\b|\\(?:land|wedge)(?![A-Za-z]))+")
_SENTENCE_BREAK = re.compile(r"^\s*[.!?…]+(?=\s|$)|[.!?…](?=\s+[A-Z][a-z ])|[。！？]")
_LINE_BREAK = re.compile(r"\n\s*\n|\n[ \t>#-]*(?=[A-Z][a-z\s]|[^\x00-\x7f])")
_BLANK_LINES = re.compile(r"\s*\n\s*")
_ALTERNATIVE = re.compile(r"(?:[\s,;&]|\bor\b)+")
_SET_OFF = re.compile(r"\s*[,，—–].*[,，—–]\s*", re.DOTALL)
MIN_WORDS = 3  # of what is a sentence without a full stop, in lines of its own

_JOIN = re.compile(
    r"(?:\\[()\[\],;:! ]|\\q?quad(?![A-Za-z])|[\s$,;&]"
    r"|\\(?:text|textrm|mathrm|mbox)\s*\{\s*(?:and|or)\s*(?:,\s*)?\}|\b(?:and|or)\b)*"
)
_ANCHOR = re.compile(
    r"(?:####|\b(?:final\s+)?answers?\b[\s*_]*(?:\\?[)}\]][\s*_]*)?(?:(?:is|are)\b\s*:?|:|(?=\$|\\\())[\s*_]*)",
    re.IGNORECASE,
)
_PLEASANTRY = re.compile(r"I hope (?:it|this) is correct\.?$", re.IGNORECASE)
_DELIMITER = re.compile(r"\\.|\$", re.DOTALL)
_CLOSED_BY = {"$": "$", "$$": "$", r"\(": r"\)", r"\[": r"\]"}
_DELIMITERS = {"$", *_CLOSED_BY, *_CLOSED_BY.values()}
_SENTENCE_END = re.compile(r"\.(?=\s+[A-Z(*]|\s*$)|\n")


def extract_answer(text: str, rule: str = "boxed", within: Place | tuple[str, str] | None = None) -> str | None:
    """The final answer in `text`, or None.

    Args:
        text: a chain, a completion or a bare answer.
        rule: "boxed", "lenient" or "none"; see the module.
        within: the part that answers, e.g. `("<answer>", "</answer>")`; by default the shape of the text decides.

    Raises:
        ValueError: unknown rule, or a text that is none.
    """
    if rule not in RULES:
        raise ValueError(f"unknown extraction rule {rule!r}: use one of {', '.join(RULES)}")
    if not isinstance(text, str):
        raise ValueError(f"the text to grade is no text but {type(text).__name__}: {text!r:.80}")
    if rule == "none":
        return text.strip() or None
    counts = _box_end if rule == "boxed" else _answer_end
    body = answering_part(text, place_of(within), _answer_end, counts)
    if body is None:
        return None
    boxes = _boxes(body)
    if boxes:
        return _one_answer(body, boxes)
    return _unboxed(body) if rule == "lenient" else None


def _box_end(text: str, position: int) -> int | None:
    box = _BOX.search(text, position)
    return box.start() + len(box[0].rstrip()) if box else None


def _answer_end(text: str, position: int) -> int | None:
    anchor = _ANCHOR.search(text, position)
    ends = [_box_end(text, position), anchor.start() + len(anchor[0].rstrip(" \t\n*_")) if anchor else None]
    return min((end for end in ends if end is not None), default=None)


def _boxes(text: str) -> list[tuple[int, int, str]]:
    """(start, end, content) of every closed outermost box, in order."""
    found = []
    position = 0
    closing: dict[int, int] | None = None
    while box := _BOX.search(text, position):
        position = box.end()
        if text.startswith("{", position):
            closing = _closing_braces(text) if closing is None else closing
            end = closing.get(position)
            if end is None:
                continue
            found.append((box.start(), end + 1, text[position + 1 : end].strip()))
            position = end + 1
        elif token := _BOXED_TOKEN.match(text, position):  # `\boxed 7`, as TeX reads it
            found.append((box.start(), token.end(), token.group()))
            position = token.end()
    return found


def _closing_braces(text: str) -> dict[int, int]:
    """The closing brace of every opening one that has one."""
    closing = {}
    opened: list[int] = []
    for brace in _BRACE.finditer(text):
        if brace[0] == "{":
            opened.append(brace.start())
        elif brace[0] == "}" and opened:
            closing[opened.pop()] = brace.start()
    return closing


def _one_answer(text: str, boxes: list[tuple[int, int, str]]) -> str | None:
    """The last box with those of its list; None when its sentence offers another answer as well."""
    contents = [boxes[-1][2]]
    for (_, end, content), (start, _, following) in zip(reversed(boxes[:-1]), reversed(boxes[1:])):
        joint = _joint(text[end:start])
        if joint == "list":
            contents.append(content)
        elif joint == "apart" or content == following:
            break
        else:
            return None
    answer = ", ".join(reversed(contents))
    return answer if answer.strip() else None


def _joint(between: str) -> str:
    """What stands between two boxes: the comma of a "list", a "hedge", or as much as sets them "apart".

    They are apart when a sentence ends in between, when they stand in lines of their own, or when the words between
    them are set off on both sides and so belong to neither. Whatever else joins two different boxes offers both of
    them: "or", "vs", "/", a blank.
    """
    bare = _LAYOUT.sub(" ", between)
    if bare.strip() and _LIST_JOINT.fullmatch(bare):
        return "list"
    if _ALTERNATIVE.fullmatch(bare) and not _BLANK_LINES.fullmatch(bare):
        return "hedge"
    lines = _BLANK_LINES.fullmatch(bare) or (_LINE_BREAK.search(bare) and len(bare.split()) >= MIN_WORDS)
    return "apart" if lines or _SENTENCE_BREAK.search(bare) or _SET_OFF.fullmatch(bare) else "hedge"


def _unboxed(text: str) -> str | None:
    text = _without_pleasantry(text.strip())
    anchors = [anchor for anchor in _ANCHOR.finditer(text) if anchor.end() < len(text)]
    # "Final Answer: The final answer is": the first only announces the second.
    anchors = [
        a
        for a, b in zip(anchors, [*anchors[1:], None])
        if b is None or re.search(r"[\d$\\]", text[a.end() : b.start()])
    ]
    if not anchors:
        return _lone_formula(text)
    candidates = [_after_anchor(text[anchor.end() :]) for anchor in anchors[-2:]]
    # "Answer: 1", "Answer: 2", "Answer: 3" line under line is a list of guesses.
    previous = text[anchors[-2].end() : anchors[-1].start()] if len(anchors) > 1 else ""
    if previous and len(previous.strip().splitlines()) <= 1 and len(previous) < 40 and candidates[-1] != candidates[-2]:
        return None
    return candidates[-1]


def _without_pleasantry(text: str) -> str:
    said = _PLEASANTRY.search(text, max(0, len(text) - 40))
    return text[: said.start()].rstrip() if said else text


def _after_anchor(text: str) -> str | None:
    text = text.strip().lstrip("*:").strip()
    formulas = _formulas(text)
    if formulas and formulas[0][0] == 0:
        # `$1$ or $2$`: the sentence belongs to the answer as long as it only joins formulas.
        end = formulas[0][1]
        for start, next_end in formulas[1:]:
            if not _JOIN.fullmatch(text, end, start):
                break
            end = next_end
        return text[:end].strip()
    stop = _SENTENCE_END.search(text)
    answer = (text[: stop.start()] if stop else text).strip().strip("*").strip()
    _, said, value = answer.rpartition(" is ")  # "the volume of the box is 120"
    return (value.strip() if said else answer) or None


def _lone_formula(text: str) -> str | None:
    formulas = _formulas(text)
    if not formulas and len(text) <= 60 and "\n" not in text and not re.search(r"[A-Za-z]{3,} [A-Za-z]{2,}", text):
        return text.strip("$ ") or None
    if not formulas or (len(formulas) > 1 and text[formulas[-1][1] :].strip(" .\n*")):
        return None
    first = len(formulas) - 1
    while first and _JOIN.fullmatch(text, formulas[first - 1][1], formulas[first][0]):
        first -= 1
    return text[formulas[first][0] : formulas[-1][1]]


def _formulas(text: str) -> list[tuple[int, int]]:
    r"""(start, end) of everything in `$…$`, `$$…$$`, `\(…\)` and `\[…\]`, in order."""
    marks = [(mark.start(), mark[0]) for mark in _DELIMITER.finditer(text) if mark[0] in _DELIMITERS]
    found = []
    unclosed = set()  # kinds that nothing closes from here on
    index = 0
    while index < len(marks):
        place, mark = marks[index]
        doubled = mark == "$" and marks[index + 1 : index + 2] == [(place + 1, "$")]
        kind = "$$" if doubled else mark
        closing = None if kind in unclosed or kind not in _CLOSED_BY else _next_mark(marks, index + 1 + doubled, kind)
        if closing is None:
            unclosed.add(kind)
        elif marks[closing][0] > place + len(kind):
            found.append((place, marks[closing][0] + len(kind)))
            index = closing + doubled
        index += 1
    return found


def _next_mark(marks: list[tuple[int, str]], index: int, kind: str) -> int | None:
    """Index of the next mark that closes a formula of this kind."""
    for at in range(index, len(marks)):
        place, mark = marks[at]
        if mark == _CLOSED_BY[kind] and (kind != "$$" or marks[at + 1 : at + 2] == [(place + 1, "$")]):
            return at
    return None
