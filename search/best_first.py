"""Best-first functional search: a greedy chain first, then its most valuable branches, each continued greedily.

Everything is at temperature 0, so that the same question gives the same chains; no tree is ever exhausted. Branches are
taken from the frontier in generations: `GROWTH` for each chain that there is, up to `generation`, all in flight at once.
What a generation holds follows from the chains before it alone, so that neither concurrency nor the budget changes what is
found: a smaller budget finds the first chains of a larger one.

A chain votes with the probability of its text, in the power of `sharpness` divided by its length, and with a discount for
every function that was forced. With a process reward model, branches are worth more where it trusts the steps before and
doubts the step that they replace, and chains vote with its score of their last step too.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING

from search.chain import Step
from search.chain_tree import Path, add_path
from search.engines.engine import Generation, Sampling
from search.frontier import TINY, Branch, Chain, Frontier, Order
from search.solution import Candidate, Solution
from search.tree import Tree
from search.voting import Poll

if TYPE_CHECKING:
    from search.driver import Question
    from search.strategies import Solver

GROWTH = 4  # fewer make the search slower and no better, more leave it little to decide on before it may stop


def at_once(chains: int, generation: int) -> int:
    """How many branches are in flight together after so many chains."""
    return min(generation, GROWTH * chains)


@dataclass(frozen=True)
class Continued:
    """A branch with its continuation.

    Args:
        branch: branch with the position of a tag that was replaced among those that are forced.
        generation: its continuation.
        rounds: requests that it took, one after the other.
    """

    branch: Branch
    generation: Generation
    rounds: int


async def best_first(solver: Solver, question: Question) -> Solution:
    """The strategy; see the module."""
    return await _Search(solver, question).run()


class _Search:
    """One question under way.

    Args:
        solver: engine and settings.
        question: what is asked.
    """

    def __init__(self, solver: Solver, question: Question) -> None:
        self.solver, self.question, self.config = solver, question, solver.config
        self.solution = solver.begin(question)
        self.prompt_ids = solver.prompt_ids(question)
        self.frontier = Frontier(
            Order(solver.openings, solver.closings, solver.functions, solver.special_ids, self.config.keep)
        )
        self.poll = Poll()
        self.tree = Tree(question.id, question.text, prompt_ids=self.prompt_ids, made_by={"policy": "best_first"})
        self.longest = 0  # tokens of the longest continuation so far

    async def run(self) -> Solution:
        solution, config, branches = self.solution, self.config, [Branch()]
        solution.stopped = ""
        while branches and not solution.stopped:
            await self._generation(branches)
            found = len(solution.candidates)
            if not solution.stopped:
                solution.stopped = "rollouts" if found >= config.rollouts else "decided" if self._decided() else ""
            branches = self.frontier.take(min(at_once(found, config.generation), config.rollouts - found))
        solution.stopped = solution.stopped or "exhausted"
        if self.tree.root.children:
            tree, solution.tree = self.tree, self.tree
            tree.tokens, tree.requests, tree.rounds = solution.tokens, solution.requests, solution.rounds
            tree.stopped = solution.stopped
        return solution

    async def _generation(self, branches: Sequence[Branch]) -> None:
        """Continue branches, so many together as the budget surely allows, and take them in in their order."""
        solution, left = self.solution, list(branches)
        while left and not solution.stopped:
            room = self._room()
            if room is not None and room <= 0:
                solution.stopped = "budget"
                return
            count = len(left) if room is None else max(1, room // max(self.longest, 1))
            together, left = left[:count], left[count:]
            found = await asyncio.gather(*(self._continue(branch, room) for branch in together))
            together, generations = [f.branch for f in found], [f.generation for f in found]
            solution.rounds += max(f.rounds for f in found)
            before, solution.tokens = solution.tokens, solution.tokens + sum(len(g.ids) for g in generations)
            ends = list(accumulate((len(g.ids) for g in generations), initial=before))[1:]
            limit = math.inf if room is None else before + room
            whole = [
                i for i, end in enumerate(ends) if end <= limit and not self._cut(together[i], generations[i], room)
            ]
            if len(whole) < len(together):
                solution.stopped = "budget"
            chains = await asyncio.gather(*(self._chain(together[i], generations[i]) for i in whole))
            for i, (chain, scores) in zip(whole, chains, strict=True):
                self.longest = max(self.longest, len(generations[i].ids))
                self.frontier.add(chain)
                solution.candidates.append(await self._candidate(chain, scores, ends[i], generations[i].stopped))

    def _cut(self, branch: Branch, generation: Generation, room: int | None) -> bool:
        """Whether the budget ended a chain."""
        length = len(generation.ids)
        return (
            room is not None
            and not generation.stopped
            and length >= room
            and len(branch.ids) + length < self.config.max_tokens
        )

    def _room(self) -> int | None:
        """Tokens that the budget leaves; a first chain is finished in any case."""
        if self.config.budget_tokens is None or not self.solution.candidates:
            return None
        return self.config.budget_tokens - self.solution.tokens

    async def _continue(self, branch: Branch, room: int | None) -> Continued:
        """The greedy continuation of a branch.

        A model that had a function forced on it often closes the step as the one that it would have written. Then the right
        tag takes the place of that one, and the chain goes on from there.
        """
        solver = self.solver
        if not branch.ids and solver.on_step is not None and solver.openings:
            return await self._told(solver.on_step)
        function = self._forced_function(branch)
        if function is None:
            return Continued(branch, await self._ask(branch, room), 1)
        step = await self._ask(branch, room, tuple(solver.closings))
        if not step.stopped or step.ids[-1] not in solver.closings:
            return Continued(branch, step, 1)
        if solver.closings[step.ids[-1]] != function:
            right = next(id for id, name in solver.closings.items() if name == function)
            branch = replace(branch, forced=(*branch.forced, len(branch.ids) + len(step.ids) - 1))
            step = replace(step, ids=(*step.ids[:-1], right), logprobs=(*step.logprobs[:-1], 0.0))
        if room is not None and room <= len(step.ids):
            return Continued(branch, replace(step, stopped=False), 1)
        rest = await self._ask(branch, None if room is None else room - len(step.ids), begun=step)
        return Continued(branch, _joined(step, rest), 2)

    def _forced_function(self, branch: Branch) -> str | None:
        """The function of the step that a branch continues, if that was forced."""
        for place in range(len(branch.ids) - 1, -1, -1):
            if branch.ids[place] in self.solver.closings:
                return None
            if branch.ids[place] in self.solver.openings:
                return self.solver.openings[branch.ids[place]] if place in branch.forced else None
        return None

    async def _told(self, on_step: Callable[[Step], None]) -> Continued:
        """The first chain, step by step, so that each can be told when the next one begins."""
        openings, rounds = self.solver.openings, 1
        found = await self._ask(Branch(), None, tuple(openings))
        begun = None  # where the present step opens
        while found.stopped and found.ids[-1] in openings:
            last = len(found.ids) - 1
            if begun is not None:
                on_step(Step(openings[found.ids[begun]], self._step(found.ids[begun:last])))
            begun, rounds = last, rounds + 1
            found = _joined(found, await self._ask(Branch(), None, tuple(openings), begun=found))
        return Continued(Branch(), found, rounds)

    async def _ask(
        self, branch: Branch, room: int | None, stop_ids: tuple[int, ...] = (), begun: Generation | None = None
    ) -> Generation:
        """One request for what follows a branch, or what was begun of its continuation."""
        ids = [*branch.ids, *(begun.ids if begun is not None else ())]
        longest = self.config.max_tokens - len(ids)
        sampling = Sampling(
            max(1, longest if room is None else min(longest, room)),
            temperature=0.0,
            stop_ids=stop_ids,
            logprobs=True,
            top_logprobs=self.config.alternatives,
            tree=self.question.id,
        )
        self.solution.requests += 1
        [generation] = await self.solver.engine.generate([*self.prompt_ids, *ids], sampling)
        return generation

    async def _chain(self, branch: Branch, generation: Generation) -> tuple[Chain, list[float]]:
        """The chain of a branch, with the scores of its steps if there is a process reward model."""
        ids = (*branch.ids, *generation.ids)
        scores: list[float] = []
        starts = [place for place, id in enumerate(ids) if id in self.solver.openings]
        if self.solver.scorer is not None and starts:
            texts = [self._step(ids[a:b]) for a, b in zip(starts, [*starts[1:], len(ids)], strict=True)]
            scores = await self.solver.scorer(self.question.text, texts)
        chain = Chain(
            ids,
            (*branch.logprobs, *generation.logprobs),
            (*((),) * len(branch.ids), *generation.top),
            len(branch.ids),
            branch.forced,
            dict(zip(starts, scores, strict=False)),
        )
        return chain, scores

    def _step(self, ids: Sequence[int]) -> str:
        """Text of a step between its tags."""
        tags = self.solver.openings.keys() | self.solver.closings.keys()
        return self.solver.text(id for id in ids if id not in tags).strip()

    async def _candidate(self, chain: Chain, scores: Sequence[float], spent: int, stopped: bool) -> Candidate:
        forced = frozenset(chain.forced)
        own = tuple(p for place, p in enumerate(chain.logprobs) if place not in forced)
        logprob = sum(own) / len(own) if own else 0.0
        candidate = await self.solver.candidate(
            self.question, chain.ids, spent, logprob, finished=stopped, score=scores[-1] if scores else None
        )
        functions = sum(chain.ids[place] in self.solver.openings for place in forced)
        weight = self.config.sharpness * logprob + functions * math.log(self.config.forced_weight)
        if candidate.score is not None:
            weight += math.log(max(candidate.score, TINY))
        path = Path(
            chain.ids, chain.logprobs, candidate.answer, stopped, math.exp(min(weight, 0.0)), candidate.score, spent
        )
        leaf = add_path(self.tree, path, self.solver.openings, self.solver.functions, self._step)
        node = leaf.id if leaf is not None else None
        candidate = replace(candidate, forced=functions, weight=weight, node=node)
        if self.config.stop_share < 1:
            await self.poll.add_async(candidate.answer, math.exp(weight))
        return candidate

    def _decided(self) -> bool:
        """Whether the leading answer holds enough of the vote among enough chains."""
        groups = self.poll.ranking()
        total = sum(group.weight for group in groups)
        return (
            len(self.solution.candidates) >= self.config.stop_paths
            and total > 0
            and groups[0].weight > self.config.stop_share * total
        )


def _joined(first: Generation, second: Generation) -> Generation:
    """One continuation that was generated in two requests."""
    return Generation(
        first.ids + second.ids, second.stopped, first.logprobs + second.logprobs, None, first.top + second.top
    )
