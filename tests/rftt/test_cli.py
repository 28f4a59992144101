"""The command line: exit codes, one clear line for bad input, nothing half-written."""

import errno
import json
import os
import subprocess
import sys
import time

import pytest

from rftt.cli import main
from search.journal import Journal

TOY = "configs/toy.yaml"


@pytest.fixture
def refused(capsys):
    """Run a command that must end with code 2 and one line; returns the line."""

    def run(*argv):
        assert main(list(map(str, argv))) == 2
        err = capsys.readouterr().err.strip().splitlines()
        lines = [line for line in err if line.startswith("rftt: ")]
        assert len(lines) == 1 and "Traceback" not in "\n".join(err)
        return lines[0]

    return run


def test_help_is_instant_and_imports_nothing_heavy():
    code = "import sys, rftt.cli; rftt.cli.build_parser(); print([m for m in sys.modules if m in ('torch', 'vllm', 'trl')])"
    begun = time.monotonic()
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
    assert time.monotonic() - begun < 5


def test_missing_config(refused):
    assert "cannot be read" in refused("run", "nowhere.yaml")


def test_unknown_key(refused, tmp_path):
    line = refused("run", TOY, "serach.rollouts=3", f"run={tmp_path / 'r'}")
    assert "did you mean search" in line and not (tmp_path / "r").exists()


def test_missing_data_file(refused, tmp_path):
    line = refused("search", TOY, "data.train=/no/such/file.jsonl", f"run={tmp_path / 'r'}")
    assert "/no/such/file.jsonl" in line and not (tmp_path / "r" / "config.yaml").exists()


def test_wrong_column(refused, tmp_path):
    file = tmp_path / "d.jsonl"
    file.write_text(json.dumps({"ask": "What is 1 + 1?", "reply": "2"}) + "\n")
    line = refused("search", TOY, f"data.train={file}", f"run={tmp_path / 'r'}")
    assert "ask" in line and "reply" in line


def test_train_and_test_overlap(refused, tmp_path):
    file = tmp_path / "d.jsonl"
    file.write_text(json.dumps({"question": "What is 1 + 1?", "answer": "2"}) + "\n")
    line = refused(
        "search", TOY, f"data.train={file}", f"data.eval={file}", "data.overlap=refuse", f"run={tmp_path / 'r'}"
    )
    assert "overlap" in line


def test_model_without_chat_template(refused, tmp_path, tiny_model):
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(tiny_model(), folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert "chat template" in refused("run", TOY, f"model.path={folder}", f"run={tmp_path / 'r'}")


def test_a_phase_before_its_turn(refused, tmp_path):
    line = refused("sft", TOY, f"run={tmp_path / 'r'}", "data.train_limit=8", "data.eval_limit=8")
    assert "run `rftt tokens CONFIG` first" in line


def test_a_run_folder_begun_with_other_settings(refused, tmp_path):
    common = [TOY, f"run={tmp_path / 'r'}", "data.train_limit=8", "data.eval_limit=8"]
    refused("sft", *common)
    journal = Journal(tmp_path / "r" / "search" / "questions-0.jsonl")
    journal.append({"question_id": "toy-train-0-0"})  # the search has begun
    journal.close()
    assert "search.rollouts" in refused("sft", *common, "search.rollouts=3")


@pytest.mark.vllm
def test_a_kv_cache_that_does_not_fit(tmp_path):
    run = tmp_path / "r"
    command = [sys.executable, "-m", "rftt.cli", "search", TOY, f"run={run}", "data.train_limit=4", "data.eval_limit=4",
               "search.processes=1"]  # fmt: skip
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "65536"}  # GiB
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    [line] = [x for x in done.stderr.splitlines() if x.startswith("rftt: ")]
    assert "engine.max_model_len" in line and not (run / "search").exists()


def test_grade_one_and_many(capsys, tmp_path):
    assert main(["grade", "--gold", "1/2", "--answer", "0.5"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "correct"
    file = tmp_path / "g.jsonl"
    file.write_text('{"id": 7, "gold": "2", "answer": "3"}\n{"gold": "2", "text": "2"}\n')
    assert main(["grade", "--file", str(file)]) == 0
    rows = [json.loads(x) for x in capsys.readouterr().out.splitlines()]
    assert [r["status"] for r in rows] == ["wrong", "correct"] and rows[0]["id"] == 7


def test_grade_takes_golds_of_any_type_and_lines_of_any_length(capsys, tmp_path):
    rows = [
        {"gold": 7, "answer": 7.0},
        {"gold": [1, 2], "answer": "2, 1"},
        {"gold": 0.5, "text": "1/2"},
        {"gold": ["7"], "answer": [7]},
        {"gold": "7", "answer": "\\boxed{" * 850_000},
        {"gold": "7", "answer": "\ud800"},
        {"gold": "7", "answer": " " * 6_000_000 + "7"},
    ]
    file = tmp_path / "g.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + "\n")
    assert main(["grade", "--file", str(file)]) == 0
    statuses = [json.loads(line)["status"] for line in capsys.readouterr().out.splitlines()]
    assert statuses == ["correct"] * 4 + ["unparseable", "unparseable", "correct"]


def test_grade_takes_golds_as_a_run_writes_them_and_files_with_a_mark_before_utf_8(capsys, tmp_path):
    either = json.dumps({"any": ["1", "2"]})
    assert main(["grade", "--gold", either, "--answer", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "correct"
    rows = [{"gold": json.loads(either), "answer": "2"}, {"gold": either, "answer": 3}, {"gold": 2, "answer": 2}]
    file = tmp_path / "g.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8-sig")
    assert main(["grade", "--file", str(file)]) == 0
    graded = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["status"] for row in graded] == ["correct", "wrong", "correct"]


def test_grade_writes_verdicts_while_it_reads(capsys, refused, tmp_path):
    file = tmp_path / "g.jsonl"
    file.write_text('{"gold": "2", "answer": "3"}\n' * 600 + "torn")
    assert main(["grade", "--file", str(file)]) == 2
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 512 and f"{file}:601" in output.err


@pytest.mark.parametrize("line", ['{"gold": null, "answer": "2"}', '{"gold": "", "answer": "2"}', "[1]", "[" * 100_000,
                                  '{"gold": "2", "answer": null}', '{"gold": NaN, "answer": "2"}'])  # fmt: skip
def test_grade_refuses_what_is_no_gold_in_one_line(refused, tmp_path, line):
    file = tmp_path / "g.jsonl"
    file.write_text(line + "\n")
    assert f"{file}:1" in refused("grade", "--file", file)
    assert "gold answer is empty" in refused("grade", "--gold", " ", "--answer", "2")


def test_grade_says_which_line_is_broken(refused, tmp_path):
    file = tmp_path / "g.jsonl"
    file.write_text('{"gold": "2", "answer": "3"}\n{"gold": "2"}\n')
    assert f"{file}:2" in refused("grade", "--file", file)


def test_toy_data_is_what_the_pipeline_reads(tmp_path, refused):
    from rftt.data.problems import load_problems

    out = tmp_path / "toy.jsonl"
    assert main(["toy", "data", str(out), "--count", "12", "--split", "validation"]) == 0
    assert len(load_problems(out)) == 12
    assert "exists already" in refused("toy", "data", out)
    assert "--count is 0" in refused("toy", "data", tmp_path / "none.jsonl", "--count", "0")


def test_tokens_wants_a_folder_or_a_config(refused):
    assert "OUT" in refused("tokens", "some/model")
    assert "OUT" in refused("tokens", "some/model", "out", "one-too-many")


def test_a_share_that_is_not_there(refused, tmp_path):
    common = [TOY, f"run={tmp_path / 'r'}", "data.train_limit=8", "data.eval_limit=8", "search.processes=2"]
    assert "expected 0 to 1" in refused("search", *common, "--share", "2")


def test_a_file_where_a_run_folder_should_be(refused, tmp_path):
    file = tmp_path / "run"
    file.write_text("kept")
    for name in ("run", "search", "eval"):
        assert f"{file} is no folder" in refused(name, TOY, f"run={file}")
    assert str(file) in refused("search", TOY, f"run={file}/deeper")
    assert "no run folder" in refused("view", file)
    assert file.read_text() == "kept"


def test_a_folder_that_nobody_may_write_to(refused, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    folder.mkdir()
    opened = os.open

    def read_only(path, flags, *more, **named):
        if str(path).startswith(str(folder)) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return opened(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", read_only)
    line = refused("search", TOY, f"run={folder}")
    assert "cannot be written to" in line and "Read-only" in line and "run=FOLDER" in line


@pytest.mark.parametrize("name", [
    "search/trees.jsonl", "search/chains.jsonl", "eval/samples-base.jsonl", "eval/trees-base.jsonl", "metrics.jsonl",
    "rl/rollouts.jsonl", "shad/roles.jsonl", "summary.json", "eval/base.json", "config.yaml", "functions.yaml",
])  # fmt: skip
def test_a_folder_that_is_named_like_a_file_of_a_run(tmp_path, capsys, name):
    run = tmp_path / "run.jsonl"
    (run / name).mkdir(parents=True)
    (run / "metrics.jsonl").exists() or (run / "metrics.jsonl").write_text("")
    (run / "search").mkdir(exist_ok=True)
    code = main(["view", str(run)])
    err = capsys.readouterr().err
    assert code in (0, 1, 2) and "Traceback" not in err and err.count("\n") <= 1
    assert (run / "report.html").exists() == (code == 0)


def test_a_folder_as_a_file_of_questions(refused, tmp_path):
    folder = tmp_path / "d.jsonl"
    folder.mkdir()
    assert str(folder) in refused("search", TOY, f"data.train={folder}", f"run={tmp_path / 'r'}")
    assert str(folder) in refused("grade", "--file", folder)
    assert str(folder) in refused("solve", "--file", folder, "--model", "toy")


@pytest.mark.parametrize(("command", "goes_on"), [
    (["grade", "--gold", "1", "--answer", "1"], False), (["view", "nowhere"], False), (["data", "check", "a", "b"], False),
    (["solve", "1?", "--model", "m"], False), (["solve", "1?", "--model", "m", "--out", "{tmp}/o.jsonl"], True),
    (["run", TOY, "run={tmp}/r"], True), (["search", TOY, "run={tmp}/r"], True), (["eval", TOY, "run={tmp}/r"], True),
    (["eval", "--compare", "a", "b"], False), (["tokens", "m", "{tmp}/o"], False), (["export", "a", "b"], False),
])  # fmt: skip
def test_that_a_command_goes_on_is_said_only_where_it_does(command, goes_on, tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    for place in (
        "rewards.grade", "rftt.report.write_report", "rftt.data.contamination.check", "rftt.answering.solve.solve",
        "rftt.pipeline._run", "rftt.phases.search_phase.problems", "rftt.phases.evaluation.unmeasured",
        "rftt.evaluate.compare.compare_runs", "rftt.model.vocabulary.add_functional_tokens",
        "rftt.publish.export.check_export",
    ):  # fmt: skip
        monkeypatch.setattr(place, interrupted)
    monkeypatch.setattr("rftt.pipeline.prepare", lambda config: config.folder / "config.yaml")
    monkeypatch.setattr("rftt.answering.solve._context", lambda *_: 512)
    monkeypatch.setattr("rftt.model.function_sets.functions_of_model", lambda _: None)
    assert main([word.format(tmp=tmp_path) for word in command]) == 1
    assert ("goes on" in capsys.readouterr().err) == goes_on


def test_a_full_disk_is_one_line(monkeypatch, capsys, tmp_path):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "trees.jsonl"))

    monkeypatch.setattr("rftt.pipeline.prepare", lambda config: None)
    monkeypatch.setattr("rftt.phases.search_phase.problems", full)
    assert main(["search", TOY, f"run={tmp_path / 'r'}"]) == 1
    err = capsys.readouterr().err
    assert err == f"rftt: {tmp_path / 'trees.jsonl'}: No space left on device; the same command goes on from here\n"


def test_lines_nested_without_end_are_one_line(refused, tmp_path):
    file = tmp_path / "d.jsonl"
    file.write_text("[" * 100_000)
    assert f"{file}:1" in refused("grade", "--file", file)
    assert f"{file}:1" in refused("search", TOY, f"data.train={file}", f"run={tmp_path / 'r'}")
