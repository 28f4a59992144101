"""Results in the layout of lm-evaluation-harness, for the tools that read its files: ``rftt harness RUN OUT``.

One folder a model with ``results_{date}.json`` and, for each benchmark, ``samples_{task}_{date}.jsonl``: a line a question
with the greedy answer as its response, and the question's value for every metric. Layout of lm-evaluation-harness 0.4.
"""

from __future__ import annotations

import hashlib
import json
import re
import statistics
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rftt.data.tables import READERS
from rftt.errors import UsageError
from rftt.evaluate.compare import DEFAULT, MODELS, Side, sides
from rftt.model.checkpoints import write_whole
from search.journal import read_jsonl, write_jsonl

EXACT_MATCH = "exact_match"  # their name for what is `greedy` here
VERSION = 1  # of a task, in their sense: counts up when its prompt or grading changes


def export(run: Path, out: Path) -> list[Path]:
    """Write what a run has measured.

    Args:
        run: the run folder.
        out: gets a folder for each model.

    Returns:
        The result files.

    Raises:
        UsageError: nothing was measured.
    """
    by_model: dict[str, dict[str, Side]] = {}
    places: dict[str, Path] = {}
    for (benchmark, model), side in sides(str(run), None, None).items():
        task = _task(side, benchmark)
        by_model.setdefault(model, {})[task] = side
        places[task] = run / "eval" / ("" if benchmark == DEFAULT else benchmark)
    written = []
    for model in (m for m in MODELS if m in by_model):
        tasks = by_model[model]
        name = f"{run.resolve().name}/{model}"
        folder = out / re.sub(r'["<>:/|\\?*\[\]]+', "__", name)
        last = max((places[task] / f"{model}.json").stat().st_mtime for task in tasks)
        date = datetime.fromtimestamp(last).isoformat(timespec="microseconds").replace(":", "-")
        hashes = {}
        for task, side in tasks.items():
            rows = list(_rows(side, places[task] / f"greedy-{model}.jsonl"))
            write_jsonl(folder / f"samples_{task}_{date}.jsonl", rows)
            hashes[task] = _hash("".join(r["doc_hash"] + r["prompt_hash"] + r["target_hash"] for r in rows))
        results = _results(name, tasks) | {"task_hashes": hashes, "date": last}
        path = folder / f"results_{date}.json"
        write_whole(path, json.dumps(results, indent=2, ensure_ascii=False) + "\n")
        written.append(path)
    return written


def _task(side: Side, benchmark: str) -> str:
    """Name of the task: that of the benchmark, or the stem of what `data.eval` names."""
    if benchmark != DEFAULT:
        return benchmark
    source = str(side.result.get("benchmark", {}).get("source", DEFAULT))
    return re.sub(r"[^\w.-]+", "-", Path(source).stem if Path(source).suffix in READERS else source)


def _results(name: str, tasks: Mapping[str, Side]) -> dict[str, Any]:
    """The summary file of one model."""
    about = next(iter(tasks.values())).result["about"]
    sampling = about["sampling"]
    n = {task: len(side.questions) for task, side in tasks.items()}
    return {
        "results": {task: {"alias": task, **_figures(side)} for task, side in tasks.items()},
        "group_subtasks": {task: [] for task in tasks},
        "configs": {task: _config(task, side) for task, side in tasks.items()},
        "versions": dict.fromkeys(tasks, VERSION),
        "n-shot": dict.fromkeys(tasks, 0),
        "higher_is_better": {task: dict.fromkeys(_names(side), True) for task, side in tasks.items()},
        "n-samples": {task: {"original": count, "effective": count} for task, count in n.items()},
        "config": {
            "model": "rftt", "model_args": f"pretrained={name}", "batch_size": "auto", "random_seed": sampling["seed"],
            "gen_kwargs": {k: sampling[k] for k in ("temperature", "top_p", "max_tokens")}, "rftt": about,
        },
        "model_source": "rftt",
        "model_name": name,
        "model_name_sanitized": name.replace("/", "__"),
        "chat_template_sha": about["template_sha256"],
    }  # fmt: skip


def _names(side: Side) -> dict[str, str]:
    """Their name of each metric → ours."""
    return {EXACT_MATCH if name == "greedy" else name: name for name in side.result["metrics"]}


def _figures(side: Side) -> dict[str, float | str]:
    found: dict[str, float | str] = {}
    for theirs, ours in _names(side).items():
        values = [q["values"][ours] for q in side.questions.values() if ours in q["values"]]
        found[f"{theirs},none"] = side.result["metrics"][ours]["value"]
        found[f"{theirs}_stderr,none"] = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else "N/A"
    return found


def _config(task: str, side: Side) -> dict[str, Any]:
    benchmark, about = side.result["benchmark"], side.result["about"]
    # Their tools expect a metric of this list in every row.
    everywhere = [t for t, ours in _names(side).items() if all(ours in q["values"] for q in side.questions.values())]
    return {
        "task": task, "dataset_path": benchmark.get("source"),
        "dataset_name": ",".join(benchmark.get("configs", [])) or None, "test_split": benchmark.get("split"),
        "doc_to_text": "{{question}}", "doc_to_target": "{{answer}}",
        "description": about["instruction"], "num_fewshot": 0, "output_type": "generate_until", "repeats": 1,
        "generation_kwargs": {"temperature": 0.0, "max_gen_toks": about["sampling"]["max_tokens"], "do_sample": False},
        "metric_list": [{"metric": m, "aggregation": "mean", "higher_is_better": True} for m in everywhere],
        "should_decontaminate": False, "metadata": {"version": VERSION},
    }  # fmt: skip


def _rows(side: Side, greedy: Path) -> Iterator[dict[str, Any]]:
    if not greedy.exists():
        raise UsageError(f"{greedy}: not there; run `rftt eval CONFIG` again")
    answers = {record["question_id"]: record for record in read_jsonl(greedy)}
    about, first = side.result["about"], next(iter(side.questions.values()))["question"]
    names = _names(side)
    for place, (id, question) in enumerate(side.questions.items()):
        # The prompt of the first question is kept; the template is the same for all.
        prompt = about["prompt"].replace(first, question["question"])
        doc = {"id": id, "question": question["question"], "answer": question["gold"]}
        doc |= {k: question[k] for k in ("level", "subject") if question.get(k) is not None}
        settings = {"until": [], "temperature": 0.0, "max_gen_toks": about["sampling"]["max_tokens"]}
        yield {
            "doc_id": place, "doc": doc, "target": question["gold"],
            "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": settings}},
            "resps": [[answers[id]["text"]]], "filtered_resps": [answers[id]["answer"] or ""],
            "filter": "none", "metrics": list(names), "doc_hash": _hash(json.dumps(doc, ensure_ascii=False)),
            "prompt_hash": _hash(prompt), "target_hash": _hash(question["gold"]),
            **{theirs: question["values"][ours] for theirs, ours in names.items() if ours in question["values"]},
        }  # fmt: skip


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
