"""An end of trees' paths before that of the model's context, for TRL's ``max_completion_length``."""

from __future__ import annotations

from dataclasses import replace

from search.engines import Engine, Generation, Sampling
from search.engines.engine import EngineAround


class Limited(EngineAround):
    """Cuts what trees ask for, as the end of the context would, so that no path is longer than so many tokens.

    Args:
        engine: gets the requests, each of which names its tree; the first one of a tree is its prompt.
        longest: tokens of the longest path below the prompt.
    """

    def __init__(self, engine: Engine, longest: int) -> None:
        super().__init__(engine)
        self.longest = longest
        self._prompt_tokens: dict[str, int] = {}

    async def generate(self, prompt_ids: list[int], sampling: Sampling) -> list[Generation]:
        """See `Engine`. Where no room is left, continuations are empty and not stopped."""
        before = len(prompt_ids) - self._prompt_tokens.setdefault(sampling.tree, len(prompt_ids))
        room = min(sampling.max_tokens, self.longest - before)
        if room < 1:
            return [Generation((), False)] * sampling.n
        return await super().generate(prompt_ids, replace(sampling, max_tokens=room))
