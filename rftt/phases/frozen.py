"""Which settings of a run may not change any more: those that a phase which has begun depended on.

A run goes on with other settings of phases that are still to come: another learning rate of SFT after the search, other RL
after SFT, another evaluation at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rftt.errors import UsageError

# A run may go on with other servers, on another engine or with more in flight: that is not what its results depend on.
FREE = frozenset({
    "model.trust_remote_code", "engine.name", "engine.servers", "engine.options", "search.live_trees", "eval.processes",
    "eval.benchmarks", "eval.strategies", "eval.budgets", "eval.token_budgets", "data.root", "data.table",
    "prm.servers", "prm.batch_size", "prm.device", "prm.options", "shad.threshold", "shad.score_tokens",
    "sft.not_finite_steps", "rl.not_finite_steps",
})  # fmt: skip
# Nor on how training is spread over devices, and where it is told of.
FREE_IN_TRAINER = frozenset({
    "deepspeed", "gradient_checkpointing", "gradient_checkpointing_kwargs", "per_device_train_batch_size",
    "report_to", "run_name",
})  # fmt: skip

# Phase → what shows that it has begun, in the run folder or in that of a round, and the sections that it depends on.
PHASES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "tokens": (("model-with-tokens",), ("run", "seed", "model")),
    "search": (
        ("search/*", "rounds/*/search/*"),
        ("run", "seed", "model", "data", "engine", "search", "prm", "reward"),
    ),
    "shad": (("shad/*", "rounds/*/shad/*"), ("run", "seed", "model", "shad")),
    "sft": (("sft/*", "rounds/*/sft/*"), ("run", "seed", "model", "sft", "shad")),
    "rl": (("rl/*",), ("run", "seed", "model", "data", "engine", "rl", "prm", "reward")),
    "eval": (("eval/*",), ("run", "seed", "model", "data", "engine", "eval", "prm", "reward")),
}


def refuse_changes(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Compare the settings of a run with those it has been given now.

    Args:
        folder: folder of the run.
        before, now: configs as dicts.

    Returns:
        The settings that have changed, as ``section.key``.

    Raises:
        UsageError: a phase that has begun depended on one of them.
    """
    found = changed(before, now)
    begun = [
        phase for phase, (signs, _) in PHASES.items() if any(_holds(p) for sign in signs for p in folder.glob(sign))
    ]
    held = {name: [p for p in begun if name.partition(".")[0] in PHASES[p][1]] for name in found}
    if stuck := [name for name in found if held[name]]:
        phases = list(dict.fromkeys(phase for name in stuck for phase in held[name]))
        raise UsageError(
            f"{folder}: this run was begun with another {', '.join(stuck[:4])}, and its {' and '.join(phases)} depended on "
            f"{'it' if len(stuck) == 1 else 'them'}; give another folder with run=FOLDER or remove this one"
        )
    return found


def _holds(path: Path) -> bool:
    """Whether anything has been made there; a phase that failed at its start leaves empty folders and journals."""
    if path.is_dir():
        return any(_holds(inner) for inner in path.iterdir())
    return path.suffix != ".partial" or path.stat().st_size > 0


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Settings, as ``section.key``, whose values differ and decide results."""
    before, now = _deciding(before), _deciding(now)
    found = []
    for section, value in now.items():
        if not isinstance(value, Mapping):
            found += [section] if before.get(section) != value else []
            continue
        earlier = before.get(section) or {}
        found += [
            f"{section}.{key}" for key in value if f"{section}.{key}" not in FREE and earlier.get(key) != value[key]
        ]
    return found


def _deciding(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without the options of TRL that results do not depend on."""
    kept = dict(values)
    for section in ("shad", "sft", "rl"):
        trainer = {k: v for k, v in values[section]["trainer"].items() if k not in FREE_IN_TRAINER}
        kept[section] = values[section] | {"trainer": trainer}
    return kept
