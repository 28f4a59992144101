"""What an engine promises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

FORBIDDING = -100.0  # the bias that forbids a token in vLLM, which allows no lower one; e^-100 is never drawn


@dataclass(frozen=True)
class Sampling:
    """How to sample the continuations of one prompt.

    Args:
        max_tokens: most new tokens of each continuation.
        n: number of continuations.
        temperature: 0 is greedy.
        top_p: nucleus, in (0, 1].
        seed: seed of this request; None leaves it to the engine.
        stop_ids: a continuation ends with the first of these ids, which is kept; the end-of-sequence ids always stop.
        forbidden_ids: ids that are never sampled; log-probabilities are those of the model all the same.
        watch_ids: ids whose log-probabilities are wanted at the last position of each continuation.
        logprobs: whether the log-probability of every sampled id is wanted.
        top_logprobs: how many of the likeliest ids are wanted with their log-probabilities at every position; servers
            allow up to 20 by default.
        tree: names the tree that asks; its requests share a prefix, so an engine of several servers keeps them together.
    """

    max_tokens: int
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop_ids: tuple[int, ...] = ()
    forbidden_ids: tuple[int, ...] = ()
    watch_ids: tuple[int, ...] = ()
    logprobs: bool = False
    top_logprobs: int = 0
    tree: str = ""

    def __post_init__(self) -> None:
        if self.watch_ids and self.top_logprobs:
            raise ValueError("watch_ids and top_logprobs are both asked for, expected one of them: vLLM tells only one")


@dataclass(frozen=True)
class Generation:
    """One continuation.

    Args:
        ids: sampled ids, the one that stopped it included.
        stopped: False when it was cut off by `max_tokens` or by the context length.
        logprobs: log-probabilities of each id, natural log, of the untempered distribution; empty unless asked for.
        watched: log-probability of each watched id at the last position.
        top: likeliest ids at each position, with their log-probabilities, the likeliest first; of two that are equally
            likely the lower id.
    """

    ids: tuple[int, ...]
    stopped: bool
    logprobs: tuple[float, ...] = ()
    watched: dict[int, float] | None = None
    top: tuple[tuple[tuple[int, float], ...], ...] = ()


def likeliest(logprobs: Mapping[int, float], count: int) -> tuple[tuple[int, float], ...]:
    """The `count` likeliest ids with their log-probabilities, in the order of `Generation.top`."""
    return tuple(sorted(logprobs.items(), key=lambda item: (-item[1], item[0]))[:count])


@dataclass
class EngineStats:
    """What an engine did since it was made.

    Args:
        requests: served.
        prompt_tokens: tokens of every continuation's prompt: those of a request with n continuations count n times.
        generated_tokens: sampled.
        computed_tokens: prompt tokens that no cache held, and generated ones.
        seconds: seconds in which it worked on requests.
    """

    requests: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    computed_tokens: int = 0
    seconds: float = 0.0

    def count(self, prompt_tokens: int, generations: list[Generation], cached_tokens: int | None = 0) -> None:
        """Count a request that was served.

        Args:
            prompt_tokens: length of its prompt.
            generations: its continuations.
            cached_tokens: number of cached tokens of its prompt, for each continuation; None where `computed_tokens` is
                counted otherwise.
        """
        generated = sum(len(g.ids) for g in generations)
        self.requests += 1
        self.prompt_tokens += prompt_tokens * len(generations)
        self.generated_tokens += generated
        if cached_tokens is not None:
            self.computed_tokens += (prompt_tokens - cached_tokens) * len(generations) + generated

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens that did not have to be computed."""
        return self.prompt_tokens + self.generated_tokens - self.computed_tokens

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class EngineError(RuntimeError):
    """The engine cannot serve a request; the message is one line with the remedy. Other requests may succeed."""


class TooLong(EngineError):
    """A question leaves no room for an answer in the model's context."""


class EngineGone(EngineError):
    """The engine cannot serve any request any more."""


class Engine(Protocol):
    """Generates continuations of token-id prompts.

    `generate` is called by many coroutines of one event loop at once; the engine batches whatever is waiting. It raises
    `EngineError` for a request that it cannot serve, and passes on to every waiting request what breaks the engine.
    """

    tokenizer: Any
    eos_ids: frozenset[int]
    max_model_len: int
    stats: EngineStats

    async def generate(self, prompt_ids: list[int], sampling: Sampling) -> list[Generation]: ...

    def close(self) -> None: ...


class EngineAround:
    """Stands between a search and an engine, for which it answers; the engine is closed by who made it.

    Args:
        engine: gets the requests.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.tokenizer = engine.tokenizer
        self.eos_ids = engine.eos_ids
        self.max_model_len = engine.max_model_len
        self.stats = engine.stats

    async def generate(self, prompt_ids: list[int], sampling: Sampling) -> list[Generation]:
        return await self.engine.generate(prompt_ids, sampling)

    def close(self) -> None:
        """Nothing of its own to free."""
