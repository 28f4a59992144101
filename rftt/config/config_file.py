"""The settings of a run: one YAML with the sections model, data, engine, search, prm, shad, sft, rl and eval.

The sections are dataclasses (`sections`). An unknown key is an error that names the nearest key.
Under `shad`, `sft` and `rl`, a key that is not ours but TRL's (`rl.learning_rate=1e-6`) goes to `sft.trainer` and so on,
which are passed to TRL's `SFTConfig` and `GRPOConfig` as they are.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from rftt.config.messages import nearest, shown
from rftt.config.sections import (
    EVAL_SEARCH,
    RL_SEARCH,
    DataConfig,
    EngineConfig,
    EvalConfig,
    ModelConfig,
    PRMConfig,
    RewardSection,
    RLSection,
    SFTSection,
    ShadSection,
)
from rftt.config.trl_options import check_grpo_option, check_option, trainer_options
from rftt.config.written import Written, WrittenLoader, as_meant, number
from rftt.errors import UsageError
from rftt.weighting.options import WeightingConfig
from rftt.weighting.registry import WEIGHTINGS
from search.collection import CollectionConfig
from search.config import SearchConfig
from search.yaml_text import parse_yaml, read_yaml

TRACKERS = ("tensorboard", "wandb", "trackio", "mlflow")  # of TRL's reports, each a package of its own name


@dataclass(frozen=True)
class Config:
    """A whole run.

    Args:
        run: the run folder.
        seed: seed of every random choice.
    """

    run: str = "runs/default"
    seed: int = 0
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    search: CollectionConfig = field(default_factory=CollectionConfig)
    reward: RewardSection = field(default_factory=RewardSection)
    prm: PRMConfig = field(default_factory=PRMConfig)
    shad: ShadSection = field(default_factory=ShadSection)
    sft: SFTSection = field(default_factory=SFTSection)
    rl: RLSection = field(default_factory=RLSection)
    eval: EvalConfig = field(default_factory=EvalConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed: {self.seed} is not allowed, expected 0 ≤ seed < 2³²")
        if self.eval.guide == "prm" and not self.prm.path:
            raise ValueError("eval.guide: 'prm' is not allowed without a process reward model, expected prm.path")

    @property
    def folder(self) -> Path:
        return Path(self.run)

    def to_dict(self) -> dict[str, Any]:
        return _plain(dataclasses.asdict(self))


def load_config(path: str | Path, overrides: typing.Sequence[str] = ()) -> Config:
    """Read a YAML file and apply ``section.key=value`` overrides.

    Args:
        path: the YAML file.
        overrides: overrides as on the command line; values are YAML.

    Raises:
        UsageError: one line with what is wrong, where, and the remedy.
    """
    return override(_read(Path(path)), overrides, str(path))


def read_config(path: str | Path) -> Config:
    """The config that stands in a run folder.

    Raises:
        UsageError: as `load_config`.
    """
    return override(_mapping(path), (), str(path))


def _read(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The values of a YAML file; what it does not set comes from the file that its ``base`` names, relative to its folder.

    Args:
        path: YAML file.
        above: files that name it as their base.
    """
    values = _mapping(path)
    if "base" not in values:
        return values
    name = as_meant(str, values.pop("base"))
    if not isinstance(name, str) or not name:
        raise UsageError(
            f"{path}: base is {shown(name)}, expected the path of another config; give one or leave it out"
        )
    base = path.parent / name
    above = (*above, path.resolve())
    if base.resolve() in above:
        raise UsageError(f"{path}: base leads back to {base}; leave it out of one of these files")
    return _over(_read(base, above), values)


def _over(below: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """`values`, with what they lack from `below`, section by section."""
    both = {k: _over(below[k], v) for k, v in values.items() if isinstance(v, dict) and isinstance(below.get(k), dict)}
    return {**below, **values, **both}


def _mapping(path: str | Path) -> dict[str, Any]:
    try:
        values = read_yaml(Path(path), WrittenLoader)
    except ValueError as error:
        raise UsageError(str(error)) from error
    values = as_meant(Any, values) if isinstance(values, Written) else values
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UsageError(f"{path}: expected a mapping of sections, found {shown(values)}")
    return values


def override(values: dict[str, Any], overrides: typing.Iterable[str], where: str) -> Config:
    """Apply ``section.key=value`` overrides to `values`, which are changed, and build the config.

    Raises:
        UsageError: as `load_config`.
    """
    for text in overrides:
        _apply(values, text)
    return from_dict(as_meant(Config, values), where)


def from_dict(values: dict[str, Any], where: str = "config") -> Config:
    """Build and validate a config.

    Raises:
        UsageError: an unknown key or a value of the wrong type or range.
    """
    sections = {f.name for f in dataclasses.fields(Config) if f.name not in ("run", "seed")}
    values = {k: {} if v is None and k in sections else v for k, v in values.items()}
    if "seed" in values and isinstance(values.get("search", {}), dict):
        values["search"] = {"seed": values["seed"]} | values.get("search", {})
    for section, kind, defaults in (("rl", RLSection, RL_SEARCH), ("eval", EvalConfig, EVAL_SEARCH)):
        if isinstance(values.get(section, {}), dict):
            values[section] = _route_to_search(values.get(section, {}), section, kind, defaults, values.get("search"))
    for section, trl in (("shad", "sft"), ("sft", "sft"), ("rl", "grpo")):
        if isinstance(values.get(section), dict):
            values[section] = _route_to_trainer(values[section], section, trl, where)
    if isinstance(values.get("sft"), dict) and isinstance(values["sft"].get("weighting"), dict):
        values["sft"]["weighting"] = _route_to_options(values["sft"]["weighting"], where)
    return _build(Config, values, where, "")


def _apply(values: dict[str, Any], override: str) -> None:
    name, found, text = override.partition("=")
    if not found or not name.strip():
        raise UsageError(f"override {shown(override)}: expected section.key=value")
    try:
        value = parse_yaml(text, f"override {shown(name)}", WrittenLoader)
    except ValueError as error:
        raise UsageError(str(error)) from error
    *sections, key = name.strip().split(".")
    for section in sections:
        inner = values.get(section)
        if inner is None or (isinstance(inner, Written) and inner.value is None):
            values[section] = {}
        values = values[section]
        if not isinstance(values, dict):
            raise UsageError(f"override {shown(override)}: {section} is not a section")
    values[key] = value


def _route_to_search(
    section: dict[str, Any], name: str, kind: type, defaults: dict[str, Any], phase_1: Any
) -> dict[str, Any]:
    """Move the settings of a search, which are declared in `SearchConfig` alone, into ``search`` of their section."""
    ours = {f.name for f in dataclasses.fields(kind)}
    trl = trainer_options("grpo") if name == "rl" else frozenset()
    searched = {f.name for f in dataclasses.fields(SearchConfig)} - ours - trl - {"seed"}
    given = section.get("search") or {}
    if not isinstance(given, dict):
        return section  # which is told when it is built
    inherited = {k: v for k, v in phase_1.items() if k == "live_trees"} if isinstance(phase_1, dict) else {}
    search = {**defaults, **inherited, **given, **{k: v for k, v in section.items() if k in searched}}
    return {k: v for k, v in section.items() if k not in searched} | {"search": search}


def _route_to_trainer(section: dict[str, Any], name: str, trl: str, where: str) -> dict[str, Any]:
    """Move TRL's options into `trainer` and check all of them by name, so that a slip shows before hours of work."""
    sections = {"shad": ShadSection, "sft": SFTSection, "rl": RLSection}
    ours = {f.name for f in dataclasses.fields(sections[name])}
    known = trainer_options(trl)
    trainer = section.get("trainer") or {}
    if not isinstance(trainer, dict):
        raise UsageError(f"{where}: {name}.trainer is {shown(trainer)}, expected a mapping of TRL's options")
    trainer = dict(trainer)
    kept = {}
    for key, value in section.items():
        if key not in ours and key in known:
            trainer[key] = value
        else:
            kept[key] = value
    for key in trainer:
        if key not in known:
            raise UsageError(f"{where}: {name}.trainer.{key} is unknown to TRL{nearest(key, known)}")
        if key == "report_to":
            _check_trackers(trainer[key], f"{where}: {name}.trainer.report_to")
        if isinstance(key, str) and key.endswith("_strategy") and trainer[key] is False:
            trainer[key] = "no"  # which YAML reads as false
        wrong = check_option(trl, key, trainer[key])
        if name == "rl":
            wrong = wrong or check_grpo_option(key, trainer[key])
        if wrong:
            raise UsageError(f"{where}: {name}.{key} {wrong}")
    return {**kept, "trainer": trainer}


def _route_to_options(weighting: dict[str, Any], where: str) -> dict[str, Any]:
    """Move the options of a weighting into `options`; those of our own weightings are checked like any section."""
    ours = {f.name for f in dataclasses.fields(WeightingConfig)}
    given = weighting.get("options") or {}
    options = (given if isinstance(given, dict) else {}) | {k: v for k, v in weighting.items() if k not in ours}
    name = weighting.get("name", "plain")
    if isinstance(name, str) and (kind := WEIGHTINGS.get(name)):
        options = _plain(dataclasses.asdict(_build(kind, options, where, "sft.weighting.")))
    return {k: v for k, v in weighting.items() if k in ours} | {"options": options}


def _check_trackers(given: Any, where: str) -> None:
    """What is missing for TRL's reports must not show after hours of search."""
    for tracker in given if isinstance(given, (list, tuple)) else [given]:
        if tracker in TRACKERS and find_spec(tracker) is None:
            raise UsageError(f"{where}: {tracker} is not installed; pip install {tracker}, or leave it out")


def _build(cls: Any, values: Any, where: str, prefix: str) -> Any:
    if not isinstance(values, dict):
        raise UsageError(f"{where}: {prefix.rstrip('.') or 'config'} must be a section, found {shown(values)}")
    types = typing.get_type_hints(cls)
    arguments = {}
    for key, value in values.items():
        if key not in types:
            raise UsageError(f"{where}: {prefix}{key} is unknown{nearest(key, types, _taken_along(cls))}")
        arguments[key] = _value(types[key], value, where, f"{prefix}{key}")
    try:
        return cls(**arguments)
    except ValueError as error:
        raise UsageError(f"{where}: {prefix}{error}") from error


def _taken_along(section: Any) -> set[str]:
    """Keys that a section takes for its search and for TRL, beside its own."""
    searched = (
        {f.name for f in dataclasses.fields(SearchConfig)} - {"seed"} if section in (RLSection, EvalConfig) else set()
    )
    trl = {ShadSection: "sft", SFTSection: "sft", RLSection: "grpo"}.get(section)
    return searched | (trainer_options(trl) if trl else set())


def _value(kind: Any, value: Any, where: str, name: str) -> Any:
    """Check one value against the type of its field; numbers that YAML reads as text (``1e-6``) are numbers."""
    if dataclasses.is_dataclass(kind):
        return _build(kind, value if value is not None else {}, where, f"{name}.")
    origin, choices = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        if any(value == c and type(value) is type(c) for c in choices):
            return value
        raise UsageError(f"{where}: {name} is {shown(value)}, expected one of {', '.join(map(str, choices))}")
    if type(None) in choices:
        return None if value is None else _value(choices[0], value, where, name)
    if origin is tuple:
        return tuple(
            _value(choices[0], v, where, name) for v in (value if isinstance(value, (list, tuple)) else [value])
        )
    if origin is dict:
        if not isinstance(value, dict):
            raise UsageError(f"{where}: {name} is {shown(value)}, expected a mapping")
        return {k: number(v) for k, v in value.items()}
    value = value if kind is str else number(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 2**1000 else math.inf
    if kind is float and isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{where}: {name} is {value}, expected a finite number")
    if type(value) is not kind:
        raise UsageError(f"{where}: {name} is {shown(value)}, expected {getattr(kind, '__name__', kind)}")
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
