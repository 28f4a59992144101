"""The log of steps: whatever a kill has torn is mended, and nothing else is lost."""

import json

from rftt.runtime.step_log import StepLog
from search.journal import read_jsonl


def test_a_line_that_is_torn_inside_a_character_is_dropped(tmp_path):
    path = tmp_path / "rollouts.jsonl"
    StepLog(path, "rl").write(1, {"text": "né"})
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: whole.index(b"\xc3") + 1])
    StepLog(path, "rl", after=1)
    assert path.read_bytes() == whole


def test_characters_that_break_lines_elsewhere_do_not_here(tmp_path):
    path = tmp_path / "rollouts.jsonl"
    log = StepLog(path, "rl")
    for step in (1, 2, 3):
        log.write(step, {"text": "a\u2028b\x85c"})
    StepLog(path, "rl", after=2)
    assert [record["step"] for record in read_jsonl(path)] == [1, 2]


def test_a_whole_last_line_without_its_end_is_ended(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"phase": "rl", "step": 1}))
    StepLog(path, "rl", after=1).write(2, {})
    assert [record["step"] for record in read_jsonl(path)] == [1, 2]


def test_a_process_that_drops_lines_leaves_the_file_to_those_that_append(tmp_path):
    path = tmp_path / "metrics.jsonl"
    StepLog(path, "rl").write(1, {})
    with open(path, "ab") as other:
        StepLog(path, "rl").write(2, {})
        StepLog(path, "rl", after=1)
        other.write(b'{"phase": "search", "step": 7}\n')
    assert [(record["phase"], record["step"]) for record in read_jsonl(path)] == [("rl", 1), ("search", 7)]
