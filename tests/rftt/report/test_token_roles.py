"""What the report takes of SHAD's labels."""

from __future__ import annotations

import json

from rftt.report import write_report
from rftt.report.pieces import Pieces
from tests.rftt.report.runs import embedded, labelled, labels, shown, tokenizer_json, write_lines

FILE = "shad/roles.jsonl"


def test_tokens_are_spelled_by_the_tokenizer_of_the_run(tmp_path):
    (tmp_path / "model-with-tokens").mkdir()
    (tmp_path / "model-with-tokens" / "tokenizer.json").write_text(tokenizer_json())
    (tmp_path / "shad").mkdir()
    (tmp_path / "shad" / "summary.json").write_text(json.dumps(labels(1)))
    found = shown(tmp_path, FILE, [labelled(7)])["roles"]
    (chain,) = found["records"]
    assert chain["tokens"] == [" apple", " and", "\n", "<clarify>", "\n", " apple", "\n", "</clarify>"]
    assert chain["roles"] == [-1, -1, -1, 0, 0, 1, 0, 0] and chain["ld"][:4] == [None, None, None, -0.75]
    assert (chain["question_id"], chain["length"], found["total"]) == ("q-007", 8, 1)
    assert found["summary"]["functional_tokens"]["<clarify>"]["mean_ld"] == -0.75


def test_without_a_tokenizer_the_ids_are_shown(tmp_path):
    (chain,) = shown(tmp_path, FILE, [labelled(0)])["roles"]["records"]
    assert chain["tokens"][:2] == ["[1]", "[2]"]
    (tmp_path / "model-with-tokens").mkdir()
    (tmp_path / "model-with-tokens" / "tokenizer.json").write_text("{")
    assert Pieces.of_run(tmp_path) is None
    (tmp_path / "model-with-tokens" / "tokenizer.json").write_text(tokenizer_json())
    pieces = Pieces.of_run(tmp_path)
    assert pieces([1, 10**6]) is None and pieces("ab") is None and pieces([1]) == [" apple"]


def test_many_chains_are_sampled_and_a_line_that_is_none_is_told(tmp_path):
    uneven = {**labelled(1), "ld": [0.1]}
    data = shown(tmp_path, FILE, [labelled(0), uneven, *(labelled(i) for i in range(2, 38)), {"ids": 3}])
    assert data["roles"]["total"] == 39 and len(data["roles"]["records"]) == 37
    assert data["notes"] == [f"{FILE}: 2 unreadable lines were left out"]
    data = shown(tmp_path, FILE, (labelled(i, 2000) for i in range(60)))
    kept = data["roles"]["records"]
    assert data["roles"]["total"] == 60 and 5 < len(kept) < 40
    assert kept[0]["sample"] == "0" and kept[-1]["sample"] == "59"
    (tmp_path / "shad" / "summary.json").write_text("[")
    data = embedded(write_report(tmp_path))
    assert data["roles"]["summary"] == {} and data["notes"] == ["shad/summary.json: not a JSON object; it was left out"]


def test_the_sign_of_a_tiny_difference_stays(tmp_path):
    record = {**labelled(0), "ld": [None, None, None, -4.7684e-06, 0.0, 8.58314e-06, float("nan"), 1.23456]}
    write_lines(tmp_path / FILE, [record])
    (chain,) = embedded(write_report(tmp_path))["roles"]["records"]
    assert chain["ld"][3:] == [-4.77e-06, 0.0, 8.58e-06, None, 1.23]
