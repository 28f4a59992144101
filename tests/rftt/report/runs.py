"""A synthetic run folder in every detail that the report reads, and what a page holds."""

from __future__ import annotations

import html.parser
import json
import math
import random
import re
from pathlib import Path

import yaml
from tokenizers import Tokenizer, decoders, models

from rftt.report import write_report
from rftt.report.page import APART
from search.chain import Step, render
from search.functions import RFTT, ROOT
from search.mcts import back_up
from search.tree import Tree

HOSTILE = "</script><script>window.owned=1</script><img src=x onerror='window.owned=1'><!-- \u2028 \ud800 {{data}} &lt;"
VERDICTS = ("correct", "wrong", "unparseable", "timeout", "no_answer")
LEVELS = {"base": 0.2, "sft": 0.46, "rl": 0.71}


def grown_tree(number: int, rollouts: int = 8, *, table=RFTT.functional, graded: bool = True, text: str = "") -> Tree:
    """A tree by random walks along the transition table, with the search's own back-up."""
    rng = random.Random(number)
    gold = str(4 * number + 6)
    question = text or f"Mia has {number} bags with 4 apples each and finds 6 more. How many apples has she?"
    tree = Tree(f"q-{number:03}", question, gold if graded else None, list(range(40)), made_by={"seed": 7})
    tree.root.options = dict.fromkeys(table[ROOT], 1 / len(table[ROOT]))
    for rollout in range(1, rollouts + 1):
        node = tree.root
        while not node.terminal:
            children = tree.children(node)
            fresh = [f for f in table[node.function] if f not in {c.function for c in children}]
            if fresh and (not children or rng.random() < 0.4):
                function = rng.choice(fresh)
                for sibling in range(2):
                    step = text or f"{rng.randrange(9)} + {rng.randrange(9)} = {rng.randrange(18)}, on with {function}."
                    child = tree.add(node, function, sibling, ids=[1] * 9, logprobs=[-0.3] * 9, text=step, prior=0.25)
                    child.options = dict.fromkeys(table[function], 0.2) or None
                    if child.options is None:
                        child.status, child.answer = "answered", gold if rng.random() < 0.45 else "17"
                    elif tree.depth(child) == 10 or rng.random() < 0.04:
                        child.status = "truncated" if tree.depth(child) == 10 else "malformed"
                children = tree.children(node)
            node = rng.choice([c for c in children if not c.closed] or children)
        node.rollout = node.rollout or rollout
        if node.answer and graded:
            node.verdict = "correct" if node.answer == gold else "wrong"
        back_up(tree, node, float(node.answer == gold))
        tree.spent.append(9 * len(tree.nodes))
    return tree


def write_lines(path: Path, records) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in records))


def figure(value: float, tokens: float = 120.0) -> dict:
    half = 1.96 * math.sqrt(value * (1 - value) / 500)
    return {"value": value, "low": value - half, "high": value + half, "n": 500, "tokens": tokens}


def chain_text(number: int, *functions: str) -> str:
    steps = [Step(f, f"{number} bags of 4 make {4 * number} apples.") for f in functions]
    return render([*steps, Step("output", f"\\boxed{{{4 * number + 6}}}")])


def searched(value: float, rollouts: int) -> dict:
    return figure(value + 0.03 * math.log2(rollouts), tokens=90 * rollouts**0.8)


def results(value: float) -> dict:
    found = {"pass@1": figure(value), "greedy": figure(value + 0.02), f"maj@{round(9 + value)}": figure(value + 0.08)}
    return found | {f"search@{n}": searched(value, n) for n in (1, 4, 16)} | {"format_rate": figure(value + 0.25)}


def metrics():
    rng = random.Random(3)
    for i in range(10):
        yield {"phase": "search", "step": i, "time": 1.7e9 + i, "trees_per_s": 2 + rng.random(), "seconds": 3.0 * i}
    for i in range(80):
        yield {"phase": "sft", "step": i, "time": 1.7e9 + 60 + i, "loss": 2 * math.exp(-i / 20), "learning_rate": 7e-6}
    for i in range(40):
        values = {"reward": 0.5 + 0.01 * i + 0.05 * rng.random(), "accuracy": 0.45 + 0.006 * i, "kl": 0.001 * i}
        values |= {"length": 110 + 20 * rng.random(), "entropy": 1.1 - 0.01 * i, "format_rate": 0.9 + 0.002 * i}
        values |= {"agreeing_trees": 0.3, "logprob_difference/mean": float("nan") if i == 5 else 0.01}
        values |= {"logprob_difference/max": 0.4, "search/replaced": float(i % 3), "search/exhausted": 1.0}
        values |= {"origin/tree": 0.75, "origin/plain": 0.25, "origin/replay": 0.0}
        values |= {"seconds/step": 9.0 + rng.random(), "seconds/sampling": 5.0, "seconds/sync": 0.02}
        values |= {"completions/min_length": 20.0 + i, "completions/max_length": 190.0}
        values |= {f"function_share/{f}": (1 + rng.random()) / 16 for f in RFTT.names}
        yield {"phase": "rl", "step": i, "time": 1.7e9 + 200 + 5 * i, **values}


def sample(i: int, offset: int, text: str) -> dict:
    verdict = VERDICTS[0 if i % 3 == 0 else (i + offset) % len(VERDICTS)]
    chain = text or (chain_text(i, "next_step") if i % 7 else "<next_step>\nunfinished")
    record = {"question_id": f"q-{1000 + i}", "question": text or f"What are 4 times {i} and 6?", "text": chain}
    record |= {"gold": str(4 * i + 6), "answer": str(4 * i + 6 + i % 3), "verdict": verdict, "well_formed": i % 7 > 0}
    return record | {"tokens": 90 + i, "level": 1 + i % 5}


def group(step: int, text: str = "", paths: int = 4) -> dict:
    """A kept group of paths; the largest advantage in it is 1.5."""
    kept = []
    for number in range(paths):
        chain = text or chain_text(step, "clarify", "next_step")
        tokens = re.findall(r"</?\w+>|\s|[^\s<]+|<", chain)
        value = (1.5, -0.5, 0.0, 0.25)[number % 4]
        outcome = {"verdict": "correct" if value > 0 else "wrong", "status": "answered", "reward": float(value > 0)}
        advantages = [round(value * (i + 1) / len(tokens), 4) for i in range(len(tokens))]
        kept.append({**outcome, "origin": ("tree", "plain")[number % 2], "tokens": tokens, "advantages": advantages})
    asked = [{"role": "user", "content": text or f"How many apples are in {step} bags of 4?"}]
    record = {"phase": "rl", "step": step, "time": 1.7e9, "question_id": f"q-{step:03}", "prompt": asked}
    return record | {"answer": str(4 * step), "paths": kept}


def write_run(run: Path, *, trees: int = 24, samples: int = 120, text: str = "") -> Path:
    """A finished run in every detail that the report reads; `text` replaces the text of questions and steps."""
    run.mkdir(parents=True)
    config = {"seed": 7, "model": {"path": text or "toy"}, "engine": {"name": "vllm", "api_key": "sesame"}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    budgets = (1, 2, 4, 8, 16)
    summary = {
        "models": {m: results(v) for m, v in LEVELS.items()},
        "seconds": {"search": 95.4, "sft": 61.0, "rl": 301.5, "eval": 128.0},
        "curves": {m: [{"rollouts": b, **searched(v, b)} for b in budgets] for m, v in LEVELS.items()},
        "majority": {
            m: [{"k": b, **figure(v + b / 200, tokens=118.0 * b)} for b in budgets] for m, v in LEVELS.items()
        },
        "benchmarks": {"gsm8k": {m: results(v - 0.1) for m, v in LEVELS.items()}},
        "data": {"train": 400, "eval": 500, "overlapping": 0, "chains": {"plain": 30, "merged": 30}},
        "command": text or "rftt run configs/toy.yaml seed=7 engine.api_key=sesame",
        "versions": {"rftt": "0.1.0", "torch": "2.13.0", "trl": "1.16.0", "vllm": "0.31.0"},
    }
    (run / "summary.json").write_text(json.dumps(summary))
    write_lines(run / "metrics.jsonl", metrics())
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"phase": "rl", "st')
    phase_1 = (grown_tree(i, table=RFTT.prompted, text=text) for i in range(trees))
    write_lines(run / "search/trees.jsonl", (tree.to_json() for tree in phase_1))
    chains = []
    for i in range(30):
        for kind, functions in (("plain", ["next_step"]), ("merged", ["next_step", "verify", "refine"])):
            asked = {"role": "user", "content": text or f"How many apples are in {i} bags of 4 and a heap of 6?"}
            answered = {"role": "assistant", "content": text or chain_text(i, "clarify", *functions)}
            chains.append({"question_id": f"q-{i:03}", "kind": kind, "answer": "6", "messages": [asked, answered]})
    write_lines(run / "search/chains.jsonl", chains)
    steps = {
        "asked": 40,
        "answered": 4,
        "first": 27,
        "valid": 33,
        "retried": 9,
        "dropped": 3,
        "computes": 8,
        "whole": 4,
    }
    (run / "search/steps.json").write_text(json.dumps({"next_step": steps}))
    write_lines(run / "rl/rollouts.jsonl", (group(step, text) for step in range(1, 42, 10)))
    (run / "model-with-tokens").mkdir()
    (run / "model-with-tokens" / "tokenizer.json").write_text(tokenizer_json())
    write_lines(run / "shad/roles.jsonl", (labelled(i, 8 + i % 5) for i in range(30)))
    (run / "shad/summary.json").write_text(json.dumps(labels(30, text)))
    for offset, model in enumerate(LEVELS):
        forest = (grown_tree(1000 + i, graded=model != "base", text=text) for i in range(trees // 2))
        votes = {"4": {"answer": "17"}, "16": {"answer": "17"}}
        write_lines(run / f"eval/trees-{model}.jsonl", ({**tree.to_json(), "votes": votes} for tree in forest))
        write_lines(run / f"eval/samples-{model}.jsonl", (sample(i, offset, text) for i in range(samples)))
        write_lines(run / f"eval/gsm8k/greedy-{model}.jsonl", (sample(i, offset, text) for i in range(20)))
        for folder, shift in (("eval", 0.0), ("eval/gsm8k", -0.1)):
            (run / folder / f"{model}.json").write_text(json.dumps(measures(LEVELS[model] + shift)))
    return run


def tokenizer_json() -> str:
    """A tokenizer that knows the tags of functional tokens and a few words; id 1 is an apple."""
    words = ["<unk>", " apple", " and", "\n", *(tag for f in RFTT.functions for tag in (f.open, f.close))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.decoder = decoders.Fuse()
    return str(tokenizer.to_str())


def labelled(number: int, length: int = 8) -> dict:
    """A chain as `rftt shad` labels it: context, a tag and its line break as boilerplate, then reasoning."""
    ids = [1, 2, 3, 4, 3, *[1 + i % 2 for i in range(length - 7)], 3, 5]
    ld = [None, None, None, -0.75, -2.0, *[0.5 * (i + 1) for i in range(length - 7)], -0.1, -0.2]
    roles = [-1 if d is None else int(d > 0) for d in ld]
    return {"schema": "rftt.roles/1", "sample": str(number), "question_id": f"q-{number:03}", "ids": ids} | {
        "ld": ld, "roles": roles,
    }  # fmt: skip


def labels(chains: int, text: str = "") -> dict:
    """Counts as `rftt shad` writes them."""
    counted = [{"text": text or "\n", "count": 90, "share": 0.93}, {"text": " apple", "count": 30, "share": 0.4}]
    tags = {f.open: {"count": 9, "reasoning_share": 0.25, "mean_ld": -0.75} for f in RFTT.functions[:2]}
    lists = {
        name: {"reasoning": counted[::-1], "boilerplate": counted} for name in ("tokens_by_role", "ngrams_by_role")
    }
    made = {"model": "toy", "data": "search/chains.jsonl", "unit": "turn", "threshold": 0.0}
    return {"samples": chains, "tokens": 5 * chains, "reasoning_share": 0.32, **lists, "functional_tokens": tags} | {
        "seconds": {}, "made_by": made,
    }  # fmt: skip


def measures(value: float) -> dict:
    """What an evaluation leaves of one model."""
    strategies = [{"strategy": name, "vote": "majority", "budget": k, "unit": "rollouts", **searched(value - 0.02, k)}
                  for name in ("beam", "best_of_n") for k in (4, 16)]  # fmt: skip
    groups = {"level": {str(level): figure(value + level / 50) for level in range(1, 6)}}
    return {"schema": "rftt.eval/1", "metrics": results(value), "curve": [], "majority": [], "strategies": strategies} | {
        "groups": groups, "tokens_per_correct": {"pass@1": 250.0, "greedy": None},
    }  # fmt: skip


class Elements(html.parser.HTMLParser):
    """Tags with their attributes, and the content of scripts and styles by the place of their tag."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.content: dict[int, str] = {}
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] in ("script", "style"):
            self.content.setdefault(len(self.tags) - 1, data)


def embedded(page: Path) -> dict:
    """What the page holds of its first run, and what its runs share."""
    data = everything(page)
    return {**data, **data["runs"][0]}


def everything(page: Path) -> dict:
    """What the page holds, with the large parts that it reads on demand in their places."""
    elements = Elements(page.read_text(encoding="utf-8"))
    texts = {attrs["id"]: elements.content[i] for i, (_, attrs) in enumerate(elements.tags) if attrs.get("id")
             and attrs["id"].startswith("data")}  # fmt: skip

    def whole(value: object) -> object:
        if isinstance(value, dict):
            return json.loads(texts[value[APART]]) if set(value) == {APART} else {k: whole(v) for k, v in value.items()}
        return [whole(v) for v in value] if isinstance(value, list) else value

    return whole(json.loads(texts["data"]))


def shown(run: Path, name: str, records, **options) -> dict:
    """What the report of a run shows that has these records in this file."""
    write_lines(run / name, records)
    return embedded(write_report(run, **options))
