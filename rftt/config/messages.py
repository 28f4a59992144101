"""Parts of messages about settings."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any


def shown(value: Any) -> str:
    """The value for a message, cut where it is long."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 120
    text = short.repr(value)
    return text if len(text) <= 300 else f"{text[:300]}…"


def nearest(key: object, known: Iterable[str], further: Iterable[str] = ()) -> str:
    """The nearest name to one that is unknown.

    Args:
        key: the unknown name.
        known: names that are listed where none is near.
        further: names that are right as well.
    """
    close = difflib.get_close_matches(str(key)[:100], {*known, *further}, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(sorted(known)[:12])}…"
