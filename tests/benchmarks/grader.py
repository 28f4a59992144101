"""Measure the grader: agreement, speed, isolation and robustness, with math-verify 0.9.0 beside it in the same run.

    python -m tests.benchmarks.grader --json OUT [--fuzz 100000] [--hostile 20000] [--fair 2000] [--sample N]
        [--skip-math-verify]

Needs the published files in `../shared/data` for everything but `--fuzz`. Agreement counts uncontested labels;
contested ones (matters of policy) are listed apart. math-verify is used as recommended for strict grading: gold and
answer in a box, strict comparison, its own timeouts on. CPU times are of the deciding process; ours includes parsing
both sides without any cache.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import resource
import signal
import statistics
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import rewards
from rewards import check_golds, extract_answer, grade, grade_many, grader, normalise, reading, symbolic
from rewards.equivalence import Undecided, decide
from rewards.pool import Pool
from tests.benchmarks._fair_answers import FAIR
from tests.benchmarks._hostile_answers import HOSTILE
from tests.benchmarks._hostile_answers import Family as Drawn
from tests.rewards.cases import Case, load_cases
from tests.rewards.families import CHAINS, CORRUPTIONS, REWRITES, Family

SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
CASE_FILES = (
    "gold_identity",
    "gold_equiv",
    "gold_equiv_algebra",
    "gold_self_chains",
    "gold_negative",
    "gold_mismatch",
    "hardverify_math",
    "math_verify_tests",
    "other_grader_tests",
    "issues_hand",
    "hacks",
)
GOLD_DERIVED = ("gold_identity", "gold_equiv", "gold_equiv_algebra", "gold_negative", "gold_mismatch")
DEADLINE = 3.0
SEED = 20261121


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--fuzz", type=int, default=0, metavar="N", help="grade N generated inputs from 64 threads")
    parser.add_argument("--hostile", type=int, default=20_000, metavar="N", help="N answers that must be refused")
    parser.add_argument("--fair", type=int, default=2_000, metavar="N", help="N right answers in other clothes")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="at most N cases of each file")
    parser.add_argument("--skip-math-verify", action="store_true")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    if SHARED_DATA.is_dir():
        others = not options.skip_math_verify
        figures["agreement"], figures["speed"] = agreement_and_speed(options.sample, others)
        figures["held_out"] = held_out(options.sample, others)
        figures["golds"] = golds()
    else:
        print("the published data files are absent (../shared/data): agreement, speed and golds are skipped")
    figures["answers"] = {
        "hostile": answers(HOSTILE, options.hostile, False),
        "fair": answers(FAIR, options.fair, True),
    }
    figures["isolation"] = isolation()
    if options.fuzz:
        figures["fuzz"] = fuzz(options.fuzz)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


def table(title: str, header: list[str], rows: list[list[Any]]) -> None:
    texts = [header, *([f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in texts) for i in range(len(header))]
    print(f"\n{title}")
    for row in texts:
        print(
            "  "
            + "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))
            )
        )


def ours(gold: str, text: str, rule: str) -> tuple[bool, float]:
    """(accepted, CPU seconds) in this process, depth by depth, with empty caches."""
    for cached in (reading.read, normalise.normalise, normalise.plain):
        cached.cache_clear()
    started = time.process_time()
    answer = extract_answer(text, rule)
    accepted = False
    if answer is not None and gold.strip():
        gold = grader.unboxed(gold)
        for depth in ("quick", "numeric", "symbolic"):
            try:
                accepted = decide(gold, answer, depth) == "correct"
                break
            except Undecided:
                continue
    return accepted, time.process_time() - started


def math_verify(gold: str, text: str, rule: str) -> tuple[bool, float]:
    """The same for math-verify; bare answers go into a box."""
    from math_verify import parse, verify

    started = time.process_time()
    try:
        wanted = parse(gold if "\\boxed" in gold else rf"\boxed{{{gold}}}")
        given = parse(rf"\boxed{{{text}}}" if rule == "none" else text)
        accepted = bool(verify(wanted, given, strict=True))
    except Exception:
        accepted = False
    return accepted, time.process_time() - started


def agreement_and_speed(sample: int, others: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    logging.disable(logging.WARNING)
    graders: dict[str, Callable[[str, str, str], tuple[bool, float]]] = {"ours": ours}
    if others:
        graders["math-verify"] = math_verify
    symbolic.load("symbolic")
    for grade_with in graders.values():  # imports are not speed
        grade_with(r"\sqrt{8}+x", r"x+2\sqrt{2}", "none")
    figures: dict[str, Any] = {}
    seconds: dict[str, list[float]] = defaultdict(list)
    rows = []
    for name in CASE_FILES:
        cases = [case for case in load_cases(SHARED_DATA / "grader_cases", name) if case.expected is not None]
        if sample and len(cases) > sample:
            cases = random.Random(SEED).sample(cases, sample)
        figures[name] = {}
        for label, grade_with in graders.items():
            counts: Counter[str] = Counter()
            for case in cases:
                accepted, spent = grade_with(case.gold, case.text, _rule(case, name))
                if name in GOLD_DERIVED:
                    seconds[label].append(spent)
                kind = "contested" if case.contested else "clear"
                counts[kind] += 1
                counts[f"{kind} agree"] += accepted == case.expected
                counts["positives"] += not case.contested and case.expected is True
                counts["false positives"] += not case.contested and accepted and not case.expected
                counts["false negatives"] += not case.contested and not accepted and case.expected is True
            share = 100 * counts["clear agree"] / max(counts["clear"], 1)
            figures[name][label] = {**counts, "agreement": share}
            rows.append(
                [
                    name,
                    label,
                    counts["clear"],
                    share,
                    counts["false positives"],
                    counts["false negatives"],
                    f"{counts['contested agree']}/{counts['contested']}",
                ]
            )
    table("Agreement (uncontested labels)", ["file", "grader", "cases", "agree %", "FP", "FN", "contested"], rows)
    speed = {
        label: {
            "pairs": len(spent),
            "median_ms": 1e3 * statistics.median(spent),
            "mean_ms": 1e3 * statistics.mean(spent),
            "p99_ms": 1e3 * sorted(spent)[int(0.99 * len(spent))],
            "max_ms": 1e3 * max(spent),
        }
        for label, spent in seconds.items()
    }
    table(
        "Speed on gold-derived pairs (CPU, one core, cold caches)",
        ["grader", "pairs", "median ms", "mean ms", "p99 ms", "max ms"],
        [[label, *values.values()] for label, values in speed.items()],
    )
    return figures, speed


def _rule(case: Case, name: str) -> str:
    # Other projects' chains often have no box; hacks are judged by the RL rule.
    return "lenient" if name == "other_grader_tests" and case.rule == "boxed" else case.rule


def held_out(sample: int, others: bool) -> dict[str, Any]:
    """Families of `tests/rewards/families.py` on published golds: up to 60 golds a family, drawn with a fixed seed."""
    published = published_golds(SHARED_DATA / "math")
    texts = sorted(
        {
            gold
            for name in ("math500_test", "math_train", "olympiadbench_test", "minerva_math_test")
            for _, gold in published[name]
            if gold
        }
    )
    random.Random(SEED).shuffle(texts)
    limit = min(sample, 60) if sample else 60
    figures: dict[str, Any] = {}
    rows = []
    totals: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for expected, families in ((True, REWRITES), (False, CORRUPTIONS)):
        for family in families:
            pairs = _pairs(family, texts, limit)
            rule = "boxed" if family in CHAINS else "none"
            row: list[Any] = [family.__name__, "accept" if expected else "refuse", len(pairs)]
            missed = []
            for label, grade_with in (("ours", ours), ("math-verify", math_verify)) if others else (("ours", ours),):
                results = [grade_with(gold, text, rule)[0] for gold, text in pairs]
                right = sum(accepted == expected for accepted in results)
                totals[label, "rewrites" if expected else "corruptions"][0] += right
                totals[label, "rewrites" if expected else "corruptions"][1] += len(pairs)
                row.append(f"{right}/{len(pairs)}")
                if label == "ours":
                    missed = [pair for pair, accepted in zip(pairs, results) if accepted != expected]
            rows.append(row)
            figures[family.__name__] = {"expected": expected, "pairs": len(pairs), "right": row[3:], "missed": missed}
    names = ["ours", "math-verify"][: 1 + others]
    table("Held-out families (right / pairs)", ["family", "expected", "pairs", *names], rows)
    for (label, kind), (right, count) in totals.items():
        print(f"  {label}: {kind} {right}/{count} = {100 * right / max(count, 1):.2f} %")
    figures["totals"] = {f"{label} {kind}": counts for (label, kind), counts in totals.items()}
    return figures


def _pairs(family: Family, golds: list[str], limit: int) -> list[tuple[str, str]]:
    pairs = []
    for gold in golds:
        text = family(gold)
        if text is not None:
            pairs.append((gold, text))
            if len(pairs) == limit:
                break
    return pairs


def published_golds(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """(id, gold) of every problem of the published files; a gold that is missing is ""."""

    def rows(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]

    def joined(answers: list[str] | str) -> str:
        return answers if isinstance(answers, str) else ", ".join(answers)

    found: dict[str, list[tuple[str, str]]] = {}
    for name in ("gsm8k_test", "gsm8k_train"):
        found[name] = [(f"{name}:{i}", row["answer"].rpartition("####")[2].strip()) for i, row in enumerate(rows(name))]
    found["svamp_test"] = [(row["ID"], str(row["Answer"])) for row in rows("svamp_test")]
    found["amc23_test"] = [(str(row["id"]), str(row["answer"])) for row in rows("amc23_test")]
    found["aime24_test"] = [(str(row["id"]), row["answer"]) for row in rows("aime24_test")]
    for name in ("math500_test", "math_train"):
        found[name] = [(f"{name}:{i}", row["answer"] or "") for i, row in enumerate(rows(name))]
    found["olympiadbench_test"] = [(str(row["id"]), joined(row["final_answer"])) for row in rows("olympiadbench_test")]
    found["minerva_math_test"] = [
        (f"minerva:{i}", extract_answer(row["solution"]) or "") for i, row in enumerate(rows("minerva_math_test"))
    ]
    return found


def golds() -> dict[str, Any]:
    """Every published gold: is it there, does it equal itself when it is written differently, is it read as
    mathematics or as words?
    """
    figures: dict[str, Any] = {}
    rows = []
    listed: list[tuple[str, str, str]] = []
    for name, pairs in published_golds(SHARED_DATA / "math").items():
        problems = [(pairs[i][0], why) for i, why in check_golds([gold for _, gold in pairs])]
        words: list[tuple[str, str]] = []
        unread: list[tuple[str, str]] = []
        for identifier, gold in pairs:
            reading_of = reading.read(gold)
            if gold and not reading_of.trees:
                (words if reading_of.words is not None else unread).append((identifier, gold))
        listed += [(name, identifier, why) for identifier, why in problems]
        figures[name] = {"golds": len(pairs), "problems": problems, "words": words, "unread": unread}
        rows.append([name, len(pairs), len(problems), len(words), len(unread)])
    table("Published golds", ["file", "golds", "problems", "words", "text only"], rows)
    for name, identifier, why in listed:
        print(f"  {name} {identifier}: {why}")
    return figures


def answers(families: tuple[Drawn, ...], count: int, fair: bool) -> dict[str, Any]:
    """`count` answers of generated families, one after the other: verdicts, exceptions, and time by the clock."""
    dice = random.Random(SEED)
    deadline = 1.0
    by_family: dict[str, Counter[str]] = {family.__name__: Counter() for family in families}
    wrong: list[tuple[str, str, str, str]] = []
    exceptions: list[str] = []
    slowest = untrue = most_cpu = 0.0
    late: list[tuple[str, str, str, float, float]] = []
    grade(r"\sqrt{8}", r"\boxed{2\sqrt{2}}", extract="boxed")  # start-up is nobody's time
    grade(r"\overrightarrow{\mu}", r"\boxed{\overleftarrow{\mu}}", extract="boxed", timeout=60)
    for number in range(count):
        family = families[number % len(families)]
        gold, text = family(dice)
        started, cpu = time.monotonic(), time.thread_time()
        try:
            verdict = grade(
                gold, text, extract="lenient" if number % 5 == 4 and not fair else "boxed", timeout=deadline
            )
        except Exception as error:
            exceptions.append(f"{type(error).__name__}: {error!s:.200} on {(gold, text)!r:.300}")
            continue
        spent = time.monotonic() - started
        slowest = max(slowest, spent)
        most_cpu = max(most_cpu, time.thread_time() - cpu)
        untrue = max(untrue, abs(spent - verdict.seconds))
        if spent > deadline + 0.2:
            late.append((family.__name__, gold[:200], text[:300], spent, verdict.seconds))
        by_family[family.__name__][verdict.status] += 1
        if verdict.correct != fair:
            wrong.append((family.__name__, gold[:200], text[:300], verdict.status))
    figures = {
        "answers": count,
        "right_percent": 100 * (1 - (len(wrong) + len(exceptions)) / max(count, 1)),
        "wrong": len(wrong),
        "exceptions": exceptions,
        "past_the_deadline": len(late),
        "late": late[:20],
        "slowest_s": slowest,
        "most_cpu_s_of_the_caller": most_cpu,
        "seconds_off_by_at_most": untrue,
        "statuses": {name: dict(statuses) for name, statuses in by_family.items()},
        "examples": wrong[:200],
    }
    title = "Fair answers (accepted)" if fair else "Hostile answers (refused)"
    names = [
        "answers",
        "right_percent",
        "wrong",
        "exceptions",
        "past_the_deadline",
        "slowest_s",
        "most_cpu_s_of_the_caller",
        "seconds_off_by_at_most",
    ]
    shown = {**figures, "exceptions": len(exceptions)}
    table(title, ["figure", "value"], [[name, shown[name]] for name in names])
    for family, missed in Counter(name for name, *_ in wrong).most_common():
        print(f"  {family}: {missed}, e.g. {next(one[1:3] for one in wrong if one[0] == family)!r:.200}")
    return figures


def isolation() -> dict[str, Any]:
    """What a worker costs: a call through the pipe against the same decision in this process, and how `grade_many`
    scales.
    """
    pairs = [(rf"\sqrt{{{4 * n}}}", rf"2\sqrt{{{n}}}") for n in range(1001, 1401)]
    for gold, answer in pairs[:50]:
        decide(gold, answer, "numeric")
    started = time.perf_counter()
    for gold, answer in pairs:
        decide(gold, answer, "numeric")
    inside = (time.perf_counter() - started) / len(pairs)
    pool = Pool("numeric", 1)
    pool.decide(*pairs[0], DEADLINE)
    started = time.perf_counter()
    for gold, answer in pairs:
        pool.decide(gold, answer, DEADLINE)
    outside = (time.perf_counter() - started) / len(pairs)
    started = time.perf_counter()
    fresh = Pool("numeric", 1)
    fresh.decide(*pairs[0], DEADLINE)
    startup = time.perf_counter() - started
    (worker,) = fresh.workers()
    started = time.perf_counter()
    if worker.server:
        os.kill(worker.server, signal.SIGKILL)
    fresh.decide(*pairs[1], DEADLINE)
    respawn = time.perf_counter() - started
    pool.close()
    fresh.close()

    many = [(rf"\sqrt{{{4 * n}}}+\sin({n})", rf"\boxed{{2\sqrt{{{n}}}+\sin({n})+0\cdot x}}") for n in range(1, 3001)]
    scaling = {}
    for size in (1, 2, 4):
        if size > len(os.sched_getaffinity(0)):
            continue
        rewards.shutdown()
        grader._cache = grader.StatusCache(grader.CACHE_ENTRIES)
        grader._pools["numeric"] = Pool("numeric", size)
        grade_many(many[:8])
        started = time.perf_counter()
        verdicts = grade_many(many)
        scaling[size] = len(many) / (time.perf_counter() - started)
        assert all(verdict.correct for verdict in verdicts)
    rewards.shutdown()
    figures = {
        "decision_ms": 1e3 * inside,
        "through_worker_ms": 1e3 * outside,
        "overhead_ms": 1e3 * (outside - inside),
        "first_start_ms": 1e3 * startup,
        "respawn_and_retry_ms": 1e3 * respawn,
        "grade_many_pairs_per_s": scaling,
    }
    table(
        "Isolation",
        ["figure", "value"],
        [[name, value] for name, value in figures.items() if name != "grade_many_pairs_per_s"],
    )
    table(
        "grade_many on pairs that all need a worker",
        ["workers", "pairs / s"],
        [[size, rate] for size, rate in scaling.items()],
    )
    return figures


def fuzz(count: int) -> dict[str, Any]:
    """`count` generated pairs from 64 threads while workers are killed at random; nothing may raise, hang or be
    executed.
    """
    from hypothesis import HealthCheck, Phase, given, settings

    from tests.rewards.hostile import any_texts, latex_texts

    statuses: Counter[str] = Counter()
    errors: list[str] = []
    slowest = 0.0
    killed = 0
    stop = threading.Event()
    threads = ThreadPoolExecutor(64)
    most_memory = 0
    grade(r"\sqrt{8}", r"\boxed{2\sqrt{2}}")

    def servers() -> list[int]:
        return [worker.server for pool in list(grader._pools.values()) for worker in pool.workers() if worker.server]

    def reaper() -> None:
        nonlocal killed, most_memory
        dice = random.Random(SEED)
        while not stop.wait(2.0):
            found = servers()
            for pid in found:
                try:
                    status = Path(f"/proc/{pid}/status").read_text()
                    most_memory = max(most_memory, int(status.partition("VmHWM:")[2].split()[0]))
                except (OSError, IndexError, ValueError):
                    continue
            if found:
                try:
                    os.kill(dice.choice(found), signal.SIGKILL)
                    killed += 1
                except ProcessLookupError:
                    pass

    def one(pair: tuple[str, str]) -> tuple[str, float]:
        rule = "lenient" if len(pair[1]) % 3 else "none"
        started = time.monotonic()
        try:
            verdict = grade(pair[0], pair[1], extract=rule, timeout=DEADLINE)
            return verdict.status, verdict.seconds
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error} on {pair!r}")
            return "exception", time.monotonic() - started

    waiting: list[tuple[str, str]] = []

    def flush() -> None:
        nonlocal slowest
        for status, seconds in threads.map(one, waiting):
            statuses[status] += 1
            slowest = max(slowest, seconds)
        waiting.clear()

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(gold=latex_texts().filter(str.strip), text=any_texts())
    def run(gold: str, text: str) -> None:
        waiting.append((gold, text))
        if len(waiting) >= 256:
            flush()

    with TemporaryDirectory() as folder:
        sentinel = Path(folder) / "executed"
        watcher = threading.Thread(target=reaper, daemon=True)
        watcher.start()
        started = time.monotonic()
        run()
        flush()
        code = [
            (gold, rf"\boxed{{__import__('pathlib').Path({str(sentinel)!r}).touch()}}")
            for gold in ("7", "x+1", "(1,2)", r"\{1\}")
        ]
        grade_many(code)
        stop.set()
        watcher.join()
        executed = sentinel.exists()
    threads.shutdown()
    family = [
        pid
        for pool in grader._pools.values()
        for worker in pool.workers()
        for pid in (worker.supervisor, worker.server or 0)
        if pid
    ]
    rewards.shutdown()
    time.sleep(0.5)
    left = [pid for pid in family if Path(f"/proc/{pid}").exists()]
    figures = {
        "inputs": sum(statuses.values()),
        "statuses": dict(statuses),
        "exceptions": errors[:20],
        "slowest_decision_s": slowest,
        "late": slowest > DEADLINE + 0.5,
        "workers_killed": killed,
        "code_executed": executed,
        "processes_left": len(left),
        "worker_peak_mb": most_memory / 1024,
        "own_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "minutes": (time.monotonic() - started) / 60,
    }
    table("Fuzzing from 64 threads", ["figure", "value"], [[name, value] for name, value in figures.items()])
    return figures


if __name__ == "__main__":
    main()
