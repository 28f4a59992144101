"""The questions of a run: each benchmark is measured on its own."""

import json

import pytest

from rftt.config import from_dict
from rftt.data.questions import benchmark_problems, benchmarks, problems
from rftt.errors import UsageError


@pytest.fixture
def asked(tmp_path):
    """The questions of a run whose benchmark is this file; it is made with one question."""

    def ask(file, text):
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"question": text, "answer": "2"}) + "\n")
        data = {"train_limit": 4, "eval_limit": 2}
        config = from_dict({"run": str(tmp_path / "run"), "data": data, "eval": {"benchmarks": [str(path)]}})
        problems(config)
        return [p.question for p in benchmark_problems(config, benchmarks(config)[0])]

    return ask


def test_another_file_of_the_same_name_is_read_until_one_of_them_is_measured(asked, tmp_path):
    assert asked("a/test.jsonl", "What is 1+1?") == ["What is 1+1?"]
    assert asked("b/test.jsonl", "What is 4-2?") == ["What is 4-2?"]
    (tmp_path / "run" / "eval" / "test").mkdir(parents=True)
    assert asked("a/test.jsonl", "What is 1+1?") == ["What is 1+1?"], "nothing is measured in an empty folder"
    (tmp_path / "run" / "eval" / "test" / "base.json").write_text("{}")
    with pytest.raises(UsageError, match=r"b/test\.jsonl: this run has measured .*a/test\.jsonl as test"):
        asked("b/test.jsonl", "What is 4-2?")
    assert asked("moved/test.jsonl", "What is 1+1?") == ["What is 1+1?"]
