"""What the report takes of an evaluation: answers, counts over all of them, results by benchmark, use of functions."""

from __future__ import annotations

import json

from rftt.report import write_report
from rftt.report.usage import DEEPEST
from search.functions import RFTT
from tests.rftt.report.runs import chain_text, embedded, everything, figure, measures, sample, shown, write_lines


def test_failures_are_kept_before_right_answers_and_all_are_counted(tmp_path):
    records = [{**sample(i, 0, ""), "verdict": "wrong" if i % 2 else "correct", "level": i % 2} for i in range(1000)]
    (part,) = shown(tmp_path, "eval/samples-rl.jsonl", records)["samples"]
    assert (part["total"], part["failures"], part["verdicts"]) == (1000, 500, {"correct": 500, "wrong": 500})
    assert part["levels"] == {"0": {"correct": 500}, "1": {"wrong": 500}}
    complete = sum(i % 7 > 0 for i in range(1000))
    assert sum(part["functions"]["output"].values()) == complete
    assert sum(part["functions"]["next_step"].values()) == 1000
    kept = [r["verdict"] for r in part["records"]]
    assert kept == ["wrong"] * 150 + ["correct"] * 50
    assert part["records"][0]["functions"] == ["next_step", "output"]
    assert part["records"][0]["question_id"] == "q-1001" and part["records"][149]["question_id"] == "q-1999"


def test_token_ids_and_sampling_settings_of_an_answer_are_left_out(tmp_path):
    record = {**sample(1, 0, ""), "ids": [1] * 99, "seed": 3, "temperature": 1.0, "top_p": 1.0, "subject": "algebra"}
    (part,) = shown(tmp_path, "eval/greedy-rl.jsonl", [record])["samples"]
    (kept,) = part["records"]
    assert {"ids", "seed", "temperature", "top_p"}.isdisjoint(kept) and kept["subject"] == "algebra"


def test_a_strategy_is_judged_by_its_answer_at_the_largest_budget(tmp_path):
    candidates = [
        {"text": chain_text(i, "verify"), "answer": str(i), "verdict": "wrong", "ids": [1] * 9} for i in (3, 4)
    ]
    budgets = {"4": {"answer": "4", "verdict": "correct", "tokens": 9}, "16": {"answer": "3", "verdict": "wrong"}}
    budgets |= {"1000tok": {"answer": "4", "verdict": "correct", "tokens": 9}}
    solution = {"question_id": "q", "question": "?", "gold": "4", "level": 2, "candidates": candidates, "vote": "prm"}
    records = [solution | {"budgets": budgets}, solution | {"budgets": {"16": {}}}, solution | {"budgets": {"16": 3}}]
    data = shown(tmp_path, "eval/solutions-beam@16-sft.jsonl", records)
    (part,) = data["samples"]
    assert (part["kind"], part["model"], part["total"]) == ("beam@16", "sft", 2)
    assert data["notes"] == ["eval/solutions-beam@16-sft.jsonl: 1 unreadable line was left out"]
    kept = part["records"][0]
    assert (kept["answer"], kept["verdict"], kept["candidates"]) == ("3", "wrong", 2)
    assert kept["functions"] == ["output", "verify"] and "ids" not in json.dumps(kept)


def test_many_files_of_answers_share_the_bytes(tmp_path):
    for benchmark in range(8):
        for model in ("base", "sft", "rl"):
            records = ({**sample(i, 0, "word " * 300), "verdict": "wrong"} for i in range(200))
            write_lines(tmp_path / f"eval/b{benchmark}/samples-{model}.jsonl", records)
    page = write_report(tmp_path)
    parts = embedded(page)["samples"]
    assert len(parts) == 24 and all(0 < len(p["records"]) < 200 == p["failures"] for p in parts)
    assert page.stat().st_size < 2e6


def test_each_benchmark_has_its_results(tmp_path):
    (tmp_path / "eval" / "gsm8k").mkdir(parents=True)
    (tmp_path / "eval" / "rl.json").write_text(json.dumps(measures(0.5)))
    (tmp_path / "eval" / "gsm8k" / "rl.json").write_text(json.dumps(measures(0.3)))
    summary = {"models": {"rl": {"pass@1": figure(0.6)}}, "benchmarks": {"svamp": {"rl": {"pass@1": figure(0.4)}}}}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    own, gsm8k, svamp = embedded(write_report(tmp_path))["measures"]
    assert (own["name"], gsm8k["name"], svamp["name"]) == ("", "gsm8k", "svamp")
    values = [part["models"]["rl"]["pass@1"]["value"] for part in (own, gsm8k, svamp)]
    assert values == [0.6, 0.3, 0.4]  # of the run's own questions, the summary has the last word
    assert [s["strategy"] for s in gsm8k["strategies"]["rl"]] == ["beam", "beam", "best_of_n", "best_of_n"]
    assert own["groups"]["rl"]["level"]["5"]["value"] == 0.6
    (tmp_path / "eval" / "sft.json").write_text(json.dumps(measures(0.2)))  # measured after the summary
    assert list(embedded(write_report(tmp_path))["measures"][0]["models"]) == ["rl", "sft"]
    (tmp_path / "eval" / "gsm8k" / "rl.json").write_text("{")
    data = embedded(write_report(tmp_path))
    assert data["notes"] == ["eval/gsm8k/rl.json: not a JSON object; it was left out"]
    assert [part["name"] for part in data["measures"]] == ["", "svamp"]


def test_models_are_compared_question_by_question(tmp_path):
    def questions(run, model, *values, text="?"):
        rows = [{"question_id": f"q{i}", "question": text, "values": {"pass@1": v}} for i, v in enumerate(values)]
        write_lines(tmp_path / run / f"eval/questions-{model}.jsonl", rows)

    questions("a", "base", 0, 0, 0, 1)
    questions("a", "rl", 1, 1, 0, 1)
    questions("b", "rl", 1, 0.5, 0, 1, 1)
    (found,) = everything(write_report(tmp_path / "a"))["comparisons"]
    assert (found["from"], found["to"], found["metric"], found["n"]) == ([0, "base"], [0, "rl"], "pass@1", 4)
    assert (found["value"], found["p"], found["only_second"]) == (0.5, 0.5, 2) and found["low"] <= 0.5 <= found["high"]
    (found,) = everything(write_report([tmp_path / "a", tmp_path / "b"]))["comparisons"]
    assert (found["from"], found["to"], found["n"], found["value"]) == ([0, "rl"], [1, "rl"], 4, -0.125)
    questions("b", "rl", 1, 1, text="another one with the same id")
    assert everything(write_report([tmp_path / "a", tmp_path / "b"]))["comparisons"] == []


def test_functions_are_counted_by_depth_over_whole_files(tmp_path):
    deep = chain_text(1, *["next_step"] * (DEEPEST + 5))
    records = [{**sample(i, 0, ""), "text": chain_text(i, "clarify", "next_step")} for i in range(9)]
    data = shown(tmp_path, "eval/samples-rl.jsonl", [*records, {**sample(9, 0, ""), "text": deep}, {"text": None}])
    (part,) = data["usage"]
    assert part["source"] == "rl" and part["chains"] == 10
    counts = part["functions"]
    assert list(counts) == [name for name in RFTT.names if name in ("clarify", "next_step", "output")]
    assert counts["clarify"][:2] == [9, 0] and counts["next_step"][:3] == [1, 10, 1]
    assert counts["next_step"][DEEPEST - 1] == 6 and len(counts["next_step"]) == DEEPEST
    assert counts["output"][2] == 9 and sum(counts["output"]) == 10
    plain = shown(tmp_path, "eval/samples-rl.jsonl", [{**sample(0, 0, ""), "text": "no tag at all"}])
    assert plain["usage"] == []
