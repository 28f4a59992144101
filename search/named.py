"""What a setting names: one of ours by its name in a table, or a user's own as ``module:function`` or ``file.py:function``.

A row of a table holds the thing itself, or ``"module:name"`` where importing it is expensive.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any


def load_named(name: str, table: Mapping[str, Any], what: str, key: str = "") -> Any:
    """The thing that a setting names.

    Args:
        name: key of `table`, or ``module:name`` of a module on the Python path or in the working folder, or
            ``path/to/file.py:name``.
        table: the built-in ones.
        what: noun for messages, such as ``"strategy"``.
        key: setting that holds the name, for messages.

    Raises:
        ValueError: there is nothing of this name.
    """
    check_name(name, table, what, key)
    place = table.get(name, name)
    if not isinstance(place, str):
        return place
    module, _, attribute = place.partition(":")
    try:
        found: Any = _module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, OSError, SyntaxError) as error:
        raise ValueError(
            f"{_at(key)}{what} {name!r} cannot be imported ({type(error).__name__}: {error}); expected module:name "
            "on the Python path or file.py:name"
        ) from error
    return found


def check_name(name: str, table: Iterable[str], what: str, key: str = "") -> None:
    """Check a name without importing what it names.

    Raises:
        ValueError: it is not in the table and does not look like ``module:name``.
    """
    module, _, attribute = name.partition(":")
    if name in table or (module and attribute):
        return
    known = list(table)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(known)}, or module:name"
    raise ValueError(f"{_at(key)}there is no {what} {name!r}; {hint}")


def _at(key: str) -> str:
    return f"{key}: " if key else ""


@lru_cache(maxsize=64)
def _module(name: str) -> ModuleType:
    if name.endswith(".py"):
        path = Path(name).expanduser().resolve()
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules.setdefault(path.stem, module)
        spec.loader.exec_module(module)
        return module
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # A console script does not have the working folder on its path, a user's module usually lies there.
        if error.name != name.split(".")[0] or os.getcwd() in sys.path:
            raise
        sys.path.append(os.getcwd())
        importlib.invalidate_caches()
        return importlib.import_module(name)
