"""Tables of every kind, also those that are not quite right: values as they were meant, or one line."""

import json

import pyarrow
import pyarrow.parquet
import pytest

from rftt.data.problems import load_problems
from rftt.data.tables import read_table
from rftt.errors import UsageError


def parquet(path, **columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def test_float32_is_the_decimal_that_was_written(tmp_path):
    numbers = pyarrow.array([0.1, 2.5, None], pyarrow.float32())
    inner = pyarrow.array([{"a": [0.7]}] * 3, pyarrow.struct([("a", pyarrow.list_(pyarrow.float32()))]))
    rows = read_table(parquet(tmp_path / "p.parquet", answer=numbers, nested=inner))
    assert [row.values["answer"] for row in rows] == [0.1, 2.5, None] and rows[0].values["nested"] == {"a": [0.7]}
    assert [row.values["answer"] for row in read_table(tmp_path)] == [0.1, 2.5, None]


def test_bytes_are_text_and_what_is_no_utf_8_is_told_where_it_matters(tmp_path):
    questions = [b"a?", b"b?", b"caf\xe9?"]
    for kind in ("binary", "string"):
        column = pyarrow.array(questions)
        column = column.view(pyarrow.string()) if kind == "string" else column
        found = load_problems(parquet(tmp_path / f"{kind}.parquet", question=column, answer=["1", "2", "3"]))
        assert [p.question for p in found] == ["a?", "b?"] and found.dropped == {"a question that is not UTF-8": 1}
    aside = {"question": ["a?", "b?", "c?"], "answer": ["1", "2", "3"], "level": column}
    assert len(load_problems(parquet(tmp_path / "aside.parquet", **aside))) == 3


def test_a_date_that_python_cannot_hold_does_no_harm(tmp_path):
    far = pyarrow.array([2**52, 5], pyarrow.timestamp("ms"))
    rows = read_table(parquet(tmp_path / "p.parquet", question=["a?", "b?"], answer=["1", "2"], at=far))
    assert rows[0].values["at"] is None and rows[1].values["at"].year == 1970
    assert len(load_problems(tmp_path / "p.parquet")) == 2


def test_a_chat_as_pandas_writes_it_to_csv(tmp_path):
    (tmp_path / "p.csv").write_text(
        "prompt,reward_model\n"
        "\"[{'role': 'user', 'content': 'What is 2+3?'}]\",\"{'ground_truth': '5', 'style': 'rule'}\"\n"
        "\"[{1}, {2}] has how many sets?\",\"{'ground_truth': '2'}\"\n"
        "\"[{'role': 'user', 'content': 'a'}\n {'role': 'user'}]\",\"{'ground_truth': '2'}\"\n"
    )
    found = load_problems(tmp_path / "p.csv")
    assert [(p.question, p.answer) for p in found] == [("What is 2+3?", "5"), ("[{1}, {2}] has how many sets?", "2")]
    assert found.dropped == {"a chat that cannot be read": 1}


def test_blanks_around_the_names_of_columns(tmp_path):
    (tmp_path / "p.csv").write_text('question, answer\n"a, b?", "3"\n')
    assert [(p.question, p.answer) for p in load_problems(tmp_path / "p.csv")] == [("a, b?", "3")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"columns": ["question", "answer"], "data": [["a?"]]}, "row 1 of data is no list of 2 values"),
        ({"columns": ["question", "answer"], "data": [1]}, "row 1 of data is no list of 2 values"),
        ({"columns": 2, "data": [["a?", 1]]}, "columns is no list of names"),
    ],
)
def test_an_object_that_is_no_table_is_one_line(tmp_path, content, message):
    (tmp_path / "p.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=message):
        read_table(tmp_path / "p.json")


@pytest.mark.parametrize(
    "content",
    [
        {"columns": ["question", "answer"], "data": [{"question": "a?", "answer": "5"}]},
        {"question": "a?", "answer": "5", "tags": ["x"]},
        {"question": "a?", "answer": "5", "tags": []},
        {"prompt": [{"role": "user", "content": "a?"}], "reward_model": {"ground_truth": "5"}},
        {"version": 1, "data": [{"question": "a?", "answer": "5"}]},
    ],
)
def test_one_record_and_records_in_an_object(tmp_path, content):
    (tmp_path / "p.json").write_text(json.dumps(content))
    assert [(p.question, p.answer) for p in load_problems(tmp_path / "p.json")] == [("a?", "5")]


def test_half_a_character_as_bytes_is_replaced(tmp_path):
    (tmp_path / "p.jsonl").write_bytes(b'{"question": "cut \xed\xa0\xbd?", "answer": 1}\n')
    [found] = load_problems(tmp_path / "p.jsonl")
    assert found.question == "cut \ufffd?"


def test_an_answer_nested_deep_is_counted(tmp_path):
    deep = "[" * 900 + "]" * 900
    rows = [f'{{"question": "{i}?", "answer": {deep if i == 2 else i}}}' for i in range(5)]
    (tmp_path / "p.jsonl").write_text("\n".join(rows))
    assert load_problems(tmp_path / "p.jsonl").dropped == {"a list within a list, not an answer": 1}


def test_a_folder_names_the_file_that_cannot_be_read(tmp_path, capfd):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text('{"question": "a?", "answer": 1}\n{"question":\n')
    with pytest.raises(UsageError, match=r"train\.jsonl:2: not JSON"):
        read_table(tmp_path / "data")
    assert capfd.readouterr().err == ""
    (tmp_path / "zipped").mkdir()
    (tmp_path / "zipped" / "train.zip").write_bytes(b"PK")
    with pytest.raises(UsageError, match="not a zip file"):
        read_table(tmp_path / "zipped")
