"""Phase 1 on a real language model: valid steps by function and questions solved, beside plain samples at equal tokens.

    python -m tests.benchmarks.phase1 MODEL QUESTIONS [--first 0] [--count 48] [--rollouts 8] [--json OUT] [--chains OUT]

MODEL is a folder or hub name, QUESTIONS a file with questions and answers. Questions are searched by prompting as `rftt
search` does; then the same questions are answered by independent chain-of-thought samples of the same model, until a
question's samples have taken as many tokens as its tree. A question counts as solved when any path, or any sample within the
budget, is right (pass@k). Choose prompts and settings on other questions than those that are reported.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rewards import grade_async
from rftt.data.problems import Problem, load_problems
from rftt.model.function_sets import choose
from search import CollectionConfig, Question, Tree, search_many
from search.accounting import CountedEngine
from search.arithmetic import calculations
from search.driver import make_policy, run_many
from search.engines import VLLMEngine
from search.engines.engine import Sampling
from search.fault import find_fault
from search.functions import FunctionSet
from search.journal import write_jsonl
from search.mcts import derived_seed
from search.merge import chains, pairs, rank, tells
from search.prompt import prompt_ids
from search.step_counts import Counts, add_counts, table

INSTRUCTION = "Please reason step by step, and put your final answer within \\boxed{}."
Report = Callable[[str], None]


async def searched(
    asked: list[Problem], engine: Any, config: CollectionConfig, functions: FunctionSet, report: Report
) -> tuple[list[Tree], list[list[dict]]]:
    """The trees of the questions, in their order, and the chains of each."""
    counted, found = CountedEngine(engine), {}
    policy = make_policy("prompted", counted, config, functions)

    async def keep(tree: Tree) -> None:
        found[tree.question_id] = tree, await chains(tree, policy, config, functions)
        counted.finished(tree)
        solved = sum(any(n.verdict == "correct" for n in t.nodes) for t, _ in found.values())
        report(f"search {len(found)}/{len(asked)} solved {solved} {counted.progress()}")

    questions = [Question(p.id, p.question, p.answer) for p in asked]
    await search_many(questions, counted, config, keep, policy=policy, functions=functions)
    return [found[p.id][0] for p in asked], [found[p.id][1] for p in asked]


async def sampled(
    asked: list[Problem],
    budgets: dict[str, int],
    engine: Any,
    config: CollectionConfig,
    max_tokens: int,
    report: Report,
) -> dict[str, list[tuple[int, bool]]]:
    """Plain samples of each question: (tokens of this and all samples before, right), the first over the budget included."""
    found: dict[str, list[tuple[int, bool]]] = {}

    async def answer(problem: Problem) -> str:
        spent, samples = 0, []
        ids = prompt_ids(engine.tokenizer, [{"role": "user", "content": f"{problem.question}\n\n{INSTRUCTION}"}])
        while spent < budgets[problem.id]:
            seed = derived_seed(config.seed, problem.id, "plain", len(samples))
            many = 1 if samples else max(1, min(config.rollouts, budgets[problem.id] // 300))
            how = Sampling(max_tokens, many, config.temperature, config.top_p, seed, tree=problem.id)
            for generation in await engine.generate(ids, how):
                text = engine.tokenizer.decode(generation.ids, skip_special_tokens=True)
                verdict = await grade_async(problem.answer, text, extract="boxed")
                spent += len(generation.ids)
                samples.append((spent, verdict.correct))
        found[problem.id] = samples
        report(f"plain samples {len(found)}/{len(asked)}")
        return problem.id

    await run_many(asked, answer, lambda _: None, at_once=config.live_trees)
    return found


def solved_within(samples: list[tuple[int, bool]], budget: int) -> bool:
    return any(right for spent, right in samples if spent <= budget)


def solved_by(trees: list[Tree], rollouts: int) -> int:
    return sum(any(n.verdict == "correct" for n in t.leaves() if (n.rollout or 0) <= rollouts) for t in trees)


def faults(trees: list[Tree]) -> dict[str, int]:
    """How often the text that is written by rule names the step in which two paths part, and how often another."""
    counts = {"pairs": 0, "parting": 0, "later": 0, "last": 0}
    for tree in trees:
        for leaf in rank(tree, correct=True)[:1]:
            for pair in [p for p in pairs(tree, leaf) if tells(p)][:1]:
                right, wrong = ([n.text for n in path] for path in (pair.right, pair.wrong))
                step = find_fault(tree.question, right, wrong, pair.shared).step
                counts["pairs"] += 1
                counts["parting" if step == pair.shared + 1 else "last" if step == len(wrong) else "later"] += 1
    return counts


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    asked = load_problems(arguments.questions)[arguments.first : arguments.first + arguments.count]
    config = CollectionConfig(
        rollouts=arguments.rollouts, max_depth=arguments.depth, max_step_tokens=arguments.step_tokens, seed=arguments.seed,
        live_trees=arguments.live, chains_per_question=arguments.chains_each, exploration=arguments.exploration,
        temperature=arguments.temperature,
    )  # fmt: skip
    functions = choose(arguments.functions, arguments.model)
    engine = VLLMEngine(
        arguments.model, max_model_len=arguments.context, dtype="bfloat16", enforce_eager=True, seed=config.seed
    )

    def report(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    begun = time.monotonic()
    trees, written = await searched(asked, engine, config, functions, report)
    seconds = time.monotonic() - begun
    counts: Counts = {}
    for tree in trees:
        add_counts(counts, tree.steps)
    leaves = [n for t in trees for n in t.leaves()]
    kept = [n for t in trees for n in t.nodes if n.function == "next_step"]
    found = {
        "model": Path(arguments.model).name,
        "questions": [p.id for p in asked],
        "settings": {k: v for k, v in vars(arguments).items() if k not in ("json", "chains", "trees", "model")},
        "steps": counts,
        "solved": {str(k): solved_by(trees, k) for k in (1, 2, 4, 8, 16) if k <= config.rollouts},
        "paths": {"finished": len(leaves), "correct": sum(n.verdict == "correct" for n in leaves)},
        "steps_without_calculation": [sum(not calculations(n.text) for n in kept), len(kept)],
        "tokens": sum(t.tokens for t in trees),
        "chains": {kind: sum(c["kind"] == kind for w in written for c in w) for kind in ("plain", "merged")},
        "faults": faults(trees),
        "search_seconds": seconds,
    }
    if arguments.chains:
        write_jsonl(Path(arguments.chains), (c for w in written for c in w))
    if arguments.trees:
        write_jsonl(Path(arguments.trees), (t.to_json() for t in trees))
    print(table(counts, functions.names))
    print(show(found))
    if not arguments.no_samples:
        budgets = {t.question_id: t.tokens for t in trees}
        samples = await sampled(asked, budgets, engine, config, arguments.sample_tokens, report)
        within = {id: [s for s in listed if s[0] <= budgets[id]] for id, listed in samples.items()}
        found["plain"] = {
            "solved": sum(solved_within(listed, budgets[id]) for id, listed in samples.items()),
            "solved_with_one_more": sum(any(right for _, right in listed) for listed in samples.values()),
            "samples": sum(map(len, within.values())),
            "correct": sum(right for listed in within.values() for _, right in listed),
            "tokens": sum(listed[-1][0] for listed in within.values() if listed),
        }
        plain = found["plain"]
        print(
            f"plain samples: {plain['solved']} of {len(asked)} solved within the tokens of each tree "
            f"({plain['solved_with_one_more']} with the sample that goes over it); {plain['correct']} of "
            f"{plain['samples']} samples correct, {plain['tokens']} tokens"
        )
    engine.close()
    return found


def show(found: dict[str, Any]) -> str:
    paths, n = found["paths"], len(found["questions"])
    return (
        f"search: solved {found['solved']} of {n} by rollouts; {paths['correct']} of {paths['finished']} paths correct, "
        f"{found['tokens']} tokens, {found['tokens'] / n:.0f} a question, {found['search_seconds']:.0f} s\n"
        f"chains: {found['chains']}; fault named in pairs: {found['faults']}; "
        f"next steps without a calculation: {found['steps_without_calculation']}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("questions")
    for name, default in (("first", 0), ("count", 48), ("rollouts", 8), ("depth", 10), ("step-tokens", 400), ("seed", 0),
                          ("live", 24), ("chains-each", 2), ("sample-tokens", 512), ("context", 2048)):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--exploration", type=float, default=2.0)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--functions", help="YAML file with a token set; the model's own or the paper's by default")
    parser.add_argument("--no-samples", action="store_true", help="search only")
    for name in ("json", "chains", "trees"):
        parser.add_argument(f"--{name}", help="file to write")
    arguments = parser.parse_args()
    found = asyncio.run(measure(arguments))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
