"""An evaluation from questions to result files, on scripted models."""

import json

import pytest

from rftt.data.questions import problems
from rftt.errors import UsageError
from rftt.evaluate.about import grader
from rftt.evaluate.measured import unmeasured
from rftt.phases import plan
from rftt.phases.evaluation import measure
from rftt.phases.summary import summarise
from rftt.run_folder import results_of
from search import Solver
from search.engines.engine import EngineError, EngineGone, Generation
from search.journal import read_jsonl, write_jsonl
from tests.rftt.evaluate import scripted
from tests.rftt.evaluate.scripted import LONG, config, engines, questions
from tests.search.fakes import TOKENIZER

ALL = {"strategies": ["majority", "best_of_n", "beam", "mcts"], "budgets": [4, 8], "token_budgets": [300]}


def everything(run):
    """All that an evaluation leaves, byte by byte."""
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in sorted((run / "eval").rglob("*.json*"))}


def test_a_result_holds_all_figures_and_the_conditions(tmp_path, monkeypatch):
    started = engines(monkeypatch)
    settings = config(tmp_path / "run", **ALL)
    measure(settings, "sft")
    result = json.loads(results_of(settings, "sft").read_text())
    metrics = result["metrics"]
    votes = [name for name in metrics if name.startswith("maj@")]
    arms = [f"{name}@{b}" for name in ALL["strategies"] for b in ("4", "8", "300tok") if f"{name}@{b}" != "beam@300tok"]
    assert [*metrics] == ["greedy", "pass@1", "format_rate", "search@1", "search@2", "search@4", *votes, *arms]
    assert len(votes) == 1 and all(set(r) == {"value", "low", "high", "n", "tokens"} for r in metrics.values())
    assert metrics["pass@1"]["n"] == 8 and metrics["beam@8"]["n"] == metrics["search@4"]["n"] == 5
    assert [row["k"] for row in result["pass_at_k"]] == [row["k"] for row in result["maj_at_k"]] == [1, 2, 4]
    assert result["pass_at_k"][0]["value"] == metrics["pass@1"]["value"] <= result["pass_at_k"][-1]["value"]
    assert sum(result["statuses"]["samples"].values()) == 32 and sum(result["statuses"]["greedy"].values()) == 8
    assert sum(result["statuses"]["beam@8"].values()) == 5
    assert set(result["groups"]) == {"level", "subject"} and set(result["groups"]["level"]) == {"0", "1"}
    assert result["lengths"]["samples"]["max"] <= 400
    cost = metrics["pass@1"]["tokens"] / metrics["pass@1"]["value"]
    assert result["tokens_per_correct"]["pass@1"] == pytest.approx(cost, rel=1e-3)
    about = result["about"]
    assert about["prompt"] == "[user]What is 0?\n[assistant]" and about["grader"] == grader()
    assert about["sampling"] == {"temperature": 0.7, "top_p": 0.95, "max_tokens": 400, "samples": 4, "seed": 0}
    assert result["benchmark"]["questions"] == 8 and result["golds"] == {"unreadable": []}
    assert len(started) == 1


def test_every_sample_is_kept_with_its_ids_and_verdict(tmp_path, monkeypatch):
    [engine] = (engines(monkeypatch), measure(config(tmp_path / "run", strategies=["best_of_n"]), "sft"))[0]
    samples = list(read_jsonl(tmp_path / "run" / "eval" / "samples-sft.jsonl"))
    assert [s["sample_id"] for s in samples] == [f"q{i}#{k}" for i in range(8) for k in range(4)]
    for s in samples:
        assert engine.tokenizer.decode([i for i in s["ids"] if i]) == s["text"] and len(s["ids"]) == s["tokens"]
        assert s["verdict"] == ("correct" if s["answer"] == s["gold"] else "wrong" if s["answer"] else "no_answer")
    for solution in read_jsonl(tmp_path / "run" / "eval" / "solutions-best_of_n@16-sft.jsonl"):
        for candidate in solution["candidates"]:
            assert engine.tokenizer.decode([i for i in candidate["ids"] if i]) == candidate["text"]
        best = max((c for c in solution["candidates"] if c["answer"]), key=lambda c: c["logprob"])
        assert (
            solution["budgets"]["16"]["answer"] == best["answer"]
            and solution["budgets"]["16"]["verdict"] == best["verdict"]
        )


def test_the_questions_file_gives_the_metrics_again(tmp_path, monkeypatch):
    engines(monkeypatch)
    settings = config(tmp_path / "run", **ALL)
    measure(settings, "sft")
    lines = list(read_jsonl(tmp_path / "run" / "eval" / "questions-sft.jsonl"))
    for name, result in json.loads(results_of(settings, "sft").read_text())["metrics"].items():
        for part, of, digits in (("value", "values", 6), ("tokens", "tokens", 2)):
            found = [line[of][name] for line in lines if name in line[of]]
            assert sum(found) / len(found) == pytest.approx(result[part], abs=10**-digits)
            assert len(found) == result["n"]


def test_an_evaluation_that_was_cut_off_agrees_to_the_last_digit_after_resume(tmp_path, monkeypatch):
    engines(monkeypatch)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    measure(config(tmp_path / "a" / "run", **ALL), "sft")
    whole = everything(tmp_path / "a" / "run")
    broken = config(tmp_path / "b" / "run", **ALL)
    cuts = 0
    for last in (1, 5, 20, 70, 95, 8, 12, 30, 60, None):  # requests after which the engine is gone
        engines(monkeypatch, last=last)
        try:
            measure(broken, "sft")
            break
        except EngineGone:
            cuts += 1
            assert not results_of(broken, "sft").exists()
    assert cuts >= 6
    found = everything(tmp_path / "b" / "run")
    source = [json.loads(files.pop("eval/sft.json")) for files in (whole, found)]
    for result in source:
        del result["benchmark"]["source"]
    assert source[0] == source[1] and whole == found


def test_measuring_twice_asks_nothing_and_the_same_samples_give_the_same_figures(tmp_path, monkeypatch):
    engines(monkeypatch)
    settings = config(tmp_path / "run", **ALL)
    measure(settings, "sft")
    before = everything(tmp_path / "run")
    results_of(settings, "sft").unlink()
    [engine] = (engines(monkeypatch), measure(settings, "sft"))[0]
    assert engine.log == [] and everything(tmp_path / "run") == before
    again = engines(monkeypatch)
    measure(settings, "sft")
    assert again == []


def test_a_model_without_functional_tokens_skips_beams_and_says_why(tmp_path, monkeypatch):
    started = engines(monkeypatch)
    settings = config(tmp_path / "run", strategies=["beam", "majority"], base_instruction="Box it.")
    measure(settings, "base")
    result = json.loads(results_of(settings, "base").read_text())
    assert "functional tokens" in result["skipped"]["beam"] and "majority@16" in result["metrics"]
    assert result["about"]["prompt"] == "[user]What is 0?\n\nBox it.\n[assistant]"
    assert result["about"]["instruction"] == "Box it."
    asked = {started[0].tokenizer.decode(prompt) for prompt, sampling in started[0].log if sampling.max_tokens == 400}
    assert asked == {f"[user]What is {i}?\n\nBox it.\n[assistant]" for i in range(8)}


def test_the_instruction_is_for_the_base_model_alone(tmp_path, monkeypatch):
    started = engines(monkeypatch)
    measure(config(tmp_path / "run", base_instruction="Box it."), "sft")
    assert not any("Box it" in started[0].tokenizer.decode(prompt) for prompt, _ in started[0].log)


def test_answers_without_a_box_count_only_under_the_lenient_rule(tmp_path, monkeypatch):
    def says_it(prompt_ids, sampling):
        ids = TOKENIZER("I add. The answer is 1.<eos>")["input_ids"]
        return [Generation(tuple(ids), True, tuple(-0.1 for _ in ids)) for _ in range(sampling.n)]

    monkeypatch.setattr(scripted, "prompted_script", says_it)
    found = {}
    for rule in ("boxed", "lenient"):
        engines(monkeypatch)
        settings = config(tmp_path / rule, strategies=["majority"], extract=rule)
        measure(settings, "base")
        found[rule] = json.loads(results_of(settings, "base").read_text())
    assert found["boxed"]["statuses"]["samples"]["no_answer"] == 32
    assert found["boxed"]["metrics"]["majority@16"]["value"] == 0
    # Gold is 1 for three of the eight questions, of which two are among the five that are searched.
    assert found["lenient"]["metrics"]["pass@1"]["value"] == 0.375
    assert found["lenient"]["metrics"]["majority@16"]["value"] == 0.4


def test_several_benchmarks_take_one_start_of_the_engine_and_lie_beside_each_other(tmp_path, monkeypatch):
    write_jsonl(tmp_path / "root" / "svamp_test.jsonl", [
        {"Body": f"Ann has {i} pens", "Question": "How many?", "Answer": float(i % 3), "ID": f"s{i}"} for i in range(4)
    ])  # fmt: skip
    write_jsonl(tmp_path / "mine.jsonl", [{"question": f"Why {i}?", "answer": "1"} for i in range(3)])
    started = engines(monkeypatch)
    settings = config(
        tmp_path / "run", {"root": str(tmp_path / "root")}, benchmarks=["svamp", str(tmp_path / "mine.jsonl")]
    )
    problems(settings)
    assert unmeasured(settings) == ["base", "sft"]
    measure(settings, "sft")
    assert len(started) == 1 and unmeasured(settings) == ["base"]
    measure(settings, "base")
    text = summarise(settings)
    assert "svamp:" in text and "mine:" in text
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert set(summary["models"]) == {"base", "sft"} and set(summary["benchmarks"]) == {"svamp", "mine"}
    assert summary["benchmarks"]["svamp"]["sft"]["pass@1"]["n"] == 4
    result = json.loads((tmp_path / "run" / "eval" / "svamp" / "sft.json").read_text())
    assert result["benchmark"]["licence"] == "MIT" and result["benchmark"]["questions"] == 4
    lines = list(read_jsonl(tmp_path / "run" / "eval" / "mine" / "samples-sft.jsonl"))
    assert {line["question"] for line in lines} == {"Why 0?", "Why 1?", "Why 2?"}


def test_strategies_that_are_asked_for_later_leave_the_samples_alone(tmp_path, monkeypatch):
    engines(monkeypatch)
    first, second, third = (config(tmp_path / "run", models=["sft"], **more) for more in ({}, ALL, {**ALL, "budgets": [2, 8],
                            "strategies": ["majority", "mcts"], "token_budgets": [100]}))  # fmt: skip
    measure(first, "sft")
    summarise(first)
    before = json.loads(results_of(first, "sft").read_text())
    assert unmeasured(first) == [] and unmeasured(second) == ["sft"]
    assert plan(first)[-1][1].exists() and not plan(second)[-1][1].exists()
    measure(second, "sft")
    after = json.loads(results_of(first, "sft").read_text())
    assert {name: after["metrics"][name] for name in before["metrics"]} == before["metrics"]
    assert unmeasured(second) == unmeasured(first) == [] and unmeasured(third) == ["sft"]
    [engine] = (engines(monkeypatch), measure(third, "sft"))[0]
    assert engine.log == []  # smaller budgets are read off what is there
    again = json.loads(results_of(first, "sft").read_text())
    assert again["metrics"]["majority@8"] == after["metrics"]["majority@8"] and "majority@2" in again["metrics"]
    assert again["metrics"]["mcts@100tok"]["tokens"] <= after["metrics"]["mcts@300tok"]["tokens"]


def test_a_benchmark_that_is_asked_for_later_is_all_that_is_measured(tmp_path, monkeypatch):
    engines(monkeypatch)
    write_jsonl(tmp_path / "mine.jsonl", [{"question": f"Why {i}?", "answer": "1"} for i in range(3)])
    settings = config(tmp_path / "run")
    for model in settings.eval.models:
        measure(settings, model)
    summarise(settings)
    assert plan(settings)[-1][1].exists()
    later = config(tmp_path / "run", benchmarks=[str(tmp_path / "mine.jsonl")])
    assert not plan(later)[-1][1].exists()
    before = (tmp_path / "run" / "eval" / "sft.json").stat().st_mtime_ns
    measure(later, "sft")
    assert (tmp_path / "run" / "eval" / "sft.json").stat().st_mtime_ns == before
    assert (tmp_path / "run" / "eval" / "mine" / "sft.json").exists()


def overlapping(tmp_path):
    """Training questions of which one, with other numbers at its beginning, is a question of a benchmark."""
    texts = [LONG.format(3, 4), "Something else altogether?", "And a third one?"]
    write_jsonl(tmp_path / "train.jsonl", [{"id": f"t{i}", "question": q, "answer": "1"} for i, q in enumerate(texts)])
    rows = [{"id": "b0", "question": LONG.format(5, 4), "answer": "1"}, *questions(2, start=50)]
    write_jsonl(tmp_path / "mine.jsonl", rows)
    return str(tmp_path / "mine.jsonl")


def test_training_questions_that_overlap_a_benchmark_are_left_out_before_the_search(tmp_path, monkeypatch):
    engines(monkeypatch)
    settings = config(tmp_path / "run", {"overlap": "drop"}, benchmarks=[overlapping(tmp_path)])
    assert [p.id for p in problems(settings)[0]] == ["t1", "t2"]
    measure(settings, "sft")
    found = json.loads((tmp_path / "run" / "eval" / "mine" / "sft.json").read_text())["contamination"]
    assert (found["train_overlaps"], found["eval_overlaps"], found["left_out"], found["train"]) == (0, 0, 1, 2)


def test_overlap_with_a_benchmark_is_refused_where_it_shall_be(tmp_path):
    with pytest.raises(UsageError, match="1 of 3 training questions overlap"):
        problems(config(tmp_path / "run", benchmarks=[overlapping(tmp_path)]))
    assert not (tmp_path / "run" / "data" / "train.jsonl").exists()


def test_contamination_that_comes_too_late_to_be_left_out_stands_in_the_result(tmp_path, monkeypatch):
    engines(monkeypatch)
    name = overlapping(tmp_path)
    problems(config(tmp_path / "run", {"overlap": "drop"}))
    settings = config(tmp_path / "run", {"overlap": "drop"}, benchmarks=[name])
    problems(settings)
    measure(settings, "sft")
    found = json.loads((tmp_path / "run" / "eval" / "mine" / "sft.json").read_text())["contamination"]
    assert (found["train_overlaps"], found["eval_overlaps"], found["clean"]["n"]) == (1, 1, 2)
    assert found["examples"][0]["train_id"] == "t0" and found["examples"][0]["eval_id"] == "b0"
    assert "1 training questions overlap it" in summarise(settings)
    with pytest.raises(UsageError, match="overlap"):
        (tmp_path / "run" / "data" / "benchmarks" / "mine.jsonl").unlink()
        problems(config(tmp_path / "run", benchmarks=[name]))


@pytest.mark.parametrize("model", ["base", "sft"])
def test_a_question_that_is_too_long_for_the_model_fails_alone(tmp_path, monkeypatch, capsys, model):
    long = {"id": "long", "question": "x" * 5000, "answer": "1", "source": "test"}
    write_jsonl(tmp_path / "eval.jsonl", [long, *questions(3)])
    engines(monkeypatch)
    settings = config(tmp_path / "run", **ALL | {"strategies": ["best_of_n", "beam"]})
    measure(settings, model)
    told = [line for line in capsys.readouterr().err.splitlines() if "long" in line and "leaves no room" in line]
    assert len(told) == (2 if model == "base" else 4)  # the search, and each strategy at its budgets
    statuses = json.loads(results_of(settings, model).read_text())["statuses"]
    assert statuses["search@4"]["no_answer"] >= 1 and sum(statuses["search@4"].values()) == 4
    for name in ("search@4", "best_of_n@8", "best_of_n@300tok"):
        assert statuses[name]["no_answer"] >= 1 and sum(statuses[name].values()) == 4
    [record] = [r for r in read_jsonl(tmp_path / "run" / "eval" / f"trees-{model}.jsonl") if r["question_id"] == "long"]
    assert {vote["verdict"] for vote in record["votes"].values()} == {"no_answer"}


def test_candidates_of_an_older_file_serve_a_further_budget(tmp_path, monkeypatch):
    engines(monkeypatch)
    measure(config(tmp_path / "run", strategies=["majority"], budgets=[4]), "sft")
    path = tmp_path / "run" / "eval" / "solutions-majority@4-sft.jsonl"
    records = list(read_jsonl(path))
    for candidate in (c for record in records for c in record["candidates"]):
        del candidate["ended"]
    write_jsonl(path, records)
    further = config(tmp_path / "run", strategies=["majority"], budgets=[2, 4])
    results_of(further, "sft").unlink()
    measure(further, "sft")
    assert "majority@2" in json.loads(results_of(further, "sft").read_text())["metrics"]


def test_another_failure_of_a_request_ends_the_evaluation(tmp_path, monkeypatch):
    engines(monkeypatch)

    async def refuse(*_):
        raise EngineError("refused")

    settings = config(tmp_path / "run")
    monkeypatch.setattr(Solver, "solve", refuse)
    with pytest.raises(EngineError, match="refused"):
        measure(settings, "sft")


def test_answers_that_could_not_be_graded_are_told(tmp_path, monkeypatch):
    engines(monkeypatch)
    settings = config(tmp_path / "run")
    measure(settings, "sft")
    path = results_of(settings, "sft")
    result = json.loads(path.read_text())
    result["verdicts"] = {"correct": 20, "wrong": 9, "timeout": 2, "unparseable": 1}
    path.write_text(json.dumps(result))
    assert "2 timeout, 1 unparseable (of 32 samples)" in summarise(settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategies": ["greedy"]}, "greedy is always measured"),
        ({"strategies": ["beem"]}, "strategies: there is no strategy .*did you mean beam"),
        ({"strategies": ["beam"], "budgets": [6]}, "multiples of beam_width 4"),
        ({"budgets": [4, 2]}, "growing numbers"),
        ({"token_budgets": [0]}, "growing numbers"),
        ({"benchmark_limit": 0}, "1 or more"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path, settings, message):
    with pytest.raises(UsageError, match=message):
        config(tmp_path / "run", **settings)
