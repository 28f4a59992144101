"""A tokenizer of characters and tags, and scripted models over it."""

from __future__ import annotations

import random
import re
from typing import Any

from search.engines import FakeEngine, Generation, Sampling
from search.functions import RFTT, Function, FunctionSet

CHARACTERS = [chr(c) for c in range(32, 127)] + ["\n"]


class CharTokenizer:
    """One id a character, one id a functional tag, and an end-of-sequence token."""

    def __init__(self, functions: FunctionSet = RFTT) -> None:
        self.vocabulary = {t: i for i, t in enumerate(["<eos>", *functions.tags, *CHARACTERS])}
        self.names = {i: t for t, i in self.vocabulary.items()}
        self.pattern = re.compile("|".join(map(re.escape, ["<eos>", *functions.tags])) + "|.", re.DOTALL)
        self.eos_token_id = self.pad_token_id = 0
        self.all_special_ids = [0]

    def get_vocab(self) -> dict[str, int]:
        return dict(self.vocabulary)

    def __call__(
        self, text: str, add_special_tokens: bool = True, split_special_tokens: bool = False
    ) -> dict[str, list[int]]:
        return {
            "input_ids": [self.vocabulary[t] for t in (text if split_special_tokens else self.pattern.findall(text))]
        }

    def decode(self, ids: Any) -> str:
        return "".join(self.names[i] for i in ids)

    def apply_chat_template(self, messages: list[dict], add_generation_prompt: bool, tokenize: bool) -> str:
        return "".join(f"[{m['role']}]{m['content']}\n" for m in messages) + "[assistant]"


class Scripted:
    """An un-tuned and a tuned model over the tags of one token set."""

    def __init__(self, functions: FunctionSet = RFTT) -> None:
        self.functions = functions
        self.tokenizer = CharTokenizer(functions)
        self.open = {self.tokenizer.vocabulary[f.open]: f.name for f in functions.functions}

    def functional(self, prompt_ids: list[int], sampling: Sampling) -> list[Generation]:
        """Every step is well formed, what it says and which function it would do next depend on the seed."""
        if sampling.top_logprobs:
            return [self.likeliest(prompt_ids, sampling)]
        generations = []
        for sibling in range(sampling.n):
            rng = random.Random(f"{sampling.seed}/{sibling}")
            function = self.open.get(prompt_ids[-1])
            if not sampling.stop_ids:
                ids = self.tokenizer(self._chain(rng))["input_ids"]
                kept = ids[: sampling.max_tokens]
                generations.append(Generation(tuple(kept), len(kept) == len(ids), tuple(-rng.random() for _ in kept)))
                continue
            allowed = self.functions.functional.get(function or "question", ())
            following = rng.choice(allowed or (self.functions.terminal,))
            if function is None:
                text = self.functions[following].open
            elif function == self.functions.terminal:
                text = f"\n\\boxed{{{rng.randrange(3)}}}\n{self.functions[function].close}\n<eos>"
            else:
                text = (
                    f"\nstep {rng.randrange(1000)}\n{self.functions[function].close}\n{self.functions[following].open}"
                )
            ids = self.tokenizer(text)["input_ids"][: sampling.max_tokens]
            watched = {i: -rng.random() * 4 for i in sampling.watch_ids}
            generations.append(Generation(tuple(ids), True, tuple(-0.5 for _ in ids), watched))
        return generations

    def likeliest(self, prompt_ids: list[int], sampling: Sampling) -> Generation:
        """The likeliest continuation, token by token: it goes on as before wherever a request begins."""
        written = self.tokenizer.decode(prompt_ids).rpartition("[assistant]")[2]
        ids, logprobs, top, ends = [], [], [], {self.tokenizer.eos_token_id, *sampling.stop_ids}
        while len(ids) < sampling.max_tokens and not (ids and ids[-1] in ends):
            token, rng = self._next(written), random.Random(f"{written}/logprob")
            ids.append(self.tokenizer.vocabulary[token])
            logprobs.append(-rng.random() / 10)
            top.append(self._top(ids[-1], logprobs[-1], rng, sampling.top_logprobs))
            written += token
        return Generation(tuple(ids), bool(ids) and ids[-1] in ends, tuple(logprobs), None, tuple(top))

    def _next(self, written: str) -> str:
        """Three digits a step, and a boxed digit in the terminal one."""
        tags = re.findall("|".join(map(re.escape, self.functions.tags)), written)
        function = tags[-1].strip("</>") if tags else "question"
        rng, terminal = random.Random(written), self.functions.terminal
        if not tags or tags[-1].startswith("</"):
            return "<eos>" if function == terminal else self.functions[rng.choice(self._follow(function))].open
        said = written.rpartition(tags[-1])[2]
        whole = f"\\boxed{{{random.Random(written.rpartition(tags[-1])[0]).randrange(3)}}}"
        if function == terminal and whole.startswith(said) and said != whole:
            return whole[len(said)]
        return str(rng.randrange(10)) if function != terminal and len(said) < 3 else self.closing(function, said)

    def _follow(self, function: str) -> tuple[str, ...]:
        return self.functions.functional[function]

    def closing(self, function: str, said: str) -> str:
        """The tag that ends a step."""
        return self.functions[function].close

    def _top(self, id: int, logprob: float, rng: random.Random, count: int) -> tuple[tuple[int, float], ...]:
        if not count:
            return ()
        others = rng.sample([i for t, i in self.tokenizer.vocabulary.items() if t.isdigit() and i != id], count - 1)
        return ((id, logprob), *((other, -2.0 - k) for k, other in enumerate(others)))

    def _chain(self, rng: random.Random) -> str:
        """A whole chain, as a tuned model writes it when nothing stops it."""
        functions = self.functions
        function, text = rng.choice(functions.functional["question"]), ""
        while function != functions.terminal:
            text += f"{functions[function].open}\nstep {rng.randrange(1000)}\n{functions[function].close}\n"
            function = rng.choice(functions.functional[function])
        return f"{text}{functions[function].open}\n\\boxed{{{rng.randrange(3)}}}\n{functions[function].close}\n<eos>"

    def prompted(self, prompt_ids: list[int], sampling: Sampling) -> list[Generation]:
        """Goes on with a line of a transcript, or answers the prompt's instruction, with a short text."""
        prompt = self.tokenizer.decode(prompt_ids)
        begun = next((f for f in self.functions.functions if prompt.endswith(f"\n{f.begins}")), None)
        begun = begun or next((f for f in self.functions.functions if prompt.endswith(f"[assistant]{f.begins}")), None)
        generations = []
        for sibling in range(sampling.n):
            rng = random.Random(f"{sampling.seed}/{sibling}")
            if begun:
                text = self._line(begun, rng)
            elif "go wrong" in prompt:
                text = "The last step is wrong."
            elif "final answer" in prompt:
                text = f"So it is \\boxed{{{rng.randrange(3)}}}."
            else:
                text = f"step {rng.randrange(1000)}"
            ids = self.tokenizer(text + "<eos>")["input_ids"]
            generations.append(Generation(tuple(ids), True))
        return generations

    @staticmethod
    def _line(function: Function, rng: random.Random) -> str:
        """A valid line of a transcript."""
        word = "".join(rng.choices("abcdefgh", k=6))
        if "asks" in function.valid:
            return f" How much is {word}?"
        one, other = rng.randrange(1000), rng.randrange(1000)
        return (
            f" {word} is {one} + {other} = {one + other}." if "computes" in function.valid else f" The {word} counts."
        )


RFTT_MODEL = Scripted()
TOKENIZER, OPEN = RFTT_MODEL.tokenizer, RFTT_MODEL.open
functional_script, prompted_script = RFTT_MODEL.functional, RFTT_MODEL.prompted


def functional_engine(model: Scripted = RFTT_MODEL, **options: Any) -> FakeEngine:
    return FakeEngine(model.functional, model.tokenizer, eos_ids=frozenset({0}), **options)


def prompted_engine(model: Scripted = RFTT_MODEL, **options: Any) -> FakeEngine:
    room = {"max_model_len": 16384}  # a token is one character here, and worked examples are long
    return FakeEngine(model.prompted, model.tokenizer, eos_ids=frozenset({0}), **(room | options))
