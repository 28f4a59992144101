"""A scripted engine for tests: what it answers is a function of the request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from search.engines.engine import EngineStats, Generation, Sampling

Script = Callable[[list[int], Sampling], list[Generation]]


class FakeEngine:
    """Answers each request with ``script(prompt_ids, sampling)``; what the script raises, the request raises.

    Args:
        script: the answers.
        tokenizer: encodes and decodes for the policies.
        eos_ids: end-of-sequence ids.
        max_model_len: reported to the policies.
        turns: turns of the event loop that a request takes, so that many are in flight.
    """

    def __init__(
        self, script: Script, tokenizer: Any, *, eos_ids: frozenset[int], max_model_len: int = 4096, turns: int = 1
    ) -> None:
        self.script = script
        self.tokenizer = tokenizer
        self.eos_ids = eos_ids
        self.max_model_len = max_model_len
        self.turns = turns
        self.stats = EngineStats()
        self.log: list[tuple[tuple[int, ...], Sampling]] = []

    async def generate(self, prompt_ids: list[int], sampling: Sampling) -> list[Generation]:
        self.log.append((tuple(prompt_ids), sampling))
        for _ in range(self.turns):
            await asyncio.sleep(0)
        generations = self.script(prompt_ids, sampling)
        self.stats.count(len(prompt_ids), generations)
        return generations

    def close(self) -> None:
        """Nothing to free."""
