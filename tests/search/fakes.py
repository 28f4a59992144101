"""A tokenizer of characters and tags, and scripted models over it."""

from __future__ import annotations

import random
import re
from typing import Any

from search.engines import FakeEngine, Generation, Sampling
from search.functions import RFTT

CHARACTERS = [chr(c) for c in range(32, 127)] + ["\n"]


class CharTokenizer:
    """One id a character, one id a functional tag, and an end-of-sequence token."""

    def __init__(self) -> None:
        self.vocabulary = {t: i for i, t in enumerate(["<eos>", *RFTT.tags, *CHARACTERS])}
        self.names = {i: t for t, i in self.vocabulary.items()}
        self.pattern = re.compile("|".join(map(re.escape, ["<eos>", *RFTT.tags])) + "|.", re.DOTALL)
        self.eos_token_id = self.pad_token_id = 0
        self.all_special_ids = [0]

    def get_vocab(self) -> dict[str, int]:
        return dict(self.vocabulary)

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [self.vocabulary[t] for t in self.pattern.findall(text)]}

    def decode(self, ids: Any) -> str:
        return "".join(self.names[i] for i in ids)

    def apply_chat_template(self, messages: list[dict], add_generation_prompt: bool, tokenize: bool) -> str:
        return "".join(f"[{m['role']}]{m['content']}\n" for m in messages) + "[assistant]"


TOKENIZER = CharTokenizer()
OPEN = {TOKENIZER.vocabulary[f.open]: f.name for f in RFTT.functions}


def functional_script(prompt_ids: list[int], sampling: Sampling) -> list[Generation]:
    """A tuned model: every step is well formed, what it says and which function it would do next depend on the seed."""
    generations = []
    for sibling in range(sampling.n):
        rng = random.Random(f"{sampling.seed}/{sibling}")
        function = OPEN.get(prompt_ids[-1])
        if not sampling.stop_ids:
            ids = TOKENIZER(_chain(rng))["input_ids"]
            kept = ids[: sampling.max_tokens]
            generations.append(Generation(tuple(kept), len(kept) == len(ids), tuple(-rng.random() for _ in kept)))
            continue
        following = rng.choice(RFTT.functional.get(function or "question", ()) or ("output",))
        if function is None:
            text = RFTT[following].open
        elif function == RFTT.terminal:
            text = f"\n\\boxed{{{rng.randrange(3)}}}\n</output>\n<eos>"
        else:
            text = f"\nstep {rng.randrange(1000)}\n{RFTT[function].close}\n{RFTT[following].open}"
        ids = TOKENIZER(text)["input_ids"][: sampling.max_tokens]
        watched = {i: -rng.random() * 4 for i in sampling.watch_ids}
        generations.append(Generation(tuple(ids), True, tuple(-0.5 for _ in ids), watched))
    return generations


def _chain(rng: random.Random) -> str:
    """A whole chain, as a tuned model writes it when nothing stops it."""
    function, text = rng.choice(RFTT.functional["question"]), ""
    while function != RFTT.terminal:
        text += f"{RFTT[function].open}\nstep {rng.randrange(1000)}\n{RFTT[function].close}\n"
        function = rng.choice(RFTT.functional[function])
    return f"{text}{RFTT[function].open}\n\\boxed{{{rng.randrange(3)}}}\n{RFTT[function].close}\n<eos>"


def prompted_script(prompt_ids: list[int], sampling: Sampling) -> list[Generation]:
    """An un-tuned model: answers the prompt's instruction with a short text."""
    prompt = TOKENIZER.decode(prompt_ids)
    generations = []
    for sibling in range(sampling.n):
        rng = random.Random(f"{sampling.seed}/{sibling}")
        if "go wrong" in prompt:
            text = "The last step is wrong."
        elif "final answer" in prompt:
            text = f"So it is \\boxed{{{rng.randrange(3)}}}."
        else:
            text = f"step {rng.randrange(1000)}"
        ids = TOKENIZER(text + "<eos>")["input_ids"]
        generations.append(Generation(tuple(ids), True))
    return generations


def functional_engine(**options: Any) -> FakeEngine:
    return FakeEngine(functional_script, TOKENIZER, eos_ids=frozenset({0}), **options)


def prompted_engine(**options: Any) -> FakeEngine:
    return FakeEngine(prompted_script, TOKENIZER, eos_ids=frozenset({0}), **options)
