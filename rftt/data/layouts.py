"""Which columns of a table hold question and answer: a table of published layouts as data (layouts.yaml), and paths.

A column is a name, or a path into nested values: ``reward_model.ground_truth``, ``prompt.0.content``.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml

from rftt.errors import UsageError

TABLE = Path(__file__).with_name("layouts.yaml")
# Optional fields: the first of these columns that is there; for the id also: the first without gaps or repetition.
OPTIONAL: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "unique_id", "ID", "idx", "uuid", "extra_info.index"),
    "level": ("level", "difficulty"),
    "subject": ("subject", "type", "subfield", "Type", "problem_type", "domain", "ability"),
    "source": ("source", "data_source"),
}
FIELDS = ("question", "answer", *OPTIONAL)


@dataclass(frozen=True)
class Layout:
    """Where the fields of a problem stand.

    Args:
        columns: field → columns; several for the question, which are joined.
        solution: every answer is a worked solution.
        lists: what several answers in a list are.
        wrapping: (before, after) texts around a question that are cut.
    """

    columns: Mapping[str, tuple[str, ...]]
    solution: bool = False
    lists: Literal["any", "all"] = "any"
    wrapping: tuple[tuple[str, str], ...] = ()


@lru_cache(maxsize=1)
def known_layouts() -> Mapping[str, Layout]:
    """The published layouts by name, in the order in which they are tried."""
    found = {}
    for name, entry in yaml.safe_load(TABLE.read_text(encoding="utf-8")).items():
        question = entry["question"]
        columns = {
            "question": (question,) if isinstance(question, str) else tuple(question),
            "answer": (entry["answer"],),
        }
        wrapping = tuple((text["before"], text["after"]) for text in entry.get("wrapping", ()))
        found[name] = Layout(columns, entry.get("solution", False), entry.get("lists", "any"), wrapping)
    return found


def layout_of(
    label: str, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str | Sequence[str]] | None = None
) -> Layout:
    """The layout of a table: what its columns say, overridden by what the user says.

    Args:
        label: names the source in errors.
        rows: records.
        columns: field → column; a list of columns for the question is joined.

    Raises:
        UsageError: there is no such column or field, or no layout fits.
    """
    present = {column for row in rows for column in row}

    def there(column: str) -> bool:
        return column in present or (
            column.partition(".")[0] in present and any(value_at(row, column) is not None for row in rows)
        )

    layout = next(
        (one for one in known_layouts().values() if all(there(c) for names in one.columns.values() for c in names)),
        Layout({}),
    )
    found = dict(layout.columns)
    for field, candidates in OPTIONAL.items():
        if named := tuple(column for column in candidates if there(column)):
            found[field] = named if field == "id" else named[:1]
    for field, value in (columns or {}).items():
        if field not in FIELDS:
            nearest = get_close_matches(field, FIELDS, n=1) or [", ".join(FIELDS)]
            raise UsageError(f"columns: unknown field {field!r}; did you mean {nearest[0]}?")
        chosen = tuple(value) if isinstance(value, list | tuple) else (value,)
        if wrong := [column for column in chosen if not isinstance(column, str)]:
            raise UsageError(f"{label}: columns.{field}: {wrong[0]!r} is no name of a column; there are {listed(rows)}")
        if absent := [column for column in chosen if not there(column)]:
            raise UsageError(f"{label}: columns.{field}: there is no column {absent[0]!r}; there are {listed(rows)}")
        if not chosen or (field != "question" and len(chosen) != 1):
            raise UsageError(f"columns.{field}: give one column, not {list(chosen)}")
        found[field] = chosen
    if missing := [field for field in ("question", "answer") if field not in found]:
        usual = {field: {c for one in known_layouts().values() for c in one.columns[field]} for field in missing}
        unlike = [field for field in missing if not any(there(column) for column in usual[field])]
        raise UsageError(
            f"{label}: which column is the {' and which the '.join(unlike or missing)}? There are {listed(rows)}; "
            "say it with columns: {question: …, answer: …}"
        )
    same = found["answer"] == layout.columns.get("answer")
    return Layout(found, layout.solution and same, layout.lists if same else "any", layout.wrapping)


def value_at(row: Mapping[str, Any], column: str) -> Any:
    """The value of a column, or at a path into nested ones; None where there is none.

    Nested values may come as text, as CSV files have them.
    """
    if column in row:
        return row[column]
    value: Any = row
    for step in column.split("."):
        if isinstance(value, str):
            value = nested(value)
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list | tuple) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def nested(text: str) -> Any:
    """The list or mapping that a cell holds as text, in JSON or as Python writes it (pandas does); None if there is none."""
    text = text.strip()
    if not text.startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        if not text.startswith(("[{", "{'")):
            return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def listed(rows: Iterable[Mapping[str, Any]]) -> str:
    """The columns of a table, for messages; those of nested ones as paths."""
    names: dict[str, None] = {}
    for row, _ in zip(rows, range(100), strict=False):
        for column, value in row.items():
            inner = value if isinstance(value, Mapping) else {}
            names.update(dict.fromkeys([f"{column}.{key}" for key in inner] or [column]))
    return ", ".join(names)
