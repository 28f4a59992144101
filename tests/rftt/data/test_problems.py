"""Published layouts become one schema; bad files are refused with file, line, column and remedy; overlap is found."""

from __future__ import annotations

import csv
import json
import random

import pytest

from rftt.data.overlap import words
from rftt.data.problems import Problem, find_overlap, load_problems, read_answer, refuse_overlap
from rftt.errors import UsageError

# file → problems, position, (answer, level, subject) there; of two files one gold is garbage
PUBLISHED = {
    "gsm8k_train": (7473, 0, ("72", None, None)),
    "gsm8k_test": (1319, 1318, ("14", None, None)),
    "math_train": (7470, 0, ("0", "5", "Algebra")),
    "math500_test": (500, 0, (r"\left( 3, \frac{\pi}{2} \right)", "2", "Precalculus")),
    "svamp_test": (1000, 0, ("145", None, "Common-Division")),
    "amc23_test": (40, 0, ("27", None, None)),
    "aime24_test": (30, 7, ("025", None, None)),
    "olympiadbench_test": (674, 0, ("2", None, "Combinatorics")),
    "minerva_math_test": (271, 0, ("1.6", None, "Introduction to Astronomy (8.282J Spring 2006)")),
}


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def numbered(count, **fields):
    return [{"question": f"What is {i} + 1?", "answer": str(i + 1), **fields} for i in range(count)]


def problem(question, id="p"):
    return Problem(id, question, "0", "test")


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_load_without_a_mapping(shared_data, name):
    count, position, expected = PUBLISHED[name]
    problems = load_problems(shared_data / "math" / f"{name}.jsonl")
    assert len(problems) == count == len({p.id for p in problems})
    found = problems[position]
    assert (found.answer, found.level, found.subject) == expected
    assert found.source == name
    assert all("\\boxed" not in p.answer and "####" not in p.answer for p in problems)


def test_gsm8k_answers_are_numbers_without_commas(shared_data):
    problems = load_problems(shared_data / "math" / "gsm8k_train.jsonl")
    assert all(p.answer.lstrip("-").replace(".", "").isdigit() for p in problems)
    assert "109200000" in {p.answer for p in problems}


def test_rows_without_an_answer_are_dropped_and_counted(shared_data):
    assert load_problems(shared_data / "math" / "math_train.jsonl").dropped == {"no answer": 4}


@pytest.mark.parametrize(
    ("value", "is_solution", "answer"),
    [
        ("6 * 2 = 12\n#### 1,080", True, "1080"),
        ("#### -3.5", True, "-3.5"),
        ("#### 1,2", True, "1,2"),
        (27.0, False, "27"),
        (0.25, False, "0.25"),
        (7, False, "7"),
        ("025", False, "025"),
        (["$2$"], False, "$2$"),
        (["1", "3"], False, '{"any": ["1", "3"]}'),
        (["2", "2"], False, "2"),
        ([[1, 2], [3, 4]], False, "(1, 2), (3, 4)"),
        ('["\\\\frac{1}{2}", "0.5"]', False, '{"any": ["\\\\frac{1}{2}", "0.5"]}'),
        ("['x']", False, "x"),
        ("110 eggs.\n#### 110\nThe answer is: 110", True, "110"),
        ("It is so.\nThe answer is: \\frac{1}{2}", True, "\\frac{1}{2}"),
        ("The answer is: 110\nThe answer is: 110", False, "110"),
        ([{"role": "user", "content": "?"}, {"role": "assistant", "content": "\\boxed{4}"}], False, "4"),
        (r"so \boxed{1}, no: \boxed{\frac{1}{2}}.", True, r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", True, r"\{1, 2\}"),
        (r"thus \fbox{4}", True, "4"),
        (r"the answer is $\boxed 7$.", True, "7"),
        (r"\boxed{3} and \boxed{4", True, "3"),
        ("x + 1", False, "x + 1"),
        ("long talk without an end", True, ""),
        (None, False, ""),
        (float("nan"), False, ""),
        ("  ", False, ""),
    ],
)
def test_final_answer_of_a_field(value, is_solution, answer):
    assert read_answer(value, is_solution=is_solution) == answer


def test_the_same_problems_from_every_file_type(tmp_path):
    import pyarrow
    import pyarrow.parquet

    rows = numbered(5, level=3, subject="Sums")
    rows[2]["question"] = "Zwei Zeilen\u2028 und\nein „Zitat“, mit Komma?"
    write_jsonl(tmp_path / "p.jsonl", rows)
    (tmp_path / "p.json").write_text(json.dumps(rows))
    write_jsonl(tmp_path / "lines.json", rows)
    (tmp_path / "nested.json").write_text(json.dumps({"version": 1, "data": rows}))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "p.parquet")
    with (tmp_path / "p.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    loaded = [
        [(p.id, p.question, p.answer, p.level, p.subject) for p in load_problems(tmp_path / name)]
        for name in ("p.jsonl", "p.json", "lines.json", "nested.json", "p.parquet", "p.csv")
    ]
    assert all(problems == loaded[0] for problems in loaded)
    assert loaded[0][2][1] == rows[2]["question"]


def test_a_folder_of_data_files_loads_as_datasets_does(tmp_path):
    (tmp_path / "folder").mkdir()
    write_jsonl(tmp_path / "folder" / "train.jsonl", numbered(3))
    write_jsonl(tmp_path / "folder" / "test.jsonl", numbered(2))
    assert len(load_problems(tmp_path / "folder")) == 3
    assert len(load_problems(tmp_path / "folder", split="test")) == 2
    with pytest.raises(UsageError, match="split"):
        load_problems(tmp_path / "folder", split="validation")


def test_an_unreachable_data_set_is_refused_with_a_remedy():
    with pytest.raises(UsageError, match="give the path of a file"):
        load_problems("nobody/no-such-data", name="main")


def test_a_mapping_overrides_what_was_recognised(tmp_path):
    rows = [
        {"problem": "Long?", "question": "Short?", "solution": r"so \boxed{2}", "answer": "wrong", "difficulty": 4.0}
    ]
    path = write_jsonl(tmp_path / "p.jsonl", rows)
    [mapped] = load_problems(path, columns={"question": "problem", "answer": "solution", "subject": "question"})
    assert (mapped.question, mapped.answer, mapped.level, mapped.subject) == ("Long?", "2", "4", "Short?")
    [joined] = load_problems(path, columns={"question": ["problem", "question"]})
    assert joined.question == "Long? Short?"


def test_svamp_body_and_question_are_one_text(tmp_path):
    rows = [{"Body": "Dave has 3 pens", "Question": "How many?", "Answer": 3.0, "ID": "chal-1"}]
    [found] = load_problems(write_jsonl(tmp_path / "p.jsonl", rows))
    assert (found.id, found.question, found.answer) == ("chal-1", "Dave has 3 pens. How many?", "3")


def test_ids_are_the_sources_own_where_unique_and_do_not_depend_on_the_limit(tmp_path):
    own = write_jsonl(tmp_path / "own.jsonl", [{**row, "id": i} for i, row in enumerate(numbered(5))])
    assert [p.id for p in load_problems(own)] == ["0", "1", "2", "3", "4"]
    clash = write_jsonl(tmp_path / "clash.jsonl", [{**row, "id": min(i, 3)} for i, row in enumerate(numbered(5))])
    ids = [p.id for p in load_problems(clash)]
    assert len(set(ids)) == 5 and "0" not in ids
    assert [p.id for p in load_problems(clash, limit=2)] == ids[:2]
    assert [p.id for p in load_problems(write_jsonl(tmp_path / "reordered.jsonl", numbered(5)[::-1]))] == ids[::-1]


def test_repeated_questions_are_dropped_and_counted(tmp_path):
    rows = [*numbered(3), *numbered(1), {"question": "What is 1 + 1?", "answer": "3"}]
    problems = load_problems(write_jsonl(tmp_path / "p.jsonl", rows))
    assert [p.answer for p in problems] == ["1", "2", "3"]
    assert problems.dropped == {"repeated question": 1, "repeated question, other answer": 1}


def test_problems_written_and_read_back_are_the_same(tmp_path):
    problems = [
        Problem("a/1", "Why?", "0", "somewhere", level="5"),
        Problem("b", "How?", "1", "elsewhere", subject="S"),
    ]
    path = write_jsonl(tmp_path / "p.jsonl", [{"schema": 1, **p.to_json()} for p in problems])
    assert load_problems(path) == problems
    assert [Problem.from_json(json.loads(line)) for line in path.read_text().splitlines()] == problems
    assert "level" not in problems[1].to_json()


BAD_LINES = {
    "not JSON": ('{"question": "torn', ":2: not JSON"),
    "not UTF-8": (b'{"question": "\xff", "answer": "1"}', ":2: not JSON"),
    "not an object": ("[1, 2]", ":2: a list"),
    "empty answer": ('{"question": "Why?", "answer": " "}', ":2: no answer in column 'answer'"),
    "absent answer": ('{"question": "Why?"}', ":2: no answer in column 'answer'"),
    "empty question": ('{"question": "", "answer": "1"}', ":2: no question in column 'question'"),
}


@pytest.mark.parametrize("kind", BAD_LINES)
def test_a_bad_line_is_named(tmp_path, kind):
    line, message = BAD_LINES[kind]
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'{"question": "What?", "answer": "1"}\n' + (line if isinstance(line, bytes) else line.encode()))
    with pytest.raises(UsageError) as caught:
        load_problems(path)
    assert f"{path}{message}" in str(caught.value) and "\n" not in str(caught.value)


def test_a_solution_without_an_answer_among_solutions_is_not_taken_for_an_answer(tmp_path):
    rows = [{"problem": f"Q{i}?", "solution": rf"so \boxed{{{i}}}"} for i in range(200)]
    rows[5]["solution"] = "It is easy to see."
    problems = load_problems(write_jsonl(tmp_path / "p.jsonl", rows))
    assert len(problems) == 199 and problems.dropped == {"no answer": 1}


def test_only_the_column_that_is_missing_is_asked_for(tmp_path):
    path = write_jsonl(tmp_path / "p.jsonl", [{"question": "Why?"}])
    with pytest.raises(UsageError, match=r"which column is the answer\? There are question;"):
        load_problems(path)


@pytest.mark.parametrize("column", [None, 3, ["question", 3]])
def test_what_names_no_column_is_told(tmp_path, column):
    with pytest.raises(UsageError, match=r"columns\.question: (None|3) is no name of a column"):
        load_problems(write_jsonl(tmp_path / "p.jsonl", numbered(2)), columns={"question": column})


def test_wrong_columns_are_named_with_those_that_exist(tmp_path):
    path = write_jsonl(tmp_path / "p.jsonl", [{"frage": "Warum?", "antwort": "0"}])
    with pytest.raises(
        UsageError, match=r"which column is the question and which the answer\? There are frage, antwort"
    ):
        load_problems(path)
    with pytest.raises(UsageError, match="no column 'text'; there are frage, antwort"):
        load_problems(path, columns={"question": "text", "answer": "antwort"})
    with pytest.raises(UsageError, match="unknown field 'anwser'; did you mean answer"):
        load_problems(path, columns={"question": "frage", "anwser": "antwort"})
    with pytest.raises(UsageError, match="give one column"):
        load_problems(path, columns={"question": "frage", "answer": ["frage", "antwort"]})
    [found] = load_problems(path, columns={"question": "frage", "answer": "antwort"})
    assert found.answer == "0"


def test_missing_empty_and_unknown_files_are_refused(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "p.xlsx").write_text("")
    (tmp_path / "p.parquet").write_text("not parquet")
    (tmp_path / "p.csv").write_text("question,answer\nWhat, then?,1,2\n")
    for name, message in {
        "none.jsonl": "there is no file",
        "none": "there is no ",
        "empty.jsonl": "no rows",
        "p.xlsx": "ending '.xlsx' is unknown",
        "p.parquet": "not a Parquet file",
        "p.csv": "p.csv:2: not as many cells",
    }.items():
        with pytest.raises(UsageError, match=message):
            load_problems(tmp_path / name)


def test_words_keep_what_makes_problems_differ():
    assert words(r"Let $x_{1} = \frac{3.5}{2}$, (a-b)!") == [
        "let",
        "x",
        "1",
        "=",
        "frac",
        "3.5",
        "2",
        "(",
        "a",
        "-",
        "b",
        ")",
        "!",
    ]
    assert words("What IS 2 × 3?") == words("what is 2*3")
    for one, other in (("(1+2)*3", "1+(2*3)"), ("a = 3", "b = 3"), ("10²", "102"), ("3!", "3"), ("1 + 2", "1 - 2")):
        assert words(one) != words(other)


COPIED = "A farmer has seventeen sheep and all but nine of them run away over the green hill"


def test_shared_word_sequences_are_found():
    train = [
        problem(f"In spring: {COPIED}, how many stay?", "t1"),
        problem("A farmer has seventeen sheep, count them.", "t2"),
    ]
    [overlap] = find_overlap(train, [problem("Nothing alike.", "e0"), problem(f"{COPIED.upper()} today.", "e1")])
    assert (overlap.train_id, overlap.eval_id, overlap.kind, overlap.spread) == ("t1", "e1", "ngram", 1)
    assert len(overlap.ngram.split()) == 13 and overlap.ngram in COPIED.lower()


def test_thirteen_words_are_enough_and_twelve_are_not():
    shared = [f"w{chr(97 + i)}" for i in range(13)]
    evaluation = [problem("x " + " ".join(shared) + " y")]
    assert find_overlap([problem("before " + " ".join(shared) + " after")], evaluation)
    assert not find_overlap([problem("before " + " ".join(shared[:12]) + " after")], evaluation)


def test_short_questions_overlap_only_when_equal():
    [overlap] = find_overlap(
        [problem("What is 2+3?", "a"), problem("What is 2+4?", "b")], [problem("what is  2 + 3", "e")]
    )
    assert (overlap.train_id, overlap.kind) == ("a", "equal")
    symbolic = [problem(f"Work modulo 10. a = {i}, b = a + {i + 1}") for i in range(9)]
    assert not find_overlap(symbolic[:4], symbolic[4:])


def test_templates_are_reported_with_their_spread():
    template = "Solve the following exercise step by step and give the final result as one number: {} + 1"
    train, evaluation = ([problem(template.format(i), f"{i}") for i in part] for part in (range(5), range(5, 25)))
    overlaps = find_overlap(train, evaluation)
    assert len(overlaps) == 5 and {o.spread for o in overlaps} == {20}


def test_overlap_is_refused_or_dropped():
    train = [problem("What is 1 + 1?", "clean"), problem(COPIED, "copied")]
    evaluation = [problem(COPIED, "held-out")]
    with pytest.raises(
        UsageError, match="1 of 2 training questions overlap the 1 evaluation questions.*copied and held-out"
    ):
        refuse_overlap(train, evaluation)
    kept, overlaps = refuse_overlap(train, evaluation, mode="drop")
    assert [p.id for p in kept] == ["clean"] and [o.train_id for o in overlaps] == ["copied"]
    assert refuse_overlap(train[:1], evaluation) == (train[:1], [])
    with pytest.raises(UsageError, match="train on other data"):
        refuse_overlap(train[1:], evaluation, mode="drop")
    with pytest.raises(UsageError, match="'refuse' or 'drop'"):
        refuse_overlap(train, evaluation, mode="ignore")


def test_agrees_with_comparing_every_pair():
    generator = random.Random(0)

    def made(id):
        return problem(" ".join(generator.choice("abc") for _ in range(generator.randint(1, 12))), id)

    train, evaluation = [made(f"t{i}") for i in range(60)], [made(f"e{i}") for i in range(20)]
    n = 5

    def ngrams(p):
        sequence = words(p.question)
        return {tuple(sequence[i : i + n]) for i in range(len(sequence) - n + 1)}

    expected = {
        t.id for t in train if any(words(t.question) == words(e.question) or ngrams(t) & ngrams(e) for e in evaluation)
    }
    assert {o.train_id for o in find_overlap(train, evaluation, n=n)} == expected
    assert 0 < len(expected) < len(train)


def test_twelve_thousand_against_five_thousand_is_quick(shared_data):
    import time

    math = shared_data / "math"
    train = load_problems(math / "math_train.jsonl") + load_problems(math / "gsm8k_train.jsonl", limit=4530)
    evaluation = [p for path in sorted(math.glob("*_test.jsonl")) for p in load_problems(path)]
    started = time.perf_counter()
    overlaps = find_overlap(train, evaluation)
    assert time.perf_counter() - started < 30
    assert 100 < len(overlaps) < 1000
