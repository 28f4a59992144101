"""The table of benchmarks is whole, its files give problems whose golds the grader reads, and slips are named."""

import pytest

from rewards import grade_many
from rftt.data import benchmarks
from rftt.data.benchmarks import find_benchmark, load_benchmark, read_benchmarks, unreadable_golds
from rftt.data.problems import Problem, load_problems
from rftt.data.tables import Row
from rftt.errors import UsageError
from search.journal import write_jsonl

# name → questions in the published file, golds that are mended
PUBLISHED = {
    "gsm8k": (1319, 0),
    "math500": (500, 0),
    "svamp": (1000, 0),
    "amc23": (40, 0),
    "aime24": (30, 0),
    "olympiadbench": (675, 1),
    "minerva_math": (272, 2),
}
TRAINING = {"gsm8k_train": 7473, "math_train": 7470}


@pytest.mark.parametrize("name", PUBLISHED)
def test_all_golds_of_the_published_files_parse(shared_data, name):
    count, mended = PUBLISHED[name]
    found = find_benchmark(name, root=str(shared_data / "math"))
    problems = load_benchmark(found)
    assert len(problems) == count == len({p.id for p in problems}) and problems.dropped == {}
    as_published = {p.id: p.answer for p in load_problems(found.source)}
    assert sum(as_published.get(p.id) != p.answer for p in problems) == mended
    assert unreadable_golds(problems) == []
    verdicts = grade_many([(p.answer, f"so it is $\\boxed{{{p.answer}}}$.") for p in problems], extract="boxed")
    assert [p.id for p, v in zip(problems, verdicts, strict=True) if not v.correct] == []


@pytest.mark.parametrize("name", TRAINING)
def test_all_golds_of_the_training_files_parse(shared_data, name):
    problems = load_problems(shared_data / "math" / f"{name}.jsonl")
    assert len(problems) == TRAINING[name] and unreadable_golds(problems) == []


@pytest.mark.parametrize(
    ("name", "id", "answer"),
    [
        ("olympiadbench", "2045", "(0, 4]"),
        ("minerva_math", "5", r"\sin^{-1}\left(\frac{10}{13}\right)"),
        ("minerva_math", "72", r"\frac{\dot x_0}{\omega}\sin\omega t + x_0\cos\omega t"),
    ],
)
def test_mended_golds_accept_other_spellings(shared_data, name, id, answer):
    problems = load_benchmark(find_benchmark(name, root=str(shared_data / "math")))
    [gold] = [p.answer for p in problems if p.id == id]
    assert grade_many([(gold, answer), (gold, "7")], extract="none")[0].correct


def test_garbage_is_told_from_golds():
    golds = {"a": "7", "b": r"\frac{1}{2}", "c": "8:34", "d": "east", "e": "t(0,4]", "f": "np.arcsin(1)"}
    assert unreadable_golds([Problem(id, "?", gold, "test") for id, gold in golds.items()]) == ["e", "f"]


def test_every_entry_says_where_how_and_under_which_licence():
    table = read_benchmarks()
    assert set(table) >= {*PUBLISHED, "math", "aime25"}
    for name in table:
        found = find_benchmark(name)
        assert (
            found.source.count("/") == 1
            and found.question
            and found.answer
            and found.form
            and found.licence
            and found.size
        )
        assert found.about()["name"] == name


def test_the_rows_of_several_configurations_are_joined(monkeypatch):
    asked = []

    def read_table(source, *, split, name):
        asked.append((source, split, name))
        row = {"problem": f"Q {name}?", "solution": rf"so \boxed{{{len(asked)}}}", "level": "Level 3", "type": name}
        return [Row(1, row)]

    monkeypatch.setattr(benchmarks, "read_table", read_table)
    problems = load_benchmark(find_benchmark("math"))
    assert len(problems) == 7 and {source for source, _, _ in asked} == {"EleutherAI/hendrycks_math"}
    assert problems[0].answer == "1" and problems[0].level == "3" and problems[0].subject == "algebra"


def test_a_file_in_the_root_wins_over_the_hub_and_may_have_another_known_layout(tmp_path):
    write_jsonl(tmp_path / "aime25.jsonl", [{"question": "Q?", "answer": 42, "id": "I-1"}])
    found = find_benchmark("aime25", root=str(tmp_path))
    assert found.source == str(tmp_path / "aime25.jsonl")
    assert [(p.id, p.question, p.answer) for p in load_benchmark(found)] == [("I-1", "Q?", "42")]


def test_a_users_file_and_a_users_table(tmp_path):
    write_jsonl(tmp_path / "root" / "exam.jsonl", [{"frage": "Warum?", "antwort": "7,5"}])
    (tmp_path / "table.yaml").write_text(
        "exam: {file: exam, question: frage, answer: antwort, mended: {'7,5': '7.5'}}\n"
    )
    found = find_benchmark("exam", root=str(tmp_path / "root"), table=str(tmp_path / "table.yaml"))
    assert [(p.question, p.answer) for p in load_benchmark(found)] == [("Warum?", "7.5")]
    assert find_benchmark("gsm8k", table=str(tmp_path / "table.yaml")).source == "openai/gsm8k"
    write_jsonl(tmp_path / "mine.jsonl", [{"question": "Q?", "answer": "1"}])
    assert find_benchmark(str(tmp_path / "mine.jsonl")).name == "mine"
    assert find_benchmark("mine.jsonl", root=str(tmp_path)).source == str(tmp_path / "mine.jsonl")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("exam: {hbu: a/b}", "exam.hbu is unknown"),
        ("exam: {split: test}", "expected a plain name with hub or file"),
        ("'a/b': {hub: a/b}", "expected a plain name"),
        ("- 1", "expected names of benchmarks"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_bad_table_is_refused(tmp_path, text, message):
    path = tmp_path / "table.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_benchmarks(str(path))


def test_names_that_are_not_there(tmp_path):
    with pytest.raises(UsageError, match="did you mean gsm8k"):
        find_benchmark("gsmk8")
    with pytest.raises(UsageError, match="there is no folder"):
        find_benchmark("gsm8k", root=str(tmp_path / "nowhere"))
    (tmp_path / "table.yaml").write_text("exam: {file: exam}")
    with pytest.raises(UsageError, match="no exam.jsonl in data.root"):
        find_benchmark("exam", root=str(tmp_path), table=str(tmp_path / "table.yaml"))
