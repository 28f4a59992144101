"""An even sample of the chains of the warm-up (search/chains.jsonl)."""

from __future__ import annotations

import json
from pathlib import Path

from rftt.report.lines import Record, clip, evenly, fitted, line_spans, note_broken, records_at
from search.step_counts import KINDS

CHAIN_BYTES = 300_000  # of JSON
CHAINS = 8  # of one kind


def chains_of(run: Path, notes: list[str], share: float = 1.0) -> Record | None:
    """How many chains of each kind there are, and some of each, and how many steps of phase 1 were valid; None without the
    file of the chains.

    Args:
        run: the run folder.
        notes: gets a line for what could not be read.
        share: share of the bytes that all runs of the page have together.
    """
    path = run / "search" / "chains.jsonl"
    if not path.is_file():
        return None
    kinds: dict[str, list[Record]] = {}
    broken = 0
    for record in records_at(path, line_spans(path)):
        messages = record.get("messages") if record else None
        if record is None or not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
            broken += 1
            continue
        kinds.setdefault(str(record.get("kind", "plain")), []).append(
            {
                "question_id": record.get("question_id"),
                "kind": str(record.get("kind", "plain")),
                "answer": record.get("answer"),
                "messages": [{"role": m.get("role"), "content": clip(m.get("content"))} for m in messages],
            }
        )
    note_broken(notes, "search/chains.jsonl", broken)
    limit = int(CHAIN_BYTES * share / max(len(kinds), 1))
    shown = [fitted(evenly(chains, CHAINS), limit) for chains in kinds.values()]
    return {
        "path": "search/chains.jsonl",
        "kinds": {kind: len(chains) for kind, chains in kinds.items()},
        "records": [chain for chains in shown for chain in chains],
        "steps": _steps(run / "search" / "steps.json", notes),
    }


def _steps(path: Path, notes: list[str]) -> list[Record]:
    """A row for each function that was asked for a step: its counts, and the rules that its steps broke."""
    if not path.is_file():
        return []
    try:
        counts = json.loads(path.read_text(encoding="utf-8"))
        return [
            {
                "function": name,
                **{kind: int(counted.get(kind, 0)) for kind in KINDS},
                "broken": {rule: int(n) for rule, n in counted.items() if rule not in KINDS},
            }
            for name, counted in counts.items()
        ]
    except (OSError, ValueError, AttributeError, TypeError) as error:
        notes.append(f"search/steps.json cannot be read: {error}")
        return []
