"""The weightings by name, and those of users by ``module:Class``."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from rftt.weighting.dft import DFT
from rftt.weighting.entropy import TopEntropy
from rftt.weighting.interface import Weighting
from rftt.weighting.per_function import PerFunction
from rftt.weighting.plain import Plain
from rftt.weighting.rft import RFT
from rftt.weighting.sftkey import KeyWeight
from search.named import load_named

WEIGHTINGS: dict[str, type[Weighting]] = {
    "plain": Plain,
    "rft": RFT,
    "key_weight": KeyWeight,
    "per_function": PerFunction,
    "entropy": TopEntropy,
    "dft": DFT,
}


def load_weighting(name: str, options: Mapping[str, Any]) -> Weighting:
    """Build a weighting.

    Args:
        name: name in `WEIGHTINGS`, or ``module:Class`` of a user's own.
        options: the class's arguments.

    Raises:
        ValueError: unknown name or option, or a value that the class refuses.
    """
    kind: Any = load_named(name, WEIGHTINGS, "weighting", "name")
    if dataclasses.is_dataclass(kind):
        known = [f.name for f in dataclasses.fields(kind) if f.init]
        for option in options:
            if option not in known:
                close = difflib.get_close_matches(option, known, n=1)
                raise ValueError(
                    f"{option} is not an option of {name}; "
                    + (f"did you mean {close[0]}?" if close else f"known: {', '.join(known) or 'none'}")
                )
    try:
        weighting = kind(**options)
    except TypeError as error:
        raise ValueError(f"{name} cannot be built with {dict(options)} ({error}); mend its options") from error
    if not isinstance(weighting, Weighting):
        raise ValueError(f"name: {name} is not allowed, expected a subclass of rftt.weighting.interface.Weighting")
    return weighting
