"""The shuffle-aware discriminator (SHAD, arXiv 2412.14780, section 4.1): which tokens are reasoning, which boilerplate.

    rftt shad CONFIG                              the chains of a run
    rftt shad --data FILE --model M --out DIR     any JSONL of `messages`

The outputs of some samples are shuffled and the model is tuned on that: what it can still predict, or predicts better than
before, does not depend on the question. Every token that the assistant wrote, of every sample as it is, then gets
LD = loss under the shuffled model − loss before; it is reasoning where LD is above a threshold. The differences are kept, so
that another threshold needs no new pass. Killed, the same command goes on.

The paper leaves open how the shuffled model is tuned and how samples with several turns are shuffled: both are settings.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rftt.config import Config
from rftt.data.tables import Row, read_jsonl_rows
from rftt.errors import UsageError
from rftt.model.checkpoints import write_whole
from rftt.model.vocabulary import loading
from rftt.runtime import distributed
from rftt.weighting.conversations import Conversation, conversations, encode, shuffled
from rftt.weighting.interface import NO_ROLE
from rftt.weighting.roles import SCHEMA, role_of
from search.functions import FunctionSet
from search.journal import Journal, read_jsonl, write_jsonl
from search.loading import load_tokenizer

ROLES, SUMMARY = "roles.jsonl", "summary.json"


def label_tokens(
    model: str, data: Path, out: Path, config: Config, functions: FunctionSet | None = None
) -> dict[str, Any]:
    """Label every token of `data` and write ``roles.jsonl`` and ``summary.json`` into `out`.

    A line of ``roles.jsonl``: ``ids``, ``roles`` (1 reasoning, 0 boilerplate, −1 context) and ``ld`` (nats, null for
    context) by token, ``sample`` (the line of `data`, from 0), and its ``question_id``, if it has one.

    Args:
        model: model folder or hub name, as it is before tuning.
        data: JSONL of samples with ``messages``.
        out: folder; the shuffled model stands there as well.
        config: ``config.shad``, ``config.model.dtype`` and the seed.
        functions: the token set; None for the model's own, else RFTT's.

    Returns:
        What is in ``summary.json``.

    Raises:
        UsageError: the data cannot be read or shuffled, or the chat template hides the assistant's turns.
    """
    from rftt.model.function_sets import choose
    from rftt.weighting.shad_summary import summarise

    functions = functions or choose(None, model)
    found = _rows(data)
    rows = [row.values for row in found]
    samples = conversations(rows, str(data), [row.line for row in found])
    with loading(str(model)):
        tokenizer = load_tokenizer(model, config.model.trust_remote_code)
    seconds = {}
    if not (out / ROLES).exists():
        begun = time.monotonic()
        encoded = [encode(sample, tokenizer, functions) for sample in samples]
        if not (out / "shuffled").exists():
            _tune_shuffled(model, samples, tokenizer, out, config, functions)
            seconds["tuning"] = round(time.monotonic() - begun, 2)
        if not distributed.is_first():
            return {}
        distributed.leave()
        seconds |= _score(model, encoded, rows, out, config, tokenizer.pad_token_id or 0)
    if not distributed.is_first():
        return {}
    written = list(read_jsonl(out / ROLES))
    records = [_with_roles(record, config.shad.threshold) for record in written]
    if records != written:  # by another threshold
        write_jsonl(out / ROLES, records)
    before = json.loads((out / SUMMARY).read_text()) if (out / SUMMARY).exists() else {}
    made_by = {"model": str(model), "data": str(data), "unit": config.shad.unit, "threshold": config.shad.threshold}
    summary = {
        **summarise(records, tokenizer, functions),
        "seconds": seconds or before.get("seconds", {}),
        "made_by": made_by,
    }
    write_whole(out / SUMMARY, json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    return summary


def _tune_shuffled(
    model: str, samples: Sequence[Conversation], tokenizer: Any, out: Path, config: Config, functions: FunctionSet
) -> None:
    """Steps 1 and 2: tune on a share of the samples with shuffled outputs; leaves ``shuffled/``."""
    from datasets import Dataset

    from rftt.sft.phase import Tuning, tune

    settings = config.shad
    rng = random.Random(f"{config.seed}/shad")
    count = min(len(samples), max(settings.least, math.ceil(settings.share * len(samples))))
    chosen = [samples[i] for i in sorted(rng.sample(range(len(samples)), count))]
    dataset = Dataset.from_list(
        [encode(sample, tokenizer, functions) for sample in shuffled(chosen, settings.unit, rng)]
    )
    job = Tuning("shad", "shad", config, settings.batch_size, settings.lora, settings.trainer, functions=functions)
    tune(Path(model), dataset, out / "shuffled", job)


def _score(
    model: str,
    encoded: Sequence[dict[str, list[int]]],
    rows: Sequence[dict[str, Any]],
    out: Path,
    config: Config,
    pad: int,
) -> dict[str, float]:
    """Step 3: LD of every token, into ``roles.jsonl``; returns seconds and tokens scored in this sitting."""
    from rftt.runtime.progress import progress_bar
    from rftt.weighting.loss_reader import LossReader, batches, differences

    journal = Journal(out / ROLES, key="sample")
    names = [str(i) for i in range(len(encoded))]
    planned = batches([len(e["input_ids"]) for e in encoded], config.shad.score_tokens)
    left = [batch for batch in planned if not all(names[i] in journal for i in batch)]
    total = sum(len(e["input_ids"]) for e in encoded)
    todo = sum(len(encoded[i]["input_ids"]) for batch in left for i in batch)
    kind = config.model.dtype, config.model.trust_remote_code
    altered, original = LossReader(str(out / "shuffled"), *kind), LossReader(model, *kind)
    begun = time.monotonic()
    with progress_bar(total, "shad: labelling", "tokens", done=total - todo) as bar:
        for batch in left:  # whole batches, also after a kill: padding moves the last bits of a loss
            found = differences([encoded[i] for i in batch], altered, original, pad)
            for i, ld in zip(batch, found, strict=True):
                if names[i] not in journal:
                    question = {"question_id": rows[i]["question_id"]} if "question_id" in rows[i] else {}
                    ids = encoded[i]["input_ids"]
                    record = {"schema": SCHEMA, "sample": names[i], **question, "ids": ids, "ld": ld}
                    journal.append(_with_roles(record, config.shad.threshold))
                bar.update(len(encoded[i]["input_ids"]))
    seconds = time.monotonic() - begun
    journal.finish(names)
    return {"labelling": round(seconds, 2), "tokens_labelled": todo}


def _with_roles(record: dict[str, Any], threshold: float) -> dict[str, Any]:
    roles = [NO_ROLE if d is None else role_of(d, threshold) for d in record["ld"]]
    return {**record, "roles": roles}


def _rows(data: Path) -> list[Row]:
    """Raises:
    UsageError: the file is not there, or a line is not a JSON object.
    """
    try:
        rows = list(read_jsonl_rows(data))
    except OSError as error:
        raise UsageError(f"{data}: cannot be read ({error.strerror}); give a JSONL file of messages") from error
    if not rows:
        raise UsageError(f"{data}: no samples; give a JSON object with messages in each line")
    return rows
