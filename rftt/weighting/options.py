"""The settings of token weighting: ``sft.weighting`` and ``sft.key_stage``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from rftt.weighting.registry import WEIGHTINGS, load_weighting


@dataclass(frozen=True)
class WeightingConfig:
    """How much each token counts in the SFT loss.

    Args:
        name: plain, rft, key_weight, per_function, entropy, dft, or ``module:Class`` of a class of your own.
        roles: where roles come from, for weightings that look at them and for the losses by role in the metrics: ``shad``
            (`rftt shad`), ``regex``, or the path of a ``roles.jsonl``.
        boilerplate: regular expressions of boilerplate, for ``roles: regex``; empty for those of functional chains, tool
            calls and ReAct.
        marker: the answer part is what follows the last one, e.g. ``</think>``, ``<answer>``, ``####``; empty for the last
            step of functional chains.
        options: options of the weighting; they may also stand beside these keys.
    """

    name: str = "plain"
    roles: str | None = None
    boilerplate: tuple[str, ...] = ()
    marker: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for pattern in self.boilerplate:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"boilerplate: {pattern!r} is not a regular expression ({error})") from error
        if self.name in WEIGHTINGS or ":" not in self.name:  # a user's module is imported where it is needed
            load_weighting(self.name, self.options)
        if self.name in WEIGHTINGS and WEIGHTINGS[self.name].needs_roles and self.roles is None:
            raise ValueError(f"roles: none with name: {self.name}, expected shad, regex or the path of a roles.jsonl")


@dataclass(frozen=True)
class KeyStage:
    """A second SFT stage on the answer part alone (SFTKey, arXiv 2512.21017); off without epochs and steps.

    Args:
        epochs: number of epochs of the second stage.
        steps: number of steps of the second stage, in the place of epochs.
        learning_rate: learning rate of the second stage; None for that of the first. The paper takes 5e-6.
        tokens: ``key``, or ``all`` for the control that spends the same steps on plain SFT.
    """

    epochs: float = 0.0
    steps: int = 0
    learning_rate: float | None = None
    tokens: Literal["key", "all"] = "key"

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.steps < 0:
            raise ValueError(f"epochs and steps: {self.epochs} and {self.steps} are not allowed, expected 0 or more")
        if self.epochs and self.steps:
            raise ValueError(f"steps: {self.steps} is not allowed with epochs: {self.epochs}, expected one of them")

    @property
    def on(self) -> bool:
        return bool(self.epochs or self.steps)
