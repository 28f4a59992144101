"""Accuracy over generated tokens for every strategy on the embedded world's test split, with intervals, in one plot.

    python -m tests.benchmarks.strategies --json OUT [--plot OUT.svg] [--run runs/toy] [--questions 200] [--models sft rl]

Needs a finished run of configs/toy.yaml, which `make quickstart` leaves in runs/toy. Each strategy runs once with its
largest budget; what a smaller budget of tokens would have answered is read off the order in which its candidates were
finished. Beams depend on their width, so they run once for every width. Nothing is tuned here: all settings that were
tried are shown. Differences at equal tokens are paired over questions (exact McNemar test).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from rewards import grade
from rftt.config import load_config
from rftt.data.questions import problems
from rftt.evaluate.intervals import measured
from rftt.run_folder import trained_model
from rftt.runtime.running_engine import running_engine
from search import Question, SearchConfig, Solution, Solver, solve_many

BUDGETS = (75, 150, 300, 600, 1200, 2400)
WIDTHS = (4, 8, 16)
SAMPLES = 20
# The control arm that the others are compared with.
CONTROL = "majority"


@dataclass(frozen=True)
class Arm:
    """One curve.

    Args:
        strategy: name of a strategy of `search.STRATEGIES`.
        runs: settings, one for each run that the curve needs.
        votes: rules of the vote by the name of the curve, for curves that differ only in how the same candidates vote.
    """

    strategy: str
    runs: list[SearchConfig]
    votes: dict[str, str]


def arms(config: SearchConfig) -> list[Arm]:
    sampled = replace(config, rollouts=SAMPLES, vote="prior")
    tree = replace(config, rollouts=256, budget_tokens=BUDGETS[-1])
    wide = replace(tree, siblings=4)
    puct = replace(wide, selection="puct")
    beams = [replace(config, rollouts=width) for width in WIDTHS]
    return [
        Arm("greedy", [config], {"greedy": "majority"}),
        Arm("majority", [sampled], {CONTROL: "majority", "majority by prior": "prior", "best of n": "best_prior"}),
        Arm("beam", beams, {"beam": "majority"}),
        Arm("dvts", beams, {"DVTS": "majority"}),
        Arm("mcts", [tree], {"MCTS uct": "majority"}),
        Arm("mcts", [wide], {"MCTS uct, 4 siblings": "majority", "MCTS uct, 4 siblings, by prior": "prior"}),
        Arm("mcts", [puct], {"MCTS puct, 4 siblings": "majority"}),
        Arm("mcts", [replace(puct, branch_entropy=0.3)], {"MCTS puct, 4 siblings, entropy above 0.3": "majority"}),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/toy"), help="folder of a finished run")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--plot", type=Path, help="file for the plot (.svg or .png)")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--models", nargs="+", default=["sft", "rl"])
    options = parser.parse_args()
    if not (options.run / "summary.json").exists():
        print(f"{options.run} is no finished run: make quickstart first")
        return
    figures = {}
    for model in options.models:
        figures[model] = measure(options.run, model, options.questions)
        print_table(model, figures[model])
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    if options.plot:
        plot(figures, options.plot)


def measure(run: Path, model: str, count: int) -> dict[str, Any]:
    """Curves of every arm for one model of a run: name → points ``{"budget", "value", "low", "high", "n", "tokens"}``."""
    config = replace(load_config(run / "config.yaml"), run=str(run))
    search = replace(config.eval.search, live_trees=128, seed=config.seed)
    held_out = problems(config)[1][:count]
    questions = [Question(p.id, p.question) for p in held_out]
    gold = {p.id: p.answer for p in held_out}
    curves: dict[str, list[dict[str, Any]]] = {}
    verdicts: dict[str, dict[int, list[bool]]] = {}
    with running_engine(config, trained_model(config, model)) as engine:
        for arm in arms(search):
            begun = time.monotonic()
            runs = [_solve(questions, Solver(engine, chosen, arm.strategy)) for chosen in arm.runs]
            for name, rule in arm.votes.items():
                points: dict[int, tuple[list[bool], float]] = {}
                for solutions in runs:
                    for solution in solutions:
                        solution.vote = rule
                        solution.elect()
                    points |= _points(solutions, gold, single=len(runs) > 1 or arm.strategy == "greedy")
                curves[name] = [
                    {"budget": budget, **measured([float(v) for v in right], tokens)}
                    for budget, (right, tokens) in sorted(points.items())
                ]
                verdicts[name] = {budget: right for budget, (right, _) in points.items()}
            print(f"{model}: {', '.join(arm.votes)}: {time.monotonic() - begun:.0f} s", flush=True)
    return {"curves": curves, "against_majority": _compare(verdicts, curves)}


def _solve(questions: Sequence[Question], solver: Solver) -> list[Solution]:
    found: dict[str, Solution] = {}

    def keep(solution: Solution) -> None:
        found[solution.question_id] = solution

    asyncio.run(solve_many(questions, solver, keep))
    return [found[q.id] for q in questions]


def _points(solutions: list[Solution], gold: dict[str, str], *, single: bool) -> dict[int, tuple[list[bool], float]]:
    """Verdicts and tokens per question at each budget; at what the arm spent itself where it has no smaller ones."""
    if single:
        tokens = sum(s.tokens for s in solutions) / len(solutions)
        return {round(tokens): ([_right(gold[s.question_id], s.answer) for s in solutions], tokens)}
    points: dict[int, tuple[list[bool], float]] = {}
    for budget in BUDGETS:
        spent = [_spent(s, budget) for s in solutions]
        if sum(spent) / len(spent) not in [
            tokens for _, tokens in points.values()
        ]:  # else it has nothing more to spend
            right = [_right(gold[s.question_id], s.answer_at(budget)) for s in solutions]
            points[budget] = (right, sum(spent) / len(spent))
    return points


def _spent(solution: Solution, budget: int) -> int:
    """Tokens that a run with this budget had generated when its last candidate was finished."""
    return max([c.spent for c in solution.candidates if c.spent <= budget], default=solution.candidates[0].spent)


def _right(gold: str, answer: str | None) -> bool:
    return answer is not None and grade(gold, answer, extract="none").correct


def _compare(
    verdicts: dict[str, dict[int, list[bool]]], curves: dict[str, list[dict[str, Any]]]
) -> dict[str, list[dict[str, Any]]]:
    """Every arm against the majority vote that spends the nearest number of tokens, paired over questions."""
    found: dict[str, list[dict[str, Any]]] = {}
    control = {point["budget"]: point for point in curves[CONTROL]}
    for name in curves:
        if name == CONTROL:
            continue
        for point in curves[name]:
            nearest = min(control, key=lambda budget: abs(control[budget]["tokens"] - point["tokens"]))
            pairs = list(zip(verdicts[name][point["budget"]], verdicts[CONTROL][nearest], strict=True))
            ours, theirs = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
            p = binomtest(ours, ours + theirs).pvalue if ours + theirs else 1.0
            found.setdefault(name, []).append({
                "tokens": point["tokens"], "majority_tokens": control[nearest]["tokens"],
                "difference": (ours - theirs) / len(pairs), "only_ours": ours, "only_majority": theirs, "p": p,
            })  # fmt: skip
    return found


def print_table(model: str, figures: dict[str, Any]) -> None:
    print(
        f"\n{model}: accuracy in % [95 %] at tokens per question, and the difference to majority at the nearest tokens"
    )
    for name, points in figures["curves"].items():
        print(f"  {name}")
        compared = figures["against_majority"].get(name, [None] * len(points))
        for point, other in zip(points, compared, strict=True):
            line = f"    {point['tokens']:7.0f} tok  {100 * point['value']:5.1f}"
            line += f" [{100 * point['low']:4.1f}, {100 * point['high']:5.1f}]"
            if other:
                line += f"   {100 * other['difference']:+5.1f} against {other['majority_tokens']:.0f} tok"
                line += f" (p {other['p']:.3f})"
            print(line)


def plot(figures: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "rftt"}
    )  # small files, the same for the same figures
    from matplotlib import colormaps, pyplot

    sheet, axes = pyplot.subplots(1, len(figures), figsize=(6.5 * len(figures), 5), sharey=True, squeeze=False)
    for axis, (model, found) in zip(axes[0], figures.items(), strict=True):
        axis.set_prop_cycle(color=colormaps["tab20"].colors)
        for name, points in found["curves"].items():
            x = [p["tokens"] for p in points]
            y = [100 * p["value"] for p in points]
            spread = [[100 * (p["value"] - p["low"]) for p in points], [100 * (p["high"] - p["value"]) for p in points]]
            mark = "*" if name == "greedy" else "o" if name == CONTROL else "."
            axis.errorbar(x, y, yerr=spread, marker=mark, capsize=2, linewidth=2 if name == CONTROL else 1, label=name)
        axis.set(xscale="log", xlabel="generated tokens per question", title=f"{model} model", ylim=(0, 100))
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("accuracy in %, 95 % intervals")
    axes[0][-1].legend(fontsize=7, loc="lower right")
    sheet.tight_layout()
    sheet.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


if __name__ == "__main__":
    main()
