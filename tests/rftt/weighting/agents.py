"""An agent-style data set whose template tokens are known, and a small model that can look things up but knows no template.

The user names a tool and what it is to be called with (``tool weather , city paris , day monday``). The assistant answers
with a tool call in JSON or in the ReAct format. What it takes from the question is reasoning; the rest, which is the same
in every answer with that tool, is boilerplate. One word is one token, so that every token has one true role.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rftt.config import from_dict
from rftt.weighting.interface import BOILERPLATE, REASONING
from rftt.weighting.roles import RegexRoles, role_of
from rftt.weighting.shad import label_tokens
from search.journal import read_jsonl, write_jsonl
from tests.tiny import CHAT_TEMPLATE, SPECIAL_TOKENS

VALUES = tuple(f"{start}{end}" for start in ("ba", "ke", "li", "mo", "nu", "pa", "ro", "si") for end in "bdfglmnt")
TOOLS = {
    "weather": ("city", "day"), "table": ("room", "person", "hour"), "music": ("song", "artist"),
    "shop": ("item", "color", "price"), "train": ("origin", "target"), "match": ("team", "sport", "place"),
}  # fmt: skip
KEYS = tuple(dict.fromkeys(key for keys in TOOLS.values() for key in keys))
JSON = 'I will call one tool for this request . {{ " name " : " {tool} " , " arguments " : {{ {pairs} }} }} Done .'
REACT = "Thought : I need to use a tool for this . Action : {tool} Action Input : {{ {pairs} }} Observation : wait"
FORMATS = {"json": JSON, "react": REACT}
FILLERS = tuple(dict.fromkeys(w for f in FORMATS.values() for w in f.format(tool="", pairs="").split()))
# How the lessons write a key and its value: the model knows what JSON looks like, as any pretrained one does.
NOTATIONS = ('" {key} " : " {value} "', "{key} : {value}", "{key} {value}")
TOOL_NOTATIONS = ('" name " : " {value} "', "Action : {value}", "tool {value}")
REGEX = (r'[{}":,]', r'(?<=" )name(?= ")', r'(?<=" )arguments(?= ")', r"Thought(?= :)", r"Action( Input)?(?= :)",
         r"Observation(?= :)")  # fmt: skip

Row = dict[str, Any]


def samples(kind: str, count: int, seed: int) -> Iterator[tuple[Row, list[int]]]:
    """Conversations of one format, each with the true roles of the words of the answer."""
    rng = random.Random(f"agents/{kind}/{seed}")
    for i in range(count):
        tool = rng.choice(list(TOOLS))
        values = {key: rng.choice(VALUES) for key in TOOLS[tool]}
        pairs = " , ".join(f'" {key} " : " {value} "' for key, value in values.items())
        answer = FORMATS[kind].format(tool=tool, pairs=pairs)
        taken = {tool, *values.values()}
        roles = [REASONING if word in taken else BOILERPLATE for word in answer.split()]
        yield _row(f"{kind}-{i}", question(rng, {"tool": tool, **values}), answer), roles


def lessons(count: int, seed: int) -> Iterator[Row]:
    """Conversations that teach to look up what the question says, in answers that follow no template."""
    rng = random.Random(f"lessons/{seed}")
    for i in range(count):
        pairs = {key: rng.choice(VALUES) for key in rng.sample(KEYS, rng.randint(2, 3))}
        pairs["tool"] = rng.choice(list(TOOLS))
        words: list[str] = []
        for key, value in rng.sample(list(pairs.items()), len(pairs)):
            notation = rng.choice(TOOL_NOTATIONS if key == "tool" else NOTATIONS)
            words += [*rng.choices(FILLERS, k=rng.randint(0, 4)), notation.format(key=key, value=value)]
        yield _row(f"lesson-{i}", question(rng, pairs), " ".join(words))


def question(rng: random.Random, pairs: dict[str, str]) -> str:
    return " , ".join(f"{key} {value}" for key, value in rng.sample(list(pairs.items()), len(pairs)))


def _row(name: str, asked: str, answer: str) -> Row:
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return {"question_id": name, "messages": turns}


def build_tokenizer() -> Any:
    """A token for each word of the data set."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = [*SPECIAL_TOKENS, "user", "assistant", "system", "tool", *KEYS, *TOOLS, *VALUES, *FILLERS]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(words))}
    model = Tokenizer(models.WordLevel(vocabulary, unk_token="<|endoftext|>"))
    model.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=model, pad_token="<|pad|>", eos_token="<|im_end|>", model_max_length=512,
        additional_special_tokens=["<|im_start|>", "<|endoftext|>"],
    )  # fmt: skip
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def train_base(folder: Path, *, steps: int, seed: int = 0, batch: int = 64, rate: float = 3e-3) -> dict[str, float]:
    """Train a model on `lessons` and save it; returns the loss on what is looked up, and on all of the answer."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    tokenizer = build_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=True, pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id, bos_token_id=None, initializer_range=0.1,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
    rows = lessons(steps * batch, seed)
    last: dict[str, float] = {}
    looked_up = torch.tensor(tokenizer.convert_tokens_to_ids([*VALUES, *TOOLS]))
    for _ in range(steps):
        texts = [tokenizer.apply_chat_template(next(rows)["messages"], tokenize=False) for _ in range(batch)]
        inputs = tokenizer(texts, return_tensors="pt", padding=True, padding_side="right")
        labels_BT = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
        answers_BT = (inputs["input_ids"] == tokenizer.convert_tokens_to_ids("assistant")).cumsum(1) > 0
        logits_BTV = model(**inputs).logits[:, :-1]
        labels_BT = labels_BT.masked_fill(~answers_BT, -100)[:, 1:]
        losses_BT = torch.nn.functional.cross_entropy(logits_BTV.transpose(1, 2), labels_BT, reduction="none")
        loss = losses_BT.sum() / (labels_BT != -100).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        last = {"loss": loss.item(), "looked_up": losses_BT[torch.isin(labels_BT, looked_up)].mean().item()}
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return last


def discrimination(model: Path, kind: str, out: Path, *, count: int = 600, **more: Any) -> dict[str, float]:
    """Share of the tokens of one format whose role SHAD finds, and the regex baseline.

    Args:
        model: what `train_base` leaves.
        kind: json or react.
        out: an empty folder to work in.
        count: of conversations; the outputs of 200 of them are shuffled.
        more: settings of ``shad``.

    Returns:
        Shares of right roles: ``shad`` with the paper's threshold 0, ``shad_0.05`` with 0.05 nats, ``regex``; of the
        reasoning tokens those that SHAD calls so: ``recall``, ``recall_0.05``; and ``all_boilerplate``, what calling
        everything boilerplate would reach.
    """
    from transformers import AutoTokenizer

    settings = {"least": 200, "batch_size": 16, "per_device_train_batch_size": 16, "learning_rate": 3e-3,
                "lr_scheduler_type": "cosine", "num_train_epochs": 15, "disable_tqdm": True}  # fmt: skip
    rows = list(samples(kind, count, 0))
    write_jsonl(out / "data.jsonl", (row for row, _ in rows))
    config = from_dict({"run": str(out), "model": {"dtype": "float32"}, "shad": settings | more})
    label_tokens(str(model), out / "data.jsonl", out / "shad", config)
    patterns = RegexRoles(AutoTokenizer.from_pretrained(model), REGEX)
    right: dict[str, int] = defaultdict(int)
    tokens = reasoning = 0
    for (_, known), record in zip(rows, read_jsonl(out / "shad" / "roles.jsonl"), strict=True):
        places = [i for i, difference in enumerate(record["ld"]) if difference is not None]
        by_pattern = patterns.roles(record["ids"], [difference is not None for difference in record["ld"]])
        true = [*known, *[BOILERPLATE] * (len(places) - len(known))]  # the end of the turn
        for role, i in zip(true, places, strict=True):
            tokens, reasoning = tokens + 1, reasoning + role
            for name, threshold in (("", 0.0), ("_0.05", 0.05)):
                found = role_of(record["ld"][i], threshold)
                right[f"shad{name}"] += found == role
                right[f"recall{name}"] += role == found == REASONING
            right["regex"] += by_pattern[i] == role
            right["all_boilerplate"] += role == BOILERPLATE
    return {name: n / (reasoning if name.startswith("recall") else tokens) for name, n in right.items()}
