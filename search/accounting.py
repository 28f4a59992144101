"""What a search costs: an engine that counts what passes through it.

Redundancy R is (prefill computed + decoded) / unique tokens, where the unique tokens of a tree are the distinct positions of
all its requests and their continuations, written into one prefix tree. R is 1 when no token is computed twice.
"""

from __future__ import annotations

import time
from array import array
from bisect import bisect
from collections import defaultdict
from dataclasses import replace

from search.engines.engine import Engine, EngineAround, Generation, Sampling
from search.solution import Solution
from search.tree import Tree


class PrefixCount:
    """Distinct positions in a growing set of token sequences.

    The sequences are kept sorted: the longest prefix that a new one shares with any of them, it shares with a neighbour.
    """

    def __init__(self) -> None:
        self.unique = 0
        self._sorted: list[bytes] = []

    def add(self, ids: array) -> None:
        sequence = ids.tobytes()
        place = bisect(self._sorted, sequence)
        shared = max((_shared(sequence, other) for other in self._sorted[max(place - 1, 0) : place + 1]), default=0)
        self.unique += (len(sequence) - shared * ids.itemsize) // ids.itemsize
        self._sorted.insert(place, sequence)


def _shared(one: bytes, other: bytes, width: int = array("I").itemsize) -> int:
    """Length of the common prefix in tokens."""
    low, high = 0, min(len(one), len(other)) // width
    while low < high:  # comparing slices is fast, comparing items is not
        middle = (low + high + 1) // 2
        if one[low * width : middle * width] == other[low * width : middle * width]:
            low = middle
        else:
            high = middle - 1
    return low


class CountedEngine(EngineAround):
    """Passes requests on to an engine and counts them, question by question.

    Args:
        engine: does the work.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._before = replace(engine.stats)
        self._begun: float | None = None
        self._ended = 0.0
        self._open: dict[str, PrefixCount] = defaultdict(PrefixCount)
        self._unique = self._questions = self._requests = self._rounds = self._rollouts = self._leaves = 0

    async def generate(self, prompt_ids: list[int], sampling: Sampling) -> list[Generation]:
        if self._begun is None:
            self._begun = time.perf_counter()
        generations = await super().generate(prompt_ids, sampling)
        prefixes = self._open[sampling.tree]
        prompt = array("I", prompt_ids)
        for generation in generations:
            prefixes.add(prompt + array("I", generation.ids))
        self._ended = time.perf_counter()
        return generations

    def finished(self, tree: Tree) -> None:
        """Count a tree that will ask for nothing more, and forget its tokens."""
        paths = [tuple(tree.path_ids(leaf)) for leaf in tree.leaves()]
        self._count(tree.question_id, tree.requests, tree.rounds, paths)

    def answered(self, solution: Solution) -> None:
        """Count a question that has its solution, with a tree or without, and forget its tokens."""
        chains = [candidate.ids for candidate in solution.candidates]
        self._count(solution.question_id, solution.requests, solution.rounds, chains)

    def forget(self, question_id: str) -> None:
        """Forget the tokens of a question that will ask for nothing more; the number of distinct ones stays."""
        prefixes = self._open.pop(question_id, None)
        self._unique += prefixes.unique if prefixes else 0

    def _count(self, question_id: str, requests: int, rounds: int, paths: list[tuple[int, ...]]) -> None:
        self.forget(question_id)
        self._questions += 1
        self._requests += requests
        self._rounds += rounds
        self._rollouts += len(paths)
        self._leaves += len(set(paths))

    def figures(self) -> dict[str, float]:
        """What was done since this object was made: totals, and rates over the time from the first request to the last
        answer. ``outside_engine`` is the share of that time in which the engine did nothing;
        ``leaves_per_question`` counts the rollouts whose paths are not those of other ones.
        """
        now, before = self.stats, self._before
        seconds = self._ended - self._begun if self._begun is not None else 0.0
        prompt, cached = now.prompt_tokens - before.prompt_tokens, now.cached_tokens - before.cached_tokens
        decoded, computed = now.generated_tokens - before.generated_tokens, now.computed_tokens - before.computed_tokens
        unique = self._unique + sum(prefixes.unique for prefixes in self._open.values())
        return {
            "questions": self._questions,
            "generated_tokens": decoded,
            "requests": now.requests - before.requests,
            "prompt_tokens": prompt,
            "cached_tokens": cached,
            "redundancy": computed / unique if unique else 1.0,
            "requests_per_question": self._requests / self._questions if self._questions else 0.0,
            "rollouts_per_question": self._rollouts / self._questions if self._questions else 0.0,
            "leaves_per_question": self._leaves / self._questions if self._questions else 0.0,
            "rounds_per_question": self._rounds / self._questions if self._questions else 0.0,
            "seconds": seconds,
            "tokens_per_s": decoded / seconds if seconds else 0.0,
            "questions_per_s": self._questions / seconds if seconds else 0.0,
            "outside_engine": max(0.0, 1 - (now.seconds - before.seconds) / seconds) if seconds else 0.0,
        }

    def progress(self) -> dict[str, float]:
        """The figures that a progress line shows; `figures` has all of them."""
        return {"tokens/s": self.figures()["tokens_per_s"]}
