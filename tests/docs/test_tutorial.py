"""What docs/tutorial.md tells a reader to write and to type is accepted; `tests.docs.tutorial` runs all of it."""

import json
import shlex
import subprocess
import sys

import pytest

from rftt.cli import build_parser
from rftt.config import load_config
from rftt.data.problems import load_problems
from rftt.pipeline import prepare
from rftt.toy import BASE
from search.function_files import read_functions
from search.journal import read_jsonl
from tests.docs.tutorial import blocks, commands, heredoc


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A folder with the files that the page writes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "model").symlink_to(BASE)
    for name in ("problems.py", "functions.yaml", "config.yaml"):
        (tmp_path / "my" / name).write_text(heredoc(name), encoding="utf-8")
    subprocess.run([sys.executable, "my/problems.py"], check=True)
    return tmp_path / "my"


@pytest.mark.parametrize("line", commands())
def test_every_command_line_is_one(line):
    arguments = build_parser().parse_args(shlex.split(line)[1:])
    assert callable(arguments.run_command)


def test_the_page_goes_through_all_phases():
    assert {line.split()[1] for line in commands()} >= {"tokens", "search", "sft", "rl", "run", "solve", "export"}
    assert all(block.strip() for block in blocks())


def test_the_files_are_accepted_together(written):
    config = load_config("my/config.yaml")
    prepare(config)
    functions = read_functions(written / "functions.yaml")
    assert functions.checking == "check" and functions == read_functions(written / "run" / "functions.yaml")
    assert len(list(read_jsonl(written / "run" / "data" / "train.jsonl"))) > 100


def test_the_problems_have_the_answers_that_the_toy_world_gives(written):
    from rftt.toy.world import Definition, ToyProblem

    for problem in load_problems("my/train.jsonl"):
        body = problem.question.removeprefix("Work modulo 10:").partition(".")[0]
        first, *rest = body.split(",")
        steps = tuple(Definition(d[0], d[2], d[3], int(d[4:])) for d in rest)
        known = ToyProblem(first[0], int(first[2:]), steps)
        assert (known.question, known.answer) == (problem.question, problem.answer)


def test_the_question_of_the_page_is_of_the_same_kind(written):
    [line] = [line for line in commands() if line.startswith('rftt solve "')]
    asked = shlex.split(line)[2]
    shape = json.loads((written / "test.jsonl").read_text().splitlines()[0])["question"]
    assert asked.startswith("Work modulo 10:") and asked.endswith("=?") and shape.startswith("Work modulo 10:")
