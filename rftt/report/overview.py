"""The settings and the summary of a run, without what must not be passed around."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rftt.errors import UsageError
from rftt.report.lines import Record
from search.yaml_text import read_yaml

SECRET = r"(?:api[_-]?key|password|secret|hf_token|access_token|auth[_-]?token|authorization)"
# In a command line: key=value, key: value of YAML and JSON, with the quotes of a shell; a header's kind stays.
ASSIGNED = re.compile(rf"""({SECRET}(?:["'\\]*\s*:|=)\s*["'\\]*(?:(?:bearer|basic|token)\s+)?)[^\s"'\\,}}\]]+""", re.I)
LOGIN = re.compile(r"(://)[^/\s@\"']+@")  # of a URL


def read_config(path: Path) -> Record:
    """The settings of the run; none where there is no such file.

    Raises:
        UsageError: it is damaged.
    """
    if not path.is_file():
        return {}
    try:
        config = read_yaml(path)
    except ValueError as error:
        raise UsageError(f"{error}; mend it, or run the phase again") from error
    if not isinstance(config, dict):
        raise UsageError(f"{path}: a {type(config).__name__}, not a mapping of settings; mend it")
    return config


def read_summary(path: Path) -> Record:
    """The results of the run; none where there is no such file.

    Raises:
        UsageError: it is damaged.
    """
    if not path.is_file():
        return {}
    try:
        summary = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not JSON ({error}); remove it and run again: rftt eval CONFIG") from error
    if not isinstance(summary, dict):
        kind = type(summary).__name__
        raise UsageError(f"{path}: a {kind}, not an object; remove it and run again: rftt eval CONFIG")
    return summary


def seeds(config: Record, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every seed in the settings, with the place where it stands."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from seeds(value, f"{place}{key}.")
        elif key == "seed" and value is not None:
            yield f"{place}{key}", value


def differences(configs: Sequence[Record]) -> list[Record]:
    """Settings that are not the same in all runs: ``{"name", "values": [one a run]}``; the name of the folder is none."""
    flat = [dict(_flat(config)) for config in configs]
    names = dict.fromkeys(name for config in flat for name in config if name != "run")
    values = ((name, [config.get(name) for config in flat]) for name in names)
    return [{"name": name, "values": found} for name, found in values if any(v != found[0] for v in found)]


def _flat(config: Record, place: str = "") -> Iterator[tuple[str, str]]:
    for key, value in config.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{place}{key}.")
        else:
            yield f"{place}{key}", json.dumps(value, ensure_ascii=False, default=str)


def masked(value: Any) -> Any:
    """The same without the values of keys that hold credentials: reports get passed around."""
    if isinstance(value, dict):
        return {k: "…" if v and re.search(f"{SECRET}$", str(k), re.I) else masked(v) for k, v in value.items()}
    if isinstance(value, list):
        return [masked(v) for v in value]
    return LOGIN.sub(r"\1…@", ASSIGNED.sub(r"\1…", value)) if isinstance(value, str) else value
