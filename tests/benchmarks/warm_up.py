"""What a warm-up teaches of the functional tokens, by how their rows begin and how fast these learn.

    python -m tests.benchmarks.warm_up MODEL CHAINS OUT [--train 96] [--held 36] [--config configs/real-0.5b.yaml]
        [--starts mean,0.05,1 apart,0.05,5 …] [--json FILE] [--set section.key=value …]

A start is the value of model.token_rows, that of model.token_noise, and sft.lora.token_rate. Each one trains LoRA adapters
for one epoch on the first chains of the file, by the settings of `sft`, and is measured on the last ones, none of whose
questions was trained on: nats a token of opening tags, closing tags, text, and the end of the turn, and the share of each
that is the likeliest token.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch

from rftt.config import from_dict, load_config
from rftt.model.vocabulary import add_functional_tokens
from rftt.sft.phase import train_sft
from search.functions import RFTT
from search.journal import read_jsonl, write_jsonl
from search.prompt import chain_ids, question_ids

STARTS = ("mean,0.05,1", "mean,0.05,5", "mean,1,1", "mean,1,5", "apart,0.05,1", "apart,0.05,5")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model folder without the functional tokens")
    parser.add_argument("chains", type=Path, help="chains.jsonl of a search")
    parser.add_argument("out", type=Path, help="folder for the models")
    parser.add_argument("--set", nargs="+", default=[], metavar="section.key=value")
    parser.add_argument("--train", type=int, default=96)
    parser.add_argument("--held", type=int, default=36)
    parser.add_argument("--config", default="configs/real-0.5b.yaml")
    parser.add_argument("--starts", nargs="+", default=STARTS, metavar="ROWS,NOISE,RATE")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    chains = list(read_jsonl(options.chains))
    held = chains[-options.held :]
    apart = {chain["question_id"] for chain in held}
    train = [chain for chain in chains if chain["question_id"] not in apart][: options.train]
    print(f"{len(train)} chains to train on, {len(held)} of {len(apart)} other questions to measure on", flush=True)
    rows = []
    for start in options.starts:
        rows.append({"start": start, **one(start, options, train, held)})
        figures = "; ".join(f"{kind} {nats:.2f} ({share:.2f})" for kind, (nats, share) in rows[-1]["kinds"].items())
        print(f"{start:16} {figures}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def one(start: str, options: argparse.Namespace, train: list[Any], held: list[Any]) -> dict[str, Any]:
    rows, noise, rate = start.split(",")
    folder = options.out / start.replace(",", "-")
    folder.mkdir(parents=True, exist_ok=True)
    values = load_config(options.config, [f"run={folder}", f"model.path={options.model}", *options.set]).to_dict()
    values["sft"]["trainer"]["num_train_epochs"] = 1
    values["sft"]["lora"]["token_rate"] = float(rate)
    config = from_dict(values)
    dtype = None if config.model.dtype == "auto" else config.model.dtype
    add_functional_tokens(options.model, folder / "tokens", dtype=dtype, noise=float(noise), rows=rows)  # type: ignore[arg-type]
    write_jsonl(folder / "chains.jsonl", train)
    train_sft(folder / "tokens", folder / "chains.jsonl", folder / "sft" / "final", config)
    return {"kinds": measure(folder / "sft" / "final", held)}


def measure(model_path: Path, held: list[Any]) -> dict[str, tuple[float, float]]:
    """Nats a token, and the share of tokens that are the likeliest, by kind of token."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_path)
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype="auto").eval()
    vocabulary = tokenizer.get_vocab()
    kind_of = {vocabulary[tag]: "close" if "/" in tag else "open" for tag in RFTT.tags}
    found: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for chain in held:
        question, answer = (message["content"] for message in chain["messages"][-2:])
        prompt = question_ids(tokenizer, question)
        ids = chain_ids(tokenizer, answer)
        with torch.no_grad():
            logits_TV = model(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1].float()
        logprobs_TV = logits_TV.log_softmax(-1)
        for place, token in enumerate(ids):
            kind = "end" if place == len(ids) - 1 else kind_of.get(token, "text")
            found[kind].append((-logprobs_TV[place, token].item(), logprobs_TV[place].argmax().item() == token))
    return {
        kind: (sum(n for n, _ in tokens) / len(tokens), sum(hit for _, hit in tokens) / len(tokens))
        for kind, tokens in sorted(found.items())
    }


if __name__ == "__main__":
    main()
