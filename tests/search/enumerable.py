"""A policy over tokens that can be enumerated: every chain that it can write is known with its probability and its reward.

Chains have up to three steps before the answer; what a step says decides what may follow, so that trees have between one
and many leaves, and chains with much choice are worth more than others.
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable, Iterator
from typing import Any

from search import SearchConfig, Tree
from search.driver import make_policy
from search.engines import FakeEngine, Generation, Sampling
from search.functions import RFTT
from search.mcts import Rule, grow
from search.prompt import question_ids
from search.tree import Node
from tests.search.fakes import TOKENIZER

MOST_STEPS = 3
VOCABULARY = TOKENIZER.vocabulary
EOS = 0
Ids = tuple[int, ...]


@functools.cache
def following(ids: Ids) -> dict[int, float]:
    """Next-token distribution after a beginning of a chain."""
    text = TOKENIZER.decode(ids)
    table = random.Random(f"table/{text}")
    first = table.uniform(0.2, 0.8)
    steps, last = text.count("</"), TOKENIZER.names[ids[-1]] if ids else ""
    if not ids:
        return _named({"<next_step>": first, "<analyze>": 1 - first})
    if last.startswith("</"):
        if last == "</output>":
            return {EOS: 1.0}
        if last == "</analyze>":
            return _named({"<next_step>": first, "<subquestion>": 1 - first})
        if last == "</subquestion>":
            return _named({"<next_step>": 1.0})
        if steps >= MOST_STEPS or text.count("b") > text.count("a"):
            return _named({"<output>": 1.0})  # after a b there is nothing left to choose
        return _named({"<next_step>": first / 2, "<verify>": first / 2, "<output>": 1 - first})
    if last == "<output>" or text.rpartition("<output>")[1]:
        written = text.rpartition("<output>")[2]
        if written == r"\boxed{":
            return _named({"0": first, "1": 1 - first})
        rest = r"\boxed{" if len(written) < 7 else written[:8] + "}"
        return _named({rest[len(written)]: 1.0} if len(written) < 9 else {"</output>": 1.0})
    if last.startswith("<"):
        return _named({"a": first, "b": 1 - first})
    opened = text.rpartition("<")[2].partition(">")[0]
    return _named({f"</{opened}>": 1.0})


def _named(probabilities: dict[str, float]) -> dict[int, float]:
    return {VOCABULARY[token]: p for token, p in probabilities.items() if p > 0}


@functools.cache
def reward(ids: Ids) -> float:
    """Between 0 and 1; more for chains that say a than for those that say b."""
    text = TOKENIZER.decode(ids)
    if not text.endswith("<eos>"):
        return 0.0
    return min(1.0, 0.15 * text.count("a") + 0.5 * random.Random(f"reward/{text}").random())


def chains(ids: Ids = (), probability: float = 1.0) -> Iterator[tuple[Ids, float]]:
    """Every chain with its probability."""
    if ids and ids[-1] == EOS:
        yield ids, probability
        return
    for token, p in following(ids).items():
        yield from chains((*ids, token), probability * p)


def value() -> float:
    """Expected reward of the policy."""
    return sum(p * reward(ids) for ids, p in chains())


def write(prompt: int, prompt_ids: list[int], sampling: Sampling) -> list[Generation]:
    """The policy as the script of an engine whose prompt has `prompt` ids."""
    start, written = tuple(prompt_ids[prompt:]), []
    for sibling in range(sampling.n):
        rng = random.Random(f"{sampling.seed}/{sibling}")
        ids: list[int] = []
        logprobs: list[float] = []
        stopped, distribution = False, {}
        while len(ids) < sampling.max_tokens and not stopped:
            distribution = following((*start, *ids))
            allowed = {i: p for i, p in distribution.items() if i not in sampling.forbidden_ids}
            [token] = rng.choices([*allowed], [*allowed.values()])
            ids.append(token)
            logprobs.append(math.log(distribution[token]))
            stopped = token == EOS or token in sampling.stop_ids
        watched = {i: math.log(distribution[i]) if i in distribution else -math.inf for i in sampling.watch_ids}
        written.append(Generation(tuple(ids), stopped, tuple(logprobs), watched))
    return written


def engine(question: str | None = "q") -> FakeEngine:
    """An engine that continues the prompt of one question; an empty prompt without one."""
    prompt = 0 if question is None else len(question_ids(TOKENIZER, question))
    return FakeEngine(lambda ids, sampling: write(prompt, ids, sampling), TOKENIZER, eos_ids=frozenset({EOS}), turns=0)


def policy(on: FakeEngine, seed: int, least: float = 1e-6) -> Any:
    """The policy of trees on such an engine; functions less probable than `least` are not explored."""
    config = SearchConfig(temperature=1.0, top_p=1.0, max_depth=10, max_step_tokens=120, min_prior=least, seed=seed)
    return make_policy("functional", on, config)


async def grown(on: FakeEngine, seed: int, rollouts: int, on_path: Callable[[Tree], None] | None = None) -> Tree:
    """A tree of UCT."""

    async def judge(tree: Tree, leaf: Node) -> float:
        return reward(tuple(tree.path_ids(leaf)))

    return await grow(Tree("q", "q"), policy(on, seed), judge, Rule(1.0, seed), rollouts=rollouts, on_path=on_path)


OPENING_IDS = {f.name: VOCABULARY[f.open] for f in RFTT.functions}
