"""Accuracy over generated tokens for every strategy on the embedded world's test split, with intervals, in one plot.

    python -m tests.benchmarks.strategies --json OUT [--plot OUT.svg] [--run runs/toy] [--questions 0-200 300-500]
    python -m tests.benchmarks.strategies --json OUT --rules 4,16 16,16 --validation 200

Needs a finished run of configs/toy.yaml, which `make quickstart` leaves in runs/toy. Settings are chosen on questions of the
validation split: those of best-first were when it was written, the temperature of votes and best-of-n is at the start, or is
given with `--temperature majority=0.3`. Then each arm runs once, with its largest budget; what a smaller budget of tokens
would have answered is read off the order in which its candidates were finished. Beams depend on their width, so they run
once for every width. The first chain of best-first is the greedy one. Differences are paired over questions (exact McNemar
test). Arms that the file of figures holds already are not run again. With `--rules` only best-first runs, on validation
questions, once for each rule: how many branches are chosen for each chain there is, and how many at most.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rewards import grade
from rftt.config import Config, load_config
from rftt.config.sections import EVAL_SEARCH, PRMConfig
from rftt.evaluate.intervals import measured, paired_difference
from rftt.model.function_sets import functions_of_run
from rftt.run_folder import trained_model
from rftt.runtime.running_engine import running_engine
from rftt.runtime.running_scorer import running_scorer
from rftt.toy.world import rows
from search import Question, SearchConfig, Solution, Solver, solve_many
from search.best_first import at_once
from search.engines import Engine
from search.functions import FunctionSet
from search.judging import Scorer

BUDGETS = (250, 550, 1150, 2300)
ONE_CHAIN = 0  # the budget of a first chain
WIDTHS = (4, 16)
TEMPERATURES = (0.3, 0.5, 0.7, 1.0)
SAMPLES = 24  # chains that cost more than the largest budget
OURS = "best-first"
STOPPING = "best-first, stops at a share of 0.8"
STOP_SHARE, STOP_PATHS = 0.8, 4
SAMPLED = {"majority": "majority", "best of n": "best_prior"}  # curves of the same samples → their vote
Verdicts = dict[str, dict[str, list[float]]]  # budget → {"right": one a question, "tokens": of each}


@dataclass(frozen=True)
class Arm:
    """One curve.

    Args:
        name: name of the curve.
        strategy: name of a strategy of `search.STRATEGIES`.
        runs: settings, one for each run that the curve needs.
        vote: rule of the vote among its candidates; None for that of the strategy.
        scored: whether a process reward model guides it.
    """

    name: str
    strategy: str
    runs: tuple[SearchConfig, ...]
    vote: str | None = None
    scored: bool = False


def arms(config: SearchConfig, temperatures: dict[str, float], prm: bool) -> list[Arm]:
    whole = replace(config, rollouts=256, budget_tokens=BUDGETS[-1])
    tree = replace(whole, parallel_rollouts=8)
    sampled = [
        Arm(name, "majority", (replace(config, rollouts=SAMPLES, vote="prior", temperature=temperatures[name]),), vote)
        for name, vote in SAMPLED.items()
    ]
    beams = tuple(replace(config, rollouts=width) for width in WIDTHS)
    best = replace(whole, stop_share=1.0)
    few = replace(config, rollouts=SAMPLES, vote="best_prm", temperature=temperatures["best of n"])
    guided = [
        Arm(f"{OURS}, PRM", "best_first", (best,), scored=True),
        Arm("MCTS, PRM", "mcts", (tree,), scored=True),
        Arm("best of n, PRM", "majority", (few,), scored=True),
    ]
    return [
        Arm(OURS, "best_first", (best,)),
        *sampled,
        Arm("beam", "beam", beams),
        Arm("DVTS", "dvts", beams),
        Arm("MCTS", "mcts", (tree,)),
        Arm("MCTS, steps at temperature 1, no widening", "mcts", (replace(tree, step_temperature=1.0, widening=0.0),)),
        *(guided if prm else []),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/toy"), help="folder of a finished run")
    parser.add_argument("--json", type=Path, required=True, help="file for the figures; what it holds is not run again")
    parser.add_argument("--plot", type=Path, help="file for the plot (.svg or .png)")
    parser.add_argument("--questions", nargs="+", default=["0-200", "300-500"], metavar="A-B", help="of the test split")
    parser.add_argument("--validation", type=int, default=100, help="questions that the temperatures are chosen on")
    parser.add_argument("--temperature", action="append", default=[], metavar="ARM=T", help="chosen before")
    parser.add_argument("--models", nargs="+", default=["sft", "rl"])
    parser.add_argument(
        "--prm", metavar="MODEL", help="adds arms with a process reward model (`rftt toy prm RUN MODEL`)"
    )
    parser.add_argument("--arms", nargs="+", metavar="ARM", help="only these")
    parser.add_argument(
        "--rules", nargs="+", metavar="GROWTH,GENERATION", help="only compare these, on validation questions"
    )
    options = parser.parse_args()
    figures = json.loads(options.json.read_text()) if options.json.exists() else {}
    for model in options.models:
        if options.rules:
            figures |= {model: rules(options, model)}
            options.json.write_text(json.dumps(figures, indent=1) + "\n")
            continue
        known = figures.setdefault(model, {"temperatures": {}, "arms": {}})
        known["temperatures"] |= {k: float(v) for k, _, v in (t.partition("=") for t in options.temperature)}
        run(options, model, known)
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
        print_table(model, known)
    if options.plot:
        plot(figures, options.plot)


def settings(options: argparse.Namespace) -> tuple[Config, SearchConfig]:
    """Those of the run, and of its searches."""
    config = replace(load_config(options.run / "config.yaml"), run=str(options.run))
    chosen = {
        name: getattr(config.eval.search, name) for name in ("max_step_tokens", "max_tokens", "min_prior", "top_p")
    }
    return config, SearchConfig(**(EVAL_SEARCH | chosen), temperature=1.0, live_trees=128, seed=config.seed)


def rules(options: argparse.Namespace, model: str) -> dict[str, Any]:
    """Best-first with several rules of how many branches it takes at once."""
    config, search = settings(options)
    questions, found = rows("validation", options.validation, config.seed), {}
    path = trained_model(config, model)
    with running_engine(config, path) as engine:
        for rule in options.rules:
            growth, generation = map(int, rule.split(","))
            whole = replace(search, rollouts=256, budget_tokens=BUDGETS[-1], growth=growth, generation=generation)
            arm = Arm(OURS, "best_first", (replace(whole, stop_share=1.0),))
            solutions = solved(engine, functions_of_run(config, path), questions, arm.runs[0], arm.strategy)
            ended = [stopped(solution, arm.runs[0]) for solution in solutions]
            found[rule] = {
                "whole": points(solutions, questions, arm, single=False),
                "stopping": points(ended, questions, arm, single=False),
                "rounds": sum(s.rounds for s in solutions) / len(solutions),
                "beyond_budget": sum(max(0, s.tokens - BUDGETS[-1]) for s in solutions) / len(solutions),
            }
            print(f"{model}, {rule}: {found[rule]['rounds']:.1f} requests one after the other", flush=True)
            for name in ("whole", "stopping"):
                shown = (
                    f"{100 * sum(p['right']) / len(questions):.1f} at {sum(p['tokens']) / len(questions):.0f}"
                    for p in found[rule][name].values()
                )
                print(f"  {name}: " + ", ".join(shown), flush=True)
    return found


def run(options: argparse.Namespace, model: str, known: dict[str, Any]) -> None:
    """Run what is missing in `known`, which is written after each arm."""
    config, search = settings(options)
    wanted = [
        arm
        for arm in arms(search, dict.fromkeys(SAMPLED, 0.0), bool(options.prm))
        if arm.name not in known["arms"] and (not options.arms or arm.name in options.arms)
    ]
    if not wanted:
        return
    config = replace(config, prm=PRMConfig(path=options.prm or ""))
    path = trained_model(config, model)
    functions = functions_of_run(config, path)
    with running_scorer(config) as scorer, running_engine(config, path) as engine:
        asks = partial(solved, engine, functions)
        lacking = [a.name for a in wanted if a.name in SAMPLED and a.name not in known["temperatures"]]
        if lacking:
            known["temperatures"] |= choose(asks, search, options.validation, config.seed, lacking)
        held_out = [
            rows("test", int(span.split("-")[1]), config.seed)[int(span.split("-")[0]) :] for span in options.questions
        ]
        questions = [row for part in held_out for row in part]
        samples: dict[SearchConfig, list[Solution]] = {}  # votes and best-of-n may share them
        for arm in arms(search, {**dict.fromkeys(SAMPLED, 0.0), **known["temperatures"]}, bool(options.prm)):
            if arm.name not in [a.name for a in wanted]:
                continue
            begun = time.monotonic()
            found: Verdicts = {}
            for chosen_config in arm.runs:
                solutions = samples.get(chosen_config) or asks(
                    questions, chosen_config, arm.strategy, scorer if arm.scored else None
                )
                if arm.name in SAMPLED:
                    samples[chosen_config] = solutions
                found |= points(solutions, questions, arm, single=len(arm.runs) > 1)
            known["arms"][arm.name] = found
            if arm.name == OURS:
                stopping = [stopped(solution, arm.runs[0]) for solution in solutions]
                known["arms"][STOPPING] = points(stopping, questions, arm, single=False)
            print(f"{model}: {arm.name}: {time.monotonic() - begun:.0f} s", flush=True)
            figures = json.loads(options.json.read_text()) if options.json.exists() else {}
            options.json.write_text(json.dumps(figures | {model: known}, indent=1) + "\n")


def choose(
    asks: Callable[..., list[Solution]], search: SearchConfig, count: int, seed: int, names: Sequence[str]
) -> dict[str, float]:
    """The temperature of each sampled arm with the best accuracy on validation questions, over all budgets."""
    questions = rows("validation", count, seed)
    scores: dict[str, dict[float, float]] = {name: {} for name in names}
    for temperature in TEMPERATURES:
        config = replace(search, rollouts=SAMPLES, vote="prior", temperature=temperature)
        solutions = asks(questions, config, "majority")
        for name in names:
            found = points(solutions, questions, Arm(name, "majority", (config,), SAMPLED[name]), single=False)
            scores[name][temperature] = sum(sum(point["right"]) for point in found.values()) / len(found) / count
    for name, of in scores.items():
        print(f"validation: {name}: " + ", ".join(f"T {t}: {100 * v:.1f}" for t, v in of.items()), flush=True)
    return {name: max(found, key=found.__getitem__) for name, found in scores.items()}


def solved(
    engine: Engine,
    functions: FunctionSet,
    questions: Sequence[dict],
    config: SearchConfig,
    strategy: str,
    scorer: Scorer | None = None,
) -> list[Solution]:
    found: dict[str, Solution] = {}

    def keep(solution: Solution) -> None:
        found[solution.question_id] = solution

    asked = [Question(row["id"], row["question"]) for row in questions]
    asyncio.run(solve_many(asked, Solver(engine, config, strategy, functions=functions, scorer=scorer), keep))
    return [found[question.id] for question in asked]


def stopped(solution: Solution, config: SearchConfig) -> Solution:
    """What the search would have found if it stopped once it is decided: after a generation, as it does."""
    found, end = solution.candidates, 1
    while end < len(found):
        begun = replace(solution, candidates=found[:end]).elect()
        if end >= STOP_PATHS and begun.share > STOP_SHARE:
            return begun
        end += at_once(end, config)
    return solution


def points(solutions: Sequence[Solution], questions: Sequence[dict], arm: Arm, *, single: bool) -> Verdicts:
    """Verdicts and tokens of each question at each budget; at what a run spent itself where it has no smaller ones."""
    if arm.vote is not None:
        solutions = [replace(solution, vote=arm.vote) for solution in solutions]
    gold = {row["id"]: row["answer"] for row in questions}
    if single:
        tokens = [float(s.tokens) for s in solutions]
        key = str(round(sum(tokens) / len(tokens)))
        return {key: {"right": [_right(gold[s.question_id], s.elect().answer) for s in solutions], "tokens": tokens}}
    return {
        str(budget): {
            "right": [_right(gold[s.question_id], s.answer_at(budget)) for s in solutions],
            "tokens": [float(_spent(s, budget)) for s in solutions],
        }
        for budget in (ONE_CHAIN, *BUDGETS)
    }


def _spent(solution: Solution, budget: int) -> int:
    """Tokens that a run with this budget had generated when its last candidate was finished."""
    return max([c.spent for c in solution.candidates if c.spent <= budget], default=solution.candidates[0].spent)


def _right(gold: str, answer: str | None) -> float:
    return float(answer is not None and grade(gold, answer, extract="none").correct)


def print_table(model: str, known: dict[str, Any]) -> None:
    """Accuracies, and the difference of best-first to every other arm at the budget nearest to its tokens."""
    print(f"\n{model}: accuracy in % [95 %] at tokens per question; temperatures {known['temperatures']}")
    ours: Verdicts = known["arms"].get(OURS, {})
    for name, found in known["arms"].items():
        print(f"  {name}")
        for budget, point in found.items():
            tokens = sum(point["tokens"]) / len(point["tokens"])
            result = measured(point["right"], tokens)
            line = f"    {tokens:7.0f} tok  {100 * result['value']:5.1f}"
            line += f" [{100 * result['low']:4.1f}, {100 * result['high']:5.1f}]"
            if name != OURS and ours:
                # An arm without budgets is compared with the largest budget that spends no more than it did.
                below = [b for b in ours if b == budget or sum(ours[b]["tokens"]) <= sum(point["tokens"])]
                nearest = budget if budget in ours else max(below, key=int, default=str(ONE_CHAIN))
                d = paired_difference(point["right"], ours[nearest]["right"])
                line += (
                    f"   {OURS} at {sum(ours[nearest]['tokens']) / len(point['tokens']):.0f} tok: {100 * d.value:+5.1f}"
                )
                line += f" ({d.only_second}:{d.only_first}, p {d.p:.3f})"
            print(line)


def plot(figures: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    # Small files, the same for the same figures.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "rftt"})
    from matplotlib import pyplot

    sheet, axes = pyplot.subplots(1, len(figures), figsize=(6.5 * len(figures), 5), squeeze=False)
    for axis, (model, known) in zip(axes[0], figures.items(), strict=True):
        for name, found in known["arms"].items():
            results = [measured(p["right"], sum(p["tokens"]) / len(p["tokens"])) for p in found.values()]
            y = [100 * r["value"] for r in results]
            spread = [
                [100 * (r["value"] - r["low"]) for r in results],
                [100 * (r["high"] - r["value"]) for r in results],
            ]
            width = 2.5 if name == OURS else 1
            axis.errorbar(
                [r["tokens"] for r in results], y, yerr=spread, marker="o", capsize=2, linewidth=width, label=name
            )
        axis.set(xscale="log", xlabel="generated tokens per question", title=f"{model} model")
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("accuracy in %, 95 % intervals")
    axes[0][-1].legend(fontsize=7, loc="lower right")
    sheet.tight_layout()
    sheet.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


if __name__ == "__main__":
    main()
