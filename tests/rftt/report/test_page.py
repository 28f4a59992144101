"""The page: one file, its policy, text that would like to be markup, and how it is written."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from rftt import report
from rftt.errors import UsageError
from rftt.report import write_report
from rftt.report.page import digest
from search.functions import RFTT
from tests.rftt.report.runs import HOSTILE, Elements, embedded, write_run

SECTIONS = [
    "results",
    "budget",
    "training",
    "functions",
    "time",
    "trees",
    "samples",
    "chains",
    "roles",
    "rollouts",
    "run",
]


def test_one_file_with_every_section_and_nothing_from_elsewhere(run):
    text = (run / "report.html").read_text(encoding="utf-8")
    elements = Elements(text)
    assert [attrs["id"] for tag, attrs in elements.tags if tag == "section"] == SECTIONS
    assert {tag for tag, _ in elements.tags}.isdisjoint({"link", "img", "iframe", "object", "base"})
    assert not [attrs for _, attrs in elements.tags if "src" in attrs or not attrs.get("href", "#").startswith("#")]
    assert "url(" not in text and "@import" not in text
    assert len(text.encode()) < 5e6


def test_the_policy_allows_the_page_s_own_script_and_style_only(run):
    elements = Elements((run / "report.html").read_text(encoding="utf-8"))
    policy = next(a["content"] for tag, a in elements.tags if a.get("http-equiv") == "Content-Security-Policy")
    content = {elements.tags[place][0]: text for place, text in elements.content.items()}  # the last of each tag
    for tag in ("script", "style"):
        assert f"{tag}-src '{digest(content[tag])}'" in policy
    assert "default-src 'none'" in policy and "unsafe" not in policy


def test_the_static_files_name_no_functional_token():
    """Another token set must not need another page."""
    for path in Path(report.__file__).parent.glob("report*"):
        named = re.findall(rf"""["'`<]/?({"|".join(RFTT.names)})["'`>]""", path.read_text(encoding="utf-8"))
        assert not named, f"{path.name} names {named}"


def test_the_report_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    (tmp_path / "report.html").write_text("before")

    def fail(*paths):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", fail)
        with pytest.raises(UsageError, match="No space left"):
            write_report(tmp_path)
    assert (tmp_path / "report.html").read_text() == "before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.yaml", "report.html"]
    assert write_report(tmp_path, tmp_path / "other.html") == tmp_path / "other.html"
    with pytest.raises(UsageError, match="cannot write"):
        write_report(tmp_path, tmp_path / "absent" / "other.html")


def test_hostile_text_is_data(tmp_path):
    page = write_report(write_run(tmp_path / "run", trees=2, samples=3, text=HOSTILE))
    elements = Elements(page.read_text(encoding="utf-8"))
    assert [tag for tag, _ in elements.tags].count("script") == 2 and "img" not in dict(elements.tags)
    data = embedded(page)
    assert data["summary"]["command"] == data["samples"][0]["records"][-1]["text"] == HOSTILE
    assert data["trees"][0]["records"][0]["question"] == HOSTILE
