"""The journal: a kill at any byte loses at most the last record, and the final file is the same."""

import pytest

from search.journal import Journal, read_jsonl, write_jsonl

RECORDS = [{"question_id": f"q{i}", "text": "ünïcode\n" * i} for i in range(5)]


def test_a_kill_at_every_byte_loses_at_most_the_torn_record(tmp_path):
    whole = Journal(tmp_path / "whole.jsonl")
    for record in RECORDS:
        whole.append(record)
    data = (tmp_path / "whole.jsonl.partial").read_bytes()
    order = [r["question_id"] for r in RECORDS]
    whole.finish(order)
    expected = (tmp_path / "whole.jsonl").read_bytes()
    for cut in range(len(data) + 1):
        path = tmp_path / f"{cut}.jsonl"
        path.with_name(path.name + ".partial").write_bytes(data[:cut])
        journal = Journal(path)
        assert len(journal) == data[:cut].count(b"\n")
        for record in reversed(RECORDS):
            if record["question_id"] not in journal:
                journal.append(record)
        journal.finish(order)
        assert path.read_bytes() == expected


def test_a_finished_journal_is_read_and_not_written(tmp_path):
    journal = Journal(tmp_path / "a.jsonl")
    journal.append(RECORDS[0])
    journal.finish(["q0"])
    again = Journal(tmp_path / "a.jsonl")
    assert again.finished and list(again.read([])) == RECORDS[:1] == list(read_jsonl(tmp_path / "a.jsonl"))
    with pytest.raises(ValueError, match="finished"):
        again.append(RECORDS[1])


def test_the_final_file_has_the_wanted_order(tmp_path):
    journal = Journal(tmp_path / "a.jsonl")
    for record in reversed(RECORDS):
        journal.append(record)
    journal.finish([r["question_id"] for r in RECORDS])
    assert list(read_jsonl(tmp_path / "a.jsonl")) == RECORDS
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_file_that_could_not_be_written_leaves_nothing(tmp_path):
    def records():
        yield RECORDS[0]
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write_jsonl(tmp_path / "a.jsonl", records())
    assert not list(tmp_path.iterdir())


def test_half_a_character_spoils_no_other_record(tmp_path):
    journal = Journal(tmp_path / "a.jsonl")
    journal.append({"question_id": "a", "text": "x\ud83d"})
    journal.append({"question_id": "b"})
    journal.finish(["a", "b"])
    assert list(read_jsonl(tmp_path / "a.jsonl")) == [{"question_id": "a", "text": "x?"}, {"question_id": "b"}]
