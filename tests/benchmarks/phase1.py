"""Phase 1 on a real language model: valid steps by function and questions solved, beside plain samples at equal tokens.

    python -m tests.benchmarks.phase1 MODEL QUESTIONS OUT [--first 0] [--count 48] [--rollouts 8]

MODEL is a folder or hub name, QUESTIONS a file with questions and answers, OUT a folder. Each question is searched by
prompting, as `rftt search` does, then answered by independent chain-of-thought samples of the same model until these have
taken as many tokens as its tree. It counts as solved when any path, or any sample within that budget, is right (pass@k).

OUT keeps questions.jsonl (tree, chains and samples of each question), chains.jsonl, and figures.json, which is also printed.
Stopped, the same command goes on where it was; ``--show`` only prints the figures of the questions that are done. Choose
prompts and settings on other questions than those that are reported.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rewards import grade_async
from rftt.data.problems import Problem, load_problems
from rftt.evaluate.intervals import measured
from rftt.model.function_sets import choose
from search import CollectionConfig, Question, Tree
from search.arithmetic import calculations
from search.driver import grow_tree, make_policy, run_many
from search.engines import VLLMEngine
from search.engines.engine import Sampling
from search.fault import find_fault
from search.functions import FunctionSet
from search.journal import Journal, write_jsonl
from search.mcts import derived_seed
from search.merge import chains, pairs, rank, tells
from search.prompt import prompt_ids
from search.step_counts import Counts, add_counts, table

Record = dict[str, Any]
INSTRUCTION = "Please reason step by step, and put your final answer within \\boxed{}."
FEW = 3  # plain samples that are asked for at once


async def answer(problem: Problem, engine: Any, policy: Any, config: CollectionConfig, longest: int) -> Record:
    """The tree, the chains and the plain samples of one question."""
    begun = time.time()
    tree = await grow_tree(Question(problem.id, problem.question, problem.answer), policy, config)
    written = await chains(tree, policy, config, policy.functions)
    grown = time.time()
    samples = await sampled(problem, tree.tokens, engine, config, longest) if longest else []
    return {
        "question_id": problem.id,
        "tree": tree.to_json(),
        "chains": written,
        "samples": samples,
        "seconds": [grown - begun, time.time() - grown],
    }


async def sampled(problem: Problem, budget: int, engine: Any, config: CollectionConfig, longest: int) -> list[Record]:
    """Plain samples in the order of their seeds, the first that goes over the budget included."""
    samples: list[Record] = []
    ids = prompt_ids(engine.tokenizer, [{"role": "user", "content": f"{problem.question}\n\n{INSTRUCTION}"}])
    while (spent := sum(s["tokens"] for s in samples)) < budget:
        seed = derived_seed(config.seed, problem.id, "plain", len(samples))
        count = FEW if budget - spent > FEW * longest else 1
        how = Sampling(longest, count, config.temperature, config.top_p, seed, tree=problem.id)
        for generation in await engine.generate(ids, how):
            text = engine.tokenizer.decode(generation.ids, skip_special_tokens=True)
            verdict = await grade_async(problem.answer, text, extract="boxed")
            samples.append({"tokens": len(generation.ids), "status": verdict.status, "correct": verdict.correct})
    return samples


def within(record: Record) -> list[Record]:
    """The samples of a question that took no more tokens than its tree."""
    kept, spent = [], 0
    for sample in record["samples"]:
        spent += sample["tokens"]
        if spent > record["tree"]["tokens"]:
            break
        kept.append(sample)
    return kept


def figures(records: Sequence[Record]) -> Record:
    trees = [Tree.from_json(r["tree"]) for r in records]
    counts: Counts = {}
    for tree in trees:
        add_counts(counts, tree.steps)
    leaves = [n for t in trees for n in t.leaves()]
    computed = [n for t in trees for n in t.nodes if n.function == "next_step"]
    plain = [s for r in records for s in within(r)]
    most = max((t.root.visits for t in trees), default=0)
    return {
        "questions": len(records),
        "steps": counts,
        "solved": {k: solved(trees, k) for k in (1, 2, 4, 8, 16, 32) if k <= most},
        "paths": len(leaves),
        "correct_paths": sum(n.verdict == "correct" for n in leaves),
        "tokens": sum(t.tokens for t in trees),
        "next_steps": len(computed),
        "next_steps_without_calculation": sum(not calculations(n.text) for n in computed),
        "chains": {kind: sum(c["kind"] == kind for r in records for c in r["chains"]) for kind in ("plain", "merged")},
        "faults": faults(trees),
        "plain_solved": measured(
            [any(s["correct"] for s in within(r)) for r in records], sum(s["tokens"] for s in plain) / len(records)
        ),
        "plain_solved_with_one_more": sum(any(s["correct"] for s in r["samples"]) for r in records),
        "plain_samples": len(plain),
        "plain_correct": sum(s["correct"] for s in plain),
        "both": sum(
            any(n.verdict == "correct" for n in t.nodes) and any(s["correct"] for s in within(r))
            for t, r in zip(trees, records, strict=True)
        ),
    }  # fmt: skip


def solved(trees: Sequence[Tree], rollouts: int) -> dict[str, float]:
    """Share of questions with a correct path among so many first rollouts, and the tokens that they took."""
    found = [any(n.verdict == "correct" for n in t.leaves() if (n.rollout or 0) <= rollouts) for t in trees]
    return measured(found, sum(t.spent[min(rollouts, len(t.spent)) - 1] for t in trees if t.spent) / len(trees))


def faults(trees: Iterable[Tree]) -> dict[str, int]:
    """How often the text that is written by rule names the step in which two paths part, a later one, or the last."""
    counts = {"pairs": 0, "parting": 0, "later": 0, "last": 0}
    for tree in trees:
        for leaf in rank(tree, correct=True)[:1]:
            for pair in [p for p in pairs(tree, leaf) if tells(p)][:1]:
                right, wrong = ([n.text for n in path] for path in (pair.right, pair.wrong))
                step = find_fault(tree.question, right, wrong, pair.shared).step
                counts["pairs"] += 1
                counts["parting" if step == pair.shared + 1 else "last" if step == len(wrong) else "later"] += 1
    return counts


def show(found: Record, functions: FunctionSet) -> str:
    shares = ", ".join(f"{k}: {r['value']:.0%} at {r['tokens']:.0f}" for k, r in found["solved"].items())
    plain = found["plain_solved"]
    return "\n".join([
        table(found["steps"], functions.names),
        f"{found['questions']} questions. Search, solved by rollouts and tokens a question: {shares}; "
        f"{found['correct_paths']} of {found['paths']} paths correct",
        f"Plain samples within the same tokens: {plain['value']:.0%} [{plain['low']:.0%}, {plain['high']:.0%}] at "
        f"{plain['tokens']:.0f} ({found['plain_solved_with_one_more']} solved with the sample that goes over it); "
        f"{found['plain_correct']} of {found['plain_samples']} samples correct; {found['both']} solved by both",
        f"Chains {found['chains']}; verifications {found['faults']}; next steps without a calculation "
        f"{found['next_steps_without_calculation']} of {found['next_steps']}",
    ])  # fmt: skip


async def measure(
    arguments: argparse.Namespace, asked: Sequence[Problem], functions: FunctionSet, journal: Journal
) -> None:
    config = CollectionConfig(
        rollouts=arguments.rollouts, max_depth=arguments.depth, max_step_tokens=arguments.step_tokens, seed=arguments.seed,
        live_trees=arguments.live, chains_per_question=arguments.chains_each, exploration=arguments.exploration,
        temperature=arguments.temperature, step_temperature=arguments.step_temperature,
    )  # fmt: skip
    chosen = {"dtype": "bfloat16", "enforce_eager": True, "seed": config.seed, **arguments.options}
    engine = VLLMEngine(arguments.model, max_model_len=arguments.context, **chosen)
    policy = make_policy("prompted", engine, config, functions)

    def keep(record: Record) -> None:
        journal.append(record)
        solved = any(n.get("verdict") == "correct" for n in record["tree"]["nodes"])
        plain = any(s["correct"] for s in within(record))
        print(
            f"{len(journal)}/{len(asked)} {record['question_id']}: solved {solved}, by plain samples {plain}; "
            f"{record['tree']['tokens']} tokens; {engine.stats.generated_tokens} generated",
            file=sys.stderr, flush=True,
        )  # fmt: skip

    todo = [p for p in asked if p.id not in journal]
    await run_many(
        todo, lambda p: answer(p, engine, policy, config, arguments.sample_tokens), keep, at_once=config.live_trees
    )
    engine.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "questions", "out"):
        parser.add_argument(name)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--rollouts", type=int, default=8)
    parser.add_argument("--depth", type=int, default=10)
    parser.add_argument("--step-tokens", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--live", type=int, default=24)
    parser.add_argument("--chains-each", type=int, default=2)
    parser.add_argument("--sample-tokens", type=int, default=512)
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--exploration", type=float, default=2.0)
    parser.add_argument("--temperature", type=float, default=0.7, help="of plain samples and second requests")
    parser.add_argument("--step-temperature", type=float, default=0.3, help="of steps")
    parser.add_argument("--options", type=json.loads, default={}, help="options of vLLM, as JSON")
    parser.add_argument("--functions", help="YAML file with a token set; the model's own or the paper's by default")
    parser.add_argument("--show", action="store_true", help="only print the figures of what is done")
    arguments = parser.parse_args()
    asked = load_problems(arguments.questions)[arguments.first : arguments.first + arguments.count]
    functions, out = choose(arguments.functions, arguments.model), Path(arguments.out)
    journal = Journal(out / "questions.jsonl")
    if not journal.finished and not arguments.show:
        asyncio.run(measure(arguments, asked, functions, journal))
        journal.finish([p.id for p in asked])
    records = list(journal.read([p.id for p in asked]))
    write_jsonl(out / "chains.jsonl", (c for r in records for c in r["chains"]))
    found = figures(records)
    (out / "figures.json").write_text(
        json.dumps({"settings": vars(arguments), **found}, indent=1) + "\n", encoding="utf-8"
    )
    print(show(found, functions))


if __name__ == "__main__":
    main()
