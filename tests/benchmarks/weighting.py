"""What token weights are worth, whether SHAD finds the roles, and what labelling costs.

    python -m tests.benchmarks.weighting --json OUT [--parts cost discrimination worth] [--run runs/toy] [--seeds 3]

*cost*: SHAD labelling in tokens/s beside a plain forward pass of one model over the same batches, taking turns.
*discrimination*: agent-style conversations with known template tokens (`tests/rftt/weighting/agents.py`): right roles.
*worth*: the same conversations, few of them in five epochs and many in one, and the chains of a finished run of
configs/toy.yaml: every arm takes the same optimiser steps, the seeds decide the order of the data; accuracy and format rate
of greedy answers on held-out questions with 95 % intervals (bootstrap over questions, each with its mean over seeds), losses
on held-out samples by role. All arms are shown.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rewards import grade
from rftt.config import from_dict
from rftt.evaluate.intervals import measured
from rftt.sft.phase import train_sft
from rftt.weighting.annotate import IGNORED
from rftt.weighting.conversations import conversations, encode
from rftt.weighting.interface import BOILERPLATE, NO_ROLE, REASONING
from rftt.weighting.loss_reader import LossReader, batches, differences
from rftt.weighting.shad import ROLES, label_tokens
from search.chain import well_formed
from search.journal import read_jsonl, write_jsonl
from tests.rftt.weighting import agents

KEY_SHARE = 1 / 3  # of all steps, for the second stage
# What each arm adds to plain SFT; `steps` of the second stage are filled in, `rate` is its learning rate ÷ the first's.
ARMS: dict[str, dict[str, Any]] = {
    "SFT": {},
    "fixed weights": {"weighting": {"name": "rft", "roles": "shad", "fixed": [0.3, 0.7]}},
    "regex + RFT": {"weighting": {"name": "rft", "roles": "regex"}},
    "SHAD + RFT": {"weighting": {"name": "rft", "roles": "shad"}},
    "SFTKey": {"key_stage": {"tokens": "key"}},
    "SFTKey, a tenth of the rate": {"key_stage": {"tokens": "key"}, "rate": 0.1},
    "SFT in two stages": {"key_stage": {"tokens": "all"}},
    "two stages, a tenth of the rate": {"key_stage": {"tokens": "all"}, "rate": 0.1},
    "key_weight 4": {"weighting": {"name": "key_weight", "key_weight": 4.0}},
    "entropy, top 20 %": {"weighting": {"name": "entropy", "share": 0.2}},
    "DFT": {"weighting": {"name": "dft"}},
}
AGENTS = {"json": ("json", 240), "react": ("react", 240), "json-1200": ("json", 1200), "react-1200": ("react", 1200)}
TAG = "SFT-Tag (stage 1 of SFTKey)"


@dataclass(frozen=True)
class Task:
    """A data set to learn.

    Args:
        model: folder of the model before SFT.
        rows: samples with `messages`, those to learn from first.
        held_out: number of the last rows that are only measured.
        judge: function from the question of a held-out row or problem, and a text, to (correct, well formed).
        questions: questions that are asked after training: what `judge` takes, with the question's text.
        known: roles of the words of the held-out answers, where they are known; without them SHAD's are taken.
        sft, shad: settings of these phases.
    """

    name: str
    model: Path
    rows: list[dict[str, Any]]
    held_out: int
    judge: Callable[[Any, str], tuple[bool, bool]]
    questions: list[tuple[Any, str]]
    known: list[list[int]] | None = None
    steps: int = 60
    max_tokens: int = 320
    sft: dict[str, Any] = field(default_factory=dict)
    shad: dict[str, Any] = field(default_factory=dict)


def agent_task(folder: Path, kind: str, learn: int, scale: float) -> Task:
    """A number of conversations with a tool; right answers name the tool and all values that were asked for."""
    model = folder / "lookup-model"
    if not model.exists():
        agents.train_base(model, steps=600)
    learn, ask = round(learn * scale), round(200 * scale)
    drawn = list(agents.samples(kind, learn + ask, 1))
    template = agents.FORMATS[kind]
    shape = re.escape(template.replace("{{", "{").replace("}}", "}"))
    pattern = re.compile(shape.replace(r"\{tool\}", r"\w+").replace(r"\{pairs\}", '(?:" \\w+ " : " \\w+ "(?: , )?)+'))

    def judge(gold: str, text: str) -> tuple[bool, bool]:
        return text == gold, pattern.fullmatch(text) is not None

    rows = [row for row, _ in drawn]
    asked = [(row["messages"][1]["content"], row["messages"][0]["content"]) for row in rows[learn:]]
    marker = {"json": '" arguments "', "react": "Action :"}[kind]
    known = [roles for _, roles in drawn[learn:]]
    return Task(
        f"agents, {kind}, {learn} samples", model, rows, ask, judge, asked, known, round(150 * scale), 64,
        {"learning_rate": 2e-3, "weighting": {"marker": marker, "boilerplate": agents.REGEX}},
        {"learning_rate": 3e-3, "num_train_epochs": 15, "least": 120},
    )  # fmt: skip


def toy_task(run: Path, scale: float) -> Task:
    """The chains of a finished run; the grader says what is right."""
    rows = list(read_jsonl(run / "search" / "chains.jsonl"))
    held_out = len(rows) // 5
    problems = list(read_jsonl(run / "data" / "eval.jsonl"))[: round(200 * scale)]

    def judge(gold: str, text: str) -> tuple[bool, bool]:
        return grade(gold, text, extract="boxed").correct, well_formed(text)

    asked = [(p["answer"], p["question"]) for p in problems]
    return Task(
        "toy chains", run / "model-with-tokens", rows, held_out, judge, asked, None, round(150 * scale), 320,
        {"learning_rate": 1e-3}, {"learning_rate": 1e-3, "num_train_epochs": 5, "least": 64},
    )  # fmt: skip


def worth(task: Task, folder: Path, seeds: int, arms: Sequence[str]) -> list[dict[str, Any]]:
    """Train every arm with every seed; a row for each arm."""
    learn = task.rows[: len(task.rows) - task.held_out]
    write_jsonl(folder / "learn.jsonl", learn)
    write_jsonl(folder / "all.jsonl", task.rows)
    shad = {"batch_size": 16, "lr_scheduler_type": "cosine", "disable_tqdm": True} | task.shad
    config = from_dict({"run": str(folder), "model": {"dtype": "float32"}, "shad": shad})
    label_tokens(str(task.model), folder / "all.jsonl", folder / "shad", config)
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for seed in range(seeds):
        for arm in arms:
            run = folder / f"{arm}-{seed}"
            train_sft(task.model, folder / "learn.jsonl", run / "sft" / "final", _config(task, arm, run, seed),
                      roles=folder / "shad" / ROLES)  # fmt: skip
            found[arm].append(_measure(task, run / "sft" / "final", folder))
            if (run / "sft" / "tagged").exists() and arm == "SFTKey":
                found[TAG].append(_measure(task, run / "sft" / "tagged", folder))
    rows = []
    for arm, results in found.items():
        row: dict[str, Any] = {"task": task.name, "arm": arm, "seeds": seeds, "steps": task.steps}
        for name in ("correct", "formed"):
            values = [statistics.mean(v) for v in zip(*(r[name] for r in results), strict=True)]
            row[name] = measured(values, 0.0) | {"by_seed": [statistics.mean(r[name]) for r in results]}
        for name in ("boilerplate_loss", "reasoning_loss"):
            row[name] = [r[name] for r in results]
        rows.append(row)
    return rows


def _config(task: Task, arm: str, run: Path, seed: int) -> Any:
    adds = ARMS[arm]
    weighting = task.sft.get("weighting", {}) | adds.get("weighting", {})
    sft: dict[str, Any] = task.sft | {
        "batch_size": 8,
        "disable_tqdm": True,
        "save_strategy": "no",
        "weighting": weighting,
    }
    sft["max_steps"] = task.steps
    if "key_stage" in adds:
        second = round(task.steps * KEY_SHARE)
        stage = {"steps": second, "learning_rate": task.sft["learning_rate"] * adds.get("rate", 1.0)}
        sft |= {"max_steps": task.steps - second, "key_stage": adds["key_stage"] | stage}
    return from_dict({"run": str(run), "seed": seed, "model": {"dtype": "float32"}, "sft": sft})


@torch.inference_mode()
def _measure(task: Task, model_path: Path, folder: Path) -> dict[str, Any]:
    """Greedy answers to all questions, and mean losses on held-out samples by role."""
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    tokenizer.padding_side = "left"
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype="float32").eval()
    correct: list[float] = []
    formed: list[float] = []
    for at in range(0, len(task.questions), 50):
        part = task.questions[at : at + 50]
        turns = [[{"role": "user", "content": question}] for _, question in part]
        inputs = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
        )
        output = model.generate(
            **inputs, max_new_tokens=task.max_tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )  # fmt: skip
        texts = tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        for (gold, _), text in zip(part, texts, strict=True):
            right, whole = task.judge(gold, text)
            correct.append(float(right))
            formed.append(float(whole))
    losses: dict[int, list[float]] = {BOILERPLATE: [], REASONING: []}
    records = list(read_jsonl(folder / "shad" / ROLES))[-task.held_out :]
    for number, record in enumerate(records):
        ids = torch.tensor([record["ids"]])
        logps = model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0].tolist()
        learnt = [i for i, role in enumerate(record["roles"]) if role != NO_ROLE]
        roles = [record["roles"][i] for i in learnt]
        if task.known is not None:
            roles = [*task.known[number], *[BOILERPLATE] * (len(learnt) - len(task.known[number]))]
        for i, role in zip(learnt, roles, strict=True):
            losses[role].append(-logps[i - 1])
    means = {role: statistics.mean(values) if values else float("nan") for role, values in losses.items()}
    return {"correct": correct, "formed": formed, "boilerplate_loss": means[BOILERPLATE],
            "reasoning_loss": means[REASONING]}  # fmt: skip


def cost(run: Path, rounds: int) -> dict[str, Any]:
    """Tokens/s of labelling and of a plain forward pass, medians over rounds that take turns.

    Beside the time on the wall that of the processor, which others on the same machine disturb less.
    """
    model = run / "model-with-tokens"
    tokenizer = AutoTokenizer.from_pretrained(model)
    samples = [encode(s, tokenizer) for s in conversations(read_jsonl(run / "search" / "chains.jsonl"), "chains")]
    planned = batches([len(s["input_ids"]) for s in samples], 8192)
    tokens = sum(len(s["input_ids"]) for s in samples)
    one, other = LossReader(str(model), "float32"), LossReader(str(run / "sft" / "final"), "float32")
    plain = AutoModelForCausalLM.from_pretrained(model, dtype="float32").eval()

    def label() -> None:
        for batch in planned:
            for _ in differences([samples[i] for i in batch], one, other, tokenizer.pad_token_id):
                pass

    def forward() -> None:
        for batch in planned:
            rows = [{"input_ids": samples[i]["input_ids"]} for i in batch]
            inputs = tokenizer.pad(rows, return_tensors="pt", padding_side="right")
            with torch.inference_mode():
                plain(**inputs, use_cache=False)

    spent: dict[str, list[tuple[float, float]]] = {"plain": [], "labelling": []}
    for _ in range(rounds + 1):
        for name, job in (("plain", forward), ("labelling", label)):
            wall, processor = time.perf_counter(), time.process_time()
            job()
            spent[name].append((time.perf_counter() - wall, time.process_time() - processor))
    figures: dict[str, Any] = {"tokens": tokens, "learnt": sum(x != IGNORED for s in samples for x in s["labels"])}
    for clock, name in enumerate(("wall", "processor")):
        plain_s, labelling_s = ([times[clock] for times in spent[job][1:]] for job in spent)  # the first round warms up
        ratios = [b / a for a, b in zip(plain_s, labelling_s, strict=True)]
        figures[name] = {
            "plain_tokens_per_s": tokens / statistics.median(plain_s),
            "labelling_tokens_per_s": tokens / statistics.median(labelling_s),
            "ratio": statistics.median(ratios),
            "ratios": ratios,
        }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--parts", nargs="*", default=["cost", "discrimination", "worth"])
    parser.add_argument("--run", type=Path, default=Path("runs/toy"), help="finished run of configs/toy.yaml")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of steps, samples and questions, to try it out")
    parser.add_argument("--arms", nargs="*", default=list(ARMS))
    parser.add_argument("--tasks", nargs="*", default=[*AGENTS, "toy"])
    arguments = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "cost" in arguments.parts:
            figures["cost"] = cost(arguments.run, rounds=7)
            for clock in ("wall", "processor"):
                found = figures["cost"][clock]
                rates = f"{found['plain_tokens_per_s']:,.0f} tokens/s, labelling {found['labelling_tokens_per_s']:,.0f}"
                print(f"cost, {clock} time: plain forward {rates}, ratio {found['ratio']:.2f}", flush=True)
        if "discrimination" in arguments.parts:
            figures["discrimination"] = []
            for seed in range(arguments.seeds):
                model = folder / f"lookup-model-{seed}"
                agents.train_base(model, steps=600, seed=seed)
                for kind in agents.FORMATS:
                    accuracy = agents.discrimination(model, kind, folder / f"discrimination-{kind}-{seed}")
                    figures["discrimination"].append({"seed": seed, "format": kind, **accuracy})
                    print(f"roles, {kind}, model {seed}: " + ", ".join(f"{k} {100 * v:.1f} %" for k, v in accuracy.items()),
                          flush=True)  # fmt: skip
        if "worth" in arguments.parts:
            figures["worth"] = []
            for kind in arguments.tasks:
                if kind == "toy":
                    task = toy_task(arguments.run, arguments.scale)
                else:
                    task = agent_task(folder, *AGENTS[kind], arguments.scale)
                rows = worth(task, folder / f"worth-{kind}", arguments.seeds, arguments.arms)
                figures["worth"] += rows
                print(table(rows), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [f"{rows[0]['task']}, {rows[0]['steps']} steps, {rows[0]['seeds']} seeds",
             f"{'':32}{'correct':>22}{'format':>22}{'boilerplate':>13}{'reasoning':>11}"]  # fmt: skip
    for row in rows:
        cells = []
        for name in ("correct", "formed"):
            r = row[name]
            cells.append(f"{100 * r['value']:.1f} [{100 * r['low']:.1f}, {100 * r['high']:.1f}]")
        b, r = (statistics.mean(row[n]) for n in ("boilerplate_loss", "reasoning_loss"))
        lines.append(f"{row['arm']:32}{cells[0]:>22}{cells[1]:>22}{b:>13.3f}{r:>11.3f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
