"""``rftt data check TRAIN EVAL…``: which evaluation questions the training data gives away.

Equal wording, or 13 words in a row, as `overlap` counts them; before a search and an evaluation the same is done with
`data.train`, `data.eval` and `eval.benchmarks`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rftt.data.benchmarks import find_benchmark, load_benchmark, read_benchmarks, unreadable_golds
from rftt.data.overlap import Overlap, contamination
from rftt.data.problems import Problem, load_problems
from rftt.data.tables import read_table
from rftt.errors import UsageError
from search.prompt import text_of


@dataclass(frozen=True)
class Text:
    """A training text, as it is compared: a question, or all that the user says in a conversation."""

    id: str
    question: str


@dataclass(frozen=True)
class Report:
    """What one evaluation set shares with the training data.

    Args:
        name: name of the evaluation set.
        n: length of the word sequences.
        train, evaluation: number of texts compared.
        train_overlaps: training texts that an evaluation question gives away.
        equal: those of them that are equal to one.
        eval_overlaps: ids of the evaluation questions that a training text gives away.
        examples: overlaps with both texts.
        unreadable: ids of questions whose gold the grader cannot read.
    """

    name: str
    n: int
    train: int
    evaluation: int
    train_overlaps: int
    equal: int
    eval_overlaps: list[str]
    examples: list[dict[str, Any]]
    unreadable: list[str]

    def __str__(self) -> str:
        spoilt = len(self.eval_overlaps)
        lines = [
            f"{self.name}: {spoilt} of {self.evaluation} questions ({spoilt / self.evaluation:.1%}) overlap training data: "
            f"{self.train_overlaps} of {self.train} texts, {self.equal} equal, {self.train_overlaps - self.equal} with "
            f"{self.n} words in a row"
        ]
        if self.unreadable:
            lines.append(
                f"  golds that the grader cannot read: {len(self.unreadable)} ({', '.join(self.unreadable[:5])})"
            )
        for example in self.examples:
            lines += [
                f"  {example['kind']}, in {example['spread']} evaluation questions: {example['ngram'][:200]}",
                f"    train {example['train_id']}: {_clip(example['train'])}",
                f"    eval  {example['eval_id']}: {_clip(example['eval'])}",
            ]
        return "\n".join(lines)


def check(
    train: str, evaluation: Sequence[str], *, n: int = 13, examples: int = 3, split: str = "train", root: str = "",
    table: str | None = None,
) -> list[Report]:  # fmt: skip
    """Compare training data with evaluation sets.

    Args:
        train: file or hub name of questions, or of conversations with ``messages``.
        evaluation: files, or names of the table of benchmarks.
        n: length of the shared word sequence.
        examples: how many overlaps of each set are shown.
        split: split of training data on the hub.
        root: folder with files of the benchmarks.
        table: the user's own table of benchmarks.

    Raises:
        UsageError: something cannot be read, or n is not positive.
    """
    texts = read_texts(train, split)
    by_id = {text.id: text.question for text in texts}
    reports = []
    for source in evaluation:
        problems = read_evaluation(source, root, table)
        shared = contamination(texts, problems, n)
        questions = {p.id: p.question for p in problems}
        reports.append(
            Report(
                name=source,
                n=n,
                train=len(texts),
                evaluation=len(problems),
                train_overlaps=len(shared.train),
                equal=sum(overlap.kind == "equal" for overlap in shared.train),
                eval_overlaps=list(shared.evaluation),
                examples=[_example(overlap, by_id, questions) for overlap in shared.examples(examples)],
                unreadable=unreadable_golds(problems),
            )
        )
    return reports


def read_evaluation(source: str, root: str = "", table: str | None = None) -> Sequence[Problem]:
    """Evaluation questions: those of a benchmark of the table, or of a file.

    Raises:
        UsageError: there is neither, or it cannot be read.
    """
    if source in read_benchmarks(table) or not Path(source).exists():
        return load_benchmark(find_benchmark(source, root=root, table=table))
    return load_problems(source)


def read_texts(source: str, split: str = "train") -> list[Text]:
    """Training texts of a file or data set: the questions, or what the user says in conversations.

    Raises:
        UsageError: it cannot be read, or has neither questions nor ``messages``.
    """
    rows = read_table(source, split=split)
    if not any(row.values.get("messages") for row in rows):
        return [Text(p.id, p.question) for p in load_problems(source, split=split)]
    found: dict[str, Text] = {}
    ids: set[str] = set()
    for row in rows:
        messages = row.values.get("messages")
        if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
            raise UsageError(f"{source}:{row.line}: messages is no list of turns; mend the line")
        try:
            said = "\n".join(text_of(m.get("content")) for m in messages if m.get("role") == "user")
        except ValueError as error:
            raise UsageError(f"{source}:{row.line}: {error}; leave the line out") from error
        id = str(row.values.get("question_id") or hashlib.sha256(said.encode()).hexdigest()[:16])
        if said not in found:
            id = f"{id}, line {row.line}" if id in ids else id
            ids.add(id)
            found[said] = Text(id, said)
    return list(found.values())


def _example(overlap: Overlap, train: dict[str, str], evaluation: dict[str, str]) -> dict[str, Any]:
    return {**overlap.__dict__, "train": train[overlap.train_id], "eval": evaluation[overlap.eval_id]}


def _clip(text: str, width: int = 240) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[:width]} …"
