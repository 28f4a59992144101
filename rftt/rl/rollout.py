"""RL samples from a functional tree search on the trainer's own engine (RFTT, section 3.3).

TRL calls a `rollout_func` with the prompts of a generation batch, each repeated `num_generations` times in a row. For
each question one tree is grown, and its finished paths, in the order in which they were finished, are the samples; with
the sampler ``flat`` they are plain samples, as in GRPO. What the engine sampled is what is trained on: ids and log-probs
come out of the tree, text is never encoded again.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from itertools import chain
from pathlib import Path
from typing import Any

from rewards.outcome import outcome
from rftt.config.sections import RLSection
from rftt.data.problems import Problem
from rftt.errors import UsageError
from rftt.rl import branches
from rftt.rl.lockstep import Lockstep
from rftt.rl.own_engine import colocated, own_model
from rftt.rl.replay import SolvedPaths
from rftt.rl.sample import Sample, plain_path, tree_path
from rftt.rl.shaping import process_returns, start_potential
from search import Question, SearchConfig, Tree
from search.driver import grow_tree, make_policy
from search.engines import Engine, EngineStats, Sampling
from search.functional import tag_ids
from search.functions import RFTT, FunctionSet
from search.judging import Scorer
from search.mcts import Policy, derived_seed
from search.prompt import question_ids

Message = Mapping[str, str]


@dataclass
class RolloutStats:
    """What one call of the rollout did.

    Args:
        questions: asked, replacements included.
        replaced: questions whose place another one took, because all their paths agreed.
        exhausted: trees that had fewer distinct paths than wanted.
        seconds: of the whole call.
        engine: what the engine did meanwhile.
    """

    questions: int = 0
    replaced: int = 0
    exhausted: int = 0
    seconds: float = 0.0
    engine: EngineStats = field(default_factory=EngineStats)


class FunctionalRollout:
    """Callable as TRL's ``rollout_func(prompts, trainer)``.

    Args:
        problems: training problems; a prompt is found again by its messages.
        settings: how trees grow, and what their paths are worth.
        seed: of the run. The seed of a tree comes from it, the trainer's step and the question, so that a resumed run
            samples what the straight one would have.
        functions: the token set.
        max_model_len: longest prompt plus completion of the transformers engine; None for what the model allows.
        scorer: process reward model of the steps.
        make_engine: makes the engine from the trainer; by default TRL's vLLM engine in colocate mode, or the trainer's
            model itself.

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
        max_model_len: int | None = None,
        scorer: Scorer | None = None,
        make_engine: Callable[[Any], Engine] | None = None,
    ) -> None:
        self.problems = {_key(prompt_of(p)): p for p in problems}
        if len(self.problems) < len(problems):
            raise UsageError(f"{len(problems) - len(self.problems)} training questions occur twice; leave one of each")
        self.by_id = {p.id: p for p in problems}
        self.settings = settings
        self.seed = seed
        self.functions = functions
        self.max_model_len = max_model_len
        self.scorer = scorer
        self.make_engine = make_engine
        self.stats = RolloutStats()
        self.solved = SolvedPaths()
        self.trees: dict[str, Tree] = {}  # of the latest call, by question
        self._calls = (-1, 0)  # (trainer step, calls within it)

    def __call__(self, prompts: Sequence[Sequence[Message]], trainer: Any) -> dict[str, list[Any]]:
        """Args:
            prompts: conversations; each `num_generations` times in a row.
            trainer: a GRPO trainer.

        Returns:
            One entry a row under each key: the fields of `Sample`; the ``prompt`` that was asked, which a replacement
            changes; ``process_returns`` by step with a process reward model;
            TRL's ``env_mask``, 0 for tokens that are to stay out of the loss, where the settings may ask for it.

        Raises:
            UsageError: a question's group is not whole on this rank, or its prompt leaves no room for a completion.
        """
        begun = time.perf_counter()
        training = trainer.model.training
        group_size = trainer.num_generations if training else trainer.num_generations_eval
        problems = [self.problems[_key(p)] for p in _group_heads(prompts, group_size)]
        config = replace(
            self.settings.search_config(trainer.use_vllm), rollouts=group_size, seed=self._next_seed(trainer, training)
        )
        places = self._candidates(problems, config.seed, trainer.args.process_index if training else None)
        self.stats = RolloutStats()
        self.trees = {}
        with self._engine(trainer, len(places)) as engine:
            groups = asyncio.run(self._sample(places, engine, config))
            self.stats.engine = engine.stats
        if training and self.settings.replay:
            groups = [self.solved.exchange(group) for group in groups]
        paths = list(chain(*groups))
        columns = {f.name: [getattr(path, f.name) for path in paths] for f in fields(Sample)}
        columns["prompt"] = [prompt_of(self.by_id[path.question_id]) for path in paths]
        if self.scorer is not None:
            columns["process_returns"] = asyncio.run(self._process_returns(groups, self.scorer))
        if self.settings.truncated == "mask" or self.settings.branch_correction == "mask":
            columns["env_mask"] = [self._loss_mask(path) for path in paths]
        self.stats.seconds = time.perf_counter() - begun
        return columns

    def save(self, folder: Path, process: int) -> None:
        """Write what a resumed run needs of this process into a checkpoint."""
        if self.settings.replay:
            (folder / f"solved-{process}.json").write_text(json.dumps(self.solved.to_json()), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read what all processes wrote into a checkpoint: a question may be another's in the next epoch."""
        for path in sorted(folder.glob("solved-*.json")):
            self.solved.load(json.loads(path.read_text(encoding="utf-8")))

    def _next_seed(self, trainer: Any, training: bool) -> int:
        step = trainer.state.global_step
        self._calls = (step, self._calls[1] + 1 if self._calls[0] == step else 0)
        return derived_seed(self.seed, "rl" if training else "rl-eval", *self._calls)

    def _candidates(self, problems: Sequence[Problem], seed: int, process: int | None) -> list[list[Problem]]:
        """For each place of the batch its question and those that may replace it; no `process`, no replacements."""
        more = self.settings.dynamic_sampling if process is not None else 0
        asked = {p.id for p in problems}
        others = [p for p in self.problems.values() if p.id not in asked] if more else []
        random.Random(derived_seed(seed, "replacements", process)).shuffle(others)
        width = len(problems)
        return [[problem, *others[place : width * more : width]] for place, problem in enumerate(problems)]

    @contextmanager
    def _engine(self, trainer: Any, trees: int) -> Iterator[Engine]:
        if self.make_engine is not None:
            yield self.make_engine(trainer)
        elif trainer.use_vllm:
            with colocated(trainer) as engine:
                yield engine
        else:
            with own_model(trainer, self.max_model_len) as engine:
                yield Lockstep(engine, trees)

    async def _sample(
        self, places: Sequence[Sequence[Problem]], engine: Engine, config: SearchConfig
    ) -> list[list[Sample]]:
        """The paths of each place of the batch; places do not wait for each other."""
        policy = make_policy("functional", engine, config, self.functions)
        tags = tag_ids(engine.tokenizer, list(self.functions.tags))

        async def fill(candidates: Sequence[Problem]) -> list[Sample]:
            paths: list[Sample] = []
            for problem in candidates:
                self.stats.questions += 1
                self.stats.replaced += bool(paths)
                paths = await self._group(problem, policy, engine, config, tags)
                if len({outcome(path.verdict, self.settings.wrong_reward) for path in paths}) > 1:
                    break
            if isinstance(engine, Lockstep):
                engine.finished()
            return paths

        try:
            async with asyncio.TaskGroup() as tasks:
                filling = [tasks.create_task(fill(candidates)) for candidates in places]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors  # the first one cancelled the others
        return [task.result() for task in filling]

    async def _group(
        self, problem: Problem, policy: Policy, engine: Engine, config: SearchConfig, tags: Mapping[str, int]
    ) -> list[Sample]:
        """The paths of one question: distinct ones of its tree first, plain samples for those that are missing."""
        prompt_ids = question_ids(engine.tokenizer, problem.question)
        if not prompt_ids or len(prompt_ids) >= engine.max_model_len:
            raise UsageError(
                f"question {problem.id}: its prompt of {len(prompt_ids)} tokens leaves no room in "
                f"{engine.max_model_len}; raise engine.max_model_len or leave the question out"
            )
        paths: list[Sample] = []
        if self.settings.sampler != "flat":
            tree = await grow_tree(Question(problem.id, problem.question, problem.answer), policy, config)
            self.trees[problem.id] = tree
            importance = self.settings.branch_correction == "importance"
            weights = branches.weights(tree, self.settings.branch_cap) if importance else {}
            paths = [tree_path(tree, leaf, weights.get(leaf.id, 1.0)) for leaf in tree.leaves()]
            self.stats.exhausted += len(paths) < config.rollouts
        if len(paths) < config.rollouts:
            # Independent samples of the policy, all in one request: nothing is chosen by the search, nothing is a copy.
            sampling = Sampling(
                config.max_depth * config.max_step_tokens,
                n=config.rollouts - len(paths),
                temperature=config.temperature,
                top_p=config.top_p,
                seed=derived_seed(config.seed, problem.id, "plain"),
                logprobs=True,
            )
            for generation in await engine.generate(prompt_ids, sampling):
                paths.append(
                    await plain_path(
                        prompt_ids, generation, problem.id, problem.answer, engine.tokenizer, tags, self.functions
                    )
                )
        return paths

    async def _process_returns(self, groups: Sequence[Sequence[Sample]], scorer: Scorer) -> list[list[float]]:
        """Process rewards from each step on, for each path; the model is asked for all paths of the batch at once."""
        paths = list(chain(*groups))
        asked = (scorer(self.by_id[p.question_id].question, p.texts) for p in paths if p.texts)
        found = iter(await asyncio.gather(*asked))
        by_path = [next(found) if p.texts else [] for p in paths]
        returns: list[list[float]] = []
        for group in groups:
            own = by_path[len(returns) : len(returns) + len(group)]
            start = start_potential(own)
            returns += [process_returns(path, start, self.settings.process_weight) for path in own]
        return returns

    def _loss_mask(self, path: Sample) -> list[int]:
        """0 for the completion ids that stay out of the loss."""
        if path.status == "truncated" and self.settings.truncated == "mask":
            return [0] * len(path.completion_ids)
        mask = [1] * len(path.completion_ids)
        if self.settings.branch_correction == "mask" and path.origin == "tree":
            for position in path.starts:
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
