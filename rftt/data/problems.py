"""Problems of any published layout in one schema.

Layouts are recognised by their columns (the tables below); an explicit column mapping overrides what was recognised.
`find_overlap` and `refuse_overlap` keep training questions apart from evaluation questions.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rftt.data.overlap import Overlap, find_overlap, refuse_overlap
from rftt.data.tables import Row, read_table
from rftt.errors import UsageError

__all__ = [
    "Overlap",
    "Problem",
    "Problems",
    "find_overlap",
    "load_problems",
    "problems_of",
    "read_answer",
    "refuse_overlap",
]

log = logging.getLogger(__name__)

# (question columns, answer column), the first whose columns are all there. Several question columns are joined.
LAYOUTS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("Body", "Question"), "Answer"),  # SVAMP
    (("context", "question"), "final_answer"),  # OlympiadBench
    (("question",), "final_answer"),
    (("question",), "answer"),  # GSM8K, AMC, AIME, and this project's own files
    (("problem",), "answer"),  # MATH-500, MATH with answers
    (("problem",), "solution"),  # MATH, Minerva: the answer is the last box
    (("question",), "solution"),
)
# Optional fields: the first of these columns that is there; for the id also: the first without gaps or repetition.
OPTIONAL: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "unique_id", "ID", "idx"),
    "level": ("level", "difficulty"),
    "subject": ("subject", "type", "subfield", "Type"),
    "source": ("source",),
}
TOLERATED = 0.01  # share of rows that may lack a question or an answer; more means that the column is the wrong one


@dataclass(frozen=True)
class Problem:
    """A question with its final answer.

    Args:
        id: unique within its source.
        question: text, as the model is to read it.
        answer: the final answer alone, as text (LaTeX or a number).
        source: file stem or hub name that it comes from.
        level: difficulty as published, e.g. ``"5"``.
        subject: field as published, e.g. ``"Algebra"``.
    """

    id: str
    question: str
    answer: str
    source: str
    level: str | None = None
    subject: str | None = None

    def to_json(self) -> dict[str, str]:
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Problem:
        """The problem in a record; other keys, such as `schema`, are left aside."""
        return cls(**{field.name: record[field.name] for field in fields(cls) if record.get(field.name) is not None})


class Problems(list[Problem]):
    """Problems of one source; `dropped` counts the rows left out, by reason."""

    def __init__(self, problems: Iterable[Problem] = (), dropped: Mapping[str, int] | None = None) -> None:
        super().__init__(problems)
        self.dropped: dict[str, int] = dict(dropped or {})


def load_problems(
    source: str | Path,
    *,
    columns: Mapping[str, str | Sequence[str]] | None = None,
    split: str = "train",
    name: str | None = None,
    limit: int | None = None,
) -> Problems:
    """Read problems from a file or from the hub.

    The answer may be a number, a list (several answers, joined by commas), a bare text, or a solution that ends in
    ``#### N`` or holds a ``\\boxed{…}``, of which the last counts. A question that occurred before is dropped, and so
    are rows without a question or an answer as long as they are at most 1 % of all; both are counted in `dropped`.

    Args:
        source: path of a ``.jsonl``, ``.json``, ``.csv`` or ``.parquet`` file, a folder of data files, or a hub name.
        columns: field (``question``, ``answer``, ``id``, ``level``, ``subject``, ``source``) → column; a list of
            columns for the question is joined.
        split: split of a data set on the hub.
        name: configuration of a data set on the hub, e.g. ``"main"`` for GSM8K.
        limit: keep the first so many problems.

    Returns:
        The problems in the order of the source. Ids are the source's own where they are unique, else a hash of the
        question, so they do not depend on `limit`.

    Raises:
        UsageError: the source cannot be read or has no such column, or too many rows are empty. Says where.
    """
    found = problems_of(read_table(source, split=split, name=name), str(source), columns)
    return Problems(found[:limit], found.dropped)


def problems_of(rows: Sequence[Row], label: str, columns: Mapping[str, str | Sequence[str]] | None = None) -> Problems:
    """The problems in the rows of a table, as in `load_problems`.

    Args:
        rows: as they were read.
        label: names the source in errors; its stem is the problems' source where a row names none.
        columns: field → column.

    Raises:
        UsageError: as in `load_problems`.
    """
    if not rows:
        raise UsageError(f"{label}: no rows; give a file that has problems")
    mapping = _mapping(label, rows, columns)
    question_columns, [answer_column] = mapping["question"], mapping["answer"]
    is_solution = sum(_marked(row.values.get(answer_column)) for row in rows) > len(rows) / 2
    own_ids = _own_ids(rows, mapping.get("id"))

    problems, dropped, seen = [], Counter[str](), dict[str, str]()
    for index, row in enumerate(rows):
        question = _join(row.values.get(column) for column in question_columns)
        answer = read_answer(row.values.get(answer_column), is_solution=is_solution)
        if not question or not answer:
            missing = "answer" if question else "question"
            dropped[f"no {missing}"] += 1
            if dropped[f"no {missing}"] > TOLERATED * len(rows):
                raise UsageError(
                    f"{label}:{row.line}: no {missing} in column {', '.join(mapping[missing])!r}; mend the row, "
                    f"or map the right column with columns: {{{missing}: …}}; there are {_listed(rows)}"
                )
        elif question in seen:
            dropped["repeated question" if seen[question] == answer else "repeated question, other answer"] += 1
        else:
            seen[question] = answer
            optional = {
                field: _optional(row.values, mapping[field][0]) for field in ("level", "subject") if field in mapping
            }
            id = own_ids[index] if own_ids else hashlib.sha256(question.encode()).hexdigest()[:16]
            origin = _optional(row.values, mapping["source"][0]) if "source" in mapping else None
            problems.append(Problem(id, question, answer, origin or Path(label).stem, **optional))
    if dropped:
        log.warning("%s: %s", label, ", ".join(f"{count} rows dropped ({why})" for why, count in dropped.items()))
    return Problems(problems, dropped)


def read_answer(value: Any, *, is_solution: bool = False) -> str:
    """The final answer in a published answer field, or ``""``.

    Args:
        value: number, text, list of these, or None.
        is_solution: whether the field holds worked solutions, so that a text without a marked answer has none.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, list | tuple):
        return ", ".join(filter(None, (read_answer(part, is_solution=is_solution) for part in value)))
    text = str(value).strip()
    if "####" in text:
        last = text.rsplit("####", 1)[1].strip()
        return last.replace(",", "") if re.fullmatch(r"[-+$]*\d{1,3}(,\d{3})+(\.\d+)?", last) else last
    box = _last_box(text)
    return box if box is not None else "" if is_solution else text


def _mapping(
    label: str, rows: Sequence[Row], columns: Mapping[str, str | Sequence[str]] | None
) -> dict[str, tuple[str, ...]]:
    present = {column for row in rows for column in row.values}
    mapping: dict[str, tuple[str, ...]] = {}
    for question, answer in LAYOUTS:
        if present.issuperset((*question, answer)):
            mapping |= {"question": question, "answer": (answer,)}
            break
    for field, candidates in OPTIONAL.items():
        if found := tuple(column for column in candidates if column in present):
            mapping[field] = found if field == "id" else found[:1]
    known = ("question", "answer", *OPTIONAL)
    for field, value in (columns or {}).items():
        chosen = (value,) if isinstance(value, str) else tuple(value)
        if field not in known:
            nearest = get_close_matches(field, known, n=1) or [", ".join(known)]
            raise UsageError(f"columns: unknown field {field!r}; did you mean {nearest[0]}?")
        if absent := [column for column in chosen if column not in present]:
            raise UsageError(f"{label}: columns.{field}: there is no column {absent[0]!r}; there are {_listed(rows)}")
        if not chosen or (field != "question" and len(chosen) != 1):
            raise UsageError(f"columns.{field}: give one column, not {list(chosen)}")
        mapping[field] = chosen
    for field in ("question", "answer"):
        if field not in mapping:
            raise UsageError(
                f"{label}: which column is the {field}? There are {_listed(rows)}; "
                "say it with columns: {question: …, answer: …}"
            )
    return mapping


def _own_ids(rows: Sequence[Row], candidates: Sequence[str] | None) -> list[str] | None:
    for column in candidates or ():
        ids = [_optional(row.values, column) for row in rows]
        if len(set(ids)) == len(ids) and None not in ids:
            return [str(id) for id in ids]
    return None


def _listed(rows: Sequence[Row]) -> str:
    return ", ".join(dict.fromkeys(column for row in rows[:100] for column in row.values))


def _optional(values: Mapping[str, Any], column: str) -> str | None:
    return read_answer(values.get(column)).removeprefix("Level ") or None


def _join(parts: Iterable[Any]) -> str:
    """Texts as one; a part that ends without punctuation gets a full stop before the next, as graders of SVAMP do."""
    *earlier, last = [str(part).strip() for part in parts if part is not None] or [""]
    return " ".join(
        [part if part.endswith((".", "?", "!", ":", ",")) else f"{part}." for part in earlier if part] + [last]
    )


def _marked(value: Any) -> bool:
    return isinstance(value, str) and ("####" in value or _last_box(value) is not None)


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
