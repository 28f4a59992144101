"""Problems of any published layout in one schema.

Layouts are recognised by their columns (layouts.yaml); an explicit column mapping overrides what was recognised.
`find_overlap` and `refuse_overlap` keep training questions apart from evaluation questions.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from rftt.data.layouts import Layout, layout_of, listed, nested, value_at
from rftt.data.overlap import Overlap, find_overlap, refuse_overlap
from rftt.data.tables import Row, read_table
from rftt.data.usable_golds import NoAnswer, is_marked, plain_text, read_answer, said_by, unmatched, why_unusable
from rftt.errors import UsageError
from search.grading import alternatives, any_of

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

UNUSABLE = 0.5  # share of rows that cannot be used, from which on the column is taken for the wrong one
_CHAT = re.compile(r"""\s*\[\{\s*['"](role|from|content|value)['"]""")
SHOWN = 3  # examples of rows that are left out, for each reason

Unusable = Literal["drop", "stop"]


@dataclass(frozen=True)
class Problem:
    """A question with its final answer.

    Args:
        id: unique within its source.
        question: text, as the model is to read it.
        answer: the final answer alone, as text (LaTeX or a number); several alternatives as `search.grading.any_of` writes
            them.
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
    """Problems of one source.

    Args:
        problems: those that can be used.
        dropped: how many rows were left out, by reason.
        examples: examples of rows left out since nothing can match their answer: reason → ``line: answer``.
    """

    def __init__(
        self,
        problems: Iterable[Problem] = (),
        dropped: Mapping[str, int] | None = None,
        examples: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__(problems)
        self.dropped: dict[str, int] = dict(dropped or {})
        self.examples = dict(examples or {})


def load_problems(
    source: str | Path,
    *,
    columns: Mapping[str, str | Sequence[str]] | None = None,
    split: str = "train",
    name: str | None = None,
    limit: int | None = None,
    unusable: Unusable = "drop",
    graded: bool = True,
) -> Problems:
    """Read problems from a file or from the hub.

    The answer may be a number, a bare text, a list of alternatives, or a solution that ends in ``#### N``, in "the answer
    is", or holds a ``\\boxed{…}``, of which the last counts. A question that occurred before is dropped. So are rows without
    a question or with an answer that nothing can match (`golds`), as long as they are less than half of all. All are counted
    in `dropped`.

    Args:
        source: path of a data file (`tables.READERS`, also gzipped), a folder of data files, or a hub name.
        columns: field (``question``, ``answer``, ``id``, ``level``, ``subject``, ``source``) → column, or path into a
            nested one (``reward_model.ground_truth``); a list of columns for the question is joined.
        split: split of a data set on the hub.
        name: configuration of a data set on the hub, e.g. ``"main"`` for GSM8K.
        limit: keep the first so many problems.
        unusable: ``stop`` refuses a source with a row that cannot be used, ``drop`` leaves it out.
        graded: answers are for the grader; else for a reward function of the user's own, which takes any: objects as JSON.

    Returns:
        The problems in the order of the source. Ids are the source's own where they are unique, else a hash of the
        question, so they do not depend on `limit`.

    Raises:
        UsageError: the source cannot be read or has no such column, or too many rows cannot be used. Says where.
    """
    found = problems_of(read_table(source, split=split, name=name), str(source), columns, unusable, graded)
    return Problems(found[:limit], found.dropped, found.examples)


def problems_of(
    rows: Sequence[Row],
    label: str,
    columns: Mapping[str, str | Sequence[str]] | None = None,
    unusable: Unusable = "drop",
    graded: bool = True,
    mended: Mapping[str, str] | None = None,
) -> Problems:
    """The problems in the rows of a table, as in `load_problems`.

    Args:
        rows: rows as they were read.
        label: names the source in errors; its stem is the problems' source where a row names none.
        columns: field → column.
        unusable, graded: as in `load_problems`.
        mended: answer as published → answer that can be read.

    Raises:
        UsageError: as in `load_problems`.
    """
    if not rows:
        raise UsageError(f"{label}: no rows; give a file that has problems")
    layout = layout_of(label, [row.values for row in rows], columns)
    [answer_column] = layout.columns["answer"]
    marked = sum(is_marked(value_at(row.values, answer_column)) for row in rows)
    reading = replace(layout, solution=layout.solution or marked > len(rows) / 2)
    out = LeftOut(label, rows, layout, unusable)
    own_ids = _own_ids(rows, layout.columns.get("id"))
    stem = Path(label.removesuffix(".gz")).stem

    read: list[tuple[Row, Problem]] = []
    for index, row in enumerate(rows):
        try:
            question = _question(row.values, layout)
            answer = _answer(value_at(row.values, answer_column), reading, graded)
        except NoAnswer as error:
            out.unusable(row, str(error), value_at(row.values, answer_column))
            continue
        if not question or not answer:
            out.missing(row, "answer" if question else "question")
            continue
        answer = (mended or {}).get(answer, answer)
        optional = {
            field: _optional(row.values, layout.columns[field][0])
            for field in ("level", "subject")
            if field in layout.columns
        }
        id = own_ids[index] if own_ids else hashlib.sha256(question.encode()).hexdigest()[:16]
        origin = _optional(row.values, layout.columns["source"][0]) if "source" in layout.columns else None
        read.append((row, Problem(id, question, answer, origin or stem, **optional)))
    if graded:
        read = _matchable(read, out)
    kept: dict[str, Problem] = {}
    for _, problem in read:
        if before := kept.get(problem.question):
            out.repeated(before.answer == problem.answer)
        else:
            kept[problem.question] = problem
    out.tell()
    return Problems(kept.values(), out.counts, out.examples)


class LeftOut:
    """Rows that are left out, by reason.

    Args:
        label: names the source.
        rows: all of it.
        layout: its columns.
        mode: whether unusable rows are dropped or refused.
    """

    def __init__(self, label: str, rows: Sequence[Row], layout: Layout, mode: Unusable) -> None:
        self._label, self._rows, self._layout, self._mode = label, rows, layout, mode
        self._allowed = 0.0 if mode == "stop" else UNUSABLE * len(rows)
        self._unusable = 0
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def missing(self, row: Row, field: str) -> None:
        """A row without a question or an answer.

        Raises:
            UsageError: there are too many.
        """
        self.counts[f"no {field}"] += 1
        self._unusable += 1
        if self.counts[f"no {field}"] >= max(self._allowed, 1.0):
            raise UsageError(
                f"{self._label}:{row.line}: no {field} in column {', '.join(self._layout.columns[field])!r}; mend the row, "
                f"or map the right column with columns: {{{field}: …}}; there are "
                f"{listed(row.values for row in self._rows)}"
            )

    def unusable(self, row: Row, why: str, value: Any) -> None:
        """A row whose answer nothing can match."""
        self.counts[why] += 1
        self._unusable += 1
        shown = self.examples.setdefault(why, [])
        if len(shown) < SHOWN:
            try:
                text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            except RecursionError:
                text = "…"
            shown.append(f"line {row.line}: {' '.join(text.split())[:80]}")

    def repeated(self, same: bool) -> None:
        self.counts["repeated question" if same else "repeated question, other answer"] += 1

    def tell(self) -> None:
        """Log what was left out.

        Raises:
            UsageError: there are too many, or none is allowed.
        """
        if not self.counts:
            return
        reasons = [
            f"{count} × {why}" + (f" ({'; '.join(self.examples[why])})" if why in self.examples else "")
            for why, count in self.counts.most_common()
        ]
        if self._unusable and self._unusable >= self._allowed:
            remedy = (
                "data.unusable=drop leaves them out" if self._mode == "stop"
                else "map the right column with columns: {answer: …}, or mend the file"
            )  # fmt: skip
            raise UsageError(
                f"{self._label}: {self._unusable} of {len(self._rows)} rows cannot be used: {', '.join(reasons)}; {remedy}"
            )
        log.warning("%s: rows left out: %s", self._label, ", ".join(reasons))


def _matchable(read: Sequence[tuple[Row, Problem]], out: LeftOut) -> list[tuple[Row, Problem]]:
    """The problems whose gold something can match, with the alternatives that do."""
    rejected, unchecked = unmatched(gold for _, problem in read for gold in alternatives(problem.answer))
    if unchecked:
        log.warning("%d different answers were left unchecked: reading the others took long", unchecked)
    kept = []
    for row, problem in read:
        reasons = {gold: why_unusable(gold) or rejected.get(gold) for gold in alternatives(problem.answer)}
        if usable := [gold for gold, why in reasons.items() if why is None]:
            kept.append((row, problem if len(usable) == len(reasons) else replace(problem, answer=any_of(usable))))
        else:
            out.unusable(row, str(next(iter(reasons.values()))), problem.answer)
    return kept


def _question(values: Mapping[str, Any], layout: Layout) -> str:
    """The question as the model is to read it.

    Raises:
        NoAnswer: it is an object, or a chat in which the user speaks more than once.
    """
    text = _join(_asked(value_at(values, column)) for column in layout.columns["question"])
    for before, after in layout.wrapping:
        if text.startswith(before.strip()) and text.endswith(after.strip()):
            return text[len(before.strip()) : len(text) - len(after.strip())].strip()
    return text


def _asked(value: Any) -> Any:
    if isinstance(value, bytes):
        raise NoAnswer("a question that is not UTF-8")
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        parts = nested(value)
        if parts is None and _CHAT.match(value):
            raise NoAnswer("a chat that cannot be read")
        value = value if parts is None else parts
    if (said := said_by(value, "user")) is not None:
        turns = [turn for turn in value if turn.get("role", turn.get("from")) in ("user", "human")]
        if len(turns) > 1:
            raise NoAnswer("a conversation of several turns, not a question")
        return said
    if isinstance(value, Mapping | list | tuple):
        raise NoAnswer("a question that is no text")
    return value


def _answer(value: Any, layout: Layout, graded: bool) -> str:
    if not graded and isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    if not graded and isinstance(value, str):
        return value.strip()
    return read_answer(value, is_solution=layout.solution, lists=layout.lists)


def _own_ids(rows: Sequence[Row], candidates: Sequence[str] | None) -> list[str] | None:
    for column in candidates or ():
        ids = [_optional(row.values, column) for row in rows]
        if len(set(ids)) == len(ids) and None not in ids:
            return [str(id) for id in ids]
    return None


def _optional(values: Mapping[str, Any], column: str) -> str | None:
    value = value_at(values, column)
    if isinstance(value, list | tuple):  # several fields, as in Big-Math: the first says most
        value = next(iter(value), None)
    if value is None or isinstance(value, bytes | Mapping | list | tuple):
        return None
    return plain_text(value).removeprefix("Level ") or None


def _join(parts: Iterable[Any]) -> str:
    """Texts as one; a part that ends without punctuation gets a full stop before the next, as graders of SVAMP do."""
    *earlier, last = [str(part).strip() for part in parts if part is not None] or [""]
    return " ".join(
        [part if part.endswith((".", "?", "!", ":", ",")) else f"{part}." for part in earlier if part] + [last]
    )
