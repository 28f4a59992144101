"""Rewrites that keep a gold's meaning and corruptions that change it, held out: the grader was not developed against
them.

Each family is a function from a gold to a text, or None where it does not apply. `benchmarks/grader.py` evaluates them
on published golds and reports them apart from the case files.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

Family = Callable[[str], str | None]

_INTEGER = re.compile(r"-?\d+")
_DECIMAL = re.compile(r"-?\d+\.\d+")
_FRACTION = re.compile(r"(-?)\\d?frac\{(\d+)\}\{(\d+)\}")
_LIST = re.compile(r"[^,(){}\[\]\\a-z]+(?:,[^,(){}\[\]\\a-z]+)+")
_PAIR = re.compile(r"\(([^,()\[\]]+),([^,()\[\]]+)\)")
_INTERVAL = re.compile(r"([(\[])([^,()\[\]]+),([^,()\[\]]+)([)\]])")
_TWO_TERMS = re.compile(
    r"([^-+=<>,()\[\]{}\\]+|\\sqrt\{\d+\}|\d*\\pi) *\+ *([^-+=<>,()\[\]{}\\]+|\\sqrt\{\d+\}|\d*\\pi)"
)
_PMATRIX = re.compile(r"\\begin\{pmatrix\}(.*)\\end\{pmatrix\}", re.DOTALL)


def _whole(pattern: re.Pattern[str], gold: str) -> re.Match[str] | None:
    return pattern.fullmatch(gold.strip().strip("$").strip())


def _is_list(gold: str) -> list[str] | None:
    match = _whole(_LIST, gold)
    if not match or re.fullmatch(r"\d{1,3}(,\d{3})+", match[0]):
        return None
    return [item.strip() for item in match[0].split(",")]


def unicode_signs(gold: str) -> str | None:
    text = (
        gold.replace("-", "−")
        .replace("\\pi", "π")
        .replace("\\infty", "∞")
        .replace("\\cup", "∪")
        .replace("^\\circ", "°")
    )
    return text if text != gold else None


def full_width(gold: str) -> str | None:
    return gold.translate({48 + d: 0xFF10 + d for d in range(10)}) if _whole(_INTEGER, gold) else None


def scientific(gold: str) -> str | None:
    match = _whole(_INTEGER, gold)
    if not match or len(match[0].lstrip("-")) < 4 or not match[0].endswith("00"):
        return None
    digits = match[0].rstrip("0")
    return rf"{digits} \times 10^{{{len(match[0]) - len(digits)}}}"


def expanded_fraction(gold: str) -> str | None:
    match = _whole(_INTEGER, gold)
    return rf"\frac{{{int(match[0]) * 6}}}{{6}}" if match else None


def negative_denominator(gold: str) -> str | None:
    match = _whole(_FRACTION, gold)
    return rf"\frac{{{match[2]}}}{{-{match[3]}}}" if match and match[1] else None


def negative_power(gold: str) -> str | None:
    match = _whole(_FRACTION, gold)
    return rf"{match[1]}{match[2]} \cdot {match[3]}^{{-1}}" if match else None


def fraction_as_percent(gold: str) -> str | None:
    match = _whole(_FRACTION, gold)
    if not match or 10000 % int(match[3]):
        return None
    percent = Fraction(int(match[2]) * 100, int(match[3]))
    return rf"{match[1]}{float(percent):g}\%"


def bracketed(gold: str) -> str | None:
    return (
        rf"\left({gold.strip('$ ')}\right)"
        if re.fullmatch(r"[$\w\s+\-^{}/\\.]+", gold) and "text" not in gold
        else None
    )


def commuted(gold: str) -> str | None:
    match = _whole(_TWO_TERMS, gold)
    return f"{match[2]} + {match[1]}" if match else None


def root_as_power(gold: str) -> str | None:
    text = re.sub(r"\\sqrt\{(\w+)\}", r"{\1}^{\\frac{1}{2}}", gold)
    return text if text != gold else None


def named(gold: str) -> str | None:
    return f"N = {gold}" if "=" not in gold and not re.search(r"[<>N,]|text|\\[lg]e|\\in", gold) else None


def name_behind(gold: str) -> str | None:
    match = _whole(_INTEGER, gold)
    return f"{match[0]} = k" if match else None


def shuffled_set(gold: str) -> str | None:
    items = _is_list(gold)
    return (
        r"\left\{" + ", ".join([*items[1:], items[0]]) + r"\right\}"
        if items and len(set(items)) == len(items)
        else None
    )


def listed_by_and(gold: str) -> str | None:
    items = _is_list(gold)
    return " and ".join(f"${item}$" for item in items) if items and len(items) == 2 else None


def pair_of_decimals(gold: str) -> str | None:
    match = _whole(_PAIR, gold)
    return (
        f"({match[1].strip()}.0,\\ {match[2].strip()}.0)"
        if match and all(_whole(_INTEGER, part) for part in match.groups())
        else None
    )


def pair_by_names(gold: str) -> str | None:
    match = _whole(_PAIR, gold)
    return (
        f"a = {match[1]},\\; b = {match[2]}"
        if match and all(_whole(_INTEGER, part) for part in match.groups())
        else None
    )


def interval_as_inequality(gold: str) -> str | None:
    match = _whole(_INTERVAL, gold)
    if not match or (match[1] == "(" and match[4] == ")"):
        return None
    low, high = match[2].strip(), match[3].strip()
    left = "" if "infty" in low else low + (r" \leq " if match[1] == "[" else " < ")
    right = "" if "infty" in high else (r" \leqslant " if match[4] == "]" else " < ") + high
    return f"{left}t{right}" if left or right else None


def interval_as_set(gold: str) -> str | None:
    inequality = interval_as_inequality(gold)
    return rf"\{{t \in \mathbb{{R}} : {inequality}\}}" if inequality else None


def matrix_restyled(gold: str) -> str | None:
    match = _whole(_PMATRIX, gold)
    return rf"\left[\begin{{array}}{{rrr}}{match[1]}\end{{array}}\right]" if match else None


def with_units(gold: str) -> str | None:
    return rf"{gold}\,\mathrm{{cm}}" if _whole(_INTEGER, gold) or _whole(_DECIMAL, gold) else None


def upright_words(gold: str) -> str | None:
    match = re.fullmatch(r"\\text\{(\w{3,})\}", gold)
    return rf"\mathrm{{{match[1].capitalize()}}}" if match else None


def in_functional_chain(gold: str) -> str | None:
    inner = gold.strip().strip("$")
    if "$" in inner:
        return None
    return (
        f"<clarify>\nWe want a value.\n</clarify>\n<direct_answer>\nperhaps \\boxed{{0}}\n</direct_answer>\n"
        f"<verify>\nNo.\n</verify>\n"
        f"<output>\nThe answer is $\\boxed{{ {inner} }}$.\n</output>\n"
    )


def sign_flipped(gold: str) -> str | None:
    match = _whole(_INTEGER, gold) or _whole(_FRACTION, gold)
    if not match or match[0] == "0":
        return None
    return match[0][1:] if match[0].startswith("-") else "-" + match[0]


def digits_swapped(gold: str) -> str | None:
    match = _whole(_INTEGER, gold)
    if not match or len(match[0].lstrip("-")) < 2 or match[0][-1] == match[0][-2]:
        return None
    return match[0][:-2] + match[0][-1] + match[0][-2]


def slightly_off(gold: str) -> str | None:
    match = _whole(_INTEGER, gold)
    return f"{int(match[0]) * 1.0001:.6f}" if match and abs(int(match[0])) > 9 else None


def denominator_off(gold: str) -> str | None:
    match = _whole(_FRACTION, gold)
    return rf"{match[1]}\frac{{{match[2]}}}{{{int(match[3]) + 1}}}" if match and match[2] != "0" else None


def item_dropped(gold: str) -> str | None:
    items = _is_list(gold)
    return ", ".join(items[:-1]) if items and items[-1] else None


def item_repeated(gold: str) -> str | None:
    items = _is_list(gold)
    return ", ".join([*items, items[0]]) if items else None


def item_changed(gold: str) -> str | None:
    items = _is_list(gold)
    return ", ".join([*items[:-1], items[-1] + "1"]) if items and items[-1][-1:].isdigit() else None


def both_brackets_turned(gold: str) -> str | None:
    match = _whole(_INTERVAL, gold)
    if not match or "infty" in gold:
        return None
    return f"{'(' if match[1] == '[' else '['}{match[2]},{match[3]}{')' if match[4] == ']' else ']'}"


def infinity_negated(gold: str) -> str | None:
    return gold.replace("\\infty", "0") if "\\infty" in gold else None


def term_added(gold: str) -> str | None:
    return (
        gold.strip("$ ") + " + x"
        if re.fullmatch(r"[$\w\s+\-^{}/\\]+", gold) and "text" not in gold and "_" not in gold
        else None
    )


def exponent_off(gold: str) -> str | None:
    text = re.sub(r"\^\{?(\d)\}?(?!\d)", lambda m: f"^{{{int(m[1]) + 1}}}", gold, count=1)
    return text if text != gold else None


def radicand_off(gold: str) -> str | None:
    text = re.sub(r"\\sqrt\{(\d+)\}", lambda m: rf"\sqrt{{{int(m[1]) + 1}}}", gold, count=1)
    return text if text != gold else None


def constant_dropped(gold: str) -> str | None:
    text = re.sub(r"(?<=\d)\s*\\pi|(?<=\d)i\b", "", gold)
    return text if text != gold else None


def pair_reversed(gold: str) -> str | None:
    match = _whole(_PAIR, gold)
    return f"({match[2]},{match[1]})" if match and match[1].strip() != match[2].strip() else None


def matrix_transposed(gold: str) -> str | None:
    match = _whole(_PMATRIX, gold)
    if not match:
        return None
    rows = [[cell.strip() for cell in row.split("&")] for row in match[1].split("\\\\") if row.strip()]
    turned = [list(column) for column in zip(*rows)]
    if turned == rows or len(rows) == 1 or len(rows[0]) == 1:
        return None
    return "\\begin{pmatrix}" + " \\\\ ".join(" & ".join(row) for row in turned) + "\\end{pmatrix}"


def hedged(gold: str) -> str | None:
    return (
        rf"{gold} \text{{ or }} 1009"
        if "," not in gold and not re.search(r"[<>=]|\\[lg]e|\\in\b|text|or\b", gold)
        else None
    )


def hedged_in_boxes(gold: str) -> str | None:
    inner = gold.strip().strip("$")
    return rf"It is \boxed{{{inner}}} or \boxed{{1009}}." if "$" not in inner else None


def right_only_in_thought(gold: str) -> str | None:
    inner = gold.strip().strip("$")
    return (
        rf"<think>It must be \boxed{{{inner}}}.</think> So it is \boxed{{1009}}."
        if "$" not in inner and "1009" not in inner
        else None
    )


def right_before_output(gold: str) -> str | None:
    inner = gold.strip().strip("$")
    return (
        f"<analyze>\nIt is \\boxed{{{inner}}}.\n</analyze>\n<output>\nThe answer is {inner}.\n</output>\n"
        if "$" not in inner
        else None
    )


REWRITES: tuple[Family, ...] = (
    unicode_signs,
    full_width,
    scientific,
    expanded_fraction,
    negative_denominator,
    negative_power,
    fraction_as_percent,
    bracketed,
    commuted,
    root_as_power,
    named,
    name_behind,
    shuffled_set,
    listed_by_and,
    pair_of_decimals,
    pair_by_names,
    interval_as_inequality,
    interval_as_set,
    matrix_restyled,
    with_units,
    upright_words,
    in_functional_chain,
)
CORRUPTIONS: tuple[Family, ...] = (
    sign_flipped,
    digits_swapped,
    slightly_off,
    denominator_off,
    item_dropped,
    item_repeated,
    item_changed,
    both_brackets_turned,
    infinity_negated,
    term_added,
    exponent_off,
    radicand_off,
    constant_dropped,
    pair_reversed,
    matrix_transposed,
    hedged,
    hedged_in_boxes,
    right_only_in_thought,
    right_before_output,
)
CHAINS = {in_functional_chain, hedged_in_boxes, right_only_in_thought, right_before_output}
