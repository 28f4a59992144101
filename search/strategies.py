"""Ways to spend inference on a question, behind one result: greedy, majority, best-of-n, beam, DVTS and functional MCTS.

Every strategy keeps to `SearchConfig`: `rollouts` chains, or fewer when `budget_tokens` are generated before or the vote
cannot change any more. What it returns holds all candidates in the order in which they were finished, with the tokens that
were spent until then, so that one run answers for every smaller budget as well.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, takewhile

from search.best_first import best_first
from search.chain import Step
from search.config import SearchConfig
from search.driver import Question, grow_tree, make_policy, run_many
from search.engines.engine import Engine, EngineError, Generation, Sampling, TooLong
from search.functional import tag_ids
from search.functions import RFTT, FunctionSet
from search.judging import Scorer
from search.mcts import derived_seed
from search.named import load_named
from search.prompt import question_ids
from search.solution import Candidate, Solution
from search.together import together
from search.voting import Poll

AUTO = "auto"


class Solver:
    """Answers questions with one strategy and one engine.

    Args:
        engine: a model; without functional tokens in its vocabulary it searches by prompting.
        config: settings.
        strategy: key of `STRATEGIES`, ``module:function`` with the same signature, or ``"auto"``: best-first for a model
            with functional tokens, MCTS by prompting for another one.
        functions: the token set.
        scorer: a process reward model: it guides the search, ranks beams and candidates.
        on_step: best-first only: is told each step of the first chain but its last one, while the search goes on.

    Raises:
        ValueError: there is no such strategy, or the settings or the model do not fit it.
    """

    def __init__(
        self,
        engine: Engine,
        config: SearchConfig,
        strategy: str = AUTO,
        *,
        functions: FunctionSet = RFTT,
        scorer: Scorer | None = None,
        on_step: Callable[[Step], None] | None = None,
    ) -> None:
        vocabulary = engine.tokenizer.get_vocab()
        self.tuned = all(tag in vocabulary for tag in functions.tags)
        if strategy == AUTO:
            strategy = "best_first" if self.tuned else "mcts"
        self._run: Strategy = load_named(strategy, STRATEGIES, "strategy")
        if "prm" in config.vote and scorer is None:
            raise ValueError(f"vote {config.vote!r} needs a process reward model")
        if config.vote == "content" and strategy in set(STRATEGIES) - {"best_first", "best_of_n"}:
            raise ValueError(f"vote {config.vote!r} needs strategy 'best_first', which weighs its candidates itself")
        self.engine, self.config, self.strategy, self.functions, self.scorer = (
            engine,
            config,
            strategy,
            functions,
            scorer,
        )
        self.on_step = on_step
        self.special_ids = frozenset(engine.tokenizer.all_special_ids) | engine.eos_ids
        self.openings = {vocabulary[f.open]: f.name for f in functions.functions if f.open in vocabulary}
        self.closings = {vocabulary[f.close]: f.name for f in functions.functions if f.close in vocabulary}
        self.rule = config.answer_rule(functions, chains=self.tuned)
        if not self.tuned and strategy == "mcts" and config.vote.endswith("prior"):
            raise ValueError(f"vote {config.vote!r} needs a model with functional tokens: prompted steps have no prior")
        if strategy in ("beam", "dvts"):
            if not self.tuned:
                raise ValueError(
                    f"strategy {strategy!r} needs a model with functional tokens; add them with `rftt tokens`"
                )
            if config.rollouts % config.beam_width:
                raise ValueError(
                    f"rollouts: {config.rollouts} is not allowed, expected a multiple of beam_width {config.beam_width}"
                )
            self.opening_ids = tuple(tag_ids(engine.tokenizer, [f.open for f in functions.functions]).values())
        self.policy = make_policy("functional" if self.tuned else "prompted", engine, config, functions)

    async def solve(self, question: Question) -> Solution:
        """Answer one question; its gold, if it has one, is not used.

        Raises:
            TooLong: the question is too long for the model's context.
            EngineError: the engine cannot serve it.
        """
        length, room = len(self.prompt_ids(question)), self.engine.max_model_len
        if length + 1 >= room:
            raise TooLong(
                f"question {question.id}: its prompt of {length} tokens leaves no room for an answer in the engine's "
                f"{room}; shorten it or raise max_model_len"
            )
        solution = await self._run(self, Question(question.id, question.text))
        return await asyncio.to_thread(solution.elect)

    def prompt_ids(self, question: Question) -> list[int]:
        return question_ids(self.engine.tokenizer, question.text)

    def begin(self, question: Question, vote: str | None = None) -> Solution:
        """An empty solution, whose vote is `vote`, or that of the settings and the strategy."""
        if vote is None:
            own = self.config.vote == "auto" or self.strategy == "best_of_n"
            vote = self._own_vote() if own else self.config.vote
        return Solution(question.id, question.text, self.strategy, vote)

    def _own_vote(self) -> str:
        """The vote that suits the strategy."""
        if self.strategy == "best_first":
            return "content"
        if self.strategy == "best_of_n":
            return "best_prior" if self.scorer is None else "best_prm"
        scored = self.strategy == "mcts" and self.scorer is not None and not self.config.early_stop
        return "prm" if scored else "majority"

    def seed(self, question: Question, *place: object) -> int:
        return derived_seed(self.config.seed, question.id, self.strategy, *place)

    def text(self, ids: Iterable[int]) -> str:
        """What a chain says, without special tokens."""
        return self.engine.tokenizer.decode([i for i in ids if i not in self.special_ids])

    def vote_temperature(self) -> float:
        """Of samples that vote."""
        own = self.config.vote_temperature
        return self.config.temperature if own is None else own

    async def candidate(
        self,
        question: Question,
        ids: Sequence[int],
        spent: int,
        logprob: float | None,
        *,
        finished: bool,
        score: float | None = None,
    ) -> Candidate:
        text = self.text(ids)
        answer = self.rule.answer(text) if finished else None
        if self.scorer is not None and answer is not None and score is None:
            score = (await self.scorer(question.text, _steps(text, self.functions)))[-1]
        return Candidate(text, answer, len(ids), spent, logprob, score, ids=tuple(ids), ended=finished)


async def solve_many(
    questions: Iterable[Question],
    solver: Solver,
    on_solution: Callable[[Solution], Awaitable[None] | None],
    *,
    on_failure: Callable[[Question, EngineError], None] | None = None,
) -> None:
    """Answer many questions, at most ``live_trees`` at a time; see `run_many`."""
    await run_many(questions, solver.solve, on_solution, at_once=solver.config.live_trees, on_failure=on_failure)


async def greedy(solver: Solver, question: Question) -> Solution:
    """One chain at temperature 0."""
    return await _sampled(solver, question, solver.begin(question), count=1, temperature=0.0)


async def majority(solver: Solver, question: Question) -> Solution:
    """Independent samples and a vote (self-consistency, arXiv 2203.11171)."""
    return await _sampled(solver, question, solver.begin(question))


async def best_of_n(solver: Solver, question: Question) -> Solution:
    """Independent samples, of which the one with the best score wins; without a process reward model the most probable."""
    return await _sampled(solver, question, solver.begin(question))


async def _sampled(
    solver: Solver, question: Question, solution: Solution, count: int | None = None, temperature: float | None = None
) -> Solution:
    """Samples in one request; where the search may stop before the last one, each in its own, `parallel_rollouts` at once.

    Those are taken in in the order of their seeds, as far as the budget reaches: what is in flight together changes nothing
    of what is found.
    """
    config, poll, prompt_ids = solver.config, Poll(), solver.prompt_ids(question)
    count = config.rollouts if count is None else count
    apart = config.budget_tokens is not None or config.early_stop
    solution.stopped = ""
    while not solution.stopped:
        begun = len(solution.candidates)
        spent = solution.candidates[-1].spent if begun else 0
        room, likely = _left(config.budget_tokens, begun, spent)
        width = min(count - begun, config.parallel_rollouts, likely) if apart else count
        sampling = Sampling(
            min(config.max_tokens, room),
            n=1 if apart else count,
            temperature=solver.vote_temperature() if temperature is None else temperature,
            top_p=config.top_p,
            logprobs=solution.vote.endswith("prior"),
            tree=question.id,
        )
        seeds = [solver.seed(question, k) for k in range(begun, begun + width, sampling.n)]
        asked = [solver.engine.generate(prompt_ids, replace(sampling, seed=seed)) for seed in seeds]
        generations = [generation for found in await together(asked) for generation in found]
        solution.tokens += sum(len(g.ids) for g in generations)
        solution.requests, solution.rounds = solution.requests + len(seeds), solution.rounds + 1
        whole = generations[: _fitting(generations, room, config.max_tokens)]
        ends = accumulate(len(g.ids) for g in whole)
        # All at once, so that a process reward model reads them in one batch.
        for candidate in await together(
            solver.candidate(question, g.ids, spent + end, _mean(g.logprobs), finished=g.stopped)
            for g, end in zip(whole, ends, strict=True)
        ):
            solution.candidates.append(candidate)
            if config.early_stop:
                await poll.add_async(candidate.answer)
                if poll.decided(count - len(solution.candidates)):
                    solution.stopped = "decided"
                    break
        else:
            used = config.budget_tokens is not None and solution.candidates[-1].spent >= config.budget_tokens
            if used or len(whole) < len(generations):
                solution.stopped = "budget"
            elif len(solution.candidates) == count:
                solution.stopped = "rollouts"
    return solution


def _left(budget: int | None, begun: int, spent: int) -> tuple[int, int]:
    """How many tokens a budget leaves to a further sample, and how many samples it is likely to hold.

    The first one is finished in any case, and tells how long they are.
    """
    if budget is None or not begun:
        return sys.maxsize, sys.maxsize if budget is None else 1
    return budget - spent, max(1, (budget - spent) * begun // max(spent, 1))


def _fitting(generations: Sequence[Generation], room: int, longest: int) -> int:
    """How many of the first samples fit into so many tokens; one that was cut off there is longer than that."""
    ends = accumulate(len(g.ids) for g in generations)
    cut = (not g.stopped and room <= len(g.ids) < longest for g in generations)
    return sum(1 for _ in takewhile(bool, (end <= room and not c for end, c in zip(ends, cut, strict=True))))


@dataclass(frozen=True)
class Beam:
    """A path on its way: its ids with their log-probs, what it is worth, and whether it is at its end."""

    ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    score: float = 0.0
    ended: bool = False
    finished: bool = False


async def beam(solver: Solver, question: Question) -> Solution:
    """Step beam search: `rollouts` continuations of one step, the best ``rollouts / beam_width`` of which go on."""
    return await _beams(solver, question, groups=1, keep=solver.config.rollouts // solver.config.beam_width)


async def dvts(solver: Solver, question: Question) -> Solution:
    """Diverse verifier tree search: ``rollouts / beam_width`` beams that never meet, each the best of `beam_width` steps
    (Beeching et al., "Scaling test-time compute with open models", 2024).
    """
    return await _beams(solver, question, groups=solver.config.rollouts // solver.config.beam_width, keep=1)


async def _beams(solver: Solver, question: Question, groups: int, keep: int) -> Solution:
    """Beams in groups: every step, each group keeps its best.

    A path that ends is a candidate. Beams are worth what the process reward model says of their last step, else the mean
    log-probability of their tokens.
    """
    config, solution = solver.config, solver.begin(question)
    width, prompt_ids = config.rollouts // groups, solver.prompt_ids(question)
    live = [[Beam()] for _ in range(groups)]
    for depth in range(config.max_depth + 1):
        places = [(g, b) for g, beams in enumerate(live) for b in range(len(beams))]
        if not places or len(solution.candidates) >= config.rollouts:
            break
        steps = [
            _extend(solver, question, prompt_ids, live[g][b], max(1, width // len(live[g])), (depth, g, b))
            for g, b in places
        ]
        found: list[list[Beam]] = [[] for _ in live]
        for (g, _), (children, tokens) in zip(places, await together(steps), strict=True):
            found[g] += children
            solution.tokens += tokens
        solution.requests, solution.rounds = solution.requests + len(places), solution.rounds + 1
        for child in (c for children in found for c in children if c.ended or depth == config.max_depth):
            logprob = _mean(child.logprobs)
            solution.candidates.append(
                await solver.candidate(question, child.ids, solution.tokens, logprob, finished=child.finished)
            )
        # The first step is one token, the function that opens the chain: nothing to choose by yet.
        live = [_best(children, keep if depth else width) for children in found]
        if config.budget_tokens is not None and solution.tokens >= config.budget_tokens:
            solution.stopped = "budget"
            if solution.candidates:
                break
            live, width = [_best([b for beams in live for b in beams], 1)], 1
    return solution


async def _extend(
    solver: Solver, question: Question, prompt_ids: list[int], beam: Beam, count: int, place: tuple[int, ...]
) -> tuple[list[Beam], int]:
    """Sample `count` next steps of a beam, each up to the token that opens the step after it.

    Returns:
        The longer beams, and the number of tokens generated.
    """
    sampling = Sampling(
        solver.config.max_step_tokens,
        n=count,
        temperature=solver.config.temperature,
        top_p=solver.config.top_p,
        seed=solver.seed(question, *place),
        stop_ids=solver.opening_ids,
        logprobs=True,
        tree=question.id,
    )
    generations = await solver.engine.generate([*prompt_ids, *beam.ids], sampling)
    children = await together(_longer(solver, question, beam, generation) for generation in generations)
    return children, sum(len(g.ids) for g in generations)


async def _longer(solver: Solver, question: Question, beam: Beam, generation: Generation) -> Beam:
    ids, logprobs = beam.ids + generation.ids, beam.logprobs + generation.logprobs
    finished = generation.stopped and bool(generation.ids) and generation.ids[-1] not in solver.opening_ids
    score = _mean(logprobs) or 0.0
    if solver.scorer is not None:
        score = (await solver.scorer(question.text, _steps(solver.text(ids), solver.functions)))[-1]
    return Beam(ids, logprobs, score, finished or not generation.stopped, finished)


def _best(beams: list[Beam], count: int) -> list[Beam]:
    """Those of the `count` best that can go on."""
    return [b for b in sorted(beams, key=lambda b: -b.score)[:count] if not b.ended]


async def mcts(solver: Solver, question: Question) -> Solution:
    """Functional Monte-Carlo tree search (RFTT, section 3.4); guided by agreement, or by the process reward model."""
    solution = solver.begin(question)
    tree = await grow_tree(question, solver.policy, solver.config, solver.scorer)
    solution.tree, solution.tokens, solution.stopped = tree, tree.tokens, tree.stopped
    solution.requests, solution.rounds = tree.requests, tree.rounds
    for leaf, spent in zip(tree.leaves(), tree.spent, strict=True):
        path = tree.path(leaf)
        ids, logprobs = [i for n in path for i in n.ids], tuple(p for n in path for p in n.logprobs)
        text, ended = solver.text(ids), leaf.status != "truncated"
        solution.candidates.append(
            Candidate(
                text, leaf.answer, len(ids), spent, _mean(logprobs), leaf.prm, leaf.id, ids=tuple(ids), ended=ended
            )
        )
    return solution


Strategy = Callable[[Solver, Question], Awaitable[Solution]]
STRATEGIES: dict[str, Strategy] = {
    "greedy": greedy,
    "majority": majority,
    "best_of_n": best_of_n,
    "beam": beam,
    "dvts": dvts,
    "mcts": mcts,
    "best_first": best_first,
}


def _steps(text: str, functions: FunctionSet) -> list[str]:
    """Texts of the steps of a chain, also of one that is not at its end; of other text its paragraphs."""
    pieces = re.split("|".join(re.escape(tag) for tag in functions.tags), text)
    steps = [piece.strip() for piece in pieces if piece.strip()]
    if len(steps) < 2:
        steps = [paragraph.strip() for paragraph in text.split("\n\n") if paragraph.strip()]
    return steps or [text]


def _mean(values: tuple[float, ...]) -> float | None:
    return sum(values) / len(values) if values else None
