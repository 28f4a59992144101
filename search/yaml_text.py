"""YAML that people write, read with care: whatever is wrong with it is one line, and a small file stays small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

LONGEST = 1 << 20  # characters; settings and token sets have a few thousand
DEEPEST = 40  # levels of nesting
MOST = 100_000  # values, those counted again that are referred to again


def read_yaml(path: Path, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """What a YAML file says.

    Raises:
        ValueError: it cannot be read, or as `parse_yaml`; one line that begins with the path.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(LONGEST + 1)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); give the path of a YAML file") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error
    return parse_yaml(text, str(path), loader)


def parse_yaml(text: str, where: str, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """What a YAML text says.

    Args:
        text: the text.
        where: it stands, for errors.
        loader: builds the values.

    Raises:
        ValueError: no valid YAML, or YAML that refers to itself, is nested too deep or is too large; one line.
    """
    if len(text) > LONGEST:
        raise ValueError(f"{where}: more than {LONGEST:,} characters, which is no file of settings; check the path")
    try:
        values = yaml.load(text, loader)  # loaders are safe ones
        _check_size(values, where)
        return values
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}:{mark.line + 1}" if mark else where
        problem = getattr(error, "problem", None) or str(error)
        raise ValueError(f"{place}: not valid YAML ({' '.join(problem.split())[:200]})") from error
    except RecursionError:
        raise ValueError(f"{where}: nested too deep, or it refers to itself; write it out flat") from None
    except (OverflowError, ValueError) as error:
        if str(error).startswith(where):
            raise
        raise ValueError(f"{where}: not valid YAML ({' '.join(str(error).split())[:200]})") from error


def _check_size(values: Any, where: str) -> None:
    """Raises:
    ValueError: there is more of it than `DEEPEST` and `MOST` allow.
    """
    count = 0
    left = [(values, 0)]
    while left:
        value, depth = left.pop()
        count += 1
        if depth > DEEPEST:
            raise ValueError(
                f"{where}: nested more than {DEEPEST} levels deep, or it refers to itself; write it out flat"
            )
        if count > MOST:
            raise ValueError(f"{where}: more than {MOST:,} values; write fewer, and refer to fewer of them twice")
        if isinstance(value, dict):
            left += [(part, depth + 1) for part in value.values()]
        elif isinstance(value, (list, tuple, set)):
            left += [(part, depth + 1) for part in value]
