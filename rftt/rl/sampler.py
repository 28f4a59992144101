"""The rollouts of a generation batch, from the trainer's own engine (RFTT, section 3.3).

For each question one group is sampled (`groups`): the finished paths of its tree, in the order in which they were finished,
and samples of the policy for what is missing; without a tree, samples alone. What the engine sampled is what is trained on:
ids and log-probs come out of the tree, text is never encoded again.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from rftt.config.sections import RLSection
from rftt.data.problems import Problem
from rftt.errors import UsageError
from rftt.rl.completion_limit import Limited
from rftt.rl.groups import GroupSampler
from rftt.rl.lockstep import Lockstep
from rftt.rl.replay import SolvedRollouts
from rftt.rl.reward import whole_reward
from rftt.rl.rollout import Rollout
from rftt.rl.shaping import CREDITS, start_potential
from search import SearchConfig, Tree
from search.driver import make_policy
from search.engines import Engine, EngineStats
from search.functions import RFTT, FunctionSet
from search.grading import Grading, grade_math
from search.judging import Scorer
from search.mcts import derived_seed
from search.prompt import question_ids
from search.together import together

Message = Mapping[str, str]


@dataclass(frozen=True)
class Turn:
    """When and for whom a generation batch is sampled.

    Args:
        step: optimiser steps that were made before.
        group_size: rollouts per question.
        training: whether the rollouts are trained on; else they are held out: nothing is replaced or replayed.
        process: number of this process among those that train together.
        processes: how many train together; each samples equally many questions.
        asked: conversations that all of them are given for this batch: none of these takes the place of another one.
        lockstep: whether the engine generates batch by batch; rollouts of a tree are then sampled one by one, and requests
            of all trees are handed on together, so that a run can be repeated to the bit.
    """

    step: int
    group_size: int
    training: bool = True
    process: int = 0
    processes: int = 1
    asked: Sequence[Sequence[Message]] = ()
    lockstep: bool = False


@dataclass
class SamplerStats:
    """What one call of the sampler did.

    Args:
        questions: asked, replacements included.
        replaced: questions whose place another one took, because all their paths agreed.
        exhausted: trees that had fewer distinct paths than wanted.
        filled: tokens generated to fill groups up.
        seconds: seconds of the whole call.
        engine: what the engine did meanwhile.
    """

    questions: int = 0
    replaced: int = 0
    exhausted: int = 0
    filled: int = 0
    seconds: float = 0.0
    engine: EngineStats = field(default_factory=EngineStats)


class FunctionalSampler:
    """Samples the rollouts of a generation batch.

    Args:
        problems: training problems; a prompt is found again by its messages.
        settings: how trees grow, and what their paths are worth.
        seed: seed of the run. The seed of a tree comes from it, the trainer's step and the question, so that a resumed run
            samples what the straight one would have.
        functions: the token set.
        scorer: process reward model of the steps.
        grading: says what an answer is worth.

    Raises:
        UsageError: two problems ask the same question.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        settings: RLSection,
        *,
        seed: int = 0,
        functions: FunctionSet = RFTT,
        scorer: Scorer | None = None,
        grading: Grading = grade_math,
    ) -> None:
        self.problems = {_key(prompt_of(p)): p for p in problems}
        if len(self.problems) < len(problems):
            raise UsageError(f"{len(problems) - len(self.problems)} training questions occur twice; leave one of each")
        self.by_id = {p.id: p for p in problems}
        self.settings = settings
        self.seed = seed
        self.functions = functions
        self.scorer = scorer
        self.grading = grading
        self.stats = SamplerStats()
        self.solved = SolvedRollouts()
        self.trees: dict[str, Tree] = {}  # of the latest call, by question
        self._calls = (-1, 0)  # (trainer step, calls within it)

    def __call__(self, prompts: Sequence[Sequence[Message]], engine: Engine, turn: Turn) -> list[Rollout]:
        """Args:
            prompts: conversations; each `group_size` times in a row.
            engine: holds the policy.
            turn: turn of the trainer.

        Returns:
            One rollout a prompt, groups in the order of their questions, or of those that took their places.

        Raises:
            UsageError: a question's group is not whole on this rank, or its prompt leaves no room for a completion.
        """
        begun = time.perf_counter()
        problems = [self.problems[_key(p)] for p in _group_heads(prompts, turn.group_size)]
        config = replace(
            self.settings.search_config(parallel=not turn.lockstep),
            rollouts=turn.group_size,
            seed=self._next_seed(turn),
        )
        places = self._candidates(problems, config.seed, turn)
        self.stats = SamplerStats()
        self.trees = {}
        engine = Lockstep(engine, len(places)) if turn.lockstep else engine
        groups = asyncio.run(self._sample(places, engine, config))
        self.stats.engine = engine.stats
        if turn.training and self.settings.replay:
            groups = [self.solved.exchange(group) for group in groups]
        if self.scorer is not None:
            groups = asyncio.run(self._with_process_returns(groups, self.scorer))
        rollouts = list(chain(*groups))
        if self.settings.truncated == "mask" or self.settings.branch_correction == "mask":
            rollouts = [replace(rollout, loss_mask=self._loss_mask(rollout)) for rollout in rollouts]
        self.stats.seconds = time.perf_counter() - begun
        return rollouts

    def prompt(self, rollout: Rollout) -> list[dict[str, str]]:
        """The conversation that a rollout answers."""
        return prompt_of(self.by_id[rollout.question_id])

    def save(self, folder: Path, process: int) -> None:
        """Write what a resumed run needs of this process into a checkpoint."""
        if self.settings.replay:
            (folder / f"solved-{process}.json").write_text(json.dumps(self.solved.to_json()), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read what all processes wrote into a checkpoint: a question may be another's in the next epoch."""
        for path in sorted(folder.glob("solved-*.json")):
            self.solved.load(json.loads(path.read_text(encoding="utf-8")))

    def _next_seed(self, turn: Turn) -> int:
        self._calls = (turn.step, self._calls[1] + 1 if self._calls[0] == turn.step else 0)
        return derived_seed(self.seed, "rl" if turn.training else "rl-eval", *self._calls)

    def _candidates(self, problems: Sequence[Problem], seed: int, turn: Turn) -> list[list[Problem]]:
        """For each place of this process its question and those that may replace it, which are no other place's."""
        more = self.settings.dynamic_sampling if turn.training else 0
        asked = {p.id for p in problems} | {self.problems[_key(prompt)].id for prompt in turn.asked}
        others = [p for p in self.problems.values() if p.id not in asked] if more else []
        random.Random(derived_seed(seed, "replacements")).shuffle(others)  # in one order in all processes
        first, places = turn.process * len(problems), turn.processes * len(problems)
        return [[problem, *others[place : places * more : places]] for place, problem in enumerate(problems, first)]

    async def _sample(
        self, places: Sequence[Sequence[Problem]], engine: Engine, config: SearchConfig
    ) -> list[list[Rollout]]:
        """The rollouts of each place of the batch; places do not wait for each other."""
        longest = self.settings.longest_completion
        of_trees = engine if longest is None else Limited(engine, longest)
        policy = make_policy("functional", of_trees, config, self.functions)
        groups = GroupSampler(engine, policy, config, self.settings, self.functions, self.grading)
        rewards = (self.settings.wrong_reward, self.settings.format_reward)

        async def fill(candidates: Sequence[Problem]) -> list[Rollout]:
            group: list[Rollout] = []
            for problem in candidates:
                self.stats.questions += 1
                self.stats.replaced += bool(group)
                group = await self._group(problem, groups)
                if len({whole_reward(rollout, *rewards) for rollout in group}) > 1:
                    break
            if isinstance(engine, Lockstep):
                engine.finished()
            return group

        try:
            async with asyncio.TaskGroup() as tasks:
                filling = [tasks.create_task(fill(candidates)) for candidates in places]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors  # the first one cancelled the others
        return [task.result() for task in filling]

    async def _group(self, problem: Problem, groups: GroupSampler) -> list[Rollout]:
        """The rollouts of one question."""
        engine = groups.engine
        prompt_ids = question_ids(engine.tokenizer, problem.question)
        if not prompt_ids or len(prompt_ids) >= engine.max_model_len:
            raise UsageError(
                f"question {problem.id}: its prompt of {len(prompt_ids)} tokens leaves no room in "
                f"{engine.max_model_len}; raise engine.max_model_len or leave the question out"
            )
        group = await groups.group(problem, prompt_ids)
        if group.tree is not None:
            self.trees[problem.id] = group.tree
            self.stats.exhausted += group.short
        self.stats.filled += group.filled
        return group.rollouts

    async def _with_process_returns(self, groups: Sequence[Sequence[Rollout]], scorer: Scorer) -> list[list[Rollout]]:
        """Rollouts with their process rewards; the model is asked for all of the batch at once."""
        rollouts = list(chain(*groups))
        asked = (scorer(self.by_id[r.question_id].question, r.texts) for r in rollouts if r.texts)
        found = iter(await together(asked))
        scored = []
        for group in groups:
            scores = [next(found) if r.texts else [] for r in group]
            start = start_potential(scores)
            credit = CREDITS[self.settings.process_credit]
            returns = [credit(own, start, self.settings.process_weight) for own in scores]
            scored.append([replace(r, process_returns=own) for r, own in zip(group, returns, strict=True)])
        return scored

    def _loss_mask(self, rollout: Rollout) -> list[int]:
        """0 for the completion ids that stay out of the loss."""
        if rollout.status == "truncated" and self.settings.truncated == "mask":
            return [0] * len(rollout.completion_ids)
        mask = [1] * len(rollout.completion_ids)
        if self.settings.branch_correction == "mask" and rollout.origin == "tree":
            for position in rollout.starts:
                mask[position] = 0
        return mask


def prompt_of(problem: Problem) -> list[dict[str, str]]:
    """The conversation that TRL gets as the column `prompt`; the search templates the same one."""
    return [{"role": "user", "content": problem.question}]


def _key(prompt: Sequence[Message]) -> tuple[tuple[str, str], ...]:
    return tuple((message["role"], message["content"]) for message in prompt)


def _group_heads(prompts: Sequence[Sequence[Message]], group_size: int) -> list[Sequence[Message]]:
    keys = [_key(p) for p in prompts]
    heads = range(0, len(keys), group_size)
    if len(keys) % group_size or any(len(set(keys[i : i + group_size])) != 1 for i in heads):
        raise UsageError(
            f"the {len(keys)} rows of this rank are not whole groups of {group_size} paths of one question: "
            "per_device_train_batch_size × steps_per_generation must be a multiple of rl.rollouts"
        )
    return [prompts[i] for i in heads]
