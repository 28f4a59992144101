"""An even sample of the groups that the RL kept, with what each token was credited with (rl/rollouts.jsonl)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rftt.report.lines import Record, clip, evenly, fitted, is_number, line_spans, note_broken, records_at

ROLLOUT_BYTES = 1_500_000  # of JSON, for all groups together
GROUP_BYTES = 400_000  # of one group
GROUPS = 100
TOKENS = 3000  # of one path


def rollouts_of(run: Path, notes: list[str], share: float = 1.0) -> Record | None:
    """The groups ``{"step", "question_id", "prompt", "gold", "largest", "total", "paths"}``; None without their file.

    Args:
        run: the run folder.
        notes: gets a line for what could not be read.
        share: share of the bytes that all runs of the page have together.
    """
    limit = int(ROLLOUT_BYTES * share)
    path = run / "rl" / "rollouts.jsonl"
    if not path.is_file():
        return None
    spans = line_spans(path)
    # Lines of long paths are megabytes: no more of them are read than can be shown.
    size = sum(min(length, GROUP_BYTES) for _, length in spans) / max(len(spans), 1)
    count = max(1, min(GROUPS, int(limit / max(size, 1))))
    groups, broken = [], 0
    for record in records_at(path, evenly(spans, count)):
        try:
            groups.append(_group(record or {}))
        except (ValueError, TypeError, KeyError, AttributeError):
            broken += 1
    note_broken(notes, "rl/rollouts.jsonl", broken)
    return {"path": "rl/rollouts.jsonl", "total": len(spans), "records": fitted(groups, limit)}


def _group(record: Record) -> Record:
    """The paths of one question, and the largest |advantage| among all of their tokens.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: the record is no group of paths.
    """
    if not is_number(record["step"]):
        raise ValueError("a group needs its step")
    largest = max((abs(a) for p in record["paths"] for a in p["advantages"] if is_number(a)), default=0.0)
    paths = [_path(number, path) for number, path in enumerate(record["paths"], 1)]
    return {
        "step": record["step"],
        "question_id": record.get("question_id"),
        "prompt": [{"role": m.get("role"), "content": clip(m.get("content"))} for m in record["prompt"]],
        "gold": record.get("answer"),
        "largest": largest,
        "total": len(paths),
        "paths": fitted(paths, GROUP_BYTES),
    }


def _path(number: int, path: dict[str, Any]) -> Record:
    tokens, advantages = path["tokens"], path["advantages"]
    lists = isinstance(tokens, list) and isinstance(advantages, list) and len(tokens) == len(advantages)
    if not lists or not all(isinstance(token, str) for token in tokens):
        raise ValueError(f"path {number} needs one advantage for each of its tokens")
    logprobs = path.get("logprobs")
    if not isinstance(logprobs, list) or len(logprobs) != len(tokens):
        logprobs = []
    return {
        "number": number,
        **{name: path.get(name) for name in ("verdict", "status", "origin", "reward")},
        "tokens": tokens[:TOKENS],
        "advantages": [a if is_number(a) else None for a in advantages[:TOKENS]],
        **({"logprobs": [v if is_number(v) else None for v in logprobs[:TOKENS]]} if logprobs else {}),
        "length": len(tokens),
    }
