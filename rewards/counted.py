r"""A number with words around it: `18 \text{ eggs}`, "18 per day", `\text{The answer is } 18`.

Language models name what they count with any noun, so that no list of units can hold them all. Where the reference
answer is a bare number, up to three plain words behind the number name what is counted, unless one of them changes the
number, compares it or offers another.
"""

from __future__ import annotations

import re

from rewards.grammar import NEGATIONS
from rewards.normalise import normalise
from rewards.spoken import NUMBER_WORDS, SCALES
from rewards.tokens import NAMES
from rewards.units import find_unit

MAX_CHARS = 120
_DECIMAL = r"-?\s?(?:\d+(?:\.\d+)?|\.\d+)"
_NUMBER = re.compile(
    r"(?:-?\s?(?:\d+\s*)?\\frac\s*(?:\{\d+\}\s*\{\d+\}|\d\d)|-?\s?\d+/\d+"
    rf"|{_DECIMAL}(?:\s*(?:\\times|\\cdot|\*)\s*10\s*\^\s*(?:-?\d+|\{{\s*-?\d+\s*\}}))?)(?![\d./^])"
)
_SCALED = re.compile(rf"({_DECIMAL})\s*({'|'.join(SCALES)})(?![a-z])", re.IGNORECASE)
_GROUP = r"\\(?:text[a-z]*|mathrm|mbox|rm)\s*\{((?:[^{}]|\{[^{}]*\})*)\}"
_TEXT = re.compile(_GROUP)
_INTRODUCED = re.compile(r"\s*" + _GROUP + r"\s*:?\s*(?=[^\s:])")
_SETTING = re.compile(r"\*\*(?=[\s.,]|$)|^\*\*")
_UNIT = re.compile(r"(?:" + _GROUP + r"|\\cdot(?![A-Za-z])|\^\s*(?:-?\d|\{\s*-?\s*\d\s*\})|[\s*/()])+")
_WORD = re.compile(r"[A-Za-z]+(?:[-'][A-Za-z]+)*")
_ROMAN = re.compile("[ivxlcdm]+")
_SHORT = frozenset(["of", "per", "a", "an", "the", "in", "on"])
_STOP = re.compile(r"\\text[a-z]*\s*\{\s*[.,;]?\s*\}$")
_SYMBOLS = {
    re.compile(r"M\s*_\s*\{?\s*\\odot\s*\}?"): r"\\text{ solar mass }",
    re.compile(r"(?:\\text\s*\{\s*)?\\Omega(?![A-Za-z])(?:\s*\})?"): r"\\text{ ohm }",
    re.compile(
        r"(?:\\text\s*\{\s*\})?\s*\\mu\s*(?:\\(?:text|mathrm)\s*\{\s*)?([a-zA-Z])\s*\}?(?![A-Za-z])"
    ): r"\\text{ u\1 }",
}
_NOT_COUNTED = (
    "and but about around approximately roughly nearly almost exactly between to through until till up down from "
    "with within if when where while since as because so then thus hence therefore given such that which is are was "
    "were be been equals equal plus minus times over by under before after fewer greater larger smaller higher lower "
    "bigger maximum minimum maybe perhaps possibly probably likely instead rather alternatively alternative another "
    "other others also too only just actually wait hmm sorry correct correction right true percent percentage "
    "percents pct dozen dozens score scores gross couple pair pairs half halves quarter quarters double triple twice "
    "thrice fold square squared squares cube cubed cubes cubic power powers raised root roots factorial choose mod "
    "modulo base remainder digit decimal point negative positive odd even infinity infinite beta gamma delta epsilon "
    "lambda sigma omega phi psi rho tau zeta eta kappa chi degree degrees radian radians inverse reciprocal can may "
    "might could should would must will cannot do does any all every each both for vs versus against answer option "
    "choice guess nope tens ones out off"
)
# Words that say more than what is counted, whatever they stand beside.
_TELLING = NEGATIONS | NUMBER_WORDS | {name.lower() for name in NAMES} | frozenset(_NOT_COUNTED.split())


def bare_forms(answer: str, numeric: bool) -> list[str]:
    """What an answer says without the words around it.

    Args:
        answer: a bare answer.
        numeric: whether the gold is a bare number, so that words behind a number can only say what is counted.
    """
    if len(answer) > MAX_CHARS:
        return []
    text = normalise(_SETTING.sub("", answer))
    introduced = _INTRODUCED.match(text)
    if introduced and _introduces(introduced[1].strip() + (":" if introduced[0].rstrip().endswith(":") else "")):
        return [text[introduced.end() :]]
    stop = _STOP.search(text)
    if stop and stop.start():
        return [text[: stop.start()]]
    number = _counted(text) if numeric else None
    return [number] if number else []


def scaled(text: str) -> tuple[str, int, str] | None:
    """(number, factor, what follows) of "2.5 million dollars", None for what is not written like this."""
    opened = _TEXT.sub(r" \1 ", text).strip()
    found = _SCALED.match(opened)
    return (found[1].replace(" ", ""), SCALES[found[2].lower()], opened[found.end() :].strip()) if found else None


def _introduces(words: str) -> bool:
    """Whether words say that the answer follows: "Total:", "The answer is"."""
    said = re.findall(r"[a-z']+", words.lower())
    closes = words.endswith(":") or said[-1:] == ["is"]
    return closes and re.fullmatch(r"[A-Za-z' ]+[: ]*", words) is not None and not NEGATIONS & set(said)


def _counted(text: str) -> str | None:
    """The number in front of a unit or of what is counted."""
    whole = _TEXT.fullmatch(text)
    text = whole[1].strip() if whole else text
    number = _NUMBER.match(text)
    if number is None:
        return None
    rest = text[number.end() :]
    for symbol, written in _SYMBOLS.items():
        rest = symbol.sub(written, rest)
    if "{" in rest and _UNIT.fullmatch(rest):
        unit = find_unit(re.sub(r"\\[A-Za-z]+|[*{}]", " ", _TEXT.sub(r" \1 ", rest)))
        if unit and unit.dimension not in ("percent", "angle", "count"):
            return number[0]
    spaced = _TEXT.sub(r" \1 ", rest)
    if not spaced[:1].isspace() or re.search(r"[^A-Za-z\s'().-]", spaced):
        return None
    words = re.sub(r"^\s*\(([^()]*)\)\s*$", r"\1", spaced).strip(" .").lower().split()
    if not 1 <= len(words) <= 3 or not all(map(_WORD.fullmatch, words)):
        return None
    if any(part in _TELLING or _ROMAN.fullmatch(part) for word in words for part in (word, *re.split("[-']", word))):
        return None
    named = [word for word in words if word not in _SHORT]
    return number[0] if named and all(len(word) > 2 and re.search("[aeiouy]", word) for word in named) else None
