"""Phase 1: trees of the training questions, and the SFT chains that come out of them (RFTT, section 3.2).

With `search.rounds` above 1, search and SFT take turns: the model of one round is the searcher of the next (the
self-evolution of rStar-Math, arXiv 2501.04519). Questions that are solved keep their trees and chains; the next round spends
its rollouts on the others.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rftt.config import Config
from rftt.data.problems import Problem
from rftt.data.questions import problems
from rftt.errors import PhaseFailed, UsageError
from rftt.model.checkpoints import write_whole
from rftt.model.function_sets import functions_of_run
from rftt.run_folder import MODELS, model_path, needed, open_round, round_folder
from rftt.runtime.children import run_children
from rftt.runtime.own_grading import grading_of
from rftt.runtime.progress import progress_bar, shown_meanwhile
from rftt.runtime.running_engine import running_engine
from rftt.runtime.running_scorer import running_scorer
from rftt.runtime.step_log import MetricsLog
from rftt.runtime.terminal import conclude, say
from search import Question, Tree, search_many
from search.accounting import CountedEngine
from search.driver import make_policy
from search.engines.engine import EngineError
from search.journal import Journal, read_jsonl, write_jsonl
from search.live import LiveTrees
from search.merge import chains, score_steps
from search.preferences import preferences
from search.step_counts import Counts, add_counts, table, valid_share

Record = dict[str, Any]

RESULT = "search/chains.jsonl"
STEPS = "steps.json"  # how many steps of each function were asked for, valid, and left out by which rule
PARTS: dict[str, Callable[[Record], Iterable[Record]]] = {
    "trees.jsonl": lambda record: [record["tree"]],
    "preferences.jsonl": lambda record: record["preferences"],
    "chains.jsonl": lambda record: record["chains"],  # last: the phase is done when it is there
}


@dataclass(frozen=True)
class Round:
    """Args:
    number: number of the round, from 1.
    folder: folder of the results.
    model: model that searches.
    policy: name of the policy: ``"prompted"`` in the first round, ``"functional"`` once a model is tuned.
    before: results of the round before, whose solved questions are kept; None in the first.
    todo: questions to search.
    """

    number: int
    folder: Path
    model: str
    policy: str
    before: Path | None
    todo: Sequence[Problem]

    def journal(self, share: int) -> Path:
        return self.folder / f"questions-{share}.jsonl"

    def failures(self, share: int) -> Path:
        return self.folder / f"failed-{share}.jsonl"


def search(config: Config, share: int | None = None) -> None:
    """Search in the first round that has no chains yet, and write its trees, chains and, if wanted, preference pairs.

    Args:
        config: settings of the run.
        share: place, from 0, of the share to search: every ``search.processes``-th question from there on; None is all.

    Raises:
        PhaseFailed: a process that searched a share ended with an error.
        UsageError: there is no such share, or the model that searches is not there yet.
    """
    remove_collected(config)
    number = open_round(config, RESULT)
    if number is None:
        say("search: done before")
        return
    train, _ = problems(config)
    work = _round(config, number, train)
    count = config.search.processes
    if share is not None:
        if not 0 <= share < count:
            raise UsageError(f"--share {share}: expected 0 to {count - 1}, since search.processes is {count}")
        asyncio.run(_search(config, work, share))
        return
    if count == 1:
        asyncio.run(_search(config, work, 0))
    else:
        path = str(config.folder / "config.yaml")
        commands = [[sys.executable, "-m", "rftt.cli", "search", path, "--share", str(i)] for i in range(count)]
        for i, code in enumerate(run_children(commands, count)):
            if code:
                raise PhaseFailed(f"share {i} of the search", code)
    _collect(config, work, train)


def _round(config: Config, number: int, train: Sequence[Problem]) -> Round:
    folder = round_folder(config, number) / "search"
    if number == 1:
        return Round(number, folder, model_path(config), "prompted", None, train)
    last = round_folder(config, number - 1)
    model = needed(last / MODELS["sft"], "sft")
    solved = {tree["question_id"] for tree in read_jsonl(last / "search" / "trees.jsonl") if _solved(tree)}
    todo = [p for p in train if p.id not in solved]
    return Round(number, folder, str(model), "functional", last / "search", todo)


async def _search(config: Config, work: Round, share: int) -> None:
    """Trees and chains of one share of a round's questions, kept in its journal."""
    count, settings = config.search.processes, config.search
    label = " ".join(["search", *([f"round {work.number}"] if settings.rounds > 1 else []),
                      *([f"{share + 1}/{count}"] if count > 1 else [])])  # fmt: skip
    todo = work.todo[share::count]
    order = [p.id for p in todo]
    if work.journal(share).exists() or not todo:
        return
    failed: dict[str, str] = {}
    functions = functions_of_run(config, work.model)
    with running_scorer(config) as scorer, running_engine(config, work.model) as running:
        # Only once the engine runs: one that cannot start leaves nothing behind.
        journal, metrics = Journal(work.journal(share)), MetricsLog(config.folder / "metrics.jsonl", label)
        engine = CountedEngine(running)
        left = [p for p in todo if p.id not in journal]
        solved = sum(_solved(r["tree"]) for r in journal.read(order))
        policy = make_policy(work.policy, engine, settings, functions)
        writer = policy if work.policy == "prompted" else None
        live = LiveTrees(policy)
        steps: Counts = {}
        bar = progress_bar(len(todo), "search", "questions", len(todo) - len(left))

        async def keep(tree: Tree) -> None:
            nonlocal solved
            if scorer is not None:
                await score_steps(tree, scorer)
            written = await chains(tree, writer, settings, functions)
            engine.finished(tree)
            live.finished(tree)
            add_counts(steps, tree.steps)
            record: Record = {"question_id": tree.question_id, "chains": written}
            record |= {"preferences": preferences(tree, settings, functions), "tree": tree.to_json()}
            journal.append(record)
            solved += _solved(record["tree"])
            advance()

        def fail(question: Question, error: EngineError) -> None:
            failed[question.id] = str(error)
            say(f"search: question {question.id} failed: {error}", error=True)
            advance()

        def shown() -> dict[str, float]:
            return {"solved": solved, "rollouts": live.rollouts, **engine.progress()}

        def advance() -> None:
            bar.note(**shown())
            bar.update()
            if bar.n % 20 == 0 or bar.n == len(todo):
                metrics.write(bar.n, {
                    "solved": solved / bar.n, "failed": len(failed), "rollouts": live.rollouts,
                    **{f"valid/{name}": valid_share(kinds) for name, kinds in steps.items()}, **engine.figures(),
                })  # fmt: skip

        questions = [Question(p.id, p.question, p.answer) for p in left]
        async with shown_meanwhile(bar, shown):
            await search_many(
                questions, engine, settings, keep, policy=live, grading=grading_of(config), on_failure=fail
            )
        bar.close()
    if failed and not len(journal):
        raise EngineError(f"no question could be searched; the first: {next(iter(failed.values()))}")
    write_jsonl(work.failures(share), ({"question_id": i, "reason": reason} for i, reason in failed.items()))
    journal.finish(order)


def _collect(config: Config, work: Round, train: Sequence[Problem]) -> None:
    """Write what all shares found, and what is kept from the round before, in the order of the questions."""
    shares = [i for i in range(config.search.processes) if work.journal(i).exists()]
    place = {p.id: i for i, p in enumerate(train)}

    def records() -> Iterator[Record]:
        sources = [read_jsonl(work.journal(i)) for i in shares]
        if work.before is not None:
            wanted = {p.id for p in work.todo}
            sources.append(r for r in _records(work.before) if r["question_id"] not in wanted)
        return heapq.merge(*sources, key=lambda r: place[r["question_id"]])

    failed = [record for i in shares for record in read_jsonl(work.failures(i))]
    if failed:
        write_jsonl(work.folder / "failed.jsonl", failed)
    solved = 0
    steps: Counts = {}
    for record in records():
        solved += _solved(record["tree"])
        add_counts(steps, record["tree"].get("steps", {}))
    if steps:
        write_whole(work.folder / STEPS, json.dumps(steps, indent=1) + "\n")
        print(table(steps))  # into the log
    for name, part in PARTS.items():
        if name != "preferences.jsonl" or config.search.preferences:
            write_jsonl(work.folder / name, (item for record in records() for item in part(record)))
    remove_collected(config)
    counts: dict[str, int] = defaultdict(int)
    for chain in read_jsonl(work.folder / "chains.jsonl"):
        counts[chain["kind"]] += 1
    kinds = ", ".join(f"{number} {kind}" for kind, number in counts.items())
    told = f"{solved} of {len(train)} questions solved, {sum(counts.values())} chains ({kinds or 'none'})"
    conclude(told if len(work.todo) == len(train) else f"round {work.number}, {len(work.todo)} questions: {told}")
    if failed:
        say(f"search: {len(failed)} questions failed and are left out: {work.folder / 'failed.jsonl'}", error=True)


def remove_collected(config: Config) -> None:
    """Remove what the shares of finished rounds left, which is in the results; a kill may have come before this."""
    for number in range(1, config.search.rounds + 1):
        folder = round_folder(config, number) / "search"
        if (folder / Path(RESULT).name).exists():
            for path in [*folder.glob("questions-*.jsonl*"), *folder.glob("failed-*.jsonl")]:
                path.unlink(missing_ok=True)


def _records(folder: Path) -> Iterator[Record]:
    """What a finished round wrote, question by question."""
    parts: dict[str, dict[str, list[Record]]] = {}
    for name in ("chains", "preferences"):
        path, parts[name] = folder / f"{name}.jsonl", defaultdict(list)
        for item in read_jsonl(path) if path.exists() else ():
            parts[name][item["question_id"]].append(item)
    for tree in read_jsonl(folder / "trees.jsonl"):
        name = tree["question_id"]
        yield {"question_id": name, "tree": tree, **{part: found[name] for part, found in parts.items()}}


def _solved(tree: Record) -> bool:
    return any(node.get("verdict") == "correct" for node in tree["nodes"])
