"""The questions of a run: those it trains on, those it is measured on, and those of further benchmarks."""

from __future__ import annotations

import json
import logging
import random
from pathlib import Path
from typing import Any

from rftt.config import Config
from rftt.data.benchmarks import Benchmark, find_benchmark, load_benchmark, read_benchmarks
from rftt.data.problems import Problem, Problems, find_overlap, load_problems, refuse_overlap
from rftt.errors import UsageError
from rftt.model.checkpoints import write_whole
from rftt.run_folder import results_of
from search.journal import read_jsonl, write_jsonl

log = logging.getLogger(__name__)


def problems(config: Config) -> tuple[list[Problem], list[Problem]]:
    """Training and evaluation questions of a run, kept in ``data/`` so that every phase sees the same.

    Training questions that overlap what is evaluated on, the further benchmarks included, are refused or left out.

    Raises:
        UsageError: a file cannot be read, or the training questions overlap the evaluation questions.
    """
    folder, data = config.folder / "data", config.data
    paths = [folder / "train.jsonl", folder / "eval.jsonl"]
    lacking = [b for b in benchmarks(config) if not _is_kept(config, b)]
    further = {b.name: _draw(load_benchmark(b), config.eval.benchmark_limit, config.seed) for b in lacking}
    if not all(p.exists() for p in paths):
        if data.train in read_benchmarks(data.table):
            raise UsageError(
                f"data.train: {data.train} is a benchmark, whose test questions nobody trains on; give a file or a hub name "
                "with training questions"
            )
        train = _problems(config, data.train, data.train_split, data.train_name, data.columns, data.train_limit)
        held_out = _problems(config, data.eval, data.eval_split, data.eval_name, data.eval_columns, data.eval_limit)
        asked = [*held_out, *(p for found in further.values() for p in found)]
        kept, overlaps = refuse_overlap(train, asked, mode=data.overlap)
        if overlaps:
            log.warning("left out %d training questions that overlap evaluation questions", len(overlaps))
        for path, listed in zip(paths, (kept, held_out), strict=True):
            write_jsonl(path, (p.to_json() for p in listed))
        counts: dict[str, Any] = {"train": len(kept), "eval": len(held_out), "overlaps_left_out": len(overlaps)}
        counts["rows_left_out"] = {"train": train.dropped, "eval": held_out.dropped}  # by reason
        write_whole(folder / "counts.json", json.dumps(counts, indent=1) + "\n")
    asked_of, measured_on = ([Problem.from_json(r) for r in read_jsonl(p)] for p in paths)
    for benchmark in lacking:
        found = further[benchmark.name]
        # Asked for after the training questions were chosen: too late to leave any of them out.
        if late := find_overlap(asked_of, found):
            if data.overlap == "refuse":
                refuse_overlap(asked_of, found)
            log.warning("%s: %d training questions of this run overlap it", benchmark.name, len(late))
        write_jsonl(_questions_of(config, benchmark), (p.to_json() for p in found))
        write_whole(_source_of(config, benchmark), benchmark.source)
    return asked_of, measured_on


def benchmarks(config: Config) -> list[Benchmark]:
    """The benchmarks that are measured beside `data.eval`.

    Raises:
        UsageError: there is none of a name, or two have the same.
    """
    found: dict[str, Benchmark] = {}
    for name in dict.fromkeys(config.eval.benchmarks):
        if name == config.data.eval:  # measured anyway
            continue
        benchmark = find_benchmark(name, root=config.data.root, table=config.data.table)
        if benchmark.name in found:
            raise UsageError(f"eval.benchmarks: two are called {benchmark.name}; rename one of the files")
        if benchmark.name in ("base", "sft", "rl"):
            raise UsageError(f"eval.benchmarks: a file cannot be called {benchmark.name}; rename it")
        found[benchmark.name] = benchmark
    return list(found.values())


def benchmark_problems(config: Config, benchmark: Benchmark) -> list[Problem]:
    """The questions of a further benchmark, which `problems` keeps in ``data/benchmarks/``."""
    return [Problem.from_json(r) for r in read_jsonl(_questions_of(config, benchmark))]


def _questions_of(config: Config, benchmark: Benchmark) -> Path:
    return config.folder / "data" / "benchmarks" / f"{benchmark.name}.jsonl"


def _source_of(config: Config, benchmark: Benchmark) -> Path:
    return _questions_of(config, benchmark).with_suffix(".source")


def _is_kept(config: Config, benchmark: Benchmark) -> bool:
    """Whether the questions of a benchmark are there; those of another file of its name are not, but a copy's are.

    Raises:
        UsageError: models were measured on the questions of another file of its name.
    """
    path, source = _questions_of(config, benchmark), _source_of(config, benchmark)
    if not path.exists():
        return False
    before = source.read_text(encoding="utf-8") if source.exists() else benchmark.source
    if before == benchmark.source or benchmark.name in read_benchmarks(config.data.table):
        return True
    found = _draw(load_benchmark(benchmark), config.eval.benchmark_limit, config.seed)
    if found == benchmark_problems(config, benchmark):
        return True
    measured = results_of(config, "base", benchmark.name).parent
    if measured.is_dir() and any(measured.iterdir()):
        raise UsageError(
            f"eval.benchmarks: {benchmark.source}: this run has measured {before} as {benchmark.name}, other questions; "
            "rename the file"
        )
    return False


def _problems(
    config: Config, source: str, split: str, name: str | None, columns: dict[str, Any], limit: int | None
) -> Problems:
    if source == "toy":
        from rftt.toy.world import rows

        return Problems(Problem.from_json(r) for r in rows(split, limit or 512, config.seed))
    if source in read_benchmarks(config.data.table) and not columns:
        loaded = load_benchmark(find_benchmark(source, root=config.data.root, table=config.data.table))
    else:
        loaded = load_problems(
            source, columns=columns or None, split=split, name=name, unusable=config.data.unusable,
            graded=config.reward.function is None,
        )  # fmt: skip
    return _draw(loaded, limit, config.seed)


def _draw(loaded: Problems, limit: int | None, seed: int) -> Problems:
    if limit is None or limit >= len(loaded):
        return loaded
    chosen = sorted(random.Random(f"{seed}/limit").sample(range(len(loaded)), limit))
    return Problems((loaded[i] for i in chosen), loaded.dropped, loaded.examples)
