r"""Tokens of a normalised answer: numbers, letters, commands, brackets and pieces of text.

A token is a string whose first character tells its kind: a digit (number), a letter (symbol), `\` (command or escaped
bracket), `"` (text from `\text{...}` or a run of letters that is a word), anything else is itself.
"""

from __future__ import annotations

import re

from rewards.units import find_unit, is_bare_unit

MAX_TOKENS = 1200

FUNCTIONS = frozenset(
    [
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "arcsin",
        "arccos",
        "arctan",
        "arccot",
        "arcsec",
        "arccsc",
        "sinh",
        "cosh",
        "tanh",
        "coth",
        "sech",
        "csch",
        "arcsinh",
        "arccosh",
        "arctanh",
        "ln",
        "log",
        "lg",
        "exp",
    ]
)
OPERATORS = frozenset(["gcd", "lcm", "max", "min", "det", "deg", "dim", "ker", "sup", "inf", "arg", "Re", "Im"])
NAMES = {
    **{name: "\\" + name for name in FUNCTIONS | OPERATORS},
    **{"asin": "\\arcsin", "acos": "\\arccos", "atan": "\\arctan", "sqrt": "\\sqrt", "pi": "\\pi", "theta": "\\theta"},
    **{"infinity": "\\infty", "infty": "\\infty", "oo": "\\infty", "and": "\\and", "or": "\\or", "mod": "\\bmod"},
    **{"cup": "\\cup", "pm": "\\pm", "alpha": "\\alpha", "beta": "\\beta", "in": "\\in", "arsinh": "\\arcsinh"},
}
_ALIASES = {
    "\\leq": "\\le", "\\leqslant": "\\le", "\\leqq": "\\le", "\\geq": "\\ge", "\\geqslant": "\\ge",
    "\\geqq": "\\ge", "\\lt": "<", "\\gt": ">", "\\neq": "\\ne", "\\lor": "\\or", "\\vee": "\\or",
    "\\land": "\\and", "\\wedge": "\\and", "\\times": "*", "\\cdot": "*", "\\ast": "*", "\\div": "/",
    "\\lbrace": "\\{", "\\rbrace": "\\}", "\\lbrack": "[", "\\rbrack": "]", "\\lvert": "|", "\\rvert": "|",
    "\\vert": "|", "\\mid": "|", "\\degree": "\\circ", "\\tg": "\\tan", "\\ctg": "\\cot", "\\arctg": "\\arctan",
    "\\cosec": "\\csc", "\\varnothing": "\\emptyset", "\\dbinom": "\\binom", "\\tbinom": "\\binom",
    "\\ldots": "\\dots", "\\cdots": "\\dots", "\\dotsc": "\\dots", "\\dotsb": "\\dots", "\\dotsm": "\\dots",
    "\\rightarrow": "\\to", "\\longrightarrow": "\\to", "\\varphi": "\\phi", "\\varepsilon": "\\epsilon",
    "\\vartheta": "\\theta", "\\simeq": "\\approx", "\\cong": "\\approx", "\\backslash": "\\setminus",
    "\\colon": ":", "\\bigcup": "\\cup", "\\bigcap": "\\cap", "\\%": "%", "\\#": "#", "\\&": "&", "\\_": "_",
    "\\cupdot": "\\cup", "\\uplus": "\\cup", "\\implies": "\\Rightarrow", "\\iff": "\\Leftrightarrow",
    "\\sqcup": "\\cup",
}  # fmt: skip
_FONTS = "text(?:bf|it|rm|normal|sf|tt)?|math(?:rm|bf|it|sf)|mbox|emph|boldsymbol|bm|operatorname"
_TOKEN = re.compile(
    r"\\(?:" + _FONTS + r")\*?\s*\{(?P<text>(?:[^{}\\]|\\[A-Za-z]+(?![A-Za-z{])|\\[^A-Za-z{}]|\{[^{}]*\})*)\}"
    r"|\\(?:" + _FONTS + r")(?![A-Za-z])"
    r"|(?P<number>(?:\d+(?:\.\d+|\.(?=[/*]))?|\.\d+)(?:[eE][-+]?\d{1,4}(?![\d.A-Za-z]))?)"
    r"|(?P<command>\\\\|\\[A-Za-z]+|\\.)"
    r"|(?P<begin>(?<=\\begin)\s*\{\w+\*?\}|(?<=\\end)\s*\{\w+\*?\})"
    r"|(?P<letters>[A-Za-z]+)"
    r"|(?P<foreign>[^\W\d_A-Za-z]+)"
    r"|(?P<operator><=|>=|!=|==|\*\*|->|:=|\.\.\.)"
    r"|(?P<other>\S)",
    re.DOTALL,
)
_OPERATOR_ALIASES = {
    "<=": "\\le", ">=": "\\ge", "!=": "\\ne", "==": "=", "**": "^", "->": "\\to", ":=": "=", "...": "\\dots",
}  # fmt: skip
_LETTER_LIST = re.compile(r"[A-Za-z](?:\s*(?:,|,?\s*and)\s*[A-Za-z])+")
_FORMULA = re.compile(r"[\d)}A-Za-z]\s*[-+*/^=<>]\s*[\d({A-Za-z\\]|\d[A-Za-z]")
_QUALIFIER = re.compile(r"(?:where|for|if|when|with|such that|as|since|given)\b")


class Malformed(ValueError):
    """The text is not mathematics as this package reads it."""


class Unsupported(Malformed):
    """Well-formed as far as it was read, but with a construct that only the symbolic fallback may know."""


def tokenize(text: str) -> list[str]:
    """The tokens of a normalised answer.

    Raises:
        Malformed: too long, or a text group that does not close.
    """
    tokens: list[str] = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        value = match[0]
        if kind == "number":
            tokens.append(value)
        elif kind == "letters":
            _add_letters(tokens, value)
        elif kind == "command":
            tokens.append(_ALIASES.get(value, value))
        elif kind == "text":
            _add_text(tokens, match["text"])
        elif kind == "operator":
            tokens.append(_OPERATOR_ALIASES[value])
        elif kind == "begin":
            tokens.append("@" + value.strip(" \t\n{}*"))
        elif kind in ("foreign", "other") and any(character.isdigit() for character in value):
            raise Malformed("a digit in a circle or in brackets")
        elif kind == "foreign":
            unit = tokens and tokens[-1][-1] in "0123456789})" and find_unit(value)
            tokens.extend(['"' + value.lower()] if unit else value)
        elif kind == "other":
            tokens.append(value)
        # A font command without a group, as in `\bf x`, says nothing.
        if len(tokens) > MAX_TOKENS:
            raise Malformed("too long")
    return tokens


def is_qualifier(token: str) -> bool:
    """Whether a text token begins a clause about the answer: "for all x", "where k is an integer"."""
    return token.startswith('"') and bool(_QUALIFIER.match(token, 1))


def _add_letters(tokens: list[str], run: str) -> None:
    if len(run) == 1:
        tokens.append(run)
    elif run in NAMES:
        tokens.append(NAMES[run])
    elif run.lower() in ("and", "or"):
        tokens.append("\\" + run.lower())
    elif _QUALIFIER.fullmatch(run) or (tokens and tokens[-1][-1] in "0123456789})" and is_bare_unit(run)):
        tokens.append('"' + run.lower())
    elif len(run) > 3 and (
        name := next(
            (n for n in ("arcsin", "arccos", "arctan", "sqrt", "sin", "cos", "tan", "log") if run.startswith(n)), ""
        )
    ):
        tokens.append(NAMES[name])
        _add_letters(tokens, run[len(name) :])
    else:
        tokens.extend(run)


def _add_text(tokens: list[str], content: str) -> None:
    content = content.replace("$", " ").replace("~", " ").strip()
    bare = content.strip(" .,;")
    lowered = bare.lower()
    follows_value = bool(tokens) and (tokens[-1][0].isdigit() or tokens[-1] in ("}", ")"))
    if follows_value and find_unit(bare):
        tokens.append('"' + lowered)
    elif lowered in ("and", "or"):
        tokens.append("\\" + lowered)
    elif bare in NAMES:
        tokens.append(NAMES[bare])
    elif bare in ("i", "e") and bare == content:
        tokens.append(bare)  # an upright constant
    elif len(bare) == 1 and bare.isalpha():
        tokens.append('"' + bare if follows_value else bare)  # `5\text{ q}` is no product; `\text{C}` is a choice
    elif not any(character.isalpha() for character in bare):
        tokens.extend(token for token in re.findall(r"\d+(?:\.\d+)?|\.\d+|\S", content))
    elif _FORMULA.search(bare) and not re.search(r"[A-Za-z]{2}", bare):
        tokens.extend(tokenize(content))  # a formula in a font of its own
    elif re.fullmatch(r"\([A-Za-z]\)", bare):
        tokens.extend(bare)
    elif _LETTER_LIST.fullmatch(bare) or (
        "\\" in bare and not re.search(r"[A-Za-z]{3,} ", re.sub(r"\\[A-Za-z]+", "", bare))
    ):
        tokens.extend(tokenize(content))
    elif content:
        tokens.append('"' + lowered)
