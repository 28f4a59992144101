"""Measure the scheduling of the search: against the engine's ceiling, in lock-step and one by one; how it grows; rollouts of
one tree side by side; its own time beside a large model; what longer steps and smaller cache blocks do to the redundancy.

    python -m tests.benchmarks.search --json OUT [--questions 256] [--rollouts 16] [--part growth main ...]

Model and settings are those of configs/toy.yaml: the prompted policy, one vLLM engine in this process, gold as the judge.
All schedules search with the same seeds, and each starts with empty caches. The ceiling, *flat*, is what our search asked
for, handed to vLLM all at once; its seeds give the same tokens. *flat chains* are whole chains from the questions, one a
rollout, with as many tokens together: no tree is bought with them. Efficiency is tokens per second as a share of flat's.
The engine of the part *latency*, and of one half of *growth* and *parallel*, is a scripted model that takes the time of a
7B model, or a tenth of it. The part *redundancy* only counts: a scripted model with a prefix cache in blocks that forgets
nothing. The part *best_first* searches with a tuned model, which `make quickstart` leaves in runs/toy.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import json
import os
import pstats
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

from rewards import grader
from rftt.config import Config, load_config
from rftt.data.problems import load_problems
from rftt.run_folder import model_path
from rftt.runtime import environment
from rftt.runtime.running_engine import build_engine
from rftt.toy.world import problems
from search import Question, SearchConfig, Tree, search_many
from search.accounting import CountedEngine
from search.engines import Sampling
from tests.benchmarks import _schedules as schedules
from tests.benchmarks._schedules import AT_ONCE, Recorder, Run, StepEngine
from tests.benchmarks.grader import table
from tests.search.fakes import TOKENIZER, functional_script

# Growth first: it measures memory that others would have asked for.
PARTS = ("growth", "main", "parallel", "latency", "redundancy", "best_first")
GROWTH = (16, 64, 256, 1024)
GROWTH_ROLLOUTS = LATENCY_ROLLOUTS = 4
PARALLEL = (1, 4, 16, 64)
ONE_TREE = 256  # rollouts of the tree that is grown with several at once
STEP_LENGTHS = (12, 40, 80, 160)  # tokens of a continuation, about
BLOCKS = (16, 32)
COUNTED = 64  # questions whose tokens are counted
BEST_FIRST_QUESTIONS, BEST_FIRST_TOKENS = 64, 1150
BEST_FIRST_GROWTH = (4, 16)  # the default, and all that a generation holds from the second one on
GENERATIONS = (1, 4, 16)  # branches of one question in flight
TRIED = 24  # questions that are tried for such a tree
SCHEDULES = ("flat", "flat_chains", "ours", "lockstep", "serial")
FIGURES = ("questions", "generated_tokens", "tokens_per_s", "efficiency", "redundancy", "requests_per_question",
            "rounds_per_question", "outside_engine", "seconds", "engine_steps",
           "same_trees")  # fmt: skip
Row = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--json", type=Path, help="file for the schedules; the other parts stand beside it in …-more.json"
    )
    parser.add_argument(
        "--part", nargs="+", choices=PARTS, default=PARTS, help="what is measured (default: everything)"
    )
    parser.add_argument("--questions", type=int, default=AT_ONCE)
    parser.add_argument("--rollouts", type=int, default=16)
    parser.add_argument("--parallel-rollouts", type=int, default=1, help="of ours, in the main part")
    parser.add_argument("--lockstep-questions", type=int, help="of the lock-step schedule (default: all)")
    parser.add_argument("--serial-questions", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=1, help="runs of every schedule; medians are reported")
    parser.add_argument("--growth-vllm", type=int, default=256, metavar="N", help="most questions of growth on vLLM")
    parser.add_argument("--tuned", type=Path, default=Path("runs/toy/rl/final"), help="model of the part best_first")
    parser.add_argument("--config", default="configs/toy.yaml", help="settings of the engine and the search")
    parser.add_argument("--asked", type=Path, help="file of questions for the part best_first (default: the toy's)")
    parser.add_argument(
        "--budget", type=int, default=BEST_FIRST_TOKENS, help="tokens a question in the part best_first"
    )
    parser.add_argument("--growth", type=int, nargs="+", default=BEST_FIRST_GROWTH, help="tried in the part best_first")
    parser.add_argument("--profile", action="store_true", help="only profile our schedule outside of vLLM's step")
    options = parser.parse_args()
    environment.set_defaults()
    config = load_config(options.config)
    if options.profile:
        with _vllm(config) as engine:
            profile(engine, config.search, options)
        return 0
    figures: dict[str, Any] = {"schedules": [], "growth": [], "parallel": [], "latency": [], "redundancy": [],
                               "best_first": []}  # fmt: skip
    wrong: list[str] = []
    if "growth" in options.part:
        figures["growth"] += growth(_steps(config, 2.5e-3), "simulated", config.search, max(GROWTH))
    if {"growth", "main", "parallel"} & set(options.part):
        with _vllm(config) as engine:
            if "growth" in options.part:
                figures["growth"] += growth(engine, "vllm", config.search, options.growth_vllm)
            if "main" in options.part:
                figures["schedules"], wrong = compare(engine, config.search, options)
            if "parallel" in options.part:
                figures["parallel"] += side_by_side(engine, "vllm", config.search)
    if "parallel" in options.part:
        figures["parallel"] += side_by_side(_steps(config, 2.5e-3), "simulated", config.search)
    if "latency" in options.part:
        figures["latency"] = latency(config, options.questions)
    if "redundancy" in options.part:
        figures["redundancy"] = redundancy(config, min(options.questions, COUNTED), options.rollouts)
    if "best_first" in options.part:
        figures["best_first"] = best_first(config, options)
    report(figures)
    if options.json:
        main = [row for row in figures.pop("schedules") if row["schedule"] != "flat_chains"]
        options.json.write_text(json.dumps(main, indent=1) + "\n")
        more = options.json.with_name(f"{options.json.stem}-more.json")
        more.write_text(json.dumps(figures, indent=1) + "\n")
    for line in wrong:
        print(line)
    return int(bool(wrong))


def questions(split: str = "train", seed: int = 0) -> Iterator[Question]:
    """Questions of the embedded world without end, with their gold."""
    for i, problem in enumerate(problems(split, seed)):
        yield Question(f"toy-{split}-{seed}-{i}", problem.question, problem.answer)


@contextmanager
def _vllm(config: Config) -> Iterator[Any]:
    """The engine with all of its KV memory resident."""
    with closing(build_engine(config, model_path(config))) as engine:

        def touch(worker: Any) -> None:
            for block in worker.model_runner.kv_caches:
                block.zero_()

        os.environ.setdefault("VLLM_ALLOW_INSECURE_SERIALIZATION", "1")
        engine.llm.collective_rpc(touch)
        yield engine


def _warm(engine: Any, search: SearchConfig) -> None:
    """Build kernels for batches of every size, and start the grader's workers."""
    config = replace(search, rollouts=2, live_trees=AT_ONCE)
    schedules.ours(islice(questions("validation"), AT_ONCE), engine, config)


def _steps(config: Config, step_seconds: float = 25e-3, longer_by: tuple[int, int] = (0, 0)) -> StepEngine:
    """The simulated engine with the tokenizer of the toy model."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_path(config))
    return StepEngine(
        schedules.scripted(tokenizer, longer_by), tokenizer, eos_ids=frozenset({tokenizer.eos_token_id}),
        step_seconds=step_seconds, token_seconds=step_seconds / 500,
    )  # fmt: skip


@contextmanager
def _fresh(engine: Any) -> Iterator[list[int]]:
    """The engine without what a run before has left in caches; gives the tokens that it computes, step by step."""
    engine.reset_prefix_cache()
    grader._cache = grader.StatusCache(grader.CACHE_ENTRIES)
    gc.collect()
    with schedules.counted_steps(engine) as steps:
        yield steps


def compare(engine: Any, search: SearchConfig, options: argparse.Namespace) -> tuple[list[Row], list[str]]:
    """All schedules on the same questions.

    Returns:
        One row a schedule, and a line for each tree that lock-step grew otherwise.
    """
    asked = list(islice(questions(), options.questions))
    together = asked[: options.lockstep_questions]
    config = replace(
        search,
        rollouts=options.rollouts,
        live_trees=min(len(asked), AT_ONCE),
        parallel_rollouts=options.parallel_rollouts,
    )
    _warm(engine, search)
    repeats = [_all_once(engine, asked, config, options) for _ in range(options.repeat)]
    wrong = [
        f"lock-step grew {differ} of {len(together)} trees otherwise than we did"
        for found in repeats
        if config.parallel_rollouts == 1 and (differ := len(together) - found["lockstep"]["same_trees"])
    ]
    rows = []
    for name in SCHEDULES:
        found = [repeat[name] for repeat in repeats]
        middle = {k: statistics.median(run[k] for run in found) if k in found[0] else None for k in FIGURES}
        rows.append({"engine": "vllm", "schedule": name, "rollouts": config.rollouts, **middle})
    return rows, wrong


def _all_once(engine: Any, asked: list[Question], config: SearchConfig, options: argparse.Namespace) -> dict[str, Row]:
    """Figures of every schedule."""
    recorder, rows = Recorder(engine), {}
    with _fresh(engine) as steps:
        ours = schedules.ours(asked, recorder, config)
    rows["ours"] = _row(ours, steps)
    sampling = Sampling(config.max_tokens, temperature=config.temperature, top_p=config.top_p)
    prompts = [ours.trees[q.id].prompt_ids for q in asked]
    chains = schedules.chains(prompts, config.rollouts, int(ours.figures["generated_tokens"]), sampling)
    for name, requests in (("flat", recorder.requests), ("flat_chains", chains)):
        with _fresh(engine) as steps:
            found = schedules.replay(engine, requests, forced=requests is chains)
        about = {"questions": len(asked), "requests_per_question": len(requests) / len(asked)}
        rows[name] = found | about | {"engine_steps": len(steps)}
    with _fresh(engine) as steps:
        together = schedules.lockstep(asked[: options.lockstep_questions], engine, config)
    rows["lockstep"] = _row(together, steps) | {"same_trees": _same(ours, together)}
    with _fresh(engine) as steps:
        alone = schedules.serial(asked[: options.serial_questions], engine, config)
    rows["serial"] = _row(alone, steps) | {"same_trees": _same(ours, alone)}
    for row in rows.values():
        row["efficiency"] = row["tokens_per_s"] / rows["flat"]["tokens_per_s"]
    return rows


def _row(run: Run, steps: list[int]) -> Row:
    return run.figures | {"engine_steps": len(steps)}


def _same(one: Run, other: Run) -> int:
    """Number of trees of `other` that `one` has as well."""
    return sum(tree.to_json() == one.trees[name].to_json() for name, tree in other.trees.items())


class Memory:
    """Most resident memory of this process while it is open, in bytes."""

    def __enter__(self) -> Memory:
        self.peak, self._process, self._done = 0, psutil.Process(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self.peak = max(self.peak, self._process.memory_info().rss)

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()
        self.peak = max(self.peak, self._process.memory_info().rss)


def growth(engine: Any, name: str, search: SearchConfig, most: int) -> list[Row]:
    """Time per question and memory for growing numbers of questions, whose trees are dropped when they are finished.

    As many trees are in flight as the smallest number has questions: with more of them the engine would be fuller for larger
    numbers, which would hide what grows. Memory is the most that was resident, above what was before the first run; on vLLM
    kernels keep some for every new shape of a batch, so that it levels off late.
    """
    config = replace(search, rollouts=GROWTH_ROLLOUTS, live_trees=min(GROWTH))
    asyncio.run(search_many(islice(questions("validation"), 128), engine, config, lambda tree: None, policy="prompted"))
    gc.collect()
    before, rows = psutil.Process().memory_info().rss, []
    for number in (n for n in GROWTH if n <= most):
        counted, begun = CountedEngine(engine), time.perf_counter()
        with Memory() as memory, _fresh(engine) if name == "vllm" else nullcontext():
            asyncio.run(search_many(islice(questions(), number), counted, config, counted.finished, policy="prompted"))
        seconds = time.perf_counter() - begun
        rows.append({
            "engine": name, "questions": number, "rollouts": config.rollouts, "live_trees": config.live_trees,
            "seconds": seconds, "seconds_per_question": seconds / number,
            "memory_growth_mib": max(0.0, (memory.peak - before) / 2**20),
            "outside_engine": counted.figures()["outside_engine"],
        })  # fmt: skip
    return rows


def side_by_side(engine: Any, name: str, search: SearchConfig) -> list[Row]:
    """One tree alone, with 1 to 64 of its rollouts in flight: medians over the first three questions whose tree is not
    exhausted before it has all its rollouts.
    """
    runs: dict[int, list[Row]] = {parallel: [] for parallel in PARALLEL}
    real = name == "vllm"
    if real:
        _warm(engine, search)
    for question in islice(questions(), TRIED):
        found = {}
        for parallel in reversed(PARALLEL):  # an exhausted tree shows soonest with many in flight
            config = replace(search, rollouts=ONE_TREE, parallel_rollouts=parallel)
            with _fresh(engine) if real else nullcontext():
                run = schedules.ours([question], engine, config)
            tree: Tree = run.trees[question.id]
            if tree.root.visits < ONE_TREE:
                break
            found[parallel] = {"rollouts": tree.root.visits, "rounds": tree.rounds, **run.figures}
        else:
            for parallel, row in found.items():
                runs[parallel].append(row | {"speed_up": found[1]["seconds"] / row["seconds"]})
        if len(runs[1]) == 3:
            break
    keys = ("rollouts", "generated_tokens", "requests", "rounds", "seconds", "tokens_per_s", "speed_up")
    return [
        {"engine": name, "parallel_rollouts": parallel, "questions": len(rows)}
        | {key: statistics.median(row[key] for row in rows) for key in keys}
        for parallel, rows in runs.items()
        if rows
    ]


def latency(config: Config, number: int) -> list[Row]:
    """Share of time outside of a 7B model, with steps as short as those of the toy and with longer ones, and how much the
    barriers of lock-step cost there.
    """
    rows = []
    settings = replace(config.search, rollouts=LATENCY_ROLLOUTS, live_trees=min(number, AT_ONCE))
    for longer_by, schedule in (((0, 0), "ours"), ((16, 48), "ours"), ((16, 48), "lockstep")):
        engine = _steps(config, longer_by=longer_by)
        run = getattr(schedules, schedule)(list(islice(questions(), number)), engine, settings)
        outside = run.figures["outside_engine"] * run.figures["seconds"]
        rows.append({
            "engine": "simulated 7B", "schedule": schedule, "questions": number, "rollouts": settings.rollouts,
            "tokens_per_continuation": run.figures["generated_tokens"] / engine.sequences, "engine_steps": engine.steps,
            **{key: run.figures[key] for key in ("tokens_per_s", "seconds", "outside_engine")},
            "outside_ms_per_request": 1e3 * outside / run.figures["requests"],
        })  # fmt: skip
    return rows


def redundancy(config: Config, number: int, rollouts: int) -> list[Row]:
    """What is computed for each token that is new, for steps and cache blocks of several lengths."""
    rows = []
    settings = replace(config.search, rollouts=rollouts, live_trees=number)
    short = 8  # tokens of the script's own continuations, about
    for length in STEP_LENGTHS:
        for block in BLOCKS:
            model = _steps(config, longer_by=(length - short, length - short))
            engine = schedules.BlockEngine(model.script, model.tokenizer, block=block, eos_ids=model.eos_ids)
            figures = schedules.ours(islice(questions(), number), engine, settings).figures
            continuations = sum(sampling.n for _, sampling in engine.log)
            rows.append({
                "engine": "counting", "questions": number, "rollouts": rollouts, "cache_block": block,
                "tokens_per_continuation": figures["generated_tokens"] / continuations,
                **{key: figures[key] for key in ("redundancy", "requests_per_question")},
                "cached_share": figures["cached_tokens"] / figures["prompt_tokens"],
            })  # fmt: skip
    return rows


def best_first(config: Config, options: argparse.Namespace) -> list[Row]:
    """Best-first on a tuned model: many questions against the same requests all at once, and the branches of one question in
    flight together against one by one, on that model and on a simulated one.
    """
    rows = []
    settings = SearchConfig(rollouts=256, max_tokens=320, budget_tokens=options.budget, live_trees=BEST_FIRST_QUESTIONS)
    if options.tuned.is_dir():
        asked = list(islice(_asked(options.asked), BEST_FIRST_QUESTIONS))
        with closing(build_engine(config, str(options.tuned))) as engine:
            for growth in options.growth:
                rows += _against_flat(engine, asked, replace(settings, growth=growth), options.repeat)
            if options.asked is None:
                rows += _one_question(engine, "vllm", asked[0], settings)
    simulated = StepEngine(
        functional_script, TOKENIZER, eos_ids=frozenset({TOKENIZER.eos_token_id}), step_seconds=10e-3,
        token_seconds=10e-3 / 500,
    )  # fmt: skip
    rows += _one_question(simulated, "simulated", Question("q", "What is 1 + 1?"), settings)
    keys = ("engine", "rollouts", "questions", "schedule", "growth", "generation", "generated_tokens", "requests",
            "engine_steps", "outside_engine", "seconds", "tokens_per_s", "efficiency")  # fmt: skip
    return [{key: settings.rollouts if key == "rollouts" else row.get(key) for key in keys} for row in rows]


def _asked(path: Path | None) -> Iterator[Question]:
    """Validation questions of the toy, or those of a file."""
    if path is None:
        yield from questions("validation")
        return
    for problem in load_problems(str(path)):
        yield Question(problem.id, problem.question)


def _against_flat(engine: Any, asked: list[Question], settings: SearchConfig, repeat: int) -> list[Row]:
    """Medians of our schedule and of flat, which take turns. What ours computes beyond the budget counts for both."""
    schedules.answered(asked, engine, settings)  # builds the kernels
    runs: dict[str, list[Row]] = {"ours": [], "flat": []}
    for _ in range(repeat):
        recorder = Recorder(engine)
        with _fresh(engine) as steps:
            runs["ours"].append(schedules.answered(asked, recorder, settings))
        runs["ours"][-1]["engine_steps"] = len(steps)
        with _fresh(engine) as steps:
            runs["flat"].append(schedules.replay(engine, recorder.requests))
        runs["flat"][-1]["engine_steps"] = len(steps)
    rows = [
        {key: statistics.median(run[key] for run in found) for key in found[0]}
        | {"engine": "vllm", "questions": len(asked), "schedule": name, "growth": settings.growth}
        for name, found in runs.items()
    ]
    rows[0]["generation"] = settings.generation
    return [row | {"efficiency": row["tokens_per_s"] / rows[1]["tokens_per_s"]} for row in rows]


def _one_question(engine: Any, name: str, question: Question, settings: SearchConfig) -> list[Row]:
    """One question, with several branches in flight; ``efficiency`` is the speed beside one by one."""
    rows = []
    for generation in GENERATIONS:
        config = replace(settings, generation=generation, budget_tokens=4 * BEST_FIRST_TOKENS)
        before = getattr(engine, "steps", 0)
        with _fresh(engine) if name == "vllm" else nullcontext() as steps:
            found = schedules.answered([question], engine, config)
        found["engine_steps"] = engine.steps - before if steps is None else len(steps)
        about = {"engine": name, "questions": 1, "schedule": "ours"}
        rows.append({**found, **about, "growth": config.growth, "generation": generation})
    return [row | {"efficiency": row["tokens_per_s"] / rows[0]["tokens_per_s"]} for row in rows]


def profile(engine: Any, search: SearchConfig, options: argparse.Namespace) -> None:
    """Where our own time goes: functions of the search's thread by their own time, without vLLM's step."""
    _warm(engine, search)
    core, profiler = engine.llm.llm_engine, cProfile.Profile()
    step = core.step

    def unseen() -> Any:
        profiler.disable()
        try:
            return step()
        finally:
            profiler.enable()

    core.step = unseen
    config = replace(search, rollouts=options.rollouts, live_trees=AT_ONCE, parallel_rollouts=options.parallel_rollouts)
    with _fresh(engine):
        profiler.enable()
        run = schedules.ours(islice(questions(), options.questions), engine, config)
        profiler.disable()
    core.step = step
    table("ours, under the profiler", ["figure", "value"], [[key, value] for key, value in run.figures.items()])
    pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


def report(figures: dict[str, list[Row]]) -> None:
    titles = {
        "schedules": "Schedules of the same search",
        "growth": "More questions",
        "parallel": "One tree",
        "latency": "Time outside of a large model",
        "redundancy": "Tokens computed for each new one",
        "best_first": "Best-first search",
    }
    for part, rows in figures.items():
        if not rows:
            continue
        same = {key: rows[0].get(key) for key in ("engine", "rollouts") if len({row.get(key) for row in rows}) == 1}
        header = [key for key in rows[0] if key not in same]
        title = ", ".join([titles[part], *(f"{key} {value}" for key, value in same.items())])
        table(title, header, [["-" if row[key] is None else row[key] for key in header] for row in rows])
    speed = {row["schedule"]: row["tokens_per_s"] for row in figures["schedules"]}
    if speed:
        times = {other: f"{speed['ours'] / speed[other]:.2f} × {other}" for other in ("lockstep", "serial")}
        print("  ours in tokens per second:", ", ".join(times.values()))


if __name__ == "__main__":
    raise SystemExit(main())
