"""The settings of a run: one YAML with the sections model, data, engine, search, sft, rl and eval.

Every section is a dataclass that is validated when it is built. An unknown key is an error that names the nearest key.
Under `sft` and `rl`, a key that is not ours but TRL's (`rl.learning_rate=1e-6`) goes to `sft.trainer` or `rl.trainer`,
which are passed to TRL's `SFTConfig` and `GRPOConfig` as they are.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import typing
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import yaml

from rftt.errors import UsageError
from search.config import SearchConfig


@dataclass(frozen=True)
class ModelConfig:
    """Args:
    path: model folder or hub name of the un-tuned chat model; ``toy`` is the model that ships with the package.
    dtype: of training and engines.
    pad_token: entry of the vocabulary to pad with, for models that name none or pad with their end-of-sequence token.
    token_noise: noise on the new rows, as a share of the spread of the rows they are the mean of; more of it where the
        rows of words say little, as in very small models.
    """

    path: str = "toy"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    pad_token: str | None = None
    token_noise: float = 0.05


@dataclass(frozen=True)
class DataConfig:
    """Args:
    train: file or hub name of the training questions; ``toy`` makes them.
    eval: file or hub name of the held-out questions.
    columns: of `train`, ours → theirs, e.g. ``{question: problem}``; known layouts need none.
    eval_columns: the same for `eval`.
    train_split, eval_split: split of a hub data set; of ``toy``: train, validation, test.
    train_name, eval_name: configuration of a hub data set, e.g. ``main`` for GSM8K.
    train_limit, eval_limit: use only so many questions, drawn with the seed.
    overlap: ``refuse`` stops on training questions that overlap the evaluation set, ``drop`` leaves them out.
    """

    train: str = "toy"
    eval: str = "toy"
    columns: dict[str, str] = field(default_factory=dict)
    eval_columns: dict[str, str] = field(default_factory=dict)
    train_split: str = "train"
    eval_split: str = "test"
    train_name: str | None = None
    eval_name: str | None = None
    train_limit: int | None = None
    eval_limit: int | None = None
    overlap: Literal["refuse", "drop"] = "refuse"


@dataclass(frozen=True)
class EngineConfig:
    """Args:
    name: ``vllm``, ``transformers``, or ``server``: vLLM servers that run already, e.g. by ``launch/servers.sh``.
    servers: URLs of the servers, for ``server``.
    max_model_len: longest prompt plus continuation.
    options: passed to ``vllm.LLM``, ``AutoModelForCausalLM.from_pretrained`` or ``ServerEngine`` as they are.
    """

    name: Literal["vllm", "transformers", "server"] = "vllm"
    servers: tuple[str, ...] = ()
    max_model_len: int = 4096
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name == "server" and not self.servers:
            raise ValueError("servers: () is not allowed with name: server, expected the URLs of vLLM servers")
        if self.servers and self.name != "server":
            raise ValueError(f"servers: {self.servers} is not allowed with name: {self.name}, expected name: server")


@dataclass(frozen=True)
class SFTSection:
    """Args:
    batch_size: chains of one optimiser step, over all processes.
    trainer: options of TRL's ``SFTConfig``.
    """

    batch_size: int = 128
    trainer: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RLSection:
    """Online RL over functional tokens (RFTT, section 3.3).

    Args:
        questions_per_step: questions of one optimiser step.
        rollouts: paths per question; TRL's ``num_generations``.
        max_depth: longest path in steps.
        exploration: c of the UCT formula.
        max_step_tokens: longest step.
        min_prior: allowed functions less probable than this are not explored.
        parallel_rollouts: rollouts of one tree in flight at once on vLLM, kept apart by virtual loss; 1 is the paper's
            search. The transformers engine, which fills its batches in lock-step, takes them one by one.
        wrong_reward: reward of a path with an answer that is not correct.
        advantage: estimator of the per-token advantages.
        trainer: options of TRL's ``GRPOConfig``, e.g. learning_rate, beta, max_steps, use_vllm.
    """

    questions_per_step: int = 16
    rollouts: int = 16
    max_depth: int = 18
    exploration: float = 2.0
    max_step_tokens: int = 512
    min_prior: float = 0.0
    parallel_rollouts: int = 1
    wrong_reward: float = 0.1
    advantage: Literal["reinforce++", "grpo", "rloo"] = "reinforce++"
    trainer: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.wrong_reward < 1:
            raise ValueError(f"wrong_reward: {self.wrong_reward} is not allowed, expected 0 ≤ wrong_reward < 1")
        if self.rollouts < 2:
            raise ValueError(f"rollouts: {self.rollouts} is not allowed, expected 2 or more")


@dataclass(frozen=True)
class EvalConfig:
    """Args:
    models: which models are measured: base, sft, rl.
    processes: how many of them at once, each by a process of its own; they share cores and GPU memory.
    search_limit: measure searches and votes on only the first so many questions.
    rollouts: budgets of the search; one tree serves all of them.
    samples: independent chains per question for pass@1.
    temperature, top_p: of samples and search; 1 and 1 measure the policy itself.
    max_tokens: longest chain.
    max_depth, max_step_tokens, exploration, min_prior: of the search.
    """

    models: tuple[str, ...] = ("base", "sft", "rl")
    processes: int = 1
    search_limit: int | None = None
    rollouts: tuple[int, ...] = (1, 4, 16)
    samples: int = 4
    temperature: float = 0.7
    top_p: float = 0.95
    max_tokens: int = 2048
    max_depth: int = 18
    max_step_tokens: int = 512
    exploration: float = 2.0
    min_prior: float = 0.0

    def __post_init__(self) -> None:
        unknown = set(self.models) - {"base", "sft", "rl"}
        if unknown:
            raise ValueError(f"models: {', '.join(sorted(unknown))} is not allowed, expected base, sft, rl")
        if list(self.rollouts) != sorted(set(self.rollouts)) or not self.rollouts or self.rollouts[0] < 1:
            raise ValueError(f"rollouts: {self.rollouts} is not allowed, expected growing numbers from 1 up")
        for name in ("samples", "processes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is not allowed, expected 1 or more")


@dataclass(frozen=True)
class Config:
    """A whole run.

    Args:
        run: the run folder.
        seed: of every random choice.
    """

    run: str = "runs/default"
    seed: int = 0
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    sft: SFTSection = field(default_factory=SFTSection)
    rl: RLSection = field(default_factory=RLSection)
    eval: EvalConfig = field(default_factory=EvalConfig)

    @property
    def folder(self) -> Path:
        return Path(self.run)

    def to_dict(self) -> dict[str, Any]:
        return _plain(dataclasses.asdict(self))


def load_config(path: str | Path, overrides: typing.Sequence[str] = ()) -> Config:
    """Read a YAML file and apply ``section.key=value`` overrides.

    Args:
        path: the YAML file.
        overrides: as on the command line; values are YAML.

    Raises:
        UsageError: one line with what is wrong, where, and the remedy.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        values = yaml.safe_load(text) or {}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); give the path of a YAML config") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UsageError(f"{where}: not valid YAML ({getattr(error, 'problem', error)})") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path}: expected a mapping of sections, found {type(values).__name__}")
    return override(values, overrides, str(path))


def override(values: dict[str, Any], overrides: typing.Iterable[str], where: str) -> Config:
    """Apply ``section.key=value`` overrides to `values`, which are changed, and build the config.

    Raises:
        UsageError: as `load_config`.
    """
    for text in overrides:
        _apply(values, text)
    return from_dict(values, where)


def from_dict(values: dict[str, Any], where: str = "config") -> Config:
    """Build and validate a config.

    Raises:
        UsageError: an unknown key or a value of the wrong type or range.
    """
    values = dict(values)
    if "seed" in values and isinstance(values.get("search", {}), dict):
        values["search"] = {"seed": values["seed"]} | values.get("search", {})
    for section, trl in (("sft", "sft"), ("rl", "grpo")):
        if isinstance(values.get(section), dict):
            values[section] = _route_to_trainer(values[section], section, trl, where)
    return _build(Config, values, where, "")


def _apply(values: dict[str, Any], override: str) -> None:
    name, found, text = override.partition("=")
    if not found or not name.strip():
        raise UsageError(f"override {override!r}: expected section.key=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"override {override!r}: the value is not valid YAML") from error
    *sections, key = name.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise UsageError(f"override {override!r}: {section} is not a section")
    values[key] = value


def _route_to_trainer(section: dict[str, Any], name: str, trl: str, where: str) -> dict[str, Any]:
    """Move TRL's options into `trainer` and check all of them by name, so that a slip shows before hours of work."""
    ours = {f.name for f in dataclasses.fields(SFTSection if name == "sft" else RLSection)}
    known = trainer_options(trl)
    trainer = dict(section.get("trainer") or {})
    kept = {}
    for key, value in section.items():
        if key not in ours and key in known:
            trainer[key] = value
        else:
            kept[key] = value
    for key in trainer:
        if key not in known:
            raise UsageError(f"{where}: {name}.trainer.{key} is unknown to TRL{_nearest(key, known)}")
        if key.endswith("_strategy") and trainer[key] is False:
            trainer[key] = "no"  # which YAML reads as false
    return {**kept, "trainer": trainer}


@lru_cache(maxsize=2)
def trainer_options(trl: str) -> frozenset[str]:
    """Names of the options of TRL's ``SFTConfig`` (`sft`) or ``GRPOConfig`` (`grpo`), read without importing TRL."""
    names: set[str] = set()
    sources = (
        ("trl", f"trainer/{trl}_config.py"),
        ("trl", "trainer/base_config.py"),
        ("transformers", "training_args.py"),
    )
    for package, file in sources:
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            continue
        source = Path(spec.submodule_search_locations[0]) / file
        if source.exists():
            for node in ast.parse(source.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and node.name.endswith(("Config", "Arguments")):
                    names |= {s.target.id for s in node.body
                              if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)}  # fmt: skip
    return frozenset(names)


def _build(cls: Any, values: Any, where: str, prefix: str) -> Any:
    if not isinstance(values, dict):
        raise UsageError(f"{where}: {prefix.rstrip('.') or 'config'} must be a section, found {values!r}")
    types = typing.get_type_hints(cls)
    arguments = {}
    for key, value in values.items():
        if key not in types:
            raise UsageError(f"{where}: {prefix}{key} is unknown{_nearest(key, types)}")
        arguments[key] = _value(types[key], value, where, f"{prefix}{key}")
    try:
        return cls(**arguments)
    except ValueError as error:
        raise UsageError(f"{where}: {prefix}{error}") from error


def _value(kind: Any, value: Any, where: str, name: str) -> Any:
    """Check one value against the type of its field; numbers that YAML reads as text (``1e-6``) are numbers."""
    if dataclasses.is_dataclass(kind):
        return _build(kind, value if value is not None else {}, where, f"{name}.")
    origin, choices = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        if value in choices:
            return value
        raise UsageError(f"{where}: {name} is {value!r}, expected one of {', '.join(map(str, choices))}")
    if type(None) in choices:
        return None if value is None else _value(choices[0], value, where, name)
    if origin is tuple:
        return tuple(
            _value(choices[0], v, where, name) for v in (value if isinstance(value, (list, tuple)) else [value])
        )
    if origin is dict:
        if not isinstance(value, dict):
            raise UsageError(f"{where}: {name} is {value!r}, expected a mapping")
        return {k: _number(v) for k, v in value.items()}
    value = _number(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise UsageError(f"{where}: {name} is {value!r}, expected {kind.__name__}")
    return value


def _number(value: Any) -> Any:
    """YAML reads ``1e-6`` as text."""
    if isinstance(value, str):
        try:
            return float(value) if any(c.isdigit() for c in value) and "e" in value.lower() else value
        except ValueError:
            return value
    return value


def _nearest(key: str, known: typing.Iterable[str]) -> str:
    close = difflib.get_close_matches(key, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(sorted(known)[:12])}…"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
