"""A finished run with its report, and a browser where there is one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rftt.report import write_report
from tests.rftt.report.browser import Browser
from tests.rftt.report.runs import write_run


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if binary is None:
        pytest.skip("there is no Chromium on this machine: the report was not looked at in a browser")
    started = Browser(binary, tmp_path_factory.mktemp("browser"))
    yield started
    started.close()


@pytest.fixture
def browser(chromium):
    """A browser that has nothing to complain of when the test is over."""
    yield chromium
    assert chromium.trouble == []


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    """A finished run with its report."""
    folder = write_run(tmp_path_factory.mktemp("runs") / "toy-run")
    write_report(folder)
    return folder
