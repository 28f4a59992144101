"""RL samples from a functional tree search on the trainer's own engine (RFTT, section 3.3).

TRL calls a `rollout_func` with the prompts of a generation batch, each repeated `num_generations` times in a row. For
each question one tree is grown, and its finished paths, in the order in which they were finished, are the samples.
What the engine sampled is what is trained on: ids and log-probs come out of the tree, text is never encoded again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from rewards import grade_async
from rftt.errors import UsageError
from rftt.problems import Problem
from rftt.rl.lockstep import Lockstep
from search import Question, SearchConfig, Tree, search_many
from search.chain import ChainError, check, parse
from search.engines import Engine, EngineStats, Sampling
from search.functional import tag_ids
from search.functions import RFTT, FunctionSet
from search.mcts import derived_seed

Message = Mapping[str, str]


@dataclass(frozen=True)
class Path:
    """One sample.

    Args:
        prompt_ids, completion_ids: as the engine saw and sampled them.
        logprobs: of each completion id under the policy, full vocabulary, natural log.
        question_id: of its problem.
        status: how the path ended: answered, truncated or malformed.
        verdict: of the grader; ``"no_answer"`` where the path did not end in an answer.
        depth: number of steps.
        branch_positions: indices of completion ids that the search chose and the policy did not draw.
        refilled: a plain sample of the policy, in place of a path that an exhausted tree could not give.
    """

    prompt_ids: list[int]
    completion_ids: list[int]
    logprobs: list[float]
    question_id: str
    status: str
    verdict: str
    depth: int
    branch_positions: list[int]
    refilled: bool


@dataclass
class RolloutStats:
    """What one call did. `seconds` is wall time of the whole call, ``engine.seconds`` the part inside the engine."""

    trees: int = 0
    exhausted: int = 0
    refilled: int = 0
    seconds: float = 0.0
    engine: EngineStats = field(default_factory=EngineStats)


class FunctionalRollout:
    """Callable as TRL's ``rollout_func(prompts, trainer)``.

    Args:
        problems: training problems; a prompt is found again by its messages.
        search: how trees grow; `rollouts` and `seed` are set for each call.
        seed: of the run. The seed of a tree comes from it, the trainer's step and the question, so that a resumed run
            samples what the straight one would have.
        functions: the token set.
        max_model_len: longest prompt plus completion of the transformers engine; None for what the model allows.
        make_engine: makes the engine from the trainer; by default TRL's vLLM engine in colocate mode, or the trainer's
            model itself.

    Raises:
        UsageError: two problems ask the same question.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        search: SearchConfig,
        *,
        seed: int = 0,
        functions: FunctionSet = RFTT,
        max_model_len: int | None = None,
        make_engine: Callable[[Any], Engine] | None = None,
    ) -> None:
        self.problems = {_key(prompt_of(p)): p for p in problems}
        if len(self.problems) < len(problems):
            raise UsageError(f"{len(problems) - len(self.problems)} training questions occur twice; leave one of each")
        self.search = search
        self.seed = seed
        self.functions = functions
        self.max_model_len = max_model_len
        self.make_engine = make_engine
        self.stats = RolloutStats()
        self.trees: list[Tree] = []  # of the latest call, in the order of the prompts
        self._calls = (-1, 0)  # (trainer step, calls within it)

    def __call__(self, prompts: Sequence[Sequence[Message]], trainer: Any) -> dict[str, list[Any]]:
        """Args:
            prompts: conversations; each `num_generations` times in a row.
            trainer: a GRPO trainer.

        Returns:
            One entry a row under each key: the fields of `Path`.

        Raises:
            UsageError: a question's group is not whole on this rank, or its prompt leaves no room for a completion.
        """
        begun = time.perf_counter()
        training = trainer.model.training
        group_size = trainer.num_generations if training else trainer.num_generations_eval
        problems = [self.problems[_key(p)] for p in _group_heads(prompts, group_size)]
        config = replace(
            self.search, rollouts=group_size, live_trees=len(problems), seed=self._next_seed(trainer, training)
        )
        self.stats = RolloutStats(trees=len(problems))
        with self._engine(trainer, len(problems)) as engine:
            paths = asyncio.run(self._sample(problems, engine, config))
            self.stats.engine = engine.stats
        self.stats.seconds = time.perf_counter() - begun
        rows = [asdict(path) for path in paths]
        return {key: [row[key] for row in rows] for key in rows[0]}

    def _next_seed(self, trainer: Any, training: bool) -> int:
        step = trainer.state.global_step
        self._calls = (step, self._calls[1] + 1 if self._calls[0] == step else 0)
        return derived_seed(self.seed, "rl" if training else "rl-eval", *self._calls)

    @contextmanager
    def _engine(self, trainer: Any, trees: int) -> Iterator[Engine]:
        if self.make_engine is not None:
            yield self.make_engine(trainer)
        elif trainer.use_vllm:
            with _colocated(trainer) as engine:
                yield engine
        else:
            with _own_model(trainer, self.max_model_len) as engine:
                yield Lockstep(engine, trees)

    async def _sample(self, problems: Sequence[Problem], engine: Engine, config: SearchConfig) -> list[Path]:
        paths: dict[str, list[Path]] = {}
        trees: dict[str, Tree] = {}

        async def on_tree(tree: Tree) -> None:
            if not tree.prompt_ids or len(tree.prompt_ids) >= engine.max_model_len:
                raise UsageError(
                    f"question {tree.question_id}: its prompt of {len(tree.prompt_ids)} tokens leaves no room in "
                    f"{engine.max_model_len}; raise engine.max_model_len or leave the question out"
                )
            found = [_path(tree, leaf) for leaf in tree.leaves()]
            missing = config.rollouts - len(found)
            if missing:
                self.stats.exhausted += 1
                self.stats.refilled += missing
                found += await self._refill(tree, engine, config, missing)
            if isinstance(engine, Lockstep):
                engine.finished()
            trees[tree.question_id], paths[tree.question_id] = tree, found

        questions = [Question(p.id, p.question, p.answer) for p in problems]
        await search_many(questions, engine, config, on_tree, policy="functional", functions=self.functions)
        self.trees = [trees[p.id] for p in problems]
        return [path for p in problems for path in paths[p.id]]

    async def _refill(self, tree: Tree, engine: Engine, config: SearchConfig, missing: int) -> list[Path]:
        """Independent samples of the policy, all in one request: nothing is chosen by the search, nothing is a copy."""
        sampling = Sampling(
            config.max_depth * config.max_step_tokens,
            n=missing,
            temperature=config.temperature,
            top_p=config.top_p,
            seed=derived_seed(config.seed, tree.question_id, "refill"),
            logprobs=True,
        )
        openings = set(tag_ids(engine.tokenizer, [f.open for f in self.functions.functions]).values())
        paths = []
        for generation in await engine.generate(tree.prompt_ids, sampling):
            text = engine.tokenizer.decode(list(generation.ids), skip_special_tokens=True)
            status, verdict, depth = "truncated", "no_answer", sum(i in openings for i in generation.ids)
            if generation.stopped:
                try:
                    steps = parse(text, self.functions)
                    check(steps, self.functions)
                except ChainError:
                    status = "malformed"
                else:
                    status = "answered"
                    verdict = (await grade_async(tree.gold or "", steps[-1].text)).status
            paths.append(
                Path(
                    prompt_ids=tree.prompt_ids,
                    completion_ids=list(generation.ids),
                    logprobs=list(generation.logprobs),
                    question_id=tree.question_id,
                    status=status,
                    verdict=verdict,
                    depth=depth,
                    branch_positions=[],
                    refilled=True,
                )
            )
        return paths


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


def _path(tree: Tree, leaf: Any) -> Path:
    nodes = tree.path(leaf)
    starts, length = [], 0
    for node in nodes:
        starts.append(length)
        length += len(node.ids)
    return Path(
        prompt_ids=tree.prompt_ids,
        completion_ids=[i for node in nodes for i in node.ids],
        logprobs=[p for node in nodes for p in node.logprobs],
        question_id=tree.question_id,
        status=leaf.status,
        verdict=leaf.verdict or "no_answer",
        depth=len(nodes),
        branch_positions=starts,
        refilled=False,
    )


@contextmanager
def _colocated(trainer: Any) -> Iterator[Engine]:
    """TRL's vLLM engine, which has the current weights when a rollout function is called; awake while it is used."""
    from search.engines import VLLMEngine

    generation = trainer.vllm_generation
    if generation.enable_sleep_mode:
        if generation._llm_weights_sleeping:
            generation.sync_weights()
        generation.llm.wake_up(tags=["kv_cache"])
    engine = VLLMEngine(llm=generation.llm)
    engine.reset_prefix_cache()
    try:
        yield engine
    finally:
        engine.close()
        if generation.enable_sleep_mode:
            generation.llm.sleep(level=2)
            generation._llm_weights_sleeping = True


@contextmanager
def _own_model(trainer: Any, max_model_len: int | None) -> Iterator[Engine]:
    """The trainer's model: whole on this rank, in evaluation mode, without gradient checkpointing."""
    from transformers import GenerationConfig
    from trl.models.utils import unwrap_model_for_generation

    from search.engines import TransformersEngine

    with unwrap_model_for_generation(
        trainer.model_wrapped,
        trainer.accelerator,
        gather_deepspeed3_params=trainer.args.ds3_gather_for_generation,
        gradient_checkpointing_kwargs=trainer.args.gradient_checkpointing_kwargs,
    ) as model:
        training, published = model.training, model.generation_config
        model.eval()
        # Published settings such as Qwen's repetition penalty would be applied to what is sampled.
        model.generation_config = GenerationConfig(
            eos_token_id=trainer.eos_token_ids, pad_token_id=trainer.processing_class.pad_token_id
        )
        try:
            limit = min(max_model_len or model.config.max_position_embeddings, model.config.max_position_embeddings)
            yield TransformersEngine(model, tokenizer=trainer.processing_class, max_model_len=limit)
        finally:
            model.generation_config = published
            model.train(training)
