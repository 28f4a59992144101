"""Several runs on one page."""

from __future__ import annotations

import shutil

import pytest

from rftt.cli import main
from rftt.errors import UsageError
from rftt.report import write_report
from tests.rftt.report.runs import everything, write_run


def test_runs_share_the_bytes_of_the_page_and_tell_where_they_differ(tmp_path, capsys):
    first = write_run(tmp_path / "a" / "run", trees=8, samples=60, text="long " * 1300)
    second = shutil.copytree(first, tmp_path / "b" / "run")
    (second / "config.yaml").write_text("seed: 7\nmodel: {path: other}\nrun: b/run\nrl: {beta: 0.0}\n")
    assert main(["view", str(first), str(second)]) == 0
    page = first / "comparison.html"
    assert capsys.readouterr().out == f"{page}\n" and page.stat().st_size < 5e6
    data = everything(page)
    assert [run["name"] for run in data["runs"]] == ["a/run", "b/run"] and data["title"] == "a/run · b/run"
    differences = {row["name"]: row["values"][1] for row in data["differences"]}
    assert differences["model.path"] == '"other"' and differences["rl.beta"] == "0.0"
    assert "seed" not in differences and "run" not in differences and "sesame" not in page.read_text()
    alone = everything(write_report(first))["runs"][0]
    both = data["runs"][0]
    count = len(alone["samples"][0]["records"])
    assert len(both["samples"][0]["records"]) < count
    assert alone["measures"] == both["measures"] and alone["metrics"] == both["metrics"]


def test_one_run_of_several_that_is_missing_or_given_twice_is_told(run, tmp_path, capsys):
    assert main(["view", str(run), str(tmp_path / "absent")]) == 2
    assert "there is no run folder" in capsys.readouterr().err
    with pytest.raises(UsageError, match="is given twice"):
        write_report([run, run / ".." / run.name])
    with pytest.raises(UsageError, match="give at least one"):
        write_report([])
    assert write_report([run], tmp_path / "out.html") == tmp_path / "out.html"
