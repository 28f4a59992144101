"""Searches for many requests on one engine, in a thread with an event loop of its own.

The engine steps in its loop; HTTP has another one, which therefore answers while a model is loaded and however long a step
takes. What belongs to one request is a `Turn`: it stands between the search and the engine, so that the search itself
knows nothing of conversations, limits and accounts.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from rftt.serve.chat_answers import Answer, compose
from rftt.serve.protocol import ApiError, Ask, refuse
from search.chain import Step
from search.driver import Question
from search.engines.engine import Engine, EngineAround, EngineGone, Generation, Sampling
from search.functions import RFTT, FunctionSet
from search.judging import Scorer
from search.prompt import encode, prompt_ids
from search.strategies import Solver

# Every request asks the question of this name, so that its answer depends on its seed and settings alone; `rftt solve` names
# a single question so too, and gives the same answer.
QUESTION = "question"


SHORT = 1 << 14  # characters or bytes; longer texts have a thread of their own
PIECE, SEAM = 1 << 13, 16  # characters that are encoded at once, and tokens that a cut may add to them
T = TypeVar("T")


class Vocabulary:
    """A tokenizer whose vocabulary is read once: reading that of a large model takes a while.

    Args:
        tokenizer: answers for everything else.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, int] = tokenizer.get_vocab()
        self.all_special_ids: list[int] = list(tokenizer.all_special_ids)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self._tokenizer(*args, **named)

    def get_vocab(self) -> dict[str, int]:
        return self._known


class Conversation(Vocabulary):
    """A tokenizer that templates a question behind the messages that came before it.

    Args:
        vocabulary: does the work.
        earlier: those messages.
    """

    def __init__(self, vocabulary: Vocabulary, earlier: list[dict[str, str]]) -> None:
        self._tokenizer = vocabulary
        self._known = vocabulary.get_vocab()
        self.all_special_ids = vocabulary.all_special_ids
        self.earlier = earlier
        self.prompts: dict[str, list[int]] = {}  # question → ids of its prompt, as far as they have been made


class Turn(EngineAround):
    """The engine as the search of one request sees it.

    Args:
        engine: does the work.
        tokenizer: tokenizer of the conversation.
        name: name of the request; keeps its searches on one server.
    """

    def __init__(self, engine: Engine, tokenizer: Conversation, name: str) -> None:
        super().__init__(engine)
        self.tokenizer = tokenizer
        self.name = name
        self.tokens = 0
        self._end: int | None = None

    def end_chains_at(self, length: int) -> None:
        """No prompt and its continuation may be longer than this."""
        self._end = length

    async def generate(self, prompt_ids: list[int], sampling: Sampling) -> list[Generation]:
        room = sampling.max_tokens
        if self._end is not None:
            room = min(room, self._end - len(prompt_ids))
        if room <= 0:
            return [Generation((), False)] * sampling.n
        generations = await super().generate(prompt_ids, replace(sampling, max_tokens=room, tree=self.name))
        self.tokens += sum(len(g.ids) for g in generations)
        return generations


@dataclass(frozen=True)
class Search:
    """A request that is ready to be searched for.

    Args:
        ask: what is asked for.
        solver: set up for it.
        turn: its engine.
        prompt_tokens: number of tokens of its prompt.
    """

    ask: Ask
    solver: Solver
    turn: Turn
    prompt_tokens: int

    @property
    def question(self) -> Question:
        return Question(QUESTION, self.ask.messages[-1]["content"])


def _call_in(loop: asyncio.AbstractEventLoop, what: Callable[[Step], None], step: Step) -> None:
    with suppress(RuntimeError):  # the server is gone, and the search will be cancelled
        loop.call_soon_threadsafe(what, step)


Opened = AbstractContextManager[tuple[Engine, Scorer | None]]


class Searches:
    """Runs searches on an engine that it opens and closes in its own thread.

    Args:
        open_engine: gives the engine and perhaps a process reward model; entered in the thread.
        functions: the token set.
    """

    def __init__(self, open_engine: Callable[[], Opened], functions: FunctionSet = RFTT) -> None:
        self.ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        self.functions = functions
        self.gone: str | None = None  # why the engine cannot serve
        self._open = open_engine
        self._closing = False
        # Reading, templating and encoding must keep neither loop waiting, and long texts must keep no short one waiting.
        self._short = concurrent.futures.ThreadPoolExecutor(1, "rftt-prompts")
        self._long = concurrent.futures.ThreadPoolExecutor(1, "rftt-long-prompts")
        self._thread = threading.Thread(target=self._run, name="rftt-engine", daemon=True)

    @property
    def state(self) -> str:
        """``starting``, ``ready`` or ``gone``."""
        if not self.ready.done():
            return "starting"
        return "gone" if self.gone is not None or self.ready.exception() else "ready"

    def start(self) -> None:
        """Begin to open the engine; `ready` tells when it is, or why it cannot be."""
        self._thread.start()

    def close(self, seconds: float = 30.0) -> bool:
        """Cancel what is left and close the engine.

        Returns:
            Whether it was closed within so many seconds.
        """
        for threads in (self._short, self._long):
            threads.shutdown(wait=False, cancel_futures=True)
        self._closing = True
        if self.ready.done() and not self.ready.exception() and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    async def prepare(self, ask: Ask, name: str) -> Search:
        """Template the messages and check what can be checked before the search.

        Raises:
            ApiError: 400: the prompt is too long, or model, settings and chat template do not go together.
        """
        length = sum(len(message["content"]) for message in ask.messages)
        threads = self._short if length <= SHORT else self._long
        return await asyncio.get_running_loop().run_in_executor(threads, self._prepare, ask, name)

    async def aside(self, work: Callable[[], T], size: int) -> T:
        """What `work` returns; where it is about so many bytes that it takes a while, it is done in another thread."""
        if size <= SHORT:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._long, work)

    async def run(self, search: Search, on_step: Callable[[Step], None] | None = None) -> Answer:
        """Search and vote; cancelling this cancels the search in the engine.

        Args:
            search: search that is ready.
            on_step: called in this event loop with each step of the first chain, as long as the search goes on.

        Raises:
            EngineError: the engine cannot serve the request.
        """
        if on_step is not None:
            here = asyncio.get_running_loop()
            search.solver.on_step = lambda step: _call_in(here, on_step, step)
        if not self._thread.is_alive():
            raise EngineGone(self.gone or "the engine was closed")
        work = asyncio.run_coroutine_threadsafe(self._search(search), self._loop)
        return await asyncio.wrap_future(work)

    @property
    def engine(self) -> Engine:
        """The engine, once it is ready."""
        return self._engine

    def _run(self) -> None:
        try:
            with self._open() as (engine, scorer):
                asyncio.run(self._serve(engine, scorer))
        except BaseException as error:  # what ends this thread must not leave the others waiting
            if self.ready.done():
                self.gone = f"{type(error).__name__}: {error}"
            else:
                self.ready.set_exception(error)

    async def _serve(self, engine: Engine, scorer: Scorer | None) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        self._engine, self._scorer = engine, scorer
        self._vocabulary = Vocabulary(engine.tokenizer)
        self.ready.set_result(None)
        if not self._closing:
            await self._stopped.wait()

    def _prepare(self, ask: Ask, name: str) -> Search:
        tokenizer = Conversation(self._vocabulary, [*ask.messages[:-1]])
        turn = Turn(self._engine, tokenizer, name)
        try:
            self._refuse_too_long(ask.messages)
            ids = prompt_ids(tokenizer, [ask.messages[-1]])
            tokenizer.prompts[ask.messages[-1]["content"]] = ids
            length = len(ids)
            solver = Solver(turn, ask.search, ask.strategy, functions=self.functions, scorer=self._scorer)
        except ValueError as error:
            raise refuse(str(error), "messages" if "chat template" in str(error) else None) from error
        if length + 1 >= turn.max_model_len:
            raise _too_long(str(length), turn.max_model_len)
        # The prompts of an un-tuned search hold its instructions: there the step is limited instead of the chain.
        if ask.max_tokens is not None and (solver.tuned or solver.strategy != "mcts"):
            turn.end_chains_at(length + ask.max_tokens)
        return Search(ask, solver, turn, length)

    def _refuse_too_long(self, messages: Sequence[dict[str, str]]) -> None:
        """Refuse what is far too long after a look at its beginning: the work is bounded by what the model can take.

        Raises:
            ApiError: 400.
        """
        room, tokens = self._engine.max_model_len, 0
        text = "\n".join(message["content"] for message in messages)
        for at in range(0, len(text) if len(text) > PIECE else 0, PIECE):
            # A cut makes a few tokens more of a text, never a share of them.
            tokens += max(0, len(encode(self._vocabulary, text[at : at + PIECE])) - SEAM)
            if tokens > room:
                raise _too_long(f"more than {tokens}", room)

    async def _search(self, search: Search) -> Answer:
        try:
            solution = await search.solver.solve(search.question)
        except EngineGone as error:
            self.gone = str(error)
            raise
        self.gone = None

        def count(text: str) -> int:
            return len(encode(self._vocabulary, text))

        return compose(solution, search.ask, search.prompt_tokens, count, self.functions)


def _too_long(tokens: str, room: int) -> ApiError:
    return refuse(
        f"messages: the prompt of {tokens} tokens leaves no room for an answer in the model's {room}; shorten it",
        "messages",
        "context_length_exceeded",
    )
