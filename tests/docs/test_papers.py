"""The settings and command lines of docs/papers.md exist."""

import re
import shlex
from pathlib import Path

import pytest

from rftt.cli import build_parser
from rftt.config import load_config

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
SPANS = sorted(set(re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL))))
SETTINGS = [span for span in SPANS if re.search(r"(?:^|\s)[a-z]+\.[a-z_.]+=", span)]
COMMANDS = [span for span in SPANS if span.startswith("rftt ") and "…" not in span]


@pytest.mark.parametrize("span", SETTINGS)
def test_settings_are_accepted(span):
    overrides = [word for word in shlex.split(span) if re.match(r"[a-z]+\.[a-z_.]+=", word)]
    load_config(ROOT / "configs" / "qwen2.5-7b-math.yaml", overrides)


@pytest.mark.parametrize("span", COMMANDS)
def test_command_lines_are_accepted(span):
    assert callable(build_parser().parse_args(shlex.split(span)[1:]).run_command)


def rows():
    """The rows of the tables of results: what they are about, and their config."""
    found, inside = [], False
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        inside = line.startswith("|") and (inside or cells[1:2] == ["config"])
        if inside and cells[1] not in ("config", "---"):
            found.append((cells[0], cells[1].strip("`"), cells[2]))
    return found


@pytest.mark.parametrize(("what", "path", "sets"), [row for row in rows() if row[1] != "–"])
def test_each_row_has_a_config_that_sets_what_the_row_says(what, path, sets):
    config = load_config(ROOT / path)
    for span in re.findall(r"`([a-z]+\.[^`]+=[^`]+)`", sets):
        words = [word for word in shlex.split(span) if "=" in word and not word.endswith("=MODEL")]
        assert load_config(ROOT / path, words) == config, (path, words)


def test_every_config_of_the_papers_is_on_the_page():
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "configs" / "papers").glob("*.yaml")}
    named = {path for _, path, _ in rows()}
    assert there == {path for path in named if path.startswith("configs/papers/")} and len(rows()) > 20
    runs = [load_config(ROOT / path).run for path in there]
    assert len(set(runs)) == len(runs)


def test_the_page_names_what_is_there():
    assert len(SETTINGS) > 15 and len(COMMANDS) > 3
    for path in re.findall(r"`((?:configs|search|rftt)/[\w./-]+\.(?:yaml|py))`", PAGE):
        assert (ROOT / path).is_file(), path
    for module in re.findall(r"python -m (tests\.benchmarks\.\w+)", PAGE):
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file(), module
