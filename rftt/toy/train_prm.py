"""Train a process reward model of the embedded world: ``rftt toy prm RUN OUT --held-out OTHER``.

The toy base model with a head of two labels learns from the trees and chains of a run which steps are right: the world
decides every step. Rows have the convention of TRL's PRMTrainer (the format ``token_classification``). TRL 1.16 is without
that trainer, so `transformers.Trainer` trains.
"""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rewards.prm.formats import Row, token_classification
from rewards.prm.local import LocalPRM
from rftt.errors import UsageError
from rftt.runtime.progress import training_progress
from rftt.toy import BASE
from rftt.toy.step_labels import WORKING, label_steps, read_problem
from search.chain import parse
from search.journal import read_jsonl
from search.tree import Tree

IGNORED = -100


@dataclass(frozen=True)
class Solution:
    """Args:
    question: text of the question.
    steps: texts of the steps.
    labels: label of each step: 1 for right, 0 for wrong, -100 where another solution of the same tree holds it already.
    """

    question: str
    steps: list[str]
    labels: list[int]


def solutions(run: Path, split: str) -> list[Solution]:
    """Labelled solutions of a run's trees, each distinct step once, and of its chains, which also check and correct.

    Args:
        run: run folder after `rftt search`.
        split: name of the split that all questions must be from.

    Raises:
        UsageError: there are no trees, or a question is of another split or of another world.
    """
    folder = run / "search"
    if not (folder / "trees.jsonl").exists():
        raise UsageError(f"{folder / 'trees.jsonl'}: not there; run `rftt search CONFIG run={run}` first")
    found: list[Solution] = []
    for record in read_jsonl(folder / "trees.jsonl"):
        found += _of_tree(Tree.from_json(record))
    for chain in read_jsonl(folder / "chains.jsonl"):
        question, answer = (message["content"] for message in chain["messages"])
        found.append(_labelled(question, [step.text for step in parse(answer)]))
    for question in {solution.question for solution in found}:
        if (actual := read_problem(question).split) != split:
            raise UsageError(
                f"{run}: a question is of the split {actual}, expected {split}: set data.train_split={split}"
            )
    return found


def _of_tree(tree: Tree) -> Iterator[Solution]:
    seen: set[int] = set()
    for leaf in tree.leaves():
        if leaf.answer is None:
            continue
        path = tree.path(leaf)
        whole = _labelled(tree.question, [*(node.text for node in path), f"\\boxed{{{leaf.answer}}}"])
        labels = [IGNORED if n.id in seen else label for n, label in zip(path, whole.labels, strict=False)]
        seen |= {node.id for node in path}
        yield Solution(whole.question, whole.steps, [*labels, whole.labels[-1]])


def _labelled(question: str, steps: list[str]) -> Solution:
    return Solution(question, steps, [int(right) for right in label_steps(read_problem(question), steps)])


def train_prm(
    run: Path, out: Path, *, held_out: Path | None = None, seed: int = 0, steps: int = 400
) -> dict[str, float]:
    """Train on the solutions of a run, save the model, and measure it.

    Args:
        run: run folder with trees of training questions.
        out: model folder to write.
        held_out: run folder with trees of validation questions; None measures nothing.
        seed: seed of the order of samples and of the new head.
        steps: number of optimiser steps with 32 solutions each.

    Returns:
        What was trained on, and the figures of `measure`.

    Raises:
        UsageError: see `solutions`.
    """
    import torch
    from transformers import (
        AutoConfig,
        AutoModelForTokenClassification,
        AutoTokenizer,
        DataCollatorForTokenClassification,
        Trainer,
        TrainingArguments,
    )

    learned = solutions(run, "train")
    tested = solutions(held_out, "validation") if held_out is not None else []
    random.Random(seed).shuffle(learned)
    tokenizer = AutoTokenizer.from_pretrained(BASE, padding_side="right")
    form = token_classification(tokenizer)
    config = AutoConfig.from_pretrained(BASE, id2label={0: "wrong", 1: "right"}, label2id={"wrong": 0, "right": 1})
    config.classifier_dropout = 0.0
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForTokenClassification.from_pretrained(BASE, config=config)
    partial = out.with_name(out.name + ".partial")
    arguments = TrainingArguments(
        output_dir=str(partial), max_steps=steps, per_device_train_batch_size=32, learning_rate=1e-3, warmup_steps=30,
        lr_scheduler_type="cosine", weight_decay=0.01, max_grad_norm=1.0, logging_steps=50, save_strategy="no",
        train_sampling_strategy="group_by_length", report_to="none", seed=seed, dataloader_pin_memory=False,
        disable_tqdm=True,
    )  # fmt: skip
    rows = [_features(form.encode(s.question, s.steps), s.labels) for s in learned]
    collator = DataCollatorForTokenClassification(tokenizer)
    progress = [training_progress("prm", "loss")]
    Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collator, callbacks=progress).train()
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    result = {"solutions": float(len(learned)), "steps": float(sum(map(_counted, learned)))}
    if tested:
        result |= measure(LocalPRM(model, tokenizer, form, batch_size=64), tested)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    return result


def _features(row: Row, labels: Sequence[int]) -> dict[str, list[int]]:
    by_place = dict(zip(row.marks, labels, strict=True))
    return {"input_ids": row.ids, "labels": [by_place.get(i, IGNORED) for i in range(len(row.ids))]}


def _counted(solution: Solution) -> int:
    return sum(label != IGNORED for label in solution.labels)


def measure(model: LocalPRM, tested: Sequence[Solution]) -> dict[str, float]:
    """Accuracy at 0.5 and area under the ROC curve over the distinct steps of held-out solutions.

    Calculations are told apart: a result at the end of a long solution is mostly wrong, which is easy to say, whereas the
    worth of a calculation has to be worked out.

    Returns:
        ``{"held_out_steps", "share_right", "accuracy", "auc"}``, and the same with ``calculation_`` in front.
    """
    found: list[tuple[float, int, bool]] = []  # score, label, whether it is a calculation
    for start in range(0, len(tested), model.batch_size):
        batch = tested[start : start + model.batch_size]
        rows = [model.form.encode(s.question, s.steps) for s in batch]
        for solution, scores in zip(batch, model.scores(rows), strict=True):
            for step, score, label in zip(solution.steps, scores, solution.labels, strict=True):
                if label != IGNORED:
                    found.append((score, label, re.fullmatch(WORKING, step) is not None))
    return _figures("", found) | _figures("calculation_", [f for f in found if f[2]])


def _figures(name: str, found: Sequence[tuple[float, int, bool]]) -> dict[str, float]:
    if not found:
        return {}
    scores, labels = [f[0] for f in found], [f[1] for f in found]
    right = [(score > 0.5) == bool(label) for score, label in zip(scores, labels, strict=True)]
    values = {"share_right": sum(labels) / len(found), "accuracy": sum(right) / len(found), "auc": area(scores, labels)}
    return {f"{name or 'held_out_'}steps": float(len(found))} | {f"{name}{k}": round(v, 4) for k, v in values.items()}


def area(scores: Iterable[float], labels: Iterable[int]) -> float:
    """Area under the ROC curve: how often a right step scores above a wrong one, ties counting half."""
    import numpy

    of, label = numpy.asarray(list(scores)), numpy.asarray(list(labels)) == 1
    _, places, counts = numpy.unique(of, return_inverse=True, return_counts=True)
    ranks = (numpy.cumsum(counts) - (counts - 1) / 2)[places]  # mean rank of equal scores
    n, m = int(label.sum()), int((~label).sum())
    return float((ranks[label].sum() - n * (n + 1) / 2) / (n * m)) if n and m else float("nan")
