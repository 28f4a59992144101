"""Data as people have it: published layouts are recognised, odd files are read, and what is no answer is told."""

from __future__ import annotations

import gzip
import json

import pytest

from rftt.config import from_dict
from rftt.data.layouts import known_layouts, value_at
from rftt.data.problems import load_problems
from rftt.data.questions import problems as problems_of_run
from rftt.errors import UsageError
from search.grading import alternatives
from tests.rftt.data.test_problems import numbered, write_jsonl

DAPO = (
    "Solve the following math problem step by step. The last line of your response should be of the form Answer: $Answer "
    "(without quotes) where $Answer is the answer to the problem.\n\n{}\n\nRemember to put your answer on its own line "
    'after "Answer:".'
)


VERL_GSM8K = 'Let\'s think step by step and output the final answer after "####".'


def chat(*turns):
    roles = {"s": "system", "u": "user", "a": "assistant"}
    return [{"role": roles[t[0]], "content": t[1:]} for t in turns]


# layout → a row of it, and the question, answers, subject and level in it
ROWS = {
    "DAPO-Math-17k": (
        {"data_source": "math_dapo", "prompt": chat("u" + DAPO.format("What is $1+1$?")), "ability": "MATH",
         "reward_model": {"ground_truth": "2", "style": "rule-lighteval/MATH_v2"}, "extra_info": {"index": "9a-7"}},
        ("What is $1+1$?", ["2"], "MATH", None)),
    "Skywork-OR1": (
        {"data_source": "train-math-numinamath", "prompt": chat("uWhat is 1/2?"), "ability": "math",
         "reward_model": {"ground_truth": '["\\\\frac{1}{2}", "0.5"]', "style": "rule"},
         "extra_info": {"index": 3, "model_difficulty": {"small": 2}}},
        ("What is 1/2?", [r"\frac{1}{2}", "0.5"], "math", None)),
    "verl's GSM8K": (
        {"data_source": "openai/gsm8k", "ability": "math",
         "prompt": chat("sBe brief.", f"uHow many clips? {VERL_GSM8K}"),
         "reward_model": {"style": "rule", "ground_truth": ["72"]}},
        ("How many clips?", ["72"], "math", None)),
    "DeepScaleR": (
        {"problem": "What is 1+1?", "answer": "2", "solution": "It is $1+1=2$."}, ("What is 1+1?", ["2"], None, None)),
    "OpenR1-Math": (
        {"problem": "What is 1+1?", "solution": "so $\\boxed{2}$", "answer": "2", "problem_type": "Algebra",
         "question_type": "math-word-problem", "source": "olympiads", "uuid": "u-1", "is_reasoning_complete": [True],
         "generations": ["<think>"], "messages": chat("uWhat is 1+1?", "a<think>")},
        ("What is 1+1?", ["2"], "Algebra", None)),
    "NuminaMath-CoT": (
        {"source": "cn_k12", "problem": "What is 1+1?", "solution": "It is $\\boxed{2}$.",
         "messages": chat("uWhat is 1+1?", "aIt is $\\boxed{2}$.")}, ("What is 1+1?", ["2"], None, None)),
    "NuminaMath-1.5": (
        {"problem": "What is 1+1?", "solution": "x", "answer": "2", "problem_type": "Number Theory",
         "question_type": "MCQ", "source": "aops", "synthetic": False}, ("What is 1+1?", ["2"], "Number Theory", None)),
    "Big-Math": (
        {"problem": "What is 1+1?", "answer": "2", "source": "orca_math", "llama8b_solve_rate": 0.5,
         "domain": ["Mathematics -> Algebra -> Other", "Mathematics -> Sums"]},
        ("What is 1+1?", ["2"], "Mathematics -> Algebra -> Other", None)),
    "MetaMathQA": (
        {"type": "GSM_Rephrased", "query": "How many eggs?", "original_question": "Eggs?",
         "response": "She has 10 times 11.\n#### 110\nThe answer is: 110"},
        ("How many eggs?", ["110"], "GSM_Rephrased", None)),
    "MetaMathQA of MATH": (
        {"type": "MATH_FOBAR", "query": "What is X?", "original_question": "?",
         "response": "So.\nThe answer is: -\\sqrt{2}"},
        ("What is X?", ["-\\sqrt{2}"], "MATH_FOBAR", None)),
    "ShareGPT": (
        {"conversations": [{"from": "human", "value": "What is 1+1?"}, {"from": "gpt", "value": "\\boxed{2}"}]},
        ("What is 1+1?", ["2"], None, None)),
    "messages with parts": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is 1+1?"}]}, *chat("a#### 2")]},
        ("What is 1+1?", ["2"], None, None)),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_published_layouts_load_without_a_mapping(tmp_path, name):
    row, (question, answers, subject, level) = ROWS[name]
    [found] = load_problems(write_jsonl(tmp_path / "p.jsonl", [row]))
    assert (found.question, found.subject, found.level) == (question, subject, level)
    assert alternatives(found.answer) == answers


def test_parquet_holds_nested_columns_as_well(tmp_path):
    import pyarrow
    import pyarrow.parquet

    rows = [ROWS["DAPO-Math-17k"][0], {**ROWS["DAPO-Math-17k"][0], "prompt": chat("uWhat is 1+2?")}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "p.parquet")
    assert [p.question for p in load_problems(tmp_path / "p.parquet")] == ["What is $1+1$?", "What is 1+2?"]


def test_a_path_leads_into_nested_columns(tmp_path):
    rows = [{"q": {"text": ["What?"]}, "meta": json.dumps({"gold": {"value": 4}})}]
    path = write_jsonl(tmp_path / "p.jsonl", rows)
    config = from_dict({"data": {"columns": {"question": "q.text.0", "answer": "meta.gold.value"}}})
    [found] = load_problems(path, columns=config.data.columns)
    assert (found.question, found.answer) == ("What?", "4")
    with pytest.raises(UsageError, match=r"no column 'q\.txt'; there are q\.text, meta"):
        load_problems(path, columns={"question": "q.txt", "answer": "meta.gold.value"})
    assert value_at({"a.b": 1, "a": {"b": 2}}, "a.b") == 1, "a column of that very name comes first"


def test_orca_math_without_marked_answers_is_told(tmp_path):
    rows = [{"question": f"How many, {i}?", "answer": "Let us count what there is. " * 3 + f"So there are {i} of them."}
            for i in range(4)]  # fmt: skip
    with pytest.raises(UsageError, match=r"4 of 4 rows cannot be used: 4 × prose, not a final answer \(line 1: Let us"):
        load_problems(write_jsonl(tmp_path / "p.jsonl", rows))


UNUSABLE = {
    "proof": "it says that there is no answer",
    "notfound": "it says that there is no answer",
    "We see at once that the claim of the problem holds for all even numbers as shown.": "prose, not a final answer",
    "t(0,4]": "the grader cannot read it",
}


def test_answers_that_nothing_can_match_are_counted_by_reason(tmp_path, caplog):
    rows = [*numbered(20), *({"question": f"Show {i}", "answer": gold} for i, gold in enumerate(UNUSABLE))]
    rows.append({"question": "What?", "answer": {"value": 3}})
    path = write_jsonl(tmp_path / "p.jsonl", rows)
    found = load_problems(path)
    assert len(found) == 20
    assert found.dropped == {
        "it says that there is no answer": 2, "prose, not a final answer": 1, "the grader cannot read it": 1,
        "an object, not an answer": 1,
    }  # fmt: skip
    assert found.examples["it says that there is no answer"] == ["line 21: proof", "line 22: notfound"]
    assert '1 × an object, not an answer (line 25: {"value": 3})' in caplog.text
    with pytest.raises(UsageError, match=r"5 of 25 rows cannot be used: 2 × it says .*data\.unusable=drop"):
        load_problems(path, unusable="stop")


def test_the_mode_is_a_setting_of_the_run(tmp_path):
    write_jsonl(tmp_path / "train.jsonl", [*numbered(9), {"question": "Why?", "answer": "proof"}])
    write_jsonl(tmp_path / "eval.jsonl", [{"question": "What is 70 + 7?", "answer": "77"}])
    data = {"train": str(tmp_path / "train.jsonl"), "eval": str(tmp_path / "eval.jsonl")}
    train, _ = problems_of_run(from_dict({"run": str(tmp_path / "a"), "data": data}))
    assert len(train) == 9
    counts = json.loads((tmp_path / "a" / "data" / "counts.json").read_text())
    assert counts["rows_left_out"] == {"train": {"it says that there is no answer": 1}, "eval": {}}
    with pytest.raises(UsageError, match="1 of 10 rows cannot be used"):
        problems_of_run(from_dict({"run": str(tmp_path / "b"), "data": {**data, "unusable": "stop"}}))


def test_answers_of_ones_own_reward_function_are_not_judged(tmp_path):
    rows = [{"question": "Write it.", "answer": {"words": ["a", "b"]}}, {"question": "Prove.", "answer": "proof"}]
    found = load_problems(write_jsonl(tmp_path / "p.jsonl", rows), graded=False)
    assert [p.answer for p in found] == ['{"words": ["a", "b"]}', "proof"]


def test_alternatives_that_cannot_be_read_are_left_out(tmp_path):
    rows = [*numbered(3), {"question": "What?", "answer": ["proof", "7", "7.0"]}]
    assert alternatives(load_problems(write_jsonl(tmp_path / "p.jsonl", rows))[3].answer) == ["7", "7.0"]


def test_a_conversation_of_several_turns_is_no_question(tmp_path):
    rows = [*numbered(3), {"question": chat("uHello", "aHi", "uWhat is 1?"), "answer": "1"}]
    found = load_problems(write_jsonl(tmp_path / "p.jsonl", rows))
    assert found.dropped == {"a conversation of several turns, not a question": 1}


def test_what_pandas_writes_is_read(tmp_path):
    rows = numbered(3)
    columns = {name: {str(i): row[name] for i, row in enumerate(rows)} for name in ("question", "answer")}
    ways = {
        "columns": columns,
        "index": {str(i): row for i, row in enumerate(rows)},
        "split": {"columns": ["question", "answer"], "index": [0, 1, 2], "data": [list(row.values()) for row in rows]},
        "table": {"schema": {"fields": []}, "data": rows},
        "lists": {name: [row[name] for row in rows] for name in ("question", "answer")},
    }
    expected = load_problems(write_jsonl(tmp_path / "p.jsonl", rows))
    for name, content in ways.items():
        (tmp_path / "p.json").write_text(json.dumps(content))
        assert [p.question for p in load_problems(tmp_path / "p.json")] == [p.question for p in expected], name


def test_gzip_files_of_every_kind(tmp_path):
    rows = numbered(3)
    csv = "question,answer\n" + "".join(f"{r['question']},{r['answer']}\n" for r in rows)
    for name, text in {
        "p.jsonl.gz": "".join(json.dumps(r) + "\n" for r in rows), "p.json.gz": json.dumps(rows), "p.csv.gz": csv,
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(gzip.compress(text.encode()))
        found = load_problems(tmp_path / name)
        assert [p.answer for p in found] == ["1", "2", "3"] and found[0].source == "p"
    (tmp_path / "torn.jsonl.gz").write_bytes(gzip.compress(b'{"question": "a"}\n' * 900)[:-12])
    (tmp_path / "none.jsonl.gz").write_bytes(b"no gzip")
    for name in ("torn", "none"):
        with pytest.raises(UsageError, match="not a whole gzip file"):
            load_problems(tmp_path / f"{name}.jsonl.gz")


def test_semicolons_and_long_cells(tmp_path):
    long = "x" * 200_000
    (tmp_path / "p.csv").write_text(f'question;answer\n"What, then?; {long}";2,5\n', encoding="utf-8")
    [found] = load_problems(tmp_path / "p.csv")
    assert found.question == f"What, then?; {long}" and found.answer == "2,5"
    (tmp_path / "q.csv").write_text('"question; all of it",answer\nWhat?,2\n', encoding="utf-8")
    [found] = load_problems(tmp_path / "q.csv", columns={"question": "question; all of it", "answer": "answer"})
    assert found.question == "What?"


def test_halves_of_characters_are_replaced(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"question": "cut \\ud83d: and whole \\ud83d\\ude00?", "answer": "2"}\n')
    [found] = load_problems(tmp_path / "p.jsonl")
    assert found.question == "cut \ufffd: and whole 😀?"
    found.question.encode()


def test_every_known_layout_names_its_columns():
    assert len(known_layouts()) > 10
    for name, layout in known_layouts().items():
        assert set(layout.columns) == {"question", "answer"} and layout.lists in ("any", "all"), name


TRIALS = {
    "F2_dapo.jsonl": [("What is 1+1?", ["2"])],
    "F3_lists.jsonl": [("What is 1+1?", ["2", "2.0"]), ("Corners?", ["(1, 2), (3, 4)"])],
    "F3_pandas.json": [("What is 1+1?", ["2"]), ("What is 1+2?", ["3"])],
    "F5_surrogate.jsonl": [("cut char \ufffd: what is 1+1?", ["2"])],
}


@pytest.mark.parametrize("name", TRIALS)
def test_files_that_failed_load_right(shared_trials, name):
    found = load_problems(shared_trials / name)
    assert [(p.question, alternatives(p.answer)) for p in found] == TRIALS[name]


def test_a_file_of_proofs_is_told(shared_trials):
    with pytest.raises(
        UsageError, match=r"2 of 2 rows cannot be used: 2 × it says that there is no answer \(line 1: proof"
    ):
        load_problems(shared_trials / "F3_numina15.jsonl")
