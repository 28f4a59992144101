"""The report of a run: one self-contained `report.html` with results, curves, chains, samples and trees.

    rftt view RUN

Reads what the phases left in the run folder and embeds it in one page that opens from the disk: no network, no
library, no build step. `report.html` is the page; `report.css` and the scripts `report*.js` are written into it. A
phase that has not run leaves a line that names the command which makes it.

Simplified: trees and samples are an even sample of their files, so that the page stays small; node records go without
their token ids. The page says how many of how many it shows, and where the full record stands.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import html
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import yaml

from rftt.errors import UsageError
from search.functions import RFTT, ROOT, FunctionSet
from search.tree import Node, Tree

Record = dict[str, Any]

MODELS = ("base", "sft", "rl")
SCRIPTS = ("report.js", "report_charts.js", "report_trees.js", "report_sections.js")
# Sizes of the embedded parts, in bytes of JSON for all their files together.
TREE_BYTES, SAMPLE_BYTES, CHAIN_BYTES = 3_000_000, 1_200_000, 300_000
SAMPLES = 400  # of one model
CHAINS = 8  # of one kind
POINTS = 300  # of one training curve
MAX_CHARS = 6000  # of one text
MARKS = ("config.yaml", "summary.json", "metrics.jsonl", "search", "sft", "rl", "eval")
SECRET = r"(?:api_?key|password|secret|hf_token|access_token)"


def write_report(run: Path, out: Path | None = None, *, trees: int = 40, functions: FunctionSet = RFTT) -> Path:
    """Write the report of a run, whole or not at all.

    Args:
        run: the run folder; phases may be missing.
        out: the file to write; ``report.html`` in the run folder by default.
        trees: at most so many trees of each file, at least 1.
        functions: the token set of the run; its order gives the colours.

    Returns:
        The file that was written.

    Raises:
        UsageError: there is no such folder, it holds nothing of a run, a file in it is damaged, or `out` cannot be
            written.
    """
    run = Path(run)
    if trees < 1:
        raise UsageError(f"trees = {trees}: a report needs at least one tree of each file; give 1 or more")
    target = Path(out) if out is not None else run / "report.html"
    page = render(collect(run, trees=trees, functions=functions))
    try:
        _write(target, page)
    except OSError as error:
        raise UsageError(f"cannot write {target} ({error.strerror}); give another --out") from error
    return target


def collect(run: Path, *, trees: int = 40, functions: FunctionSet = RFTT) -> Record:
    """What the page shows, as JSON data.

    Raises:
        UsageError: as in `write_report`.
    """
    if not run.is_dir():
        raise UsageError(f"there is no run folder {run}; check the path, or make it with: rftt run CONFIG")
    if not any((run / mark).exists() for mark in MARKS):
        raise UsageError(f"{run} holds no run (none of {', '.join(MARKS)}); check the path")
    config, summary = _config(run / "config.yaml"), _summary(run / "summary.json")
    notes: list[str] = []
    metrics, times = _metrics(run, notes)
    samples = _samples(run, notes)
    levels = {r["question_id"]: r["level"] for s in samples for r in s["records"] if r.get("level") is not None}
    forest = _forest(run, trees, levels, notes)
    names = list(functions.names)
    for node in (n for source in forest for tree in source["records"] for n in tree["nodes"]):
        if node["function"] not in (ROOT, *names):
            names.append(node["function"])
    data: Record = {
        "name": run.resolve().name,
        "written": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "times": times,
        "seeds": dict(_seeds(config)),
        "config": yaml.safe_dump(_masked(config), sort_keys=False, allow_unicode=True) if config else None,
        "summary": _masked(summary),
        "order": [*MODELS],
        "functions": names,
        "root": ROOT,
        "metrics": metrics,
        "chains": _chains(run, notes),
        "samples": samples,
        "trees": forest,
        "notes": notes,
    }
    return data | {"missing": _missing(data)}


def render(data: Record) -> str:
    """The page with its data in it.

    Text of questions and models stands in it only as JSON without ``<``, and the page's policy lets no script run but
    its own.
    """
    folder = Path(__file__).parent
    style = (folder / "report.css").read_text(encoding="utf-8")
    script = "".join((folder / name).read_text(encoding="utf-8") for name in SCRIPTS)
    values = {
        "title": html.escape(f"{data['name']} · rftt report"),
        "style": style,
        "script": script,
        "style_hash": _hash(style),
        "script_hash": _hash(script),
        "data": json.dumps(_finite(data), ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace(
            "<", "\\u003c"
        ),
    }
    template = (folder / "report.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)


def chosen_leaf(tree: Tree, *, voted: str | None = None, by_vote: bool = False) -> Node | None:
    """The leaf whose path the report marks.

    With gold it is the correct path with the best mean score, without it (`by_vote`) the best path among those that
    end in the voted answer. A step's score is its PRM score where every step has one, else Q/N; ties go to fewer
    repeated steps, then to the shorter path.

    Args:
        tree: the tree.
        voted: the answer that the search returned; the most frequent one as written when it is not recorded.
        by_vote: choose by the vote, not by the verdict.
    """
    leaves = [leaf for leaf in tree.leaves() if leaf.answer is not None]
    if by_vote:
        if voted is None and leaves:
            voted = Counter(leaf.answer for leaf in leaves).most_common(1)[0][0]
        candidates = [leaf for leaf in leaves if leaf.answer == voted]
    else:
        candidates = [leaf for leaf in leaves if leaf.verdict == "correct"]
    return max(candidates, key=lambda leaf: _score(tree, leaf), default=None)


def _score(tree: Tree, leaf: Node) -> tuple[float, int, int]:
    path = tree.path(leaf)
    prm = [node.prm for node in path if node.prm is not None]
    scores = prm if len(prm) == len(path) else [node.mean for node in path]
    return sum(scores) / len(scores), -tree.repeated_steps(leaf), -len(path)


# The files of a run


def _config(path: Path) -> Record:
    if not path.is_file():
        return {}
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not YAML ({error}); mend it, or run the phase again") from error
    if not isinstance(config, dict):
        raise UsageError(f"{path}: a {type(config).__name__}, not a mapping of settings; mend it")
    return config


def _summary(path: Path) -> Record:
    if not path.is_file():
        return {}
    try:
        summary = json.loads(path.read_bytes())
    except ValueError as error:
        raise UsageError(f"{path}: not JSON ({error}); remove it and run again: rftt eval CONFIG") from error
    if not isinstance(summary, dict):
        kind = type(summary).__name__
        raise UsageError(f"{path}: a {kind}, not an object; remove it and run again: rftt eval CONFIG")
    return summary


def _spans(path: Path) -> list[tuple[int, int]]:
    """(offset, length) of each line that is not blank, without a last line that a crash tore."""
    spans, at = [], 0
    with path.open("rb") as file:
        for line in file:
            if line.strip() and (line.endswith(b"\n") or _parsed(line) is not None):
                spans.append((at, len(line)))
            at += len(line)
    return spans


def _records(path: Path, spans: Iterable[tuple[int, int]]) -> Iterator[Record | None]:
    """The record of each span; None where it is not a JSON object."""
    with path.open("rb") as file:
        for offset, length in spans:
            file.seek(offset)
            yield _parsed(file.read(length))


def _parsed(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _metrics(run: Path, notes: list[str]) -> tuple[list[Record], list[float]]:
    """Curves ``{"phase", "name", "points": [[step, value], …], "steps"}`` and the first and last time."""
    path = run / "metrics.jsonl"
    curves: dict[tuple[str, str], dict[float, float]] = {}
    times: list[float] = []
    broken = 0
    if not path.is_file():
        return [], []
    for record in _records(path, _spans(path)):
        step = record.get("step") if record else None
        if record is None or not _is_number(step):
            broken += 1
            continue
        if _is_number(record.get("time")):
            times.append(record["time"])
        for name, value in record.items():
            if name not in ("step", "time") and _is_number(value):
                # A step that was done again after a resume counts once, as it was done last.
                curves.setdefault((str(record.get("phase", "")), name), {})[step] = value
    _note_broken(notes, "metrics.jsonl", broken)
    found = [
        {"phase": phase, "name": name, "points": _binned(sorted(points.items())), "steps": len(points)}
        for (phase, name), points in curves.items()
    ]
    return found, [min(times), max(times)] if times else []


def _binned(points: Sequence[tuple[float, float]]) -> list[list[float]]:
    """At most `POINTS` points; each is the mean of as many neighbours."""
    size = math.ceil(len(points) / POINTS)
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [[g[-1][0], float(f"{sum(value for _, value in g) / len(g):.6g}")] for g in groups]


def _chains(run: Path, notes: list[str]) -> Record | None:
    path = run / "search" / "chains.jsonl"
    if not path.is_file():
        return None
    kinds: dict[str, list[Record]] = {}
    broken = 0
    for record in _records(path, _spans(path)):
        messages = record.get("messages") if record else None
        if record is None or not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
            broken += 1
            continue
        kinds.setdefault(str(record.get("kind", "plain")), []).append(
            {
                "question_id": record.get("question_id"),
                "kind": str(record.get("kind", "plain")),
                "answer": record.get("answer"),
                "messages": [{"role": m.get("role"), "content": _clip(m.get("content"))} for m in messages],
            }
        )
    _note_broken(notes, "search/chains.jsonl", broken)
    shown = [_fitted(_evenly(chains, CHAINS), CHAIN_BYTES // len(kinds)) for chains in kinds.values()]
    return {
        "path": "search/chains.jsonl",
        "kinds": {kind: len(chains) for kind, chains in kinds.items()},
        "records": [chain for chains in shown for chain in chains],
    }


def _samples(run: Path, notes: list[str]) -> list[Record]:
    """One part for each model: counts over all of its samples, and an even sample of them."""
    parts = []
    files = _by_model(run, "samples")
    for model, path in files.items():
        spans = _spans(path)
        keep = set(_evenly(range(len(spans)), SAMPLES))
        counts: Counter[str] = Counter()
        well_formed = broken = 0
        kept: list[Record] = []
        for place, record in enumerate(_records(path, spans)):
            if record is None:
                broken += 1
                continue
            counts[str(record.get("verdict"))] += 1
            well_formed += record.get("well_formed") is True
            if place in keep:
                kept.append({k: v for k, v in record.items() if k not in ("ids", "logprobs", "schema")})
        name = path.relative_to(run).as_posix()
        _note_broken(notes, name, broken)
        kept = [r | {k: _clip(r.get(k)) for k in ("question", "text")} for r in kept]
        parts.append(
            {
                "model": model,
                "path": name,
                "total": sum(counts.values()),
                "verdicts": dict(counts.most_common()),
                "well_formed": well_formed,
                "records": _fitted(kept, SAMPLE_BYTES // len(files)),
            }
        )
    return parts


def _forest(run: Path, limit: int, levels: dict[Any, Any], notes: list[str]) -> list[Record]:
    """One part for each file of trees: how many it holds, and an even sample of them."""
    search = run / "search" / "trees.jsonl"
    files = {"search": search} if search.is_file() else {}
    files |= _by_model(run, "trees")
    parts = []
    for source, path in files.items():
        spans = _spans(path)
        name = path.relative_to(run).as_posix()
        records, broken = [], 0
        for record in _records(path, _evenly(spans, limit)):
            try:
                tree = _slim_tree(record or {}, source)
            except (ValueError, TypeError, KeyError, AttributeError):
                broken += 1
                continue
            if tree["level"] is None:
                tree["level"] = levels.get(tree["question_id"])
            records.append(tree)
        _note_broken(notes, name, broken)
        shown = _fitted(records, TREE_BYTES // len(files))
        parts.append({"source": source, "path": name, "total": len(spans), "records": shown})
    return parts


def _slim_tree(record: Record, source: str) -> Record:
    """A tree as the page embeds it: nodes without token ids, and the leaf of the chosen chain.

    Raises:
        ValueError, TypeError, KeyError: the record is no tree.
    """
    tree = Tree.from_json(record)
    for place, node in enumerate(tree.nodes):
        if node.id != place or (node.parent is None) != (place == 0) or not -1 < (node.parent or 0) < max(place, 1):
            raise ValueError(f"node {place} is out of place")
    by_vote = source != "search"
    # The evaluation keeps the vote at each budget; the tree as it stands is that of the largest.
    votes: dict[str, Record] = record.get("votes") or {}
    voted = votes[max(votes, key=int)]["answer"] if votes else None
    chosen = chosen_leaf(tree, voted=voted, by_vote=by_vote)
    nodes = []
    for raw, node in zip(record["nodes"], tree.nodes):
        slim = {k: v for k, v in raw.items() if k not in ("ids", "logprobs", "children")}
        if node.text:
            slim["text"] = _clip(node.text)
        if node.ids:
            slim["tokens"] = len(node.ids)
        if node.logprobs:
            slim["mean_logprob"] = round(sum(node.logprobs) / len(node.logprobs), 4)
        nodes.append(slim)
    return {
        "question_id": tree.question_id,
        "question": _clip(tree.question),
        "gold": record.get("gold"),
        "level": record.get("level", tree.made_by.get("level")),
        "voted": voted,
        "votes": votes,
        "made_by": tree.made_by,
        "prompt_tokens": len(tree.prompt_ids),
        "spent": tree.spent,
        "by_vote": by_vote,
        "chosen": chosen.id if chosen else None,
        "nodes": nodes,
    }


def _missing(data: Record) -> list[Record]:
    """What a phase that has not run would have left: ``{"section", "what", "command"}``."""
    summary, phases = data["summary"], {curve["phase"] for curve in data["metrics"]}
    sources = [part["source"] for part in data["trees"]]
    evaluated = summary.get("models") or {}
    found: list[tuple[bool, str, str, str]] = [
        *((m in evaluated, "results", f"results of the {m} model", "eval") for m in MODELS),
        (bool(summary.get("curves")), "budget", "accuracy of the search over rollouts", "eval"),
        (bool(summary.get("majority")), "budget", "accuracy of the majority vote", "eval"),
        *((p in phases, "training", f"training curves of the phase {p}", p) for p in ("sft", "rl")),
        (bool(summary.get("seconds")), "time", "time per phase", "run"),
        (data["chains"] is not None, "chains", "chains for the warm-up (search/chains.jsonl)", "search"),
        ("search" in sources, "trees", "trees of phase 1 (search/trees.jsonl)", "search"),
        (sources not in ([], ["search"]), "trees", "trees of the evaluation (eval/trees-….jsonl)", "eval"),
        (bool(data["samples"]), "samples", "samples of the evaluation (eval/samples-….jsonl)", "eval"),
        (data["config"] is not None, "run", "the settings of the run (config.yaml)", "run"),
    ]
    return [
        {"section": section, "what": what, "command": f"rftt {command} CONFIG"}
        for there, section, what, command in found
        if not there
    ]


# Small pieces


def _by_model(run: Path, kind: str) -> dict[str, Path]:
    """Model → file ``eval/{kind}-{model}.jsonl``, in the order in which models come about."""
    files = {path.stem.removeprefix(f"{kind}-"): path for path in sorted((run / "eval").glob(f"{kind}-*.jsonl"))}
    return {model: files[model] for model in sorted(files, key=lambda m: (m not in MODELS, (*MODELS, m).index(m)))}


def _evenly(items: Sequence[Any], count: int) -> list[Any]:
    """`count` of the items at even distances, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    if count == 1:
        return [items[0]]
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def _fitted(records: list[Record], limit: int) -> list[Record]:
    """As many of the records, evenly, as fit into `limit` bytes of JSON; at least one."""
    while len(records) > 1 and (size := sum(map(_size, records))) > limit:
        records = _evenly(records, max(1, min(len(records) - 1, len(records) * limit // size)))
    return records


def _size(record: Record) -> int:
    return len(json.dumps(record, ensure_ascii=False).encode(errors="replace"))


def _clip(text: Any) -> str:
    text = text if isinstance(text, str) else "" if text is None else json.dumps(text, ensure_ascii=False)
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]} … ({len(text) - MAX_CHARS} more characters)"


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, (list, tuple)) else value


def _seeds(config: Record, place: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _seeds(value, f"{place}{key}.")
        elif key == "seed" and value is not None:
            yield f"{place}{key}", value


def _masked(value: Any) -> Any:
    """The same without the values of keys that hold credentials: reports get passed around."""
    if isinstance(value, dict):
        return {k: "…" if v and re.search(f"{SECRET}$", str(k), re.I) else _masked(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_masked(v) for v in value]
    return re.sub(rf"({SECRET}=)\S+", r"\1…", value, flags=re.I) if isinstance(value, str) else value


def _note_broken(notes: list[str], name: str, broken: int) -> None:
    if broken:
        notes.append(f"{name}: {broken} unreadable {'line was' if broken == 1 else 'lines were'} left out")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _write(path: Path, page: str) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            # A lone surrogate becomes its JSON escape.
            file.write(page.encode("utf-8", "backslashreplace"))
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
