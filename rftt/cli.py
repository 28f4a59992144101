"""The command line: ``rftt COMMAND …``.

Exit codes: 0 done; 1 failed on the way; 2 bad usage, config or data, in one line. Where the same command goes on after a
failure, it says so.
"""

from __future__ import annotations

import argparse
import errno
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rftt.runtime import terminal

# What is wrong with a disk or a path is no fault of the program: one line says it.
DISK = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENAMETOOLONG, errno.ELOOP,
        errno.EISDIR, errno.ENOTDIR}  # fmt: skip
Arguments = argparse.Namespace


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run the command; returns the exit code."""
    from rftt.runtime import environment
    from rftt.runtime.children import end_with_parent

    end_with_parent()
    arguments = parse(argv)
    logged = hasattr(arguments, "verbose")
    environment.set_defaults(logged=logged)
    with terminal.attached(verbose=arguments.verbose) if logged else nullcontext():
        return _code(arguments)


def _code(arguments: Arguments) -> int:
    """Run a command; returns its exit code and says what went wrong."""
    from rftt.errors import PhaseFailed, TrainingFailed, UsageError, one_line
    from search.engines.engine import EngineError

    try:
        arguments.run_command(arguments)
        return 0
    except (UsageError, EngineError) as error:
        terminal.say(f"rftt: {one_line(str(error))}", error=True)
        return 2
    except TrainingFailed as error:
        terminal.say(f"rftt: {error}", error=True)
        return 1
    except KeyboardInterrupt:
        return _ended("interrupted", arguments, shown=False)
    except BrokenPipeError:
        return 1
    except PhaseFailed as error:
        if error.code == 2:  # it has said itself what is wrong
            return 2
        return _ended(str(error), arguments)
    except OSError as error:
        if error.errno not in DISK:
            return _failed(error, arguments)
        place = error.filename2 or error.filename or "a file"
        return _ended(f"{place}: {error.strerror}", arguments, shown=False)
    except Exception as error:
        return _failed(error, arguments)


def _failed(error: Exception, arguments: Arguments) -> int:
    import traceback

    traceback.print_exception(error)
    return _ended(f"failed: {type(error).__name__}", arguments)


def _ended(reason: str, arguments: Arguments, *, shown: bool = True) -> int:
    """Say why a command ended too early; returns its exit code.

    Args:
        reason: what happened.
        arguments: arguments of the command.
        shown: whether to show the end of the log as well.
    """
    told = f"rftt: {reason}{_how_on(arguments)}"
    if terminal.is_child():  # its parent shows the end of the log
        print(told, file=sys.stderr)
        return 1
    if shown:
        terminal.show_failure()
    terminal.say(told, error=True)
    return 1


def _how_on(arguments: Arguments) -> str:
    return "; the same command goes on from here" if getattr(arguments, "goes_on", False) else ""


def parse(argv: Sequence[str] | None) -> Arguments:
    """Arguments of a command; settings may also stand behind options, as in ``eval CONFIG --model rl seed=1``."""
    parser = build_parser()
    arguments, left = parser.parse_known_args(argv)
    name = "overrides" if getattr(arguments, "config", None) else "settings"  # of `rftt shad`
    if left and not (hasattr(arguments, name) and all("=" in x and not x.startswith("-") for x in left)):
        parser.error(f"unrecognized arguments: {' '.join(left)}")
    if left:
        setattr(arguments, name, [*getattr(arguments, name), *left])
    return arguments


def build_parser() -> argparse.ArgumentParser:
    from rftt.answering.arguments import add_answering
    from rftt.serve.command import add_arguments as add_serve_arguments

    parser = argparse.ArgumentParser(
        prog="rftt", description="Teach a language model to reason with functional tokens."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (
        ("run", "all phases into one run folder; goes on where it stopped"),
        ("search", "phase 1: prompted tree search writes SFT chains"),
        ("sft", "warm the model up on the chains"),
        ("rl", "phase 2: online RL over functional tokens"),
        ("eval", "measure the models on the held-out questions"),
    ):
        command = _command(commands, name, text, _run if name == "run" else _phase, logged=True)
        command.add_argument("config", metavar="CONFIG", help="YAML file", nargs="?" if name == "eval" else None)
        command.add_argument(
            "overrides", nargs="*", metavar="section.key=value", help="settings that win over the file"
        )
        if name == "search":
            command.add_argument("--share", type=int, help="search only this share, from 0, of search.processes")
        if name == "eval":
            command.add_argument("--model", choices=("base", "sft", "rl"), help="measure only this model")
            # `rftt compare` and `rftt harness` by the names that they had first.
            for option, more in (("--compare", {"nargs": 2}), ("--benchmark", {}), ("--json", {"action": "store_true"}),
                                 ("--harness", {"nargs": 2})):  # fmt: skip
                command.add_argument(option, help=argparse.SUPPRESS, **more)

    compare = _command(commands, "compare", "paired differences between two evaluations, with p-values", _compare)
    compare.add_argument("compare", nargs=2, metavar="RUN", help="run folder; RUN:MODEL names one of its models")
    compare.add_argument("--model", choices=("base", "sft", "rl"), help="compare only this model")
    compare.add_argument("--benchmark", metavar="NAME", help="compare only on this benchmark; eval is data.eval")
    compare.add_argument("--json", action="store_true", help="one JSON object for each benchmark and pair of models")

    harness = _command(commands, "harness", "write results in the layout of lm-evaluation-harness", _harness)
    harness.add_argument("harness", nargs=1, metavar="RUN", help="run folder")
    harness.add_argument("out", metavar="OUT", help="folder to write")

    shad = _command(
        commands, "shad", "tell reasoning tokens from boilerplate, in a run or in any chat data", _shad, logged=True
    )
    shad.add_argument(
        "settings", nargs="*", metavar="CONFIG | section.key=value", help="YAML file, settings that win over it"
    )
    shad.add_argument("--data", metavar="FILE", help="JSONL of messages, in the place of a run's chains")
    shad.add_argument("--model", metavar="M", help="with --data: model folder or hub name")
    shad.add_argument("--out", metavar="DIR", help="with --data: folder for roles.jsonl and summary.json")

    tokens = _command(commands, "tokens", "add the functional tokens to a model's vocabulary", _tokens, logged=True)
    tokens.add_argument("model", metavar="MODEL", help="model folder or hub name; or the config of a run")
    tokens.add_argument(
        "out", metavar="OUT", nargs="*", help="folder of the new model; after a config: section.key=value …"
    )
    tokens.add_argument("--seed", type=int, default=0, help="of the noise on new rows")
    tokens.add_argument("--dtype", help="convert the weights, e.g. bfloat16")
    tokens.add_argument("--pad-token", help="padding token, for models that have none of their own")
    tokens.add_argument("--trust-remote-code", action="store_true", help="run code that comes with the model")
    tokens.add_argument("--chat-template", metavar="FILE", help="Jinja chat template, for models that have none")
    tokens.add_argument("--functions", metavar="FILE", help="YAML file with another token set than the paper's")

    solve = _command(commands, "solve", "answer questions: the answer, the vote and the tree", _solve, logged=True)
    solve.add_argument("question", metavar="QUESTION", nargs="?", help="the question; or use --file")
    solve.add_argument("--file", help="questions as text lines or JSON lines; - reads standard input")
    solve.add_argument(
        "--json", action="store_true", help="one JSON object a question, with all candidates and the tree"
    )
    solve.add_argument("--out", help="JSONL file for the solutions; the same command goes on after a kill")
    add_answering(solve)

    serve = _command(commands, "serve", "OpenAI-compatible server whose answers come from the search", _serve)
    add_serve_arguments(serve)

    data = _command(commands, "data", "training data against evaluation questions: overlap, with examples", _data)
    data.add_argument("what", choices=("check",))
    data.add_argument("train", metavar="TRAIN", help="file or hub name: questions, or conversations with messages")
    data.add_argument("eval", metavar="EVAL", nargs="+", help="files, or benchmarks by name: gsm8k, math500, …")
    data.add_argument("--n", type=int, default=13, help="words in a row that count as overlap (default: 13)")
    data.add_argument("--examples", type=int, default=3, help="how many are shown of each EVAL (default: 3)")
    data.add_argument("--split", default="train", help="of TRAIN on the hub (default: train)")
    data.add_argument("--root", default="", metavar="DIR", help="folder with files of the benchmarks, as data.root")
    data.add_argument("--table", metavar="FILE", help="further benchmarks, as data.table")
    data.add_argument("--json", action="store_true", help="one JSON object for each EVAL, with all ids")
    data.add_argument("--strict", action="store_true", help="end with code 1 if anything overlaps")

    grade = _command(commands, "grade", "verdict of the math grader", _grade)
    grade.add_argument("--gold", help="the right answer")
    grade.add_argument("--answer", help="the text to grade")
    grade.add_argument("--file", help="JSONL with gold and answer (or text) in each line; - reads standard input")
    grade.add_argument("--extract", choices=("boxed", "lenient", "none"), default="none",
                       help="how to find the answer in the text (default: the text is a bare answer)")  # fmt: skip

    view = _command(commands, "view", "write report.html of a run, or one page that compares several", _view)
    view.add_argument("runs", metavar="RUN", nargs="+", help="run folder")
    view.add_argument(
        "--out", help="where to write it (default: RUN/report.html; of several, comparison.html in the first)"
    )

    export = _command(
        commands, "export", "write a model of a run for others, with a model card, or push it", _export, logged=True
    )
    export.add_argument("run", metavar="RUN", help="run folder")
    export.add_argument("out", metavar="OUT", help="folder to write; must not be there")
    export.add_argument("--model", choices=("sft", "rl"), default="rl", help="which model (default: rl)")
    export.add_argument("--dtype", help="convert the weights, e.g. bfloat16")
    export.add_argument("--license", metavar="ID", help="e.g. apache-2.0 (default: that of the base model's card)")
    export.add_argument("--push", metavar="OWNER/NAME", help="upload it to a new repository on the hub")
    export.add_argument(
        "--private", action=argparse.BooleanOptionalAction, default=True, help="of the repository (default: private)"
    )

    toy = _command(commands, "toy", "the embedded world: its base model, its problems, a process reward model", _toy)
    toy.add_argument("what", choices=("build", "data", "prm"))
    toy.add_argument("run", metavar="RUN", nargs="?", help="prm: run folder with the trees to learn from")
    toy.add_argument("out", metavar="OUT", help="model folder (build, prm) or JSONL file (data)")
    toy.add_argument("--held-out", metavar="RUN", help="prm: run folder with trees of other questions to measure on")
    toy.add_argument("--seed", type=int, default=0)
    toy.add_argument("--steps", type=int, help="build, prm: optimiser steps")
    toy.add_argument("--split", choices=("train", "validation", "test"), default="train", help="data: which split")
    toy.add_argument("--count", type=int, default=500, help="data: how many problems")
    return parser


def _command(
    commands: argparse._SubParsersAction,
    name: str,
    text: str,
    run: Callable[[Arguments], None],
    *,
    logged: bool = False,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
    command.set_defaults(run_command=run)
    if logged:
        command.add_argument(
            "-v", "--verbose", action="store_true", help="show what dependencies print, which else goes into a log"
        )
    return command


def _run(arguments: Arguments) -> None:
    from rftt.config import load_config
    from rftt.pipeline import run

    config = load_config(arguments.config, arguments.overrides)
    arguments.goes_on = True
    seconds = run(config, sys.argv)
    parts = ", ".join(f"{k} {v:.0f}" for k, v in seconds.items())
    terminal.say(f"log: {terminal.log_path()}\n{sum(seconds.values()):.0f} s: {parts}")


def _phase(arguments: Arguments) -> None:
    from rftt.config import load_config
    from rftt.phases import PHASES, search
    from rftt.phases.evaluation import measure
    from rftt.phases.summary import summarise
    from rftt.pipeline import prepare
    from rftt.runtime import distributed
    from rftt.runtime.folder_lock import holding

    if arguments.command in ("shad", "sft", "rl"):
        distributed.only_first_speaks()
    if arguments.command == "eval" and (arguments.compare or arguments.harness or not arguments.config):
        return _read_eval(arguments)
    config = load_config(arguments.config, arguments.overrides)
    model, share = getattr(arguments, "model", None), getattr(arguments, "share", None)
    part = model if arguments.command == "eval" else None if share is None else str(share)
    with holding(config.folder, arguments.command, part):
        prepare(config)
        arguments.goes_on = True
        terminal.keep_log(config.folder)
        with terminal.phase(arguments.command):
            if arguments.command == "eval" and model:
                measure(config, model)
            elif share is not None:
                search(config, share)
            else:
                PHASES[arguments.command](config)
            if part is not None and not terminal.is_child():
                terminal.conclude(f"{part} is done")
        if arguments.command in ("shad", "sft", "rl"):
            distributed.leave()
        if arguments.command == "eval" and not model and not terminal.is_child():
            terminal.say(f"\n{summarise(config)}")
    return None


def _read_eval(arguments: Arguments) -> None:
    """The calls ``rftt eval --compare`` and ``rftt eval --harness``."""
    from rftt.errors import UsageError

    if arguments.config or bool(arguments.compare) == bool(arguments.harness):
        raise UsageError("eval: give a CONFIG; two evaluations are compared by `rftt compare RUN_A RUN_B`")
    if arguments.compare:
        return _compare(arguments)
    arguments.out = arguments.harness[1]
    return _harness(arguments)


def _harness(arguments: Arguments) -> None:
    from rftt.evaluate.harness import export

    terminal.say("\n".join(map(str, export(Path(arguments.harness[0]), Path(arguments.out)))))


def _compare(arguments: Arguments) -> None:
    from rftt.evaluate.compare import compare_runs, shown

    for benchmark, first, second, found in compare_runs(
        *arguments.compare, model=arguments.model, benchmark=arguments.benchmark
    ):
        if arguments.json:
            metrics = [comparison.to_json() for comparison in found]
            told = json.dumps({"benchmark": benchmark, "first": first.name, "second": second.name, "metrics": metrics})
        else:
            told = f"{shown(benchmark, first, second, found)}\n"
        terminal.say(told)


def _data(arguments: Arguments) -> None:
    from dataclasses import asdict

    from rftt.data.contamination import check

    reports = check(
        arguments.train, arguments.eval, n=arguments.n, examples=arguments.examples, split=arguments.split,
        root=arguments.root, table=arguments.table,
    )  # fmt: skip
    print(*(json.dumps(asdict(r), ensure_ascii=False) if arguments.json else r for r in reports), sep="\n")
    if arguments.strict and any(r.train_overlaps for r in reports):
        raise SystemExit(1)


def _shad(arguments: Arguments) -> None:
    from rftt.config import load_config, override
    from rftt.errors import UsageError
    from rftt.runtime import distributed

    given = [arguments.data, arguments.model, arguments.out]
    if not any(given):
        if not arguments.settings or "=" in arguments.settings[0]:
            raise UsageError("shad: give the CONFIG of a run, or --data FILE --model M --out DIR")
        arguments.config, *arguments.overrides = arguments.settings
        return _phase(arguments)
    if not all(given):
        raise UsageError("shad: --data, --model and --out go together")
    from rftt.phases.tuning import SHAD_ROLES, labelled
    from rftt.runtime.folder_lock import holding
    from rftt.weighting.shad import label_tokens

    distributed.only_first_speaks()
    files = [text for text in arguments.settings if "=" not in text]
    overrides = [*(text for text in arguments.settings if "=" in text), f"run={arguments.out}"]
    config = load_config(files[0], overrides) if files else override({}, overrides, "shad")
    out = Path(arguments.out)
    arguments.goes_on = True
    with holding(out, "shad"):
        terminal.keep_log(out)
        if summary := label_tokens(arguments.model, Path(arguments.data), out, config):  # another process tells it
            terminal.say(labelled(summary, out / SHAD_ROLES.name))
    return None


def _tokens(arguments: Arguments) -> None:
    if arguments.model.endswith((".yaml", ".yml")):
        arguments.config, arguments.overrides = arguments.model, arguments.out
        return _phase(arguments)
    from rftt.config.sections import ModelConfig
    from rftt.errors import UsageError
    from rftt.model.function_sets import choose
    from rftt.model.vocabulary import add_functional_tokens

    if len(arguments.out) != 1:
        raise UsageError("tokens: give MODEL and the folder OUT of the new model, or the CONFIG of a run")
    summary = add_functional_tokens(
        arguments.model,
        arguments.out[0],
        choose(arguments.functions, arguments.model),
        seed=arguments.seed,
        dtype=arguments.dtype,
        pad_token=arguments.pad_token,
        trust_remote_code=arguments.trust_remote_code,
        asking=ModelConfig(chat_template=arguments.chat_template),
    )
    terminal.say(summary["message"])
    return None


def _solve(arguments: Arguments) -> None:
    from rftt.answering.arguments import answering_config
    from rftt.answering.solve import checked, read_questions, solve
    from rftt.errors import UsageError
    from rftt.runtime.folder_lock import beside
    from search import Question

    if (arguments.question is None) == (arguments.file is None):
        raise UsageError("solve: give a question, or --file with many")
    if arguments.question is not None:
        questions = [checked(Question("question", arguments.question), "solve")]
    elif arguments.file == "-":
        questions = read_questions("standard input", _content("-"))
    else:
        questions = read_questions(arguments.file, _content(arguments.file))
    config = answering_config(arguments)
    out = Path(arguments.out) if arguments.out else None
    arguments.goes_on = out is not None
    with nullcontext() if out is None else beside(out):
        failed = solve(questions, config, arguments.strategy, as_json=arguments.json, out=out)
    if failed:
        raise SystemExit(1)


def _serve(arguments: Arguments) -> None:
    from rftt.serve.command import run

    run(arguments)


def _grade(arguments: Arguments) -> None:
    from rewards import grade, grade_many
    from rftt.errors import UsageError
    from search.grading import alternatives, best

    if arguments.file is None:
        if arguments.gold is None or arguments.answer is None:
            raise UsageError("grade: give --gold and --answer, or --file")
        try:
            verdict = best(
                [grade(gold, arguments.answer, extract=arguments.extract) for gold in alternatives(arguments.gold)]
            )
        except ValueError as error:
            raise UsageError(f"grade: {error}") from error
        print(json.dumps({"status": verdict.status, "answer": verdict.answer, "seconds": round(verdict.seconds, 4)}))
        return
    for batch in _pairs(arguments.file):
        verdicts = iter(grade_many([pair for _, pairs in batch for pair in pairs], extract=arguments.extract))
        for row, pairs in batch:
            verdict = best([next(verdicts) for _ in pairs])
            graded = json.dumps({**row, "status": verdict.status, "extracted": verdict.answer}, ensure_ascii=False)
            print(graded.encode(errors="backslashreplace").decode())


def _pairs(path: str) -> Iterator[list[tuple[dict[str, Any], list[tuple[str, str]]]]]:
    """The lines of a file, each with a (gold, text) for every alternative of its gold, a few at a time: neither their
    number nor their length matters."""
    from rewards import gold_text
    from rftt.errors import UsageError
    from search.grading import alternatives

    batch: list[tuple[dict[str, Any], list[tuple[str, str]]]] = []
    characters = 0
    for number, line in enumerate(_lines_one_by_one(path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            answer = row["answer"] if "answer" in row else row["text"]
            text = answer if isinstance(answer, str) else gold_text(answer)
            gold = row["gold"]
            if isinstance(gold, dict) and set(gold) == {"any"}:
                golds = [gold_text(one) for one in gold["any"]]
            else:
                golds = alternatives(gold_text(gold))
            if not golds:
                raise ValueError("a gold without alternatives")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UsageError(
                f"{path}:{number}: expected a JSON object with gold and answer, texts, numbers or lists "
                f"({type(error).__name__}: {error!s:.200})"
            ) from error
        batch.append((row, [(gold, text) for gold in golds]))
        characters += len(line)
        if len(batch) >= 512 or characters > 1 << 22:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _lines_one_by_one(path: str) -> Iterator[str]:
    from rftt.errors import UsageError

    try:
        if path == "-":
            yield next(sys.stdin, "").removeprefix("\ufeff")
            yield from sys.stdin
        else:
            with open(path, encoding="utf-8-sig") as lines:
                yield from lines
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error


def _content(path: str) -> bytes:
    from rftt.errors import UsageError

    try:
        return sys.stdin.read().encode(errors="surrogateescape") if path == "-" else Path(path).read_bytes()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error


def _view(arguments: Arguments) -> None:
    from rftt.report import write_report

    print(write_report([Path(run) for run in arguments.runs], Path(arguments.out) if arguments.out else None))


def _export(arguments: Arguments) -> None:
    from rftt.publish.export import check_export, check_push, export, push

    run, out = Path(arguments.run), Path(arguments.out)
    check_export(run, out, arguments.model)
    if arguments.push:
        check_push(arguments.push)
    terminal.say(str(export(run, out, model=arguments.model, dtype=arguments.dtype, license=arguments.license)))
    if arguments.push:
        terminal.say(str(push(out, arguments.push, private=arguments.private)))


def _toy(arguments: Arguments) -> None:
    from rftt.errors import UsageError

    out = Path(arguments.out)
    if out.exists():
        raise UsageError(f"{out}: exists already; give another path or remove it")
    if (arguments.what == "prm") != (arguments.run is not None):
        raise UsageError("toy: give `toy prm RUN OUT`, `toy build OUT` or `toy data OUT`")
    if arguments.what == "prm":
        from rftt.toy.train_prm import train_prm

        more = {"steps": arguments.steps} if arguments.steps else {}
        held_out = Path(arguments.held_out) if arguments.held_out else None
        print(json.dumps(train_prm(Path(arguments.run), out, held_out=held_out, seed=arguments.seed, **more)))
    elif arguments.what == "data":
        if arguments.count < 1:
            raise UsageError(f"toy: --count is {arguments.count}, expected 1 or more")
        from rftt.toy.world import rows
        from search.journal import write_jsonl

        write_jsonl(out, rows(arguments.split, arguments.count, arguments.seed))
    else:
        from rftt.toy.base import build

        build(out, seed=arguments.seed, **({"steps": arguments.steps} if arguments.steps else {}))
    print(out)


if __name__ == "__main__":
    sys.exit(main())
