"""Answer questions with a model and a search: ``rftt solve "QUESTION" --model M --rollouts 16``.

Questions come from the command line, a file (text lines or JSON lines with ``question``) or standard input. With ``--out``
the solutions are kept as they come, and the same command goes on after a kill.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rftt.config import Config, override
from rftt.data.tables import numbered_lines, parse_json
from rftt.errors import UsageError
from rftt.model.function_sets import choose
from rftt.runtime.progress import progress_bar
from rftt.runtime.running_engine import running_engine
from rftt.runtime.running_scorer import running_scorer
from rftt.runtime.terminal import columns, say
from search import Question, Solution, Solver, solve_many
from search.accounting import CountedEngine
from search.config import INFERENCE
from search.engines.engine import EngineError
from search.journal import Journal
from search.loading import CodeRefused, first_line, load_model_config
from search.show import show

LONGEST_CONTEXT = 8192  # of models that allow more; engine.max_model_len asks for more


def read_questions(source: str, content: bytes, *, first: int = 1) -> list[Question]:
    """Questions of a file: a JSON object with ``question`` (or ``problem``) and perhaps ``id`` in each line, or plain text.

    Args:
        source: name of the file, for errors.
        content: content of the file, in UTF-8; empty lines are passed over.
        first: number that the first line gets.

    Raises:
        UsageError: a line is not UTF-8, begins like JSON and is none, or lacks its question; an id occurs twice.
    """
    found: dict[str, Question] = {}
    for number, line in numbered_lines(content, first):
        try:
            name, asked = str(number), line.decode().strip()
        except UnicodeDecodeError as error:
            raise UsageError(f"{source}:{number}: not UTF-8 ({error.reason}); save the file as UTF-8") from error
        if not asked:
            continue
        if asked.startswith("{"):
            try:
                record = parse_json(line)
                asked = record["question"] if "question" in record else record["problem"]
            except (ValueError, KeyError, RecursionError) as error:
                raise UsageError(f"{source}:{number}: expected a JSON object with a question ({error!r})") from error
            name = str(record.get("id", number))
        if name in found:
            raise UsageError(f"{source}:{number}: the id {name!r} occurs twice")
        found[name] = checked(Question(name, asked), f"{source}:{number}")
    if not found:
        raise UsageError(f"{source}: there is no question in it")
    return list(found.values())


def checked(question: Question, where: str) -> Question:
    """The question, if it can be asked at all.

    Raises:
        UsageError: it is empty, or no text.
    """
    if not isinstance(question.text, str) or not question.text.strip():
        raise UsageError(f"{where}: the question is empty; write one")
    try:
        question.text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{where}: the question is not valid UTF-8") from error
    return question


def settings(model: str, values: dict[str, Any], overrides: Iterable[str]) -> Config:
    """A config for answering: flags first, then ``section.key=value``.

    Raises:
        UsageError: a value does not fit, or the model cannot be found.
    """
    base: dict[str, Any] = {
        "seed": values["seed"],
        "model": {"path": model},
        # Starts in seconds; for many questions engine.options.enforce_eager=false makes up for its start.
        "engine": {"name": values.pop("engine"), "servers": values.pop("servers")},
        "prm": values.pop("prm"),
        # What the model would hardly ever do is not worth one of few rollouts.
        "search": {**INFERENCE, "parallel_rollouts": 8, "min_prior": 0.02, **values},
    }
    if base["engine"]["name"] == "vllm":
        base["engine"]["options"] = {"enforce_eager": True}
    config = override(base, overrides, "solve")
    if any(o.startswith("engine.max_model_len=") for o in overrides):
        return config
    return replace(config, engine=replace(config.engine, max_model_len=_context(model, config.model.trust_remote_code)))


def _context(model: str, trust_remote_code: bool) -> int:
    """The longest context that the model allows, but no more than `LONGEST_CONTEXT`."""
    if (Path(model) / "rl" / "final").is_dir() or (Path(model) / "summary.json").is_file():
        raise UsageError(
            f"{model}: this is a run folder; give one of its models, such as {Path(model) / 'rl' / 'final'}"
        )
    try:
        allowed = load_model_config(model, trust_remote_code).max_position_embeddings
    except CodeRefused as error:
        raise UsageError(str(error)) from error
    except (OSError, ValueError) as error:
        reason = first_line(error)
        raise UsageError(f"{model}: no such model ({reason}); give a model folder or a hub name") from error
    return min(allowed, LONGEST_CONTEXT)


def solve(
    questions: list[Question], config: Config, strategy: str, *, as_json: bool = False, out: Path | None = None
) -> int:
    """Answer the questions; solutions go to `out`, or to standard output in the order of the questions.

    Returns:
        How many questions failed; why goes to standard error.

    Raises:
        UsageError: the strategy does not fit the settings or the model, ``model.functions`` is not its token set, or `out`
            holds answers to other questions.
    """
    journal = Journal(out) if out is not None else None
    done = _answered(journal, questions) if journal is not None else set()
    left = [q for q in questions if q.id not in done]
    if journal is not None and not left:
        journal.finish(q.id for q in questions)  # a kill may have come between the last solution and this
        say(f"{out}: done before", error=True)
        return 0
    functions = choose(config.model.functions, config.model.path)
    with running_scorer(config) as scorer, running_engine(config, config.model.path) as running:
        engine = CountedEngine(running)
        try:
            solver = Solver(engine, config.search, strategy, functions=functions, scorer=scorer)
        except ValueError as error:
            raise UsageError(f"solve: {error}") from error
        failed = asyncio.run(_answer(left, solver, engine, journal, as_json, len(questions)))
    if journal is not None:
        if failed:
            journal.close()
            say(f"rftt: {failed} questions failed; the same command tries them again", error=True)
        else:
            journal.finish(q.id for q in questions)
    return failed


def _answered(journal: Journal, questions: list[Question]) -> set[str]:
    """Ids of the questions whose solutions are kept.

    Raises:
        UsageError: the file holds other questions, or something else.
    """
    texts = {q.id: q.text for q in questions}
    try:
        kept = {record["question_id"]: record.get("question") for record in journal.read(texts)}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{journal.path}: not a file of solutions ({error!r}); give another --out") from error
    other = [id for id, text in kept.items() if text is not None and texts.get(id, text) != text]
    if journal.finished:
        other += [id for id in texts if id not in kept]
    if other:
        raise UsageError(
            f"{journal.path}: holds answers to other questions (the first that differs has the id {other[0]}); give another "
            "--out, or remove it"
        )
    return kept.keys() & texts.keys()


async def _answer(
    questions: list[Question], solver: Solver, engine: CountedEngine, journal: Journal | None, as_json: bool, total: int
) -> int:
    waiting: dict[str, str] = {}
    order = iter(questions)
    ahead = next(order, None)
    failed = 0
    bar = progress_bar(total, "solve", "questions", total - len(questions)) if total > 1 else None

    def advance() -> None:
        nonlocal ahead
        while ahead is not None and ahead.id in waiting:
            text = waiting.pop(ahead.id)
            if text:
                say(text)
            ahead = next(order, None)
        if bar is not None:
            bar.update()
            bar.note(**engine.progress())

    def keep(solution: Solution) -> None:
        engine.answered(solution)
        if journal is not None:
            journal.append(solution.to_json())
            waiting[solution.question_id] = ""
        elif as_json:
            waiting[solution.question_id] = json.dumps(solution.to_json(), ensure_ascii=False)
        else:
            head = f"[{solution.question_id}] {solution.question}\n" if total > 1 else ""
            waiting[solution.question_id] = head + _shown(solution) + ("\n" if total > 1 else "")
        advance()

    def fail(question: Question, error: EngineError) -> None:
        nonlocal failed
        failed += 1
        engine.forget(question.id)
        waiting[question.id] = ""
        say(f"rftt: {error}", error=True)
        advance()

    await solve_many(questions, solver, keep, on_failure=fail)
    if bar is not None:
        bar.close()
    return failed


def _shown(solution: Solution) -> str:
    known = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return show(solution, width=columns(), unicode=known)
