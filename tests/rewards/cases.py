"""The labelled case files of `../shared/data/grader_cases`, and how each kind is put to the grader."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from rewards import extract_answer

RULES = {"answer": "none", "chain": "boxed", "chain_unboxed": "lenient", "text": "lenient"}


@dataclass(frozen=True)
class Case:
    """One labelled pair; `expected` is None where only robustness is asked for, `contested` where the label is a
    matter of policy.
    """

    id: str
    kind: str
    gold: str
    text: str
    expected: bool | None
    contested: bool

    @property
    def rule(self) -> str:
        return RULES[self.kind]


def load_cases(folder: Path, name: str) -> list[Case]:
    """The cases of one file. Where both sides are text, the gold is extracted by the same rule as the answer."""
    cases = []
    for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        gold = row["gold"]
        if row["kind"] == "text":
            gold = extract_answer(gold, "lenient") or gold
        cases.append(
            Case(row["id"], row["kind"], gold, row["pred"], row["expected"], "CONTESTED" in (row["note"] or ""))
        )
    return cases
