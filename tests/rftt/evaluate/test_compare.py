"""Two evaluations side by side: the same questions, paired tests, and what was not measured in the same way."""

import json

import pytest

from rftt.cli import main
from rftt.data.questions import problems
from rftt.errors import UsageError
from rftt.evaluate.compare import compare_runs
from rftt.evaluate.intervals import paired_difference
from rftt.phases.evaluation import measure
from search.journal import read_jsonl, write_jsonl
from tests.rftt.evaluate.scripted import config, engines, questions


@pytest.fixture
def two_runs(tmp_path, monkeypatch):
    """Runs on the same questions, the second with another seed and other sampling."""
    engines(monkeypatch)
    for name, extra in (("a", {}), ("b", {"temperature": 1.0})):
        settings = config(tmp_path / name, **extra)
        measure(settings, "sft")
    measure(settings, "base")
    return str(tmp_path / "a"), str(tmp_path / "b")


def values(run, model="sft"):
    return {q["question_id"]: q["values"] for q in read_jsonl(f"{run}/eval/questions-{model}.jsonl")}


def test_every_common_metric_is_compared_question_by_question(two_runs):
    [(benchmark, first, second, found)] = compare_runs(*two_runs)
    assert (benchmark, first.name, second.name) == ("eval", f"{two_runs[0]}:sft", f"{two_runs[1]}:sft")
    ours, theirs = map(values, two_runs)
    by_name = {c.metric: c for c in found}
    assert [*by_name][:6] == ["greedy", "pass@1", "format_rate", "search@1", "search@2", "search@4"]
    for name, c in by_name.items():
        one, _, other = name.partition(" / ")
        ids = [id for id in ours if one in ours[id]]
        pairs = [ours[id][one] for id in ids], [theirs[id][other or one] for id in ids]
        assert c.difference == paired_difference(*pairs) and c.n == len(ids)
        assert c.first == pytest.approx(sum(pairs[0]) / len(ids)) and c.second == pytest.approx(
            sum(pairs[1]) / len(ids)
        )
    assert by_name["greedy"].difference.test == "McNemar"


def test_a_run_against_itself_differs_by_nothing(two_runs):
    [(_, _, _, found)] = compare_runs(two_runs[0], two_runs[0])
    assert all(c.difference.value == 0 and c.difference.p == 1 for c in found)


def test_models_of_one_run(two_runs, capsys):
    assert main(["compare", f"{two_runs[1]}:base", f"{two_runs[1]}:sft"]) == 0
    shown = capsys.readouterr().out
    assert (
        f"A = {two_runs[1]}:base, B = {two_runs[1]}:sft" in shown and "McNemar" in shown and "not measured" not in shown
    )


def test_other_conditions_are_told(two_runs, capsys):
    assert main(["compare", *two_runs, "--model", "sft"]) == 0
    assert "not measured in the same way: sampling.temperature, search.temperature" in capsys.readouterr().out
    assert main(["compare", *two_runs, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["benchmark"] == "eval" and {"p", "low", "high"} <= set(found["metrics"][0]["difference"])


def test_only_common_questions_count_and_the_same_id_must_be_the_same_question(two_runs, tmp_path, capsys):
    path = tmp_path / "b" / "eval" / "questions-sft.jsonl"
    lines = list(read_jsonl(path))
    write_jsonl(path, lines[1:])
    [(*_, found)] = compare_runs(*two_runs)
    assert found[0].n == len(lines) - 1
    main(["eval", "--compare", *two_runs])
    assert "1 questions that only one side has are left out" in capsys.readouterr().out
    write_jsonl(path, [lines[0] | {"question": "Another?"}, *lines[1:]])
    with pytest.raises(UsageError, match="q0 is another one"):
        list(compare_runs(*two_runs))
    write_jsonl(path, [line | {"question_id": f"x{i}"} for i, line in enumerate(lines)])
    with pytest.raises(UsageError, match="no question in common"):
        list(compare_runs(*two_runs))


def test_benchmarks_are_compared_one_by_one(tmp_path, monkeypatch):
    engines(monkeypatch)
    write_jsonl(tmp_path / "mine.jsonl", questions(3, start=40))
    runs = []
    for name in "ab":
        settings = config(tmp_path / name, benchmarks=[str(tmp_path / "mine.jsonl")])
        problems(settings)
        measure(settings, "sft")
        runs.append(str(tmp_path / name))
    assert [benchmark for benchmark, *_ in compare_runs(*runs)] == ["eval", "mine"]
    [(benchmark, first, _, found)] = compare_runs(*runs, benchmark="mine")
    assert benchmark == "mine" and len(first.questions) == 3 and found[0].n == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{a}", "{a}/nowhere"], "no evaluation in it"),
        (["{a}:base", "{b}"], "nothing measured of base"),
        (["{a}", "{b}:base"], "nothing in common"),
        (["{a}", "{b}", "--benchmark", "gsm8k"], "nothing measured of on gsm8k"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_line(two_runs, capsys, arguments, message):
    filled = [a.format(a=two_runs[0], b=two_runs[1]) for a in arguments]
    assert main(["compare", *filled]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()[-1:]
    assert line.startswith("rftt: ") and message in line


def test_an_evaluation_of_an_older_version_is_told_how_to_mend(two_runs, tmp_path):
    (tmp_path / "a" / "eval" / "questions-sft.jsonl").unlink()
    with pytest.raises(UsageError, match="remove .*sft.json and run"):
        list(compare_runs(*two_runs))


@pytest.mark.parametrize("arguments", ["", "--compare a b --harness a b", "x.yaml --compare a b"])
def test_either_a_config_or_what_is_there_already(capsys, arguments):
    assert main(["eval", *arguments.split()]) == 2
    assert "give a CONFIG; two evaluations are compared by `rftt compare RUN_A RUN_B`" in capsys.readouterr().err


def test_the_first_name_of_the_command_still_works(two_runs, capsys):
    assert main(["compare", *two_runs]) == 0
    shown = capsys.readouterr().out
    assert main(["eval", "--compare", *two_runs]) == 0
    assert capsys.readouterr().out == shown
