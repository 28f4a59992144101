"""``rftt data check``: overlap is counted from both sides and shown with both texts."""

import json

import pytest

from rftt.cli import main
from rftt.data.contamination import check, read_texts
from rftt.data.overlap import contamination
from rftt.errors import UsageError
from search.journal import write_jsonl
from tests.rftt.evaluate.scripted import LONG


@pytest.fixture
def files(tmp_path):
    train = [LONG.format(3, 4), LONG.format(8, 4), "What is 1 + 1?", "Something else?"]
    held_out = [LONG.format(5, 4), "What is 1+1 ?", "Why is that so?"]
    for name, questions in (("train", train), ("test", held_out)):
        rows = [{"id": f"{name}{i}", "question": q, "answer": "2"} for i, q in enumerate(questions)]
        write_jsonl(tmp_path / f"{name}.jsonl", rows)
    return str(tmp_path / "train.jsonl"), str(tmp_path / "test.jsonl")


def test_overlap_is_counted_from_both_sides(files):
    [report] = check(files[0], [files[1]])
    assert (report.train, report.evaluation, report.train_overlaps, report.equal) == (4, 3, 3, 1)
    assert report.eval_overlaps == ["test0", "test1"]
    first, second = report.examples[0], report.examples[1]
    assert first["kind"] == "equal" and first["train"] == "What is 1 + 1?" and first["eval"] == "What is 1+1 ?"
    assert second["kind"] == "ngram" and "hens on the farm" in second["ngram"]
    assert check(files[0], [files[1]], n=30)[0].train_overlaps == 1


def test_the_command_shows_examples_and_ends_with_1_only_where_it_shall(files, tmp_path, capsys):
    train, held_out = files
    assert main(["data", "check", train, held_out, "--examples", "1"]) == 0
    shown = capsys.readouterr().out
    assert "2 of 3 questions (66.7%) overlap" in shown and shown.count("    train ") == 1 and "What is 1 + 1?" in shown
    with pytest.raises(SystemExit) as ended:
        main(["data", "check", train, held_out, "--strict"])
    assert ended.value.code == 1
    capsys.readouterr()
    clean = str(tmp_path / "clean.jsonl")
    write_jsonl(tmp_path / "clean.jsonl", [{"question": "Why?", "answer": "1"}])
    assert main(["data", "check", train, clean, held_out, "--json"]) == 0
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [r["eval_overlaps"] for r in reports] == [[], ["test0", "test1"]]
    assert main(["data", "check", train, clean, "--strict"]) == 0


def test_conversations_are_compared_by_what_the_user_says(files, tmp_path):
    turns = [{"role": "user", "content": "What is 1 + 1?"}, {"role": "assistant", "content": LONG.format(5, 4)}]
    write_jsonl(tmp_path / "chains.jsonl", [{"question_id": "t7", "messages": turns}] * 2)
    assert [(t.id, t.question) for t in read_texts(str(tmp_path / "chains.jsonl"))] == [("t7", "What is 1 + 1?")]
    [report] = check(str(tmp_path / "chains.jsonl"), [files[1]])
    assert report.eval_overlaps == ["test1"]
    write_jsonl(tmp_path / "bad.jsonl", [{"messages": "hello"}])
    with pytest.raises(UsageError, match="bad.jsonl:1: messages is no list"):
        read_texts(str(tmp_path / "bad.jsonl"))


def test_texts_with_one_id_are_shown_with_their_own_words(files, tmp_path):
    said = [[{"role": "user", "content": text}] for text in ("What is 1 + 1?", "Something else?")]
    write_jsonl(tmp_path / "chains.jsonl", [{"question_id": "t7", "messages": messages} for messages in said])
    [report] = check(str(tmp_path / "chains.jsonl"), [files[1]])
    assert report.examples[0]["train"] == "What is 1 + 1?"


def test_problems_whose_column_of_messages_is_empty_are_problems(tmp_path):
    write_jsonl(tmp_path / "p.jsonl", [{"problem": "a?", "answer": 1, "messages": None}])
    assert [t.question for t in read_texts(str(tmp_path / "p.jsonl"))] == ["a?"]


def test_published_training_and_test_questions(shared_data):
    [gsm8k, svamp] = check(
        str(shared_data / "math" / "gsm8k_train.jsonl"), ["gsm8k", "svamp"], root=str(shared_data / "math")
    )
    assert (gsm8k.train_overlaps, len(gsm8k.eval_overlaps), gsm8k.equal) == (4, 3, 0)
    assert svamp.train_overlaps == 0


def test_unknown_sets_and_lengths_are_refused(files):
    with pytest.raises(UsageError, match="no benchmark and no file"):
        check(files[0], ["math50"])
    with pytest.raises(UsageError, match="not positive"):
        check(files[0], [files[1]], n=0)


def test_nothing_in_common_is_nothing():
    assert contamination([], []).train == () and contamination([], []).evaluation == ()
