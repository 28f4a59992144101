r"""Choice letters: `B`, `(B)`, `b)`, `Option B`, `\textbf{(B)}\ 42` choose the same."""

from __future__ import annotations

import re

from rewards.normalise import normalise

_DRESS = re.compile(r"\\(?:text[a-z]*|math[a-z]+|mbox|boldsymbol|bf|rm|it)(?![A-Za-z])\*?|[{}$*]")
_INTRODUCED = r"(?:the\s+)?(?:(?:correct\s+)?(?:option|choice|answer|alternative)(?:\s+is)?\s*:?\s*)?"
_LETTER = re.compile(_INTRODUCED + r"(?:([A-Ha-h])\s*[).:\]]?|[(\[]\s*([A-Ha-h])\s*[)\]]\s*[.:]?)", re.IGNORECASE)
_LETTER_AND_VALUE = re.compile(
    r"(?i:" + _INTRODUCED + r")(?:([A-H])\s*[).:]|[(\[]\s*([A-H])\s*[)\]]\s*[.:]?)\s*(?P<value>[^\s).,;:].*)", re.DOTALL
)
# A value that names a choice of its own is a second choice.
_ANOTHER = re.compile(
    r"(?<![A-Za-z\\])[A-H](?![A-Za-z(])|(?<![A-Za-z])[a-h]\)|\bor\b|\\(?:lor|vee)(?![A-Za-z])", re.IGNORECASE
)
_SEVERAL = re.compile(r"[A-H]{2,8}")
MAX_CHARS = 300


def choice(text: str) -> tuple[str, str] | None:
    """(letter in upper case, the value that stands beside it or "") of an answer that is a choice, None of any other."""
    if len(text) > MAX_CHARS:
        return None
    bare = _DRESS.sub(" ", normalise(text)).strip()
    letter = _LETTER.fullmatch(bare)
    if letter:
        return (letter[1] or letter[2]).upper(), ""
    beside = _LETTER_AND_VALUE.fullmatch(bare)
    if beside and not _ANOTHER.search(beside["value"]):
        return beside[1] or beside[2], beside["value"].strip()
    return None


def several(text: str) -> str | None:
    """The letters of an answer that is several choices, in order: `ABD`, `A, B, D`, `(A) and (B)`."""
    if len(text) > MAX_CHARS:
        return None
    bare = re.sub(r"\band\b|[\s,;()&]", "", _DRESS.sub(" ", normalise(text)))
    return bare if _SEVERAL.fullmatch(bare) and sorted(set(bare)) == list(bare) else None


def is_choice_gold(gold: str) -> bool:
    """Whether a reference answer is a choice and no variable: a capital, or a letter in brackets."""
    bare = _DRESS.sub(" ", gold).strip()
    return len(bare) <= MAX_CHARS and (bare[:1].isupper() or bare[:1] == "(") and choice(gold) is not None
