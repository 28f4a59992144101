"""The sections of a run's settings: model, data, engine, prm, sft, shad, rl and eval.

Every section is a dataclass that is validated when it is built; `config` reads them from YAML.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from rftt.rl.estimators import ESTIMATORS
from rftt.weighting.options import KeyStage, WeightingConfig
from rftt.weighting.rft import RFT
from search.config import INFERENCE, SearchConfig
from search.engines.starting import ENGINES
from search.named import check_name
from search.strategies import STRATEGIES

TokenRows = Literal["apart", "mean"]  # how the rows of new tokens begin

# Where the search of a phase differs from the defaults of `SearchConfig`, which are those of phase 1.
RL_SEARCH: dict[str, Any] = {"max_depth": 18, "temperature": 1.0, "step_temperature": 1.0, "top_p": 1.0}
EVAL_SEARCH: dict[str, Any] = {"max_depth": 18, **INFERENCE}


@dataclass(frozen=True)
class ModelConfig:
    """Args:
    path: model folder or hub name of the un-tuned chat model; ``toy`` is the model that ships with the package.
    dtype: dtype of training and engines.
    pad_token: entry of the vocabulary to pad with, for models that name none or pad with their end-of-sequence token.
    token_rows: how the new rows begin: ``apart`` (as far from each other as words are) or ``mean`` of their words.
    token_noise: noise on the new rows, as a share of the spread of the rows of their words; more of it where the rows of
        words say little, as in very small models.
    functions: YAML file with the functional tokens, their prompts and transitions (`search.function_files`), or
        ``module:name`` of a `search.functions.FunctionSet`; None for those that lie beside the model's tokenizer, else for
        the paper's.
    chat_template: file of a Jinja chat template, for models that have none (base models) or another than is wanted.
    system: text of the system turn with which every question is asked; None leaves it to the chat template.
    chat_template_kwargs: variables of the chat template, e.g. ``{enable_thinking: false}`` for Qwen3.
    trust_remote_code: run code that comes with the model, in every phase and on every engine. Such code can do whatever you
        can; without this a model that needs it is refused.
    """

    path: str = "toy"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    pad_token: str | None = None
    token_rows: TokenRows = "apart"
    token_noise: float = 0.05
    functions: str | None = None
    chat_template: str | None = None
    system: str | None = None
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        taken = ("messages", "tools", "documents", "add_generation_prompt", "bos_token", "eos_token")
        for name in self.chat_template_kwargs:
            if not str(name).isidentifier() or name in taken:
                raise ValueError(
                    f"chat_template_kwargs: {name!r} is not allowed, expected variables of the chat template other than "
                    f"{', '.join(taken)}"
                )


@dataclass(frozen=True)
class DataConfig:
    """Args:
    train: file or hub name of the training questions; ``toy`` makes them.
    eval: file, hub name, or name in the table of benchmarks, of the held-out questions.
    columns: columns of `train`, ours → theirs, e.g. ``{question: problem}``, or a path into nested ones,
        ``{answer: reward_model.ground_truth}``; known layouts (rftt/data/layouts.yaml) need none.
    eval_columns: the same for `eval`.
    train_split, eval_split: split of a hub data set; of ``toy``: train, validation, test.
    train_name, eval_name: configuration of a hub data set, e.g. ``main`` for GSM8K.
    train_limit, eval_limit: use only so many questions, drawn with the seed.
    overlap: ``refuse`` stops on training questions that overlap what is evaluated on, ``drop`` leaves them out.
    unusable: ``drop`` leaves out rows whose answer nothing can match (none, ``proof``, prose, an object), counted by reason,
        and refuses a file of which they are half; ``stop`` refuses a file with any.
    root: folder with files of published benchmarks (gsm8k_test.jsonl, …), which are read from the hub otherwise.
    table: YAML file with further benchmarks, in the layout of ``rftt/data/benchmarks.yaml``.
    """

    train: str = "toy"
    eval: str = "toy"
    columns: dict[str, Any] = field(default_factory=dict)
    eval_columns: dict[str, Any] = field(default_factory=dict)
    train_split: str = "train"
    eval_split: str = "test"
    train_name: str | None = None
    eval_name: str | None = None
    train_limit: int | None = None
    eval_limit: int | None = None
    overlap: Literal["refuse", "drop"] = "refuse"
    unusable: Literal["drop", "stop"] = "drop"
    root: str = ""
    table: str | None = None

    def __post_init__(self) -> None:
        for name in ("train_limit", "eval_limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: {value} is not allowed, expected 1 or more")


@dataclass(frozen=True)
class RewardSection:
    """What answers are worth in the search with gold, in RL and in evaluation, where the grader of mathematics is not meant.

    Args:
        function: ``module:function`` or ``file.py:function`` of ``(gold, answer)`` or ``(row, answer)``, which returns a
            score in [0, 1], a truth value or a verdict (`search.grading.RewardFunction`); None is the grader.
        threshold: least score that makes an answer correct.
    """

    function: str | None = None
    threshold: float = 1.0

    def __post_init__(self) -> None:
        if self.function is not None and not all(self.function.partition(":")[::2]):
            raise ValueError(
                f"function: {self.function!r} is not allowed, expected module:function or file.py:function"
            )
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold: {self.threshold} is not allowed, expected 0 < threshold ≤ 1")


@dataclass(frozen=True)
class EngineConfig:
    """Args:
    name: ``vllm``, ``transformers``, ``server`` for vLLM servers that run already, e.g. by ``launch/servers.sh``, or
        ``module:function`` of an engine of one's own (`search.engines.starting`).
    servers: URLs of the servers, for ``server``.
    max_model_len: longest prompt plus continuation.
    options: passed to ``vllm.LLM``, ``AutoModelForCausalLM.from_pretrained`` or ``ServerEngine`` as they are.
    """

    name: str = "vllm"
    servers: tuple[str, ...] = ()
    max_model_len: int = 4096
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.name, ENGINES, "engine", "name")
        if self.name == "server" and not self.servers:
            raise ValueError("servers: () is not allowed with name: server, expected the URLs of vLLM servers")
        if self.servers and self.name in ("vllm", "transformers"):
            raise ValueError(f"servers: {self.servers} is not allowed with name: {self.name}, expected name: server")


@dataclass(frozen=True)
class PRMConfig:
    """The process reward model (RFTT, sections 3.2 to 3.4); without `path` there is none.

    Args:
        path: model folder or hub name; of a model behind servers, what they serve, which is where the tokenizer is.
        format: how the model reads a solution; ``token_classification`` is of TRL's PRMTrainer and `rftt toy prm`.
        servers: URLs of vLLM servers that run already; none loads the model into this process.
        model: name under which the servers serve it; by default `path`.
        batch_size: paths of one forward pass, or in flight at the servers.
        max_length: longest path in tokens; by default what the model allows.
        dtype: dtype of the weights in this process.
        device: ``auto`` is the GPU if there is one.
        trust_remote_code: run code that comes with the checkpoint. Qwen2.5-Math-PRM does not need it.
        questions: number of questions whose scores are kept.
        format_options: options of the format: ``separator``; ``mark``, ``good``, ``bad``; ``separator``, ``system``.
        options: passed to ``from_pretrained``, or to ``rewards.prm.served.ServerPRM`` (timeout, attempts, backoff,
            api_key).
    """

    path: str = ""
    format: Literal["token_classification", "math_shepherd", "qwen"] = "token_classification"
    servers: tuple[str, ...] = ()
    model: str | None = None
    batch_size: int = 16
    max_length: int | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str = "auto"
    trust_remote_code: bool = False
    questions: int = 4096
    format_options: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.servers and not self.path:
            raise ValueError("path: '' is not allowed with servers, expected the model that they serve")
        for name in ("batch_size", "max_length", "questions"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: {value} is not allowed, expected 1 or more")


@dataclass(frozen=True)
class LoRAConfig:
    """Adapters in the place of full fine-tuning; the rows of the functional tokens are always trained along.

    Args:
        rank: rank of the adapters; 0 tunes all weights.
        alpha: the adapters' part is scaled by alpha ÷ rank.
        dropout: dropout on the adapters' input, in SFT only.
        target_modules: names of the linear layers that get one; ``all-linear`` for all but the head.
        rslora: scale by alpha ÷ √rank instead.
        token_rate: learning rate of the rows of the functional tokens, as a multiple of the adapters'. These rows have
            far to go, while a model that knows how to reason should be moved as little as the new format needs.
    """

    rank: int = 0
    alpha: int = 32
    dropout: float = 0.0
    target_modules: tuple[str, ...] = ("all-linear",)
    rslora: bool = False
    token_rate: float = 1.0

    def __post_init__(self) -> None:
        if self.token_rate <= 0:
            raise ValueError(f"token_rate: {self.token_rate} is not allowed, expected a number above 0")
        if self.rank < 0 or self.alpha < 1:
            raise ValueError(f"rank and alpha: {self.rank} and {self.alpha} are not allowed, expected ≥ 0 and ≥ 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: {self.dropout} is not allowed, expected 0 ≤ dropout < 1")
        if ends := {"lm_head", "embed_tokens"} & set(self.target_modules):
            raise ValueError(
                f"target_modules: {', '.join(sorted(ends))} is not allowed; only the rows of the functional tokens are "
                "trained there, without an adapter"
            )


@dataclass(frozen=True)
class SFTSection:
    """Args:
    batch_size: chains of one optimiser step, over all processes.
    lora: adapters instead of full fine-tuning.
    weighting: how much each token counts.
    key_stage: a second stage on the answer part alone.
    prefix_sharing: whether beginnings that chains of a question share are computed once: ``auto`` where this is exact
        (`rftt.model.prefix_sharing`), true demands it. Chains of one question follow each other then.
    not_finite_steps: so many steps in a row whose loss or gradient is not finite end the training, also that of `shad`.
    trainer: options of TRL's ``SFTConfig``.
    """

    batch_size: int = 128
    prefix_sharing: Literal["auto", True, False] = False
    lora: LoRAConfig = field(default_factory=LoRAConfig)
    weighting: WeightingConfig = field(default_factory=WeightingConfig)
    key_stage: KeyStage = field(default_factory=KeyStage)
    not_finite_steps: int = 3
    trainer: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("batch_size", "not_finite_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is not allowed, expected 1 or more")


@dataclass(frozen=True)
class ShadSection:
    """Telling reasoning tokens from boilerplate (SHAD, arXiv 2412.14780).

    Args:
        share: share of the samples whose outputs are shuffled and learnt; the paper takes 0.01.
        least: how many samples at least, as far as there are so many.
        unit: what is shuffled: ``turn``, single turns of the assistant, or ``sample``, all turns of a sample together.
        threshold: tokens that the shuffled model finds harder by more nats than this are reasoning.
        batch_size: samples of one optimiser step, over all processes.
        score_tokens: tokens of a batch that is scored, padding included.
        lora: adapters instead of full fine-tuning for the shuffled model.
        trainer: options of TRL's ``SFTConfig`` for the shuffled model.
    """

    share: float = 0.01
    least: int = 64
    unit: Literal["turn", "sample"] = "turn"
    threshold: float = 0.0
    batch_size: int = 16
    score_tokens: int = 8192
    lora: LoRAConfig = field(default_factory=LoRAConfig)
    trainer: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share: {self.share} is not allowed, expected 0 < share ≤ 1")
        for name, least in (("least", 2), ("batch_size", 1), ("score_tokens", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: {getattr(self, name)} is not allowed, expected {least} or more")


@dataclass(frozen=True)
class AuxiliarySection:
    """λ·L_RFT on the tokens of right paths, beside the loss of RL (SHAD + RFT, arXiv 2412.14780).

    Args:
        weight: λ at the first step; 0 leaves it out.
        schedule: ``constant``, or ``linear`` for a λ that falls to 0 at the last step.
        roles: what tells reasoning from boilerplate: ``table`` of what `rftt shad` found in the chains of the search,
            ``models`` for the two models of SHAD themselves, ``regex``, or the path of a ``roles.jsonl`` for a table.
        tau: temperature of the adaptive weights.
        detach: whether these count as constants in the gradient.
        fixed: (ω_b, ω_r) that add to 1, in the place of adaptive weights.
    """

    weight: float = 0.0
    schedule: Literal["constant", "linear"] = "constant"
    roles: str = "table"
    tau: float = 3.0
    detach: bool = True
    fixed: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight: {self.weight} is not allowed, expected 0 or more")
        RFT(self.tau, self.detach, self.fixed)

    @property
    def needs_shad(self) -> bool:
        """Whether `rftt shad` has to run before."""
        return bool(self.weight) and self.roles in ("table", "models")


@dataclass(frozen=True)
class RLSection:
    """Online RL over functional tokens (RFTT, section 3.3).

    Args:
        questions_per_step: questions of one optimiser step.
        search: how a question's paths are sampled; every setting of a search, also as ``rl.max_depth`` and so on.
            ``rl.rollouts``, the paths per question, are TRL's ``num_generations``. Temperatures and top_p are 1, since
            samples come from the policy whose log-probs are trained. The transformers engine, which fills its batches in
            lock-step, takes ``parallel_rollouts`` one by one.
        sampler: ``"uct"`` or ``"puct"`` for a functional tree search; ``"priority"`` for distinct paths of the functional
            tree without replacement, with weights that are unbiased for any number of rollouts (`search.priority`);
            ``"flat"`` for plain samples as in GRPO; ``"walk"`` for the same distribution at fewer tokens: what earlier
            samples of the question share is not generated again (`search.shared_prefix`).
        fill: what takes the place of paths that a tree lacks: samples of the policy, drawn by ``"walk"``, which generates
            nothing that the tree knows, or ``"plain"``.
        wrong_reward: reward of a path with an answer that is not correct.
        format_reward: further reward of a path that is a whole chain.
        truncated: paths cut off by depth or length earn nothing: ``"punish"`` learns from that, ``"mask"`` leaves them out
            of the loss.
        process_weight: weight of the process rewards, where ``prm`` names a process reward model.
        process_credit: ``"potential"`` sums differences of scores to the end of the path, a baseline that changes nothing in
            expectation; ``"step"`` credits each step with its own difference, which does change what is learnt; ``"paper"``
            sums the scores themselves, which pays for length (`rftt.rl.shaping`).
        advantage: estimator of the per-token advantages: ``reinforce++``, ``grpo``, ``dr_grpo``, ``rloo``, ``tree``,
            ``treerl``, which is ``tree`` with TreeRL's weight by leaves, or ``module:function`` of one's own
            (`rftt.rl.estimators`).
        branch_correction: functional tokens that a tree search chose are not samples of the policy. ``"none"`` takes them
            as such (the paper); ``"importance"`` weighs a path by how much more often the policy would take it among what
            was tried, which is unbiased only for trees that tried every allowed function of every node; ``"strata"`` gives
            half of the group to the tree, whose paths count with their probability, texts included, and half to samples of
            the policy that are none of these paths, which is unbiased for every tree; ``"mask"`` leaves the chosen tokens
            out of the loss, which is biased still (`rftt.rl.branches`).
        branch_cap: largest weight of ``"importance"``.
        dynamic_sampling: how many other questions may take the place of one whose paths all earn the same.
        question_order: ``"random"``, or ``"easy_first"`` by the share of right paths in the search phase.
        replay: a question of which no path is right this time gets the last right path of an earlier visit.
        rollouts_every: a group of paths with their advantages is kept for the report in every n-th step; 0 keeps none.
        max_logprob_difference: mean difference between engine and trainer, in nats a token, above which there is a warning.
        prefix_sharing: whether tokens that rollouts share are computed once: ``auto`` where this is exact
            (`rftt.model.prefix_sharing`), true demands it, false pads every rollout into a row of its own.
        auxiliary: a further loss on the tokens of right paths.
        lora: adapters instead of full fine-tuning.
        not_finite_steps: so many steps in a row whose loss or gradient is not finite end the training.
        trainer: options of TRL's ``GRPOConfig``, e.g. learning_rate, beta, max_steps, use_vllm. ``max_completion_length``
            cuts off what any sampler writes.
    """

    questions_per_step: int = 16
    search: SearchConfig = field(default_factory=lambda: SearchConfig(**RL_SEARCH))
    sampler: Literal["uct", "puct", "priority", "flat", "walk"] = "uct"
    fill: Literal["plain", "walk"] = "walk"
    wrong_reward: float = 0.1
    format_reward: float = 0.0
    truncated: Literal["punish", "mask"] = "punish"
    process_weight: float = 1.0
    process_credit: Literal["potential", "step", "paper"] = "potential"
    advantage: str = "reinforce++"
    branch_correction: Literal["none", "importance", "strata", "mask"] = "none"
    branch_cap: float = 4.0
    dynamic_sampling: int = 0
    question_order: Literal["random", "easy_first"] = "random"
    replay: bool = False
    rollouts_every: int = 10
    max_logprob_difference: float = 0.05
    prefix_sharing: Literal["auto", True, False] = "auto"
    auxiliary: AuxiliarySection = field(default_factory=AuxiliarySection)
    lora: LoRAConfig = field(default_factory=LoRAConfig)
    not_finite_steps: int = 3
    trainer: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.wrong_reward < 1:
            raise ValueError(f"wrong_reward: {self.wrong_reward} is not allowed, expected 0 ≤ wrong_reward < 1")
        if not 0 <= self.format_reward < 1 - self.wrong_reward:
            raise ValueError(
                f"format_reward: {self.format_reward} is not allowed, expected 0 ≤ format_reward < 1 − wrong_reward, so "
                "that no wrong answer earns what a right one does"
            )
        check_name(self.advantage, ESTIMATORS, "estimator", "advantage")
        if self.rollouts < 2:
            raise ValueError(f"rollouts: {self.rollouts} is not allowed, expected 2 or more")
        for name, given in (("temperature", self.search.temperature), ("top_p", self.search.top_p),
                            ("step_temperature", self.search.temperature_of_steps)):  # fmt: skip
            if given != 1.0:
                raise ValueError(
                    f"{name}: {given} is not allowed, expected 1: samples come from the policy whose log-probs are trained"
                )
        longest = self.longest_completion
        if longest is not None and (type(longest) is not int or longest < 1):
            raise ValueError(f"max_completion_length: {longest!r} is not allowed, expected a whole number from 1 up")
        for name, least in (("questions_per_step", 1), ("process_weight", 0), ("branch_cap", 1),
                            ("dynamic_sampling", 0), ("rollouts_every", 0), ("max_logprob_difference", 0),
                            ("not_finite_steps", 1)):  # fmt: skip
            if getattr(self, name) < least:
                raise ValueError(f"{name}: {getattr(self, name)} is not allowed, expected {least} or more")
        self._check_correction()
        if self.lora.dropout:
            raise ValueError(
                f"lora.dropout: {self.lora.dropout} is not allowed, expected 0: the policy that is sampled is trained"
            )

    @property
    def rollouts(self) -> int:
        """Paths per question."""
        return self.search.rollouts

    @property
    def longest_completion(self) -> int | None:
        """Tokens of the longest completion, TRL's ``max_completion_length``; None leaves it to the context."""
        return self.trainer.get("max_completion_length")

    def _check_correction(self) -> None:
        """Samplers and corrections that go together."""
        if self.sampler == "priority":
            for owner, name, needed in (
                (self, "branch_correction", "none"), (self.search, "min_prior", 0.0), (self.search, "branch_entropy", 0.0),
                (self.search, "budget_tokens", None),
            ):  # fmt: skip
                if getattr(owner, name) != needed:
                    raise ValueError(
                        f"{name}: {getattr(owner, name)} is not allowed with sampler: priority, expected {needed}: its "
                        "weights are unbiased for a fixed number of paths, all allowed functions and the policy's own texts"
                    )
        if self.branch_correction == "strata" and self.sampler not in ("uct", "puct"):
            raise ValueError(
                f"branch_correction: strata is not allowed with sampler: {self.sampler}, expected sampler: uct or puct"
            )

    def search_config(self, parallel: bool) -> SearchConfig:
        """The search of this phase with the selection rule of its sampler.

        Args:
            parallel: whether several rollouts of one tree may be in flight.
        """
        selection: Any = self.sampler if self.sampler == "puct" else self.search.selection
        in_flight = self.search.parallel_rollouts if parallel else 1
        return replace(self.search, selection=selection, parallel_rollouts=in_flight)


@dataclass(frozen=True)
class EvalConfig:
    """Args:
    models: models that are measured: base, sft, rl.
    processes: how many of them at once, each by a process of its own; they share cores and GPU memory.
    search_limit: measure searches and votes on only the first so many questions.
    search: how questions are searched and chains sampled; every setting of a search, also as ``eval.max_depth`` and so on. A
        temperature and a top_p of 1 measure the policy itself.
    rollouts: budgets of the search; one tree serves all of them.
    samples: independent chains per question for pass@1.
    guide: what values the paths of the search: ``agreement`` among the answers, or the process reward model.
    benchmarks: benchmarks measured beside `data.eval`: names of the table (gsm8k, math500, aime24, …), files, or
        ``module:function`` of one's own (`rftt.data.benchmarks`).
    benchmark_limit: largest number of questions of each of them, drawn with the seed.
    strategy: the search that is measured as ``search@k``: best_first or mcts.
    strategies: strategies measured beside samples and search: majority, best_of_n, beam, dvts, mcts, best_first, or
        ``module:function`` of one's own (`search.strategies`).
    budgets: budgets of these strategies, in chains.
    token_budgets: budgets of majority, best_of_n, mcts and best_first in generated tokens: what the largest of `budgets` had
        answered by then.
    base_instruction: appended to the questions that the base model answers in whole chains; it was never tuned to box.
    """

    models: tuple[str, ...] = ("base", "sft", "rl")
    processes: int = 1
    search_limit: int | None = None
    rollouts: tuple[int, ...] = (1, 4, 16)
    samples: int = 4
    search: SearchConfig = field(default_factory=lambda: SearchConfig(**EVAL_SEARCH))
    guide: Literal["agreement", "prm"] = "agreement"
    benchmarks: tuple[str, ...] = ()
    benchmark_limit: int | None = None
    strategy: Literal["best_first", "mcts"] = "best_first"
    strategies: tuple[str, ...] = ()
    budgets: tuple[int, ...] = (4, 16)
    token_budgets: tuple[int, ...] = ()
    base_instruction: str = ""

    def __post_init__(self) -> None:
        for name in self.strategies:
            if name == "greedy":
                raise ValueError("strategies: greedy is not allowed; greedy is always measured")
            check_name(name, STRATEGIES, "strategy", "strategies")
        for name in ("budgets", "token_budgets"):
            values = getattr(self, name)
            if list(values) != sorted(set(values)) or (values and values[0] < 1) or (name == "budgets" and not values):
                raise ValueError(f"{name}: {values} is not allowed, expected growing numbers from 1 up")
        if {"beam", "dvts"} & set(self.strategies) and (odd := [b for b in self.budgets if b % self.search.beam_width]):
            width = self.search.beam_width
            raise ValueError(f"budgets: {odd[0]} is not allowed with beams, expected multiples of beam_width {width}")
        unknown = sorted(set(self.models) - {"base", "sft", "rl"})
        if unknown:
            raise ValueError(f"models: {', '.join(unknown)} is not allowed, expected base, sft, rl")
        if list(self.rollouts) != sorted(set(self.rollouts)) or not self.rollouts or self.rollouts[0] < 1:
            raise ValueError(f"rollouts: {self.rollouts} is not allowed, expected growing numbers from 1 up")
        for name in ("samples", "processes", "benchmark_limit", "search_limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: {value} is not allowed, expected 1 or more")

    def search_config(self, *, seed: int, rollouts: int | None = None) -> SearchConfig:
        """The search that is measured.

        Args:
            seed: seed of its random choices.
            rollouts: budget; the largest of `rollouts` by default.
        """
        return replace(self.search, rollouts=self.rollouts[-1] if rollouts is None else rollouts, seed=seed)
