"""Ways to schedule the same search, and an engine that only takes the time of a large model.

- `ours`: every tree goes on as soon as its own request is answered.
- `lockstep`: all trees go on together, one call of the engine at a time, as search-and-learn and rStar-Math do it.
- `serial`: one question, one request and one sequence at a time.
- `replay`: what another schedule asked for, all at once and independent of each other: the ceiling of the engine.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from rftt.rl.lockstep import Lockstep
from search import Question, SearchConfig, Solver, Tree, search_many, solve_many
from search.accounting import CountedEngine
from search.engines import Engine, EngineStats, FakeEngine, Generation, Sampling
from search.engines.engine import EngineAround
from search.engines.vllm import sampling_params, settled
from search.prompt import encode
from tests.search.fakes import TOKENIZER, prompted_script

AT_ONCE = 256  # trees in flight, and sequences in a batch
Script = Callable[[list[int], Sampling], list[Generation]]


@dataclass(frozen=True)
class Run:
    """Trees that a schedule grew, by question, and what `CountedEngine` says about it."""

    trees: dict[str, Tree]
    figures: dict[str, float]


@dataclass
class Request:
    """What was asked for; `lengths` are the numbers of tokens of its continuations."""

    prompt_ids: list[int]
    sampling: Sampling
    lengths: tuple[int, ...] = ()


class Recorder(EngineAround):
    """Keeps every request, in the order in which they were made."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.requests: list[Request] = []

    async def generate(self, prompt_ids: list[int], sampling: Sampling) -> list[Generation]:
        request = Request(prompt_ids, sampling)
        self.requests.append(request)
        generations = await self.engine.generate(prompt_ids, sampling)
        request.lengths = tuple(len(g.ids) for g in generations)
        return generations


class OneByOne(EngineAround):
    """Asks for the continuations of a request one after the other, with the seeds that vLLM gives to siblings."""

    async def generate(self, prompt_ids: list[int], sampling: Sampling) -> list[Generation]:
        return [
            generation
            for single in _siblings(sampling)
            for generation in await self.engine.generate(prompt_ids, single)
        ]


def _siblings(sampling: Sampling) -> list[Sampling]:
    seeds = [None if sampling.seed is None else sampling.seed + i for i in range(sampling.n)]
    return [replace(sampling, n=1, seed=seed) for seed in seeds]


def ours(questions: Iterable[Question], engine: Engine, config: SearchConfig) -> Run:
    counted = CountedEngine(engine)
    trees = _grow(questions, counted, config, counted.finished)
    return Run(trees, counted.figures())


def answered(questions: Iterable[Question], engine: Engine, config: SearchConfig) -> dict[str, float]:
    """What best-first search of the questions took."""
    counted = CountedEngine(engine)
    asyncio.run(solve_many(questions, Solver(counted, config, "best_first"), lambda solution: None))
    return counted.figures()


def lockstep(questions: Sequence[Question], engine: Engine, config: SearchConfig) -> Run:
    """One rollout a tree and one request a rollout; the next batch waits for the last answer of the one before."""
    counted, trees = CountedEngine(engine), {}
    for start in range(0, len(questions), AT_ONCE):
        group = questions[start : start + AT_ONCE]
        barrier = Lockstep(counted, len(group))

        def finished(tree: Tree, barrier: Lockstep = barrier) -> None:
            counted.finished(tree)
            barrier.finished()

        trees |= _grow(group, barrier, replace(config, live_trees=len(group), parallel_rollouts=1), finished)
    return Run(trees, counted.figures())


def serial(questions: Sequence[Question], engine: Engine, config: SearchConfig) -> Run:
    counted = CountedEngine(OneByOne(engine))
    trees = _grow(questions, counted, replace(config, live_trees=1, parallel_rollouts=1), counted.finished)
    figures = counted.figures()
    each = figures["requests"] / len(questions)
    return Run(trees, figures | {"requests_per_question": each, "rounds_per_question": each})


def _grow(
    questions: Iterable[Question], engine: Engine, config: SearchConfig, finished: Callable[[Tree], None]
) -> dict[str, Tree]:
    trees: dict[str, Tree] = {}

    def keep(tree: Tree) -> None:
        trees[tree.question_id] = tree
        finished(tree)

    asyncio.run(search_many(questions, engine, config, keep, policy="prompted"))
    return trees


def chains(prompts: Sequence[list[int]], each: int, tokens: int, sampling: Sampling) -> list[Request]:
    """`each` continuations of every prompt, `tokens` tokens together, whose lengths differ by one token at most."""
    count = each * len(prompts)
    lengths = [tokens // count + (i < tokens % count) for i in range(count)]
    return [
        Request(prompts[i // each], replace(sampling, seed=i, max_tokens=length), (length,))
        for i, length in enumerate(lengths)
        if length
    ]


def replay(engine: Any, requests: Sequence[Request], *, forced: bool = False) -> dict[str, float]:
    """Hand all requests to a `VLLMEngine` at once.

    With their own seeds and stops they give the same tokens as before. `forced` requests go on to `max_tokens`.

    Returns:
        Some of the figures of `CountedEngine.figures`.

    Raises:
        AssertionError: vLLM generated another number of tokens, by more than one in a hundred.
    """
    core, decoded, inside = engine.llm.llm_engine, 0, 0.0
    begun = time.perf_counter()
    for i, request in enumerate(requests):
        room = min(request.sampling.max_tokens, engine.max_model_len - len(request.prompt_ids))
        added = time.perf_counter()
        params = sampling_params(request.sampling, room)
        params.ignore_eos = forced
        core.add_request(f"replay-{i}", {"prompt_token_ids": request.prompt_ids}, params)
        inside += time.perf_counter() - added
    while core.has_unfinished_requests():
        stepped = time.perf_counter()
        outputs = core.step()
        inside += time.perf_counter() - stepped
        decoded += sum(len(o.token_ids) for output in outputs if output.finished for o in output.outputs)
    seconds = time.perf_counter() - begun
    wanted = sum(length for request in requests for length in request.lengths)
    assert abs(decoded - wanted) <= wanted / 100, f"{decoded} tokens instead of {wanted}"
    return {
        "generated_tokens": decoded,
        "requests": len(requests),
        "seconds": seconds,
        "tokens_per_s": decoded / seconds,
        "outside_engine": 1 - inside / seconds,
    }


@contextmanager
def counted_steps(engine: Any) -> Iterator[list[int]]:
    """Tokens that each step of a `VLLMEngine` computes."""
    scheduler = engine.llm.llm_engine.engine_core.engine_core.scheduler
    schedule, tokens = scheduler.schedule, []

    def counting(*args: Any, **named: Any) -> Any:
        output = schedule(*args, **named)
        if output.total_num_scheduled_tokens:
            tokens.append(output.total_num_scheduled_tokens)
        return output

    scheduler.schedule = counting
    try:
        yield tokens
    finally:
        scheduler.schedule = schedule


@dataclass
class _Asked:
    prompt_ids: list[int]
    sampling: Sampling
    future: asyncio.Future[list[Generation]]
    generations: list[Generation] = field(default_factory=list)
    running: int = 0


class StepEngine:
    """A scripted model in continuous batches whose steps take their time; it blocks meanwhile, as `VLLMEngine` does.

    A step gives one token to every sequence in the batch. The script works within a step, so that its time is the
    engine's. The defaults are about those of a 7B model on one large GPU.

    Args:
        script: function that gives the answers.
        tokenizer: tokenizer of the policies.
        eos_ids: end-of-sequence ids.
        step_seconds: seconds of a step that is bound by reading the weights.
        token_seconds: seconds of each token that a step computes; they count where they are more.
        fresh: number of tokens at the end of a prompt that are computed; the cache holds the others.
        max_num_seqs: largest number of sequences in a batch.
        max_model_len: longest context that the policies are told.
    """

    def __init__(
        self,
        script: Script,
        tokenizer: Any,
        *,
        eos_ids: frozenset[int],
        step_seconds: float = 25e-3,
        token_seconds: float = 50e-6,
        fresh: int = 64,
        max_num_seqs: int = AT_ONCE,
        max_model_len: int = 16384,
    ) -> None:
        self.script = script
        self.tokenizer = tokenizer
        self.eos_ids = eos_ids
        self.step_seconds = step_seconds
        self.token_seconds = token_seconds
        self.fresh = fresh
        self.max_num_seqs = max_num_seqs
        self.max_model_len = max_model_len
        self.stats = EngineStats()
        self.steps = self.sequences = 0
        self._new: list[_Asked] = []
        self._waiting: deque[tuple[_Asked, int]] = deque()  # with the length of one of its continuations
        self._running: list[tuple[int, int, _Asked]] = []  # heap by the step that ends the continuation
        self._order = itertools.count()
        self._pump: asyncio.Task[None] | None = None

    async def generate(self, prompt_ids: list[int], sampling: Sampling) -> list[Generation]:
        asked = _Asked(prompt_ids, sampling, asyncio.get_running_loop().create_future())
        self._new.append(asked)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.ensure_future(self._run())
        generations = await asked.future
        self.stats.count(len(prompt_ids), generations, max(0, len(prompt_ids) - self.fresh))
        return generations

    async def _run(self) -> None:
        while self._new or self._waiting or self._running:
            await settled()
            begun = time.perf_counter()
            tokens = self._admit() + len(self._running)
            ended = self._step()
            taken = time.perf_counter() - begun
            time.sleep(max(0.0, self.step_seconds - taken, self.token_seconds * tokens - taken))
            self.stats.seconds += time.perf_counter() - begun
            for asked in ended:
                if not asked.future.done():
                    asked.future.set_result(asked.generations)

    def _admit(self) -> int:
        """Fill the batch; returns the number of prompt tokens that this computes."""
        for asked in self._new:
            asked.generations = self.script(asked.prompt_ids, asked.sampling)
            asked.running = len(asked.generations)
            self._waiting += [(asked, len(g.ids)) for g in asked.generations]
        self._new.clear()
        prefilled: set[int] = set()
        while self._waiting and len(self._running) < self.max_num_seqs:
            asked, length = self._waiting.popleft()
            heapq.heappush(self._running, (self.steps + length, next(self._order), asked))
            prefilled.add(id(asked))
            self.sequences += 1
        return self.fresh * len(prefilled)

    def _step(self) -> list[_Asked]:
        """One token more for every sequence; returns the requests that this ends."""
        self.steps += 1
        ended = []
        while self._running and self._running[0][0] <= self.steps:
            asked = heapq.heappop(self._running)[2]
            asked.running -= 1
            if not asked.running:
                ended.append(asked)
        return ended

    def close(self) -> None:
        """Nothing to free."""


class BlockEngine(FakeEngine):
    """A scripted model that takes no time and counts what an engine with a cache of every whole block would compute.

    Args:
        block: number of tokens in a block; the other arguments are those of `FakeEngine`.
    """

    def __init__(self, script: Script, tokenizer: Any, *, block: int, eos_ids: frozenset[int]) -> None:
        super().__init__(script, tokenizer, eos_ids=eos_ids, max_model_len=16384)
        self.block = block
        self._cache: set[int] = set()

    async def generate(self, prompt_ids: list[int], sampling: Sampling) -> list[Generation]:
        self.log.append(((), sampling))
        await asyncio.sleep(0)
        generations = self.script(prompt_ids, sampling)
        self.stats.count(len(prompt_ids), generations, None)
        for generation in generations:
            # The last token is sampled but never computed on, and of a prompt at least the last token is computed.
            blocks = list(self._blocks([*prompt_ids, *generation.ids[:-1]]))
            hits = itertools.takewhile(self._cache.__contains__, blocks[: (len(prompt_ids) - 1) // self.block])
            self.stats.computed_tokens += len(prompt_ids) - self.block * sum(1 for _ in hits) + len(generation.ids)
            self._cache.update(blocks)
        return generations

    def _blocks(self, ids: list[int]) -> Iterator[int]:
        """What names each whole block: it and all before it."""
        name = 0
        for start in range(0, len(ids) - self.block + 1, self.block):
            name = hash((name, *ids[start : start + self.block]))
            yield name


def scripted(tokenizer: Any, longer_by: tuple[int, int] = (0, 0)) -> Script:
    """The scripted un-tuned model of the tests in the tokens of `tokenizer`.

    Args:
        tokenizer: tokenizer that knows printable ASCII.
        longer_by: least and largest number of random letters that every continuation begins with.
    """
    letters = encode(tokenizer, "abcdefghijklmnopqrstuvwxyz")

    def script(prompt_ids: list[int], sampling: Sampling) -> list[Generation]:
        prompt = TOKENIZER(tokenizer.decode(prompt_ids))["input_ids"]
        found = []
        for sibling, generation in enumerate(prompted_script(prompt, sampling)):
            text = TOKENIZER.decode(generation.ids[:-1])
            rng = random.Random(f"{sampling.seed}/{sibling}/longer")
            filling = rng.choices(letters, k=rng.randint(*longer_by))
            found.append(Generation((*filling, *encode(tokenizer, text), tokenizer.eos_token_id), True))
        return found

    return script
