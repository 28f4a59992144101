r"""The final answer out of what a model wrote: one channel, so that nobody can guess twice.

A second place where an answer may stand is a second guess, so each rule reads exactly one:

- "boxed" (RL): the last closed `\boxed{...}` or `\fbox{...}` after the last `</think>` and before any turn marker.
  Boxes joined by commas or "and" are one list; boxes joined by "or" are a hedge, which is no answer.
- "lenient" (evaluation): the box where there is one, else what follows the last "answer is", "Answer:" or "####", else
  a lone formula at the end.
- "none": the text is the answer.

In functional chains (text with functional tags) the first two look only inside the last `<output>`.
"""

from __future__ import annotations

import re

FUNCTIONAL_TAGS = ("clarify", "analyze", "subquestion", "next_step", "direct_answer", "verify", "refine", "output")
RULES = ("boxed", "lenient", "none")

_TAG = re.compile(r"</?(?:" + "|".join(FUNCTIONAL_TAGS) + r")>")
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
_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")
_BOXED_TOKEN = re.compile(r"(?:\\[A-Za-z]+|[A-Za-z0-9])(?![A-Za-z0-9.,{(^_\\])")
_JOIN = re.compile(
    r"(?:\\[()\[\],;:! ]|\\q?quad(?![A-Za-z])|[\s$,;&]"
    r"|\\(?:text|textrm|mathrm|mbox)\s*\{\s*(?:and|or)\s*,?\s*\}|\b(?:and|or)\b)*"
)
_OR = re.compile(r"\bor\b")

_ANCHOR = re.compile(
    r"(?:####|\b(?:final\s+)?answers?\b[\s*_]*(?:\\?[)}\]][\s*_]*)?(?:(?:is|are)\b\s*:?|:|(?=\$|\\\())[\s*_]*)",
    re.IGNORECASE,
)
_PLEASANTRY = re.compile(r"\s*I hope (?:it|this) is correct\.?\s*$", re.IGNORECASE)
_FORMULA = re.compile(r"\$\$(.+?)\$\$|\$((?:[^$\\]|\\.)+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_SENTENCE_END = re.compile(r"\.(?=\s+[A-Z(*]|\s*$)|\n")


def extract_answer(text: str, rule: str = "boxed") -> str | None:
    """The final answer in `text`, or None.

    Args:
        text: a chain, a completion or a bare answer.
        rule: "boxed", "lenient" or "none"; see the module.

    Raises:
        ValueError: unknown rule.
    """
    if rule not in RULES:
        raise ValueError(f"unknown extraction rule {rule!r}: use one of {', '.join(RULES)}")
    if rule == "none":
        return text.strip() or None
    body = _answering_part(text)
    if body is None:
        return None
    boxes = _boxes(body)
    if boxes:
        return _joined_boxes(body, boxes)
    return _unboxed(body) if rule == "lenient" else None


def _answering_part(text: str) -> str | None:
    """The part of the text where an answer counts, or None where there is none."""
    leading = _TURN_TOKEN.match(text.lstrip())
    turn = None if leading else _TURN_TOKEN.search(text)
    if turn:
        text = text[: turn.start()]
    _, _, text = text.rpartition(_THINK_CLOSE)
    if _THINK_OPEN in text:
        return None
    if _TAG.search(text):
        if "<output>" not in text:
            return None
        text = text.rpartition("<output>")[2].partition("</output>")[0]
    for role in _TURN_ROLE.finditer(text):
        if _BOX.search(text, 0, role.start()) or _ANCHOR.search(text, 0, role.start()):
            return text[: role.start()]
    return text


def _boxes(text: str) -> list[tuple[int, int, str]]:
    """(start, end, content) of every closed outermost box, in order."""
    found = []
    position = 0
    while box := _BOX.search(text, position):
        position = box.end()
        if text.startswith("{", position):
            end = _closing_brace(text, position)
            if end is None:
                continue
            found.append((box.start(), end + 1, text[position + 1 : end].strip()))
            position = end + 1
        elif token := _BOXED_TOKEN.match(text, position):  # `\boxed 7`, as TeX reads it
            found.append((box.start(), token.end(), token.group()))
            position = token.end()
    return found


def _closing_brace(text: str, opening: int) -> int | None:
    depth = 0
    position = opening
    while position < len(text):
        character = text[position]
        if character == "\\":
            position += 1
        elif character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return position
        position += 1
    return None


def _joined_boxes(text: str, boxes: list[tuple[int, int, str]]) -> str | None:
    """The last box with those right before it that only a comma, "and" or "or" separates."""
    contents = [boxes[-1][2]]
    for (_, end, content), (start, _, _) in zip(reversed(boxes[:-1]), reversed(boxes[1:])):
        between = text[end:start]
        joint = _JOIN.fullmatch(between)
        if joint is None or not re.search(r"[,;&]|\band\b|\bor\b", re.sub(r"\\[,;]", "", between)):
            break
        if _OR.search(between):
            return None
        contents.append(content)
    answer = ", ".join(reversed(contents))
    return answer if answer.strip() else None


def _unboxed(text: str) -> str | None:
    text = _PLEASANTRY.sub("", text).strip()
    anchors = [anchor for anchor in _ANCHOR.finditer(text) if text[anchor.end() :].strip()]
    # "Final Answer: The final answer is": the first only announces the second.
    anchors = [
        a
        for a, b in zip(anchors, [*anchors[1:], None])
        if b is None or re.search(r"[\d$\\]", text[a.end() : b.start()])
    ]
    if not anchors:
        return _lone_formula(text)
    candidates = [_after_anchor(text[anchor.end() :]) for anchor in anchors]
    # "Answer: 1", "Answer: 2", "Answer: 3" line under line is a list of guesses.
    previous = text[anchors[-2].end() : anchors[-1].start()] if len(anchors) > 1 else ""
    if previous and len(previous.strip().splitlines()) <= 1 and len(previous) < 40 and candidates[-1] != candidates[-2]:
        return None
    return candidates[-1]


def _after_anchor(text: str) -> str | None:
    text = text.strip().lstrip("*:").strip()
    formulas = list(_FORMULA.finditer(text))
    if formulas and formulas[0].start() == 0:
        # `$1$ or $2$`: the sentence belongs to the answer as long as it only joins formulas.
        end = formulas[0].end()
        for formula in formulas[1:]:
            if not _JOIN.fullmatch(text, end, formula.start()):
                break
            end = formula.end()
        return text[:end].strip()
    stop = _SENTENCE_END.search(text)
    answer = (text[: stop.start()] if stop else text).strip().strip("*").strip()
    _, said, value = answer.rpartition(" is ")  # "the volume of the box is 120"
    return (value.strip() if said else answer) or None


def _lone_formula(text: str) -> str | None:
    formulas = list(_FORMULA.finditer(text))
    if not formulas and len(text) <= 60 and "\n" not in text and not re.search(r"[A-Za-z]{3,} [A-Za-z]{2,}", text):
        return text.strip("$ ") or None
    if not formulas or (len(formulas) > 1 and text[formulas[-1].end() :].strip(" .\n*")):
        return None
    first = len(formulas) - 1
    while first and _JOIN.fullmatch(text, formulas[first - 1].end(), formulas[first].start()):
        first -= 1
    return text[formulas[first].start() : formulas[-1].end()]
