"""An even sample of the answers of the evaluation (eval/samples-….jsonl)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rftt.report.lines import Record, by_model, clip, evenly, fitted, line_spans, note_broken, records_at

SAMPLE_BYTES = 1_200_000  # of JSON, for all files together
SAMPLES = 400  # of one model


def samples_of(run: Path, notes: list[str]) -> list[Record]:
    """One part for each model: counts over all of its samples, and an even sample of them."""
    parts = []
    files = by_model(run, "samples")
    for model, path in files.items():
        spans = line_spans(path)
        keep = set(evenly(range(len(spans)), SAMPLES))
        counts: Counter[str] = Counter()
        well_formed = broken = 0
        kept: list[Record] = []
        for place, record in enumerate(records_at(path, spans)):
            if record is None:
                broken += 1
                continue
            counts[str(record.get("verdict"))] += 1
            well_formed += record.get("well_formed") is True
            if place in keep:
                kept.append({k: v for k, v in record.items() if k not in ("ids", "logprobs", "schema")})
        name = path.relative_to(run).as_posix()
        note_broken(notes, name, broken)
        kept = [r | {k: clip(r.get(k)) for k in ("question", "text")} for r in kept]
        parts.append(
            {
                "model": model,
                "path": name,
                "total": sum(counts.values()),
                "verdicts": dict(counts.most_common()),
                "well_formed": well_formed,
                "records": fitted(kept, SAMPLE_BYTES // len(files)),
            }
        )
    return parts
