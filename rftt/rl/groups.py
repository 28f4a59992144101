"""The rollouts of one question: what its tree yields, and what fills the group up.

A sampler says where the first rollouts come from: a tree (``uct``, ``puct``, ``priority``) or nowhere (``flat``, ``walk``).
What the group lacks is filled up with samples of the policy: separate ones (``plain``), or draws that walk what is known of
the question's tokens and generate only the rest (``walk``, `search.shared_prefix`). These begin beside the tree, as soon as
it has a path and too few options left for the others. Weights say what a rollout counts for (`branches`).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

from rftt.config.sections import RLSection
from rftt.data.problems import Problem
from rftt.rl import branches
from rftt.rl.rollout import Rollout, plain_rollout, tree_rollout
from search import Question, SearchConfig, Tree
from search.driver import grow_tree
from search.engines import Engine, Generation, Sampling
from search.functional import tag_ids
from search.functions import FunctionSet
from search.grading import Asked, Grading, grade_math
from search.judging import GoldJudge
from search.mcts import Policy, derived_seed
from search.priority import sample as priority_sample
from search.shared_prefix import GROWTH, Draw, draw, known_tokens
from search.together import cancel_all
from search.token_trie import TokenTrie

TREES = ("uct", "puct", "priority")  # samplers that grow a tree
BESIDE_A_TREE = 8  # `GROWTH` where the first path of a tree is what a group has waited for already


@dataclass(frozen=True)
class Group:
    """The rollouts of one question.

    Args:
        rollouts: those of the tree first, in the order in which they were finished.
        tree: None for samplers without one.
        short: whether the tree yielded fewer paths than were wanted of it.
        filled: tokens that were generated to fill the group up.
    """

    rollouts: list[Rollout]
    tree: Tree | None
    short: bool
    filled: int


class GroupSampler:
    """Samples groups on one engine.

    Args:
        engine: holds the policy.
        policy: proposes children of trees.
        config: how trees grow; `rollouts` is the size of a group.
        settings: sampler, fill, branch correction and its cap are read.
        functions: the token set.
        grading: says what an answer is worth.
    """

    def __init__(
        self,
        engine: Engine,
        policy: Policy,
        config: SearchConfig,
        settings: RLSection,
        functions: FunctionSet,
        grading: Grading = grade_math,
    ) -> None:
        self.engine = engine
        self.policy = policy
        self.config = config
        self.settings = settings
        self.functions = functions
        self.grading = grading
        self.rule = config.answer_rule(functions)
        self.tags = tag_ids(engine.tokenizer, list(functions.tags))

    async def group(self, problem: Problem, prompt_ids: list[int]) -> Group:
        """A whole group.

        Args:
            problem: the question with its answer.
            prompt_ids: its templated prompt.
        """
        filling: list[asyncio.Task[list[Draw]]] = []
        begun = 0

        def fill(trie: TokenTrie | None, count: int) -> None:
            nonlocal begun
            if count > 0:
                filling.append(asyncio.ensure_future(self._samples(problem, prompt_ids, trie, count, begun)))
                begun += count

        def beside(tree: Tree) -> None:
            if self._fills_beside and not begun:
                fill(self._known(tree), self.config.rollouts - paths_in_sight(tree))

        try:
            tree, weights = await self._grown(problem, beside)
            leaves = tree.leaves()
            trie = self._known(tree) if self._walks else None
            # The paths of a priority sample tell of all there is where they are too few: what fills up counts for nothing.
            of_fill = 0.0 if self.settings.sampler == "priority" else 1.0
            if self.settings.branch_correction == "strata":
                trie, weights, of_fill = self._strata(tree)
            lacking = self.config.rollouts - len(leaves)
            fill(trie, lacking - begun)
            draws = [one for some in await asyncio.gather(*filling) for one in some]
        finally:
            await cancel_all(filling)
        rollouts = [tree_rollout(tree, leaf, weights.get(leaf.id, 1.0)) for leaf in leaves]
        found_before = {tuple(rollout.completion_ids): rollout for rollout in rollouts}
        for generation in (one.generation for one in draws[:lacking]):
            known = found_before.get(generation.ids)
            rollout = replace(known, nodes=[]) if known else await self._judged(problem, prompt_ids, generation)
            rollouts.append(replace(rollout, origin="plain" if trie is None else "walk", weight=of_fill))
        has_tree = self.settings.sampler in TREES
        generated = sum(one.generated for one in draws)
        return Group(rollouts, tree if has_tree else None, has_tree and len(leaves) < self._of_tree, generated)

    def _strata(self, tree: Tree) -> tuple[TokenTrie, dict[int, float], float]:
        """What is known without the tree's paths, the weights of these, and that of each sample of the rest."""
        trie, leaves = self._known(tree), tree.leaves()
        found, of_rest = branches.strata(trie, [tree.path_ids(leaf) for leaf in leaves], self.config.rollouts)
        weights = {leaf.id: weight for leaf, weight in zip(leaves, found, strict=True)}
        return trie if of_rest else self._known(tree), weights, of_rest  # without a rest, nothing is set aside

    @property
    def _walks(self) -> bool:
        """Whether what was generated before is not generated again; ``fill`` is about trees."""
        return self.settings.sampler == "walk" or (self.settings.sampler in TREES and self.settings.fill == "walk")

    @property
    def _fills_beside(self) -> bool:
        """Whether filling up may begin before the tree is done: not where its paths are set aside or never run out."""
        settings = self.settings
        trees = settings.sampler in ("uct", "puct") and settings.branch_correction != "strata"
        return trees and self._walks and self.config.parallel_rollouts > 1 and not self.config.widening

    @property
    def _of_tree(self) -> int:
        """Paths that are wanted of a tree; strata need samples of the policy beside them."""
        whole = self.config.rollouts
        return whole - whole // 2 if self.settings.branch_correction == "strata" else whole

    async def _grown(self, problem: Problem, on_path: Callable[[Tree], None]) -> tuple[Tree, dict[int, float]]:
        """The tree of the sampler and the weights of its leaves; without a tree, one that has only a root."""
        tree = Tree(problem.id, problem.question, problem.answer)
        if self.settings.sampler == "priority":
            tree.made_by = {"policy": self.policy.name, "sampler": "priority", "rollouts": self.config.rollouts,
                            "seed": self.config.seed}  # fmt: skip
            found = await priority_sample(
                tree, self.policy, GoldJudge(problem.answer, self.rule, self.grading), rollouts=self.config.rollouts,
                seed=self.config.seed, parallel=self.config.parallel_rollouts,
            )  # fmt: skip
            return tree, {leaf: self.config.rollouts * weight for leaf, weight in found.items()}
        if self.settings.sampler not in TREES:
            return tree, {}
        question = Question(problem.id, problem.question, problem.answer)
        tree = await grow_tree(
            question, self.policy, replace(self.config, rollouts=self._of_tree), grading=self.grading, on_path=on_path
        )
        importance = self.settings.branch_correction == "importance"
        return tree, branches.weights(tree, self.settings.branch_cap) if importance else {}

    def _known(self, tree: Tree) -> TokenTrie:
        return known_tokens(tree, {f.name: self.tags[f.open] for f in self.functions.functions})

    async def _samples(
        self, problem: Problem, prompt_ids: list[int], trie: TokenTrie | None, count: int, begun: int
    ) -> list[Draw]:
        """Independent samples of the policy, of which nothing is chosen by the search; `begun` were asked for before."""
        sampling = Sampling(
            min(self.config.max_depth * self.config.max_step_tokens, self.settings.longest_completion or sys.maxsize),
            temperature=self.config.temperature,
            top_p=self.config.top_p,
            seed=derived_seed(self.config.seed, problem.id, "plain"),
            logprobs=True,
        )
        if trie is None:
            found = await self.engine.generate(prompt_ids, replace(sampling, n=count))
            return [Draw(generation, len(generation.ids)) for generation in found]
        return await draw(
            trie, self.engine, prompt_ids, sampling, count, at_once=self.config.parallel_rollouts,
            growth=BESIDE_A_TREE if self._fills_beside else GROWTH, first=begun,
        )  # fmt: skip

    async def _judged(self, problem: Problem, prompt_ids: list[int], generation: Generation) -> Rollout:
        asked = Asked(problem.id, problem.question, problem.answer)
        return await plain_rollout(
            prompt_ids, generation, asked, self.engine.tokenizer, self.tags, self.rule, self.grading
        )


def paths_in_sight(tree: Tree) -> int:
    """Finished paths and one for each function that was not tried yet: about what a tree that is not widened yields."""
    untried = 0
    for node in tree.nodes:
        tried = {tree.nodes[child].function for child in node.children}
        untried += sum(function not in tried for function in node.options or {})
    return len(tree.leaves()) + untried
