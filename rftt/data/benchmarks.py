"""Published benchmarks by name: a table of data (benchmarks.yaml) that says where each lies and how it is read.

A name of the table is read from ``data.root`` where that folder holds its file, else from the hub; anything else is the path
of a file with questions and answers. `data.train` and `data.eval` take the same names as `eval.benchmarks`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from rftt.data.problems import Problem, Problems, problems_of
from rftt.data.tables import READERS, Row, read_table
from rftt.errors import UsageError
from search.named import load_named
from search.yaml_text import read_yaml

TABLE = Path(__file__).with_name("benchmarks.yaml")


@dataclass(frozen=True)
class Benchmark:
    """Where a set of questions lies and how it is read.

    Args:
        name: names it in files and results.
        source: path or hub name that it was, or will be, read from.
        configs: configurations of the data set on the hub; the rows of several are joined.
        split: split of the data set on the hub.
        question, answer: columns; layouts that are known are recognised where a file has others.
        form: what the answers are.
        licence: licence of the questions.
        size: number of questions as published.
        mended: gold as published → gold that can be read.
    """

    name: str
    source: str
    configs: tuple[str, ...] = ()
    split: str = "test"
    question: tuple[str, ...] = ()
    answer: str = ""
    form: str = ""
    licence: str = ""
    size: int | None = None
    mended: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def about(self) -> dict[str, Any]:
        """What a result file says of it."""
        shown = {name: getattr(self, name) for name in ("name", "source", "split", "form", "licence", "size", "mended")}
        return {k: v for k, v in shown.items() if v} | ({"configs": list(self.configs)} if self.configs else {})


@lru_cache(maxsize=8)
def read_benchmarks(path: str | None = None) -> dict[str, dict[str, Any]]:
    """The table that ships with the package, with the entries of a user's table on top.

    Raises:
        UsageError: the file cannot be read, or an entry lacks its place or has an unknown key.
    """
    entries: dict[str, dict[str, Any]] = {}
    known = {f.name for f in dataclasses.fields(Benchmark)} - {"name", "source"} | {"hub", "file"}
    for source in (TABLE, *([Path(path)] if path else [])):
        try:
            values = read_yaml(source) or {}
        except ValueError as error:
            raise UsageError(f"data.table: {error}") from error
        if not isinstance(values, dict) or not all(isinstance(entry, dict) for entry in values.values()):
            raise UsageError(
                f"data.table: {source}: expected names of benchmarks, each with a mapping, e.g. {{hub: …}}"
            )
        for name, entry in values.items():
            if unknown := sorted(set(entry) - known):
                raise UsageError(
                    f"{source}: {name}.{unknown[0]} is unknown, expected one of {', '.join(sorted(known))}"
                )
            if not re.fullmatch(r"[\w.-]+", str(name)) or not ("hub" in entry or "file" in entry):
                raise UsageError(f"{source}: {name}: expected a plain name with hub or file")
            entries[str(name)] = entry
    return entries


def find_benchmark(name: str, *, root: str = "", table: str | None = None) -> Benchmark:
    """The benchmark of this name, or the file at this path.

    Args:
        name: name in the table, path of a file of questions and answers, or ``module:function`` of a user's own, which
            returns rows such as ``{"question": …, "answer": …}``.
        root: folder with files of the benchmarks; a relative path that is not there is looked for in it too.
        table: the user's own table.

    Raises:
        UsageError: there is neither; names those that there are.
    """
    entries = read_benchmarks(table)
    if name in entries:
        entry = dict(entries[name])
        hub, stem = entry.pop("hub", ""), entry.pop("file", name)
        question = entry.pop("question", ())
        fields = {
            **entry,
            "configs": tuple(entry.get("configs", ())),
            "question": (question,) if isinstance(question, str) else tuple(question),
        }
        local = _local_file(root, dict.fromkeys((stem, name))) if root else None
        if local is None and not hub:
            raise UsageError(
                f"{name}: there is no {stem}.jsonl in data.root ({root or 'not given'}) and no hub name for it"
            )
        return Benchmark(name, str(local or hub), **fields)
    if ":" in name and not Path(name).exists():
        return Benchmark(name.rpartition(":")[2], name)
    path = Path(name).expanduser()
    if not path.exists() and root and (Path(root) / name).exists():
        path = Path(root) / name
    if path.exists():
        return Benchmark(path.stem, str(path))
    close = get_close_matches(name, entries, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(entries)}"
    raise UsageError(f"{name}: no benchmark and no file of this name; {hint}")


def load_benchmark(benchmark: Benchmark) -> Problems:
    """Its questions, with golds that can be read in the place of those that `mended` names.

    Raises:
        UsageError: it cannot be read.
    """
    if ":" in benchmark.source and not Path(benchmark.source).exists():
        return problems_of(_rows_of(benchmark.source), benchmark.source, None)
    rows: list[Row] = []
    local = Path(benchmark.source).exists()
    for config in (None,) if local or not benchmark.configs else benchmark.configs:
        rows += read_table(benchmark.source, split=benchmark.split, name=config)
    present = {column for row in rows for column in row.values}
    wanted = {*benchmark.question, benchmark.answer}
    columns: dict[str, str | Sequence[str]] | None = None
    if benchmark.question and benchmark.answer and wanted <= present:
        columns = {"question": list(benchmark.question), "answer": benchmark.answer}
    return problems_of(rows, benchmark.source, columns, mended=benchmark.mended)


def _rows_of(place: str) -> list[Row]:
    """Rows of a user's own function."""
    try:
        given = load_named(place, {}, "benchmark")()
    except ValueError as error:
        raise UsageError(f"eval.benchmarks: {error}") from error
    rows = [Row(number, dict(values)) for number, values in enumerate(given, 1)]
    if not rows:
        raise UsageError(f"eval.benchmarks: {place} returns no question; expected rows with question and answer")
    return rows


def unreadable_golds(problems: Iterable[Problem]) -> list[str]:
    """Ids of the problems whose gold the grader cannot read as mathematics, a time or words.

    Only an answer in the very same spelling would be right there.
    """
    from rewards.equivalence import tells_time
    from rewards.reading import read

    def readable(gold: str) -> bool:
        reading = read(gold)
        return reading.readable or reading.unsupported or tells_time(gold)

    return [p.id for p in problems if not readable(p.answer)]


def _local_file(root: str, stems: Iterable[str]) -> Path | None:
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise UsageError(f"data.root: there is no folder {root}; give the folder with the benchmarks' files")
    return next((p for stem in stems for end in READERS if (p := folder / f"{stem}{end}").is_file()), None)
