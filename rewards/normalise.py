"""One way of writing: unicode, thousands separators, repeating decimals and LaTeX's layout commands, before anything
is parsed.

Gold and answer go through the same steps. Nothing here changes what an answer says; what is not recognised stays as it
is.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from rewards.systems import in_one_line

_SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n"))
_SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789"))
_SIGNS = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "‒": "-", "―": "-", "﹣": "-",
    "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "÷": "/", "⁄": "/", "∕": "/", "±": r"\pm ",
    "≤": r"\le ", "⩽": r"\le ", "≦": r"\le ", "≥": r"\ge ", "⩾": r"\ge ", "≧": r"\ge ", "≠": r"\ne ", "≈": r"\approx ",
    "∈": r"\in ", "∉": r"\notin ", "∪": r"\cup ", "∩": r"\cap ", "∅": r"\emptyset ", "∞": r"\infty ",
    "∖": r"\setminus ", "∨": r"\lor ", "∧": r"\land ", "→": r"\to ", "∀": r"\forall ", "∣": r"\mid ",
    "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}",
    "°": r"^\circ ", "º": r"^\circ ", "˚": r"^\circ ", "′": "'", "″": "''", "∠": r"\angle ", "△": r"\triangle ",
    "π": r"\pi ", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "δ": r"\delta ", "ε": r"\epsilon ", "θ": r"\theta ",
    "λ": r"\lambda ", "μ": r"\mu ", "σ": r"\sigma ", "φ": r"\phi ", "ω": r"\omega ", "ρ": r"\rho ", "τ": r"\tau ",
    "Δ": r"\Delta ",
    "¢": r"\text{ cents}",
    "“": '"', "”": '"', "‘": "'", "’": "'", "。": ".", "，": ",", "；": ";", "：": ":",
}  # fmt: skip
# Combining marks over a letter are accents; over a digit, a line and a dot say that it repeats.
_MARKS = {
    "\u0304": "bar", "\u0305": "bar", "\u0302": "hat", "\u0303": "tilde", "\u0307": "dot", "\u0308": "ddot", "\u20d7": "vec",
}  # fmt: skip
_MARKED = re.compile("([A-Za-z])([" + "".join(_MARKS) + "])")
_OVERLINED = re.compile("(?:\\d[\u0304\u0305\u0307])+")
_ROOT = re.compile(r"[√](\d+(?:\.\d+)?|[A-Za-z]|\([^()]*\))")

_ESCAPED_COMMANDS = re.compile(
    r"\\\\(?=(?:frac|dfrac|tfrac|sqrt|left|right|pi|text|cdot|times|infty|cup|pm|le|ge|boxed|circ)(?![a-z]))"
)
_ROW_SPACING = re.compile(r"\\\\\s*\[\s*-?[\d.]+\s*(?:pt|em|ex|mm|cm)\s*\]")
_PHANTOM = re.compile(r"\\[hv]?phantom\s*(?:\{[^{}]*\}|[^{}\s])")
_MATH_DELIMITERS = re.compile(r"(?<!\\)\\[()\[\]]|(?<!\\)\$+")
_LAYOUT = re.compile(
    r"\\(?:left|right|middle|bigl|bigr|biggl|biggr|Bigl|Bigr|Biggl|Biggr|big|Big|bigg|Bigg|displaystyle|textstyle|limits|nolimits"
    r"|boxed|fbox|hfill|strut|mathstrut|allowbreak|nobreak|null|hline)(?![A-Za-z])\s*(?:(?<=right)\.|(?<=left)\.)?"
)
_STRUCK = "\u0336"  # a mark that no parser takes
# Colours and sizes, and the sets of numbers by their short names.
_DRESS = re.compile(
    r"\\(?:textcolor|color|colorbox)(?![A-Za-z])\s*(?:\[[^\[\]{}]*\]\s*)?\{[^{}]*\}"
    r"|\\(?:tiny|scriptsize|footnotesize|small|normalsize|large|Large|LARGE|huge|Huge|scriptstyle|scriptscriptstyle"
    r"|bfseries|boldsymbol|bm|underline|mathopen|mathclose|mathord|mathbin|mathrel|mathpunct|mathinner|centering|noindent|ensuremath)(?![A-Za-z])"
)
_NUMBERS = re.compile(r"\\(?:([RNZQC])|[Rr]eals|(?:Bbb|mathds)\s*\{?\s*([A-Z])\s*\}?)(?![A-Za-z])")
_FONT_GROUP = re.compile(r"\{\s*\\(?:bf|rm|it|tt|sf|em)(?![A-Za-z])\s*(?:([A-Za-z ]{2,})\})?")
_MARKDOWN = re.compile(r"\s*(?:\*\*([^*]+)\*\*|`([^`]+)`)\s*")
# A number in words of its base, and the number of combinations in other notations.
_BASE_IN_WORDS = re.compile(
    r"\s*[(\[]?\s*([0-9A-Z]+)\s*[)\]]?\s*_?[\s{(]*(?:\\text[a-z]*\s*\{)?[\s(]*(?:in\s+)?base[\s}-]*(\d+)[\s)}.]*"
)
_COMBINATIONS = re.compile(
    r"(?:\{\s*\}\s*)?[_^]\s*(?:\{(\w+)\}|(\w))\s*C\s*_\s*(?:\{(\w+)\}|(\w))|(?<![A-Za-z\d.^_])(\d+)\s*C\s*(\d+)(?![\d.])"
    r"|(?<![A-Za-z\\])C_\s*\{?(\d+)\}?\s*\^\s*\{?(\d+)\}?|(?<![A-Za-z\\])C\^\s*\{?(\d+)\}?\s*_\s*\{?(\d+)\}?"
)
_OPERAND = re.compile(r"(?:[\w)}\]']|\\[A-Za-z]+)(?<!\\cdot)(?<!\\times)(?<!\\left)\s*$")
_CHOOSE = re.compile(r"\{([^{}]*)\\choose(?![A-Za-z])([^{}]*)\}")
_BASED = re.compile(
    r"(?<![A-Za-z])[(\[]\s*(\d[0-9A-Z]*|[A-F]{2,})\s*[)\]](?=\s*_)|(?<=[0-9A-Za-z])_\s*\{\s*\(\s*(\d+)\s*\)\s*\}"
)
# What separates thousands and decimals outside of English: 1.234.567, 12'345, 3{,}14.
_DOTTED = re.compile(
    r"(?<![\d._^,])[1-9]\d{0,2}(?:\.\d{3}){2,}(?:,\d+)?(?!\.?\d)|(?<![\d._^,'])[1-9]\d{0,2}(?:'\d{3})+(?![\d'])"
)
_DECIMAL_COMMA = re.compile(r"(?<![\d.,}])(?:(?:0|\d{4,})\{,\}|\d{1,3}\{,\}(?!\d{3}(?!\d)))(?=\d+(?!\.?\d|\{,\}))")
_TIMES_TEN = re.compile(r"(?<=\d)\s?[xX]\s?(?=10\s?(?:\^|\*\*))")
_GROUPED = re.compile(r"(?<![\d._^])[1-9]\d{0,2}(?:(?:\s?\{,\s?\}\s?|,\\!\s?|\\[,;:! ]|~|[ ])\d{3})+(?!\d)")
_COMMA_GROUPED = re.compile(r"(?<![\d._^])[1-9]\d{0,2}(?:,\d{3})+(?![\d])")
_SEPARATORS = re.compile(r"\{,\s?\}|,\\!|\\[,;:! ]|[,~\s]")
_REPEATING = re.compile(r"(\d*)\.(\d*)(?:\\overline|\\bar|\\dot)\s*(?:\{(\d+)\}|(\d))(?!\s*\\dot)")
# An accent over one letter makes a name of its own, with the index that stands behind it.
_ACCENT = re.compile(
    r"\\(dot|ddot|hat|widehat|tilde|widetilde|bar|overline)(?![A-Za-z])\s*(?:\{\s*([A-Za-z])\s*\}|([A-Za-z]))"
    r"(?:\s*_\s*(?:\{\s*(\w+)\s*\}|(\w)))?"
)
_SPACING = re.compile(r"(?<!\\)\\[,;:! ]|~|\\q?quad|\\(?:enspace|thinspace|hspace\*?\{[^{}]*\})(?![A-Za-z])")
_RAISED = re.compile("[" + "".join(_SUPERSCRIPTS) + "]+")
_CIRCLED = re.compile("[①-⑨](?=\\s*[①-⑨])")
_INVISIBLE = frozenset(map(chr, [*range(0xFE00, 0xFE10), 0x20E3, 0x034F]))  # variation selectors, keycaps, the joiner
_OVERRIDES = frozenset("\u202d\u202e")  # what follows is shown in another order than it is written
_HTML = {"<sup>": "^{", "</sup>": "}", "<sub>": "_{", "</sub>": "}", "&lt;": "<", "&gt;": ">", "&amp;": "&"}
_ORDINAL = re.compile(
    r"(?<=\d)\s*(?P<raised>(?:\^\s*)?(?:\{\s*)?(?:\\(?:text|mathrm|textrm|rm)\s*\{\s*)?)(?P<ending>th|st|nd|rd)(?![A-Za-z])(?:\s*\})*"
)
_FORMULA = re.compile(r"[-+*/^=<>_|]|\\(?!text|mathrm)|\d\s*(?:th|st|nd|rd)\s*\d")
_PLAIN = re.compile(
    r"\\(?:text|textbf|textit|textrm|textnormal|textsf|texttt|mathrm|mathbf|mathit|mathsf|mbox|emph|bf|rm|it|operatorname)(?![A-Za-z])\s*"
)


@lru_cache(maxsize=2048)
def normalise(text: str) -> str:
    """The text in one way of writing; idempotent on what it returns."""
    if "*" in text or "`" in text:
        emphasised = _MARKDOWN.fullmatch(text)
        text = emphasised[1] or emphasised[2] if emphasised else text
    if text.count("~~") > 1:
        text = text.replace("~~", _STRUCK)  # struck out in Markdown
    if not text.isascii():
        text = _ascii(text)
    if "<" in text or "&" in text:
        for tag, latex in _HTML.items():
            text = text.replace(tag, latex)
    if "\\" in text:
        if "\\\\" in text and "\\begin" not in text:
            text = _ESCAPED_COMMANDS.sub(r"\\", text)
        text = _ROW_SPACING.sub(r"\\\\ ", text)
        text = _NUMBERS.sub(lambda match: rf"\mathbb{{{match[1] or match[2] or 'R'}}}", text)
        text = _FONT_GROUP.sub(_in_font, _DRESS.sub(" ", text))
        text = _CHOOSE.sub(r"\\binom{\1}{\2}", text)
        text = text.replace("\\$", " ")
        text = _PHANTOM.sub(" ", _LAYOUT.sub(" ", text))
    text = _MATH_DELIMITERS.sub(" ", text)
    if "\\begin" in text:
        text = in_one_line(text)
    if "C" in text:
        text = _COMBINATIONS.sub(_binomial, text)
    if "base" in text and (based := _BASE_IN_WORDS.fullmatch(text)):
        text = f"{based[1]}_{{{based[2]}}}"
    if "_" in text:
        text = _BASED.sub(lambda match: match[1] or f"_{{{match[2]}}}", text)
    if "{,}" in text:
        text = _DECIMAL_COMMA.sub(lambda match: match[0].replace("{,}", "."), text)
    if "." in text or "'" in text:
        text = _DOTTED.sub(lambda match: re.sub("[.']", "", match[0]).replace(",", "."), text)
    text = _TIMES_TEN.sub(r"\\times ", text)
    text = _GROUPED.sub(lambda match: _SEPARATORS.sub("", match[0]), text)
    if "," in text:
        text = _COMMA_GROUPED.sub(lambda match: _join_thousands(text, match), text)
    if "\\" in text or "~" in text:
        if "." in text:
            text = _REPEATING.sub(_repeating_fraction, text)
        text = _ACCENT.sub(_accented, text)
        text = _SPACING.sub(" ", text)
        text = text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").replace("\\cfrac", "\\frac")
    if any(ending in text for ending in ("th", "st", "nd", "rd")):
        formula = _FORMULA.search(_ORDINAL.sub("", text)) is not None
        text = _ORDINAL.sub(lambda match: _without_ordinal(match, formula), text)
    return _without_trailing_stop(text.strip())


@lru_cache(maxsize=2048)
def plain(text: str) -> str:
    """Normalised text without fonts and insignificant spaces: equal plain texts are equal answers."""
    text = _PLAIN.sub("", normalise(text))
    # A space between two digits means something (`1 1/2`).
    return re.sub(r"(?<!\d)\s+|\s+(?!\d)|(?<=\{)\s+", "", text)


def _ascii(text: str) -> str:
    text = _MARKED.sub(lambda match: rf"\{_MARKS[match[2]]}{{{match[1]}}}", text)
    text = _OVERLINED.sub(lambda match: rf"\overline{{{match[0][::2]}}}", text)
    text = unicodedata.normalize("NFC", text)
    text = _ROOT.sub(r"\\sqrt{\1}", text)
    text = _RAISED.sub(lambda match: "^{" + "".join(map(_SUPERSCRIPTS.__getitem__, match[0])) + "}", text)
    text = _CIRCLED.sub(lambda match: match[0] + ", ", text)
    parts = []
    for character in text:
        if character.isascii():
            parts.append(character)
        elif character in _SIGNS:
            parts.append(_SIGNS[character])
        elif character in _SUBSCRIPTS:
            parts.append("_{" + _SUBSCRIPTS[character] + "}")
        elif character in _INVISIBLE or (unicodedata.category(character) == "Cf" and character not in _OVERRIDES):
            continue  # zero-width and directional marks
        elif (digit := unicodedata.digit(character, None)) is not None and unicodedata.category(character) == "Nd":
            parts.append(str(digit))
        elif unicodedata.category(character) == "No" and "⁄" in (spelled := unicodedata.normalize("NFKC", character)):
            numerator, denominator = spelled.split("⁄")
            parts.append(rf"\frac{{{numerator}}}{{{denominator}}}")
        else:
            compatible = unicodedata.normalize("NFKC", character)
            parts.append(_SIGNS.get(compatible, compatible) if len(compatible) == 1 else character)
    return "".join(parts)


def _without_ordinal(match: re.Match[str], formula: bool) -> str:
    """1st, 2nd, 3rd, 4th, 11th; in a formula, s and t in `2st` are factors unless they are raised or text."""
    digits = match.string[max(0, match.start() - 2) : match.start()]
    teens = len(digits) == 2 and digits[0] == "1"
    ending = "th" if teens else {"1": "st", "2": "nd", "3": "rd"}.get(digits[-1], "th")
    if match["ending"] != ending or (formula and not match["raised"]):
        return match[0]
    return "}" * max(0, match[0].count("}") - match[0].count("{"))


def _in_font(match: re.Match[str]) -> str:
    r"""`{\rm cm}` is text, `{\bf 7}` a group."""
    return rf"\text{{{match[1]}}}" if match[1] else "{"


def _binomial(match: re.Match[str]) -> str:
    """`{}_{10}C_3`, `10C3` and, where it can be nothing else, `C_{10}^3`."""
    whole, bare, part, bare_part, digits, digits_part, below, above, above_first, below_last = match.groups()
    if (whole or bare) and _OPERAND.search(match.string[max(0, match.start() - 20) : match.start()]):
        return match[0]  # `x^2 C_1`
    if below or below_last:
        of, take = (below, above) if below else (below_last, above_first)
        return rf"\binom{{{of}}}{{{take}}}" if int(take) < int(of) and int(of) > 2 else match[0]
    return rf"\binom{{{whole or bare or digits}}}{{{part or bare_part or digits_part}}}"


def _join_thousands(text: str, match: re.Match[str]) -> str:
    """Commas between groups of three digits separate thousands, except inside brackets, where they separate entries."""
    before = text[: match.start()]
    bracketed = sum(before.count(opening) for opening in "([") > sum(before.count(closing) for closing in ")]")
    bracketed = bracketed or before.count("\\{") > before.count("\\}")
    groups = match[0].split(",")[1:]
    if bracketed and not any(group.startswith("0") for group in groups):
        return match[0]
    # "1,234,567" in the middle of a list that separates its other items the same way is a list.
    return match[0].replace(",", "")


def has_list_reading(text: str) -> bool:
    """Whether commas between groups of three digits, read as thousands by `normalise`, could separate a list as
    well.
    """
    return any(
        not any(group.startswith("0") for group in match.split(",")[1:]) for match in _COMMA_GROUPED.findall(text)
    )


def _repeating_fraction(match: re.Match[str]) -> str:
    whole, fixed, cycle = match[1] or "0", match[2], match[3] or match[4]
    scale = 10 ** len(fixed)
    nines = 10 ** len(cycle) - 1
    numerator = (int(whole) * scale + int(fixed or 0)) * nines + int(cycle)
    return rf"{{\frac{{{numerator}}}{{{scale * nines}}}}}"


def _accented(match: re.Match[str]) -> str:
    accent = match[1].removeprefix("wide").replace("overline", "bar")
    return f"{match[2] or match[3]}_{{{accent}{match[4] or match[5] or ''}}}"


def _without_trailing_stop(text: str) -> str:
    """Without the punctuation of the sentence around it; "p.m." and "..." keep their stops."""
    text = text.rstrip(",;: ")
    if text.endswith(".") and not text.endswith("..") and not re.search(r"\b[ap]\.m\.$", text[-6:]):
        text = text[:-1].rstrip(",;: ")
    if text.endswith("\\") and not text.endswith("\\\\"):
        text = text[:-1].rstrip(" .,;:")
    return text
