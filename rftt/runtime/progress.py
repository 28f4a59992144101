"""Progress of a long job: rate and time left, on the terminal and in logs."""

from __future__ import annotations

import sys
from typing import Any


def progress_bar(total: int, label: str, unit: str, done: int = 0) -> Any:
    """A tqdm bar; where nobody watches a terminal it prints a line every ten seconds.

    Args:
        total: number of units.
        label: what is done.
        unit: of what.
        done: how many were done before a resume.
    """
    from tqdm import tqdm

    watched = sys.stderr.isatty()
    return tqdm(
        total=total, desc=label, unit=f" {unit}", initial=done, mininterval=0.5 if watched else 10.0,
        dynamic_ncols=watched, file=sys.stderr, smoothing=0.1,
    )  # fmt: skip
