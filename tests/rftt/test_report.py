"""The report of a run: every section, partial runs, text that would like to be markup, sampling, and a real browser."""

from __future__ import annotations

import base64
import html.parser
import json
import math
import os
import random
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from rftt import report
from rftt.errors import UsageError
from rftt.report import chosen_leaf, write_report
from search.chain import Step, render
from search.functions import RFTT, ROOT
from search.mcts import back_up
from search.tree import Node, Tree

SECTIONS = ("results", "budget", "training", "time", "trees", "chains", "samples", "run")
HOSTILE = "</script><script>window.owned=1</script><img src=x onerror='window.owned=1'><!-- \u2028 \ud800 {{data}} &lt;b&gt;"
VERDICTS = ("correct", "wrong", "unparseable", "timeout", "no_answer")


# A synthetic run


def grown_tree(
    number: int, rollouts: int = 12, *, table=RFTT.functional, graded: bool = True, text: str = "", depth: int = 12
) -> Tree:
    """A tree by random walks along the transition table, with the search's own back-up."""
    rng = random.Random(number)
    gold = 4 * number + 6
    question = text or f"Mia has {number} bags with 4 apples each and finds {number % 5 + 3} more. How many has she?"
    tree = Tree(f"q-{number:03}", question, str(gold) if graded else None, list(range(40)), made_by={"seed": 7})
    tree.root.options = dict.fromkeys(table[ROOT], 1 / len(table[ROOT]))
    spent = 0
    for rollout in range(1, rollouts + 1):
        node = tree.root
        while not node.terminal:
            functions = table[node.function]
            fresh = [f for f in functions if f not in {c.function for c in tree.children(node)}]
            if fresh and (not node.children or rng.random() < 0.4):
                function = rng.choice(fresh)
                for sibling in range(2):
                    ids = [rng.randrange(500) for _ in range(rng.randrange(8, 30))]
                    child = tree.add(node, function, sibling, ids=ids, logprobs=[-0.3] * len(ids))
                    child.text = text or f"{rng.randrange(9)} + {rng.randrange(9)} = {rng.randrange(18)}, so we go on with {function}."
                    child.prior = round(1 / len(functions), 4)
                    child.options = dict.fromkeys(table[function], 0.2) or None
                    end_path(child, tree.depth(child) >= depth, function not in table or not table[function], gold, rng)
                    spent += len(ids)
            opened = [c for c in tree.children(node) if not c.closed] or tree.children(node)
            node = rng.choice(opened)
        node.rollout = node.rollout or rollout
        if node.answer and graded:
            node.verdict = "correct" if node.answer == str(gold) else "wrong"
        back_up(tree, node, 1.0 if node.answer == str(gold) else 0.0)
        tree.spent.append(spent)
    return tree


def end_path(node: Node, too_deep: bool, last: bool, gold: int, rng: random.Random) -> None:
    if last:
        node.status, node.answer = "answered", str(gold if rng.random() < 0.45 else gold + rng.randrange(1, 4))
        node.text += f" \\boxed{{{node.answer}}}"
    elif too_deep:
        node.status = "truncated"
    elif rng.random() < 0.04:
        node.status = "malformed"


def write_lines(path: Path, records) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in records))


def figure(value: float, n: int = 500, tokens: float = 120.0) -> dict:
    half = 1.96 * math.sqrt(value * (1 - value) / n)
    return {"value": value, "low": value - half, "high": value + half, "n": n, "tokens": tokens}


def chain_text(number: int, *functions: str) -> str:
    steps = [Step(f, f"{number} bags of 4 make {4 * number} apples.") for f in functions]
    return render([*steps, Step("output", f"\\boxed{{{4 * number + 6}}}")])


def write_run(run: Path, *, trees: int = 60, samples: int = 120, text: str = "") -> Path:
    """A finished run in every detail that the report reads; `text` replaces the text of questions and steps."""
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump({"seed": 7, "model": {"path": text or "toy"}, "engine": {"name": "vllm", "api_key": "sesame"}}))
    levels = {"base": 0.2, "sft": 0.46, "rl": 0.71}
    budgets = (1, 2, 4, 8, 16)
    summary = {
        "models": {
            m: {
                "pass@1": figure(v), "greedy": figure(v + 0.02),
                **{f"search@{b}": figure(v + 0.03 * math.log2(b), tokens=90.0 * b**0.8) for b in (1, 4, 16)},
                "maj@9": figure(v + 0.08, tokens=830), "format_rate": figure(min(0.99, v + 0.25)),
            }
            for m, v in levels.items()
        },
        "seconds": {"search": 95.4, "sft": 61.0, "rl": 301.5, "eval": 128.0},
        "curves": {m: [{"rollouts": b, **figure(v + 0.03 * math.log2(b), tokens=90.0 * b**0.8)} for b in budgets] for m, v in levels.items()},
        "majority": {m: [{"k": b, **figure(v + 0.025 * math.log2(b), tokens=118.0 * b)} for b in budgets] for m, v in levels.items()},
        "data": {"train": 400, "eval": 500, "overlapping": 0, "chains": {"plain": 30, "merged": 30}},
        "command": text or "rftt run configs/toy.yaml seed=7 engine.api_key=sesame",
        "versions": {"rftt": "0.1.0", "torch": "2.13.0", "trl": "1.16.0", "vllm": "0.31.0"},
    }
    (run / "summary.json").write_text(json.dumps(summary))
    rng = random.Random(3)
    rows = [{"phase": "search", "step": i, "time": 1.7e9 + i, "trees_per_s": 2 + rng.random()} for i in range(10)]
    rows += [{"phase": "sft", "step": i, "time": 1.7e9 + 60 + i, "loss": 2 * math.exp(-i / 20) + 0.05 * rng.random(), "learning_rate": 7e-6, "epoch": i / 20} for i in range(80)]
    for i in range(40):
        shares = {f"function_share/{f}": (1 + rng.random()) / 16 for f in RFTT.names}
        rows.append({
            "phase": "rl", "step": i, "time": 1.7e9 + 200 + 5 * i, "reward": 0.5 + 0.01 * i + 0.05 * rng.random(), "accuracy": 0.45 + 0.006 * i,
            "length": 110 + 20 * rng.random(), "kl": 0.001 * i, "entropy": 1.1 - 0.01 * i, "format_rate": 0.9 + 0.002 * i, "agreeing_trees": 0.3,
            "logprob_difference": float("nan") if i == 5 else 0.01, "completions/min_length": 20.0 + i, "completions/max_length": 190.0, **shares,
        })  # fmt: skip
    (run / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows) + '{"phase": "rl", "st')
    search_trees = (grown_tree(i, table=RFTT.prompted, text=text) for i in range(trees))
    write_lines(run / "search/trees.jsonl", (t.to_json() for t in search_trees))
    write_lines(run / "search/chains.jsonl", (
        {"schema": "rftt.chain/1", "question_id": f"q-{i:03}", "kind": kind, "answer": str(4 * i + 6), "messages": [
            {"role": "user", "content": text or f"How many apples are in {i} bags of 4 and a heap of 6?"},
            {"role": "assistant", "content": text or chain_text(i, "clarify", "next_step", *tail)}]}
        for i in range(30) for kind, tail in (("plain", ["next_step"]), ("merged", ["verify", "refine"]))))  # fmt: skip
    for offset, model in enumerate(levels):
        graded = model != "base"
        write_lines(run / f"eval/trees-{model}.jsonl", ({**grown_tree(1000 + i, graded=graded, text=text).to_json(), "gold": str(4 * (1000 + i) + 6)} for i in range(trees // 2)))
        write_lines(run / f"eval/samples-{model}.jsonl", (
            {"question_id": f"q-{1000 + i}", "question": text or f"What are 4 times {i} and 6?", "gold": str(4 * i + 6), "answer": str(4 * i + 6 + i % 3), "tokens": 90 + i,
             "text": text or (chain_text(i, "next_step") if i % 7 else "<next_step>\nunfinished"), "level": 1 + i % 5, "well_formed": bool(i % 7),
             "verdict": VERDICTS[0 if i % 3 == 0 else (i + offset) % len(VERDICTS)]} for i in range(samples)))  # fmt: skip
    return run


# A real browser


class Browser:
    """A headless Chromium, driven over its debugging pipe (JSON messages that end in NUL)."""

    def __init__(self, binary: str, profile: Path):
        self.to_read, self.to_write = os.pipe(), os.pipe()
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
        self.process = subprocess.Popen(
            # The browser reads commands from descriptor 3 and writes to 4.
            ["sh", "-c", f'exec "$@" 3<&{self.to_write[0]} 4>&{self.to_read[1]}', "sh", binary, *flags]
            + [f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"],
            pass_fds=(self.to_write[0], self.to_read[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(self.to_write[0])
        os.close(self.to_read[1])
        self.buffer, self.count, self.session, self.trouble = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params) -> dict:
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        os.write(self.to_write[1], json.dumps(message | ({"sessionId": self.session} if self.session else {})).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.count:
                assert "error" not in answer, answer
                return answer["result"]

    def receive(self) -> dict:
        while b"\0" not in self.buffer:
            chunk = os.read(self.to_read[0], 1 << 20)
            assert chunk, "the browser went away"
            self.buffer += chunk
        line, self.buffer = self.buffer.split(b"\0", 1)
        event = json.loads(line)
        if event.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
            self.trouble.append(event["params"])
        return event

    def open(self, page: Path, width: int = 1280, dark: bool = False) -> None:
        self.trouble.clear()
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.call("Page.navigate", url=page.resolve().as_uri())
        deadline = time.monotonic() + 60
        while self.run("document.readyState === 'complete' && document.documentElement.dataset.drawn") != "yes":
            assert time.monotonic() < deadline, f"the page was not drawn: {self.trouble}"
            time.sleep(0.05)
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def run(self, script: str):
        """The value of a script, awaited."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def picture(self, path: Path) -> None:
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.to_read[0])
        os.close(self.to_write[1])
