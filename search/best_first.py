"""Best-first functional search: a greedy chain first, then its most valuable branches, each continued greedily.

Everything is at temperature 0, so that the same question gives the same chains; no tree is ever exhausted. Branches are
taken from the frontier in generations: `growth` for each chain that there is, up to `generation`, all in flight at once.
What a generation holds follows from the chains before it alone, so that neither concurrency nor the budget changes what is
found: a smaller budget finds the first chains of a larger one. Near the budget as many branches are in flight as it is
likely to hold.

A chain votes with the probability of its text, in the power of `sharpness` divided by its length, and with a discount for
every function that was forced. With a process reward model, branches are worth more where it trusts the steps before and
doubts the step that they replace, and chains vote with its score of their last step too.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from search.chain import Step
from search.chain_tree import Path, add_path
from search.engines.engine import Generation, Sampling
from search.frontier import TINY, Branch, Chain, Frontier, Order
from search.solution import Candidate, Solution
from search.together import together
from search.tree import Tree
from search.voting import Poll

if TYPE_CHECKING:
    from search.config import SearchConfig
    from search.driver import Question
    from search.strategies import Solver

NOTHING = Generation((), False)


def at_once(chains: int, config: SearchConfig) -> int:
    """How many branches are in flight together after so many chains."""
    return min(config.generation, config.growth * chains)


@dataclass(frozen=True)
class Continued:
    """A branch with its continuation so far.

    Args:
        branch: branch with the position of a tag that was replaced among those that are forced.
        generation: its continuation.
        rounds: requests that the last part of it took, one after the other.
        ended: whether nothing follows.
    """

    branch: Branch
    generation: Generation = NOTHING
    rounds: int = 0
    ended: bool = False

    @property
    def tokens(self) -> int:
        """Tokens of the continuation."""
        return len(self.generation.ids)


def shares(begun: Sequence[tuple[int, int]], room: int) -> list[int]:
    """Most tokens that each of the branches that are continued together may add.

    As many are continued as fit if none is longer than expected, and the last one gets what is left. One that was longer
    gets as much once more.

    Args:
        begun: tokens that each continuation has and is expected to have, in their order.
        room: tokens that the budget leaves, 1 or more.

    Returns:
        One number for each of the first branches; no more than `room` together.
    """
    found: list[int] = []
    for tokens, expected in begun:
        found.append(min(expected - tokens % expected, room))
        room -= found[-1]
        if not room:
            return found
    return [share + room // len(found) for share in found]


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
        keep, longest = self.config.keep, self.config.max_tokens
        self.frontier = Frontier(
            Order(solver.openings, solver.closings, solver.functions, solver.special_ids, keep, longest)
        )
        self.poll = Poll()
        self.excesses: list[int] = []  # by how much continuations were longer than what they replaced, sorted
        self.texts: dict[tuple[int, ...], str] = {}  # of steps, which many chains share
        self.tree = Tree(question.id, question.text, prompt_ids=self.prompt_ids, made_by={"policy": "best_first"})

    async def run(self) -> Solution:
        solution, config, branches = self.solution, self.config, [Branch()]
        solution.stopped = ""
        while branches and not solution.stopped:
            await self._generation(branches)
            found = len(solution.candidates)
            if not solution.stopped:
                solution.stopped = "rollouts" if found >= config.rollouts else "decided" if self._decided() else ""
            branches = self.frontier.take(min(at_once(found, config), config.rollouts - found))
        solution.stopped = solution.stopped or "exhausted"
        if self.tree.root.children:
            tree, solution.tree = self.tree, self.tree
            tree.tokens, tree.requests, tree.rounds = solution.tokens, solution.requests, solution.rounds
            tree.stopped = solution.stopped
        return solution

    async def _generation(self, branches: Sequence[Branch]) -> None:
        """Continue branches together and take them in in their order, as far as the budget reaches.

        A branch that turns out longer than its share goes on with what the others left. Where later branches took more than
        that leaves, it goes on all the same and they are lost, though their tokens count.
        """
        solution, grown = self.solution, deque(Continued(branch) for branch in branches)
        # The first chain is finished in any case.
        budget = self.config.budget_tokens if solution.candidates else None
        spent = solution.tokens  # until the last chain that was taken in; what later ones took is not in it
        while grown:
            waiting = [i for i, one in enumerate(grown) if not one.ended]
            most: Sequence[int | None] = [None] * len(waiting)
            if budget is not None:
                left, free = budget - spent - grown[0].tokens, budget - solution.tokens
                if left <= 0:
                    solution.stopped = "budget"
                    return
                most = [left]
                if free > 0:
                    most = shares([(grown[i].tokens, self._expected(grown[i].branch)) for i in waiting], free)
            found = await together(self._continue(grown[i], n) for i, n in zip(waiting, most, strict=False))
            for i, one in zip(waiting, found, strict=False):
                solution.tokens += one.tokens - grown[i].tokens
                grown[i] = one
            solution.rounds += max(one.rounds for one in found)
            whole: list[Continued] = []
            while grown and grown[0].ended and (budget is None or spent + grown[0].tokens <= budget):
                whole.append(grown.popleft())
                spent += whole[-1].tokens
            await self._take_in(whole, spent)
            if grown and grown[0].ended:
                solution.stopped = "budget"
                return

    def _expected(self, branch: Branch) -> int:
        """Tokens that few continuations exceed: a quarter more than it replaces, or by how much most others were longer."""
        excess = self.excesses[len(self.excesses) * 9 // 10] if self.excesses else 0
        return branch.replaced + max(branch.replaced // 4 + 8, excess)

    async def _take_in(self, whole: Sequence[Continued], spent: int) -> None:
        """Add finished chains, the last of which was finished after `spent` tokens."""
        spent -= sum(one.tokens for one in whole)
        for one, (chain, scores) in zip(whole, await together(map(self._chain, whole)), strict=True):
            spent += one.tokens
            if one.branch.ids:
                insort(self.excesses, one.tokens - one.branch.replaced)
            self.frontier.add(chain)
            self.solution.candidates.append(await self._candidate(chain, scores, spent, one.generation.stopped))

    async def _continue(self, begun: Continued, most: int | None) -> Continued:
        """The greedy continuation of a branch by up to `most` tokens.

        A model that had a function forced on it often closes the step as the one that it would have written. Then the right
        tag takes the place of that one, and the chain goes on from there.
        """
        solver, branch, generation, rounds = self.solver, begun.branch, begun.generation, 1
        if not branch.ids and solver.on_step is not None and solver.openings:
            return await self._told(solver.on_step)
        room = self.config.max_tokens - len(branch.ids)
        limit = room if most is None else min(room, begun.tokens + most)
        function = self._forced_function((*branch.ids, *generation.ids), branch.forced)
        if function is not None:
            generation = await self._ask(branch, generation, limit, tuple(solver.closings))
            closing = generation.ids[-1] if generation.stopped else None
            if closing in solver.closings:
                generation = replace(generation, stopped=False)
                if solver.closings[closing] != function:
                    right = next(id for id, name in solver.closings.items() if name == function)
                    branch = replace(branch, forced=(*branch.forced, len(branch.ids) + len(generation.ids) - 1))
                    generation = replace(
                        generation, ids=(*generation.ids[:-1], right), logprobs=(*generation.logprobs[:-1], 0.0)
                    )
                function = None
                rounds = 2
        if function is None and len(generation.ids) < limit:
            generation = await self._ask(branch, generation, limit)
        length = len(generation.ids)
        ended = generation.stopped or length < limit or length >= room
        return Continued(branch, generation, rounds, ended)

    def _forced_function(self, ids: Sequence[int], forced: Sequence[int]) -> str | None:
        """The function of the step that a chain is in, if that was forced."""
        for place in range(len(ids) - 1, -1, -1):
            if ids[place] in self.solver.closings:
                return None
            if ids[place] in self.solver.openings:
                return self.solver.openings[ids[place]] if place in forced else None
        return None

    async def _told(self, on_step: Callable[[Step], None]) -> Continued:
        """The first chain, step by step, so that each can be told when the next one begins."""
        openings, rounds, stop_ids = self.solver.openings, 1, tuple(self.solver.openings)
        room = self.config.max_tokens
        found = await self._ask(Branch(), NOTHING, room, stop_ids)
        begun = None  # where the present step opens
        while found.stopped and found.ids[-1] in openings:
            last = len(found.ids) - 1
            if begun is not None:
                on_step(Step(openings[found.ids[begun]], self._step(found.ids[begun:last])))
            if len(found.ids) >= room:
                found = replace(found, stopped=False)  # by that tag, not at its end
                break
            begun, rounds = last, rounds + 1
            found = await self._ask(Branch(), found, room, stop_ids)
        return Continued(Branch(), found, rounds, ended=True)

    async def _ask(self, branch: Branch, begun: Generation, limit: int, stop_ids: tuple[int, ...] = ()) -> Generation:
        """One request for what follows the begun continuation of a branch, up to `limit` tokens together with that."""
        ids = [*branch.ids, *begun.ids]
        sampling = Sampling(
            limit - len(begun.ids),
            temperature=0.0,
            stop_ids=stop_ids,
            logprobs=True,
            top_logprobs=self.config.alternatives,
            tree=self.question.id,
        )
        self.solution.requests += 1
        [rest] = await self.solver.engine.generate([*self.prompt_ids, *ids], sampling)
        return Generation(
            begun.ids + rest.ids, rest.stopped, begun.logprobs + rest.logprobs, None, begun.top + rest.top
        )

    async def _chain(self, found: Continued) -> tuple[Chain, list[float]]:
        """The chain of a branch, with the scores of its steps if there is a process reward model."""
        branch, generation = found.branch, found.generation
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
        openings, closings = self.solver.openings, self.solver.closings
        content = tuple(id for id in ids if id not in openings and id not in closings)
        if content not in self.texts:
            self.texts[content] = self.solver.text(content).strip()
        return self.texts[content]

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
