"""What a group of rollouts costs and how much of it counts, by sampler, fill and correction.

    python -m tests.benchmarks.groups [--run runs/toy] [--models sft rl] [--questions 64] [--rollouts 8] [--json OUT]

For each model of a run and each kind of group, over training questions: generated tokens a group, tokens of its rollouts,
distinct rollouts, the effective share of the weights, (Σ w)² / (G Σ w²), dependent requests of a tree, and the weighted mean
reward, which all unbiased kinds agree on within chance. Kinds are sampled one after the other on one engine whose prefix
cache is reset in between; walks are drawn with 1 and with G in flight.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from rftt.config import Config, from_dict, load_config
from rftt.data.questions import problems
from rftt.model.function_sets import functions_of_run
from rftt.rl.groups import Group, GroupSampler
from rftt.rl.reward import whole_reward
from rftt.rl.rollout_metrics import effective
from rftt.run_folder import trained_model
from rftt.runtime.running_engine import running_engine
from search.driver import make_policy
from search.prompt import question_ids

KINDS: dict[str, dict[str, Any]] = {
    "flat": {"sampler": "flat"},
    "walk": {"sampler": "walk"},
    "walk, one by one": {"sampler": "walk", "parallel_rollouts": 1},
    "uct, plain fill": {},
    "uct, walk fill": {"fill": "walk"},
    "uct widened, walk fill": {"fill": "walk", "widening": 0.5},
    "uct, importance": {"branch_correction": "importance"},
    "uct, strata": {"branch_correction": "strata"},
    "priority": {"sampler": "priority", "min_prior": 0.0},
    "priority, 2 siblings": {"sampler": "priority", "min_prior": 0.0, "siblings": 2},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/toy"), help="folder of a run with tuned models")
    parser.add_argument("--models", nargs="+", default=["sft", "rl"])
    parser.add_argument("--questions", type=int, default=64)
    parser.add_argument("--rollouts", type=int, default=8, help="of a group")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS, metavar="KIND")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    base = replace(load_config(options.run / "config.yaml"), run=str(options.run))
    rows = []
    for model in options.models:
        rows += asyncio.run(measure(base, model, options))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


async def measure(base: Config, model: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of one model."""
    train, _ = problems(base)
    asked, rows = train[: options.questions], []
    path = trained_model(base, model)
    functions = functions_of_run(base, path)
    print(f"{model:26}{'tokens':>8}{'of paths':>9}{'distinct':>9}{'effective':>10}{'rounds':>7}{'reward':>8} ±     s")
    with running_engine(base, path) as engine:
        for kind in options.kinds:
            values = base.to_dict()
            for name, value in {"fill": "plain", **KINDS[kind]}.items():
                (values["rl"]["search"] if name in values["rl"]["search"] else values["rl"])[name] = value
            settings = from_dict(values).rl
            config = replace(settings.search_config(parallel=True), rollouts=options.rollouts, seed=base.seed)
            sampler = GroupSampler(
                engine, make_policy("functional", engine, config, functions), config, settings, functions
            )
            if hasattr(engine, "reset_prefix_cache"):
                engine.reset_prefix_cache()
            before, begun = engine.stats.generated_tokens, time.process_time()
            groups: list[Group] = await asyncio.gather(
                *(sampler.group(p, question_ids(engine.tokenizer, p.question)) for p in asked)
            )
            seconds = time.process_time() - begun
            rewards = [
                statistics.mean(r.weight * whole_reward(r, settings.wrong_reward, 0.0) for r in g.rollouts)
                for g in groups
            ]
            row = {
                "model": model,
                "kind": kind,
                "questions": len(asked),
                "tokens": (engine.stats.generated_tokens - before) / len(groups),
                "path_tokens": statistics.mean(sum(len(r.completion_ids) for r in g.rollouts) for g in groups),
                "distinct": statistics.mean(len({tuple(r.completion_ids) for r in g.rollouts}) for g in groups),
                "effective": statistics.mean(effective(g.rollouts) for g in groups),
                "rounds": statistics.mean(g.tree.rounds if g.tree else 0 for g in groups),
                "reward": statistics.mean(rewards),
                "error": statistics.stdev(rewards) / len(rewards) ** 0.5,
                "seconds": seconds,
            }
            rows.append(row)
            print(
                f"{kind:26}{row['tokens']:8.0f}{row['path_tokens']:9.0f}{row['distinct']:9.2f}{row['effective']:10.2f}"
                f"{row['rounds']:7.1f}{row['reward']:8.3f} {row['error']:.3f} {seconds:5.1f}",
                flush=True,
            )
    return rows


if __name__ == "__main__":
    main()
