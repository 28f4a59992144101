"""The settings and command lines of docs/papers.md exist."""

import re
import shlex
from pathlib import Path

import pytest

from rftt.cli import build_parser
from rftt.config import load_config

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
SPANS = sorted(set(re.findall(r"`([^`]+)`", PAGE)))
SETTINGS = [span for span in SPANS if re.search(r"(?:^|\s)[a-z]+\.[a-z_.]+=", span)]
COMMANDS = [span for span in SPANS if span.startswith("rftt ") and "…" not in span]


@pytest.mark.parametrize("span", SETTINGS)
def test_settings_are_accepted(span):
    overrides = [word for word in shlex.split(span) if re.match(r"[a-z]+\.[a-z_.]+=", word)]
    load_config(ROOT / "configs" / "qwen2.5-7b-math.yaml", overrides)


@pytest.mark.parametrize("span", COMMANDS)
def test_command_lines_are_accepted(span):
    assert callable(build_parser().parse_args(shlex.split(span)[1:]).run_command)


def test_the_page_names_what_is_there():
    assert len(SETTINGS) > 15 and len(COMMANDS) > 5
    for path in re.findall(r"`((?:configs|search|rftt)/[\w./-]+\.(?:yaml|py))`", PAGE):
        assert (ROOT / path).is_file(), path
    for module in re.findall(r"python -m (tests\.benchmarks\.\w+)", PAGE):
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file(), module
