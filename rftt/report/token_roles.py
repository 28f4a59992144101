"""What SHAD called reasoning and boilerplate (shad/roles.jsonl, shad/summary.json): a sample of chains, and the counts."""

from __future__ import annotations

import json
import math
from pathlib import Path

from rftt.report.lines import Record, evenly, fitted, is_number, line_spans, note_broken, records_at
from rftt.report.pieces import Pieces, pieces_or_ids

ROLE_BYTES = 600_000  # of JSON
CHAINS = 40
TOKENS = 3000  # of one chain


def roles_of(run: Path, notes: list[str], share: float = 1.0) -> Record | None:
    """Counts as `rftt shad` made them, and an even sample of the labelled chains; None without their file.

    Args:
        run: the run folder.
        notes: gets a line for what could not be read.
        share: share of the bytes that all runs of the page have together.
    """
    path = run / "shad" / "roles.jsonl"
    if not path.is_file():
        return None
    summary = _summary(run / "shad" / "summary.json", notes)
    spans = line_spans(path)
    pieces = Pieces.of_run(run, model=(summary.get("made_by") or {}).get("model"))
    records, broken = [], 0
    for record in records_at(path, evenly(spans, CHAINS)):
        try:
            records.append(_chain(record or {}, pieces))
        except (ValueError, TypeError, KeyError):
            broken += 1
    note_broken(notes, "shad/roles.jsonl", broken)
    shown = fitted(records, int(ROLE_BYTES * share))
    return {"path": "shad/roles.jsonl", "total": len(spans), "records": shown, "summary": summary}


def _summary(path: Path, notes: list[str]) -> Record:
    try:
        summary = json.loads(path.read_bytes())
    except OSError:
        return {}
    except ValueError:
        summary = None
    if not isinstance(summary, dict):
        notes.append("shad/summary.json: not a JSON object; it was left out")
        return {}
    return summary


def _chain(record: Record, pieces: Pieces | None) -> Record:
    """One labelled chain.

    Raises:
        ValueError, TypeError, KeyError: the record is none.
    """
    ids, roles, ld = record["ids"], record["roles"], record["ld"]
    if not len(ids) == len(roles) == len(ld):
        raise ValueError("a chain needs one role and one difference for each of its tokens")
    kept = slice(0, TOKENS)
    return {
        "sample": record.get("sample"),
        "question_id": record.get("question_id"),
        "length": len(ids),
        "tokens": pieces_or_ids(pieces, ids[kept]),
        "roles": roles[kept],
        "ld": [_rounded(d) for d in ld[kept]],
    }


def _rounded(difference: object) -> float | None:
    """To three significant digits; the sign of the tiniest difference stays, it decides the role."""
    return float(f"{difference:.3g}") if is_number(difference) and math.isfinite(difference) else None
