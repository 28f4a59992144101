r"""Equations in lines of their own, as `\begin{cases}` and `\begin{aligned}` set them, in one line."""

from __future__ import annotations

import re

_ENVIRONMENT = re.compile(
    r"\s*\\begin\s*\{(cases|aligned|align\*?|gathered|split|alignedat)\}(.*)\\end\s*\{\1\}\s*\.?\s*", re.DOTALL
)
_RELATION = re.compile(r"=|<|>|\\(?:le|ge|leq|geq|leqslant|geqslant|in|approx)(?![A-Za-z])")
_ROW = re.compile(r"\\\\|\\cr(?![A-Za-z])")


def in_one_line(text: str) -> str:
    r"""An answer that is nothing but such lines as a list; a line that begins with a relation goes on with the one above.

    Lines that hold no relation stay as they are, and so does a function by cases: they say something else.
    """
    found = _ENVIRONMENT.fullmatch(text)
    if not found or "\\begin" in found[2]:
        return text
    rows = [row.strip(" \t\n,;&") for row in _ROW.split(found[2])]
    rows = [row for row in rows if row]
    if any("&" in re.sub(r"&\s*(?==|<|>|\\(?:le|ge)|[-+])|=\s*&", "", row) for row in rows):
        return text
    rows = [row.replace("&", " ").strip() for row in rows]
    lines: list[str] = []
    for row in rows:
        if lines and _RELATION.match(row):
            lines[-1] += " " + row
        else:
            lines.append(row)
    if len(lines) > 1 and not all(map(_RELATION.search, lines)):
        return text
    return ", ".join(lines) if lines else text
