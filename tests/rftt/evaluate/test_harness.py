"""Files in the layout of lm-evaluation-harness, read as its own tools do."""

import json
import statistics

import pytest

from rftt.cli import main
from rftt.data.questions import problems
from rftt.phases.evaluation import measure
from search.journal import read_jsonl, write_jsonl
from tests.rftt.evaluate.scripted import config, engines, questions


@pytest.fixture
def exported(tmp_path, monkeypatch, capsys):
    engines(monkeypatch)
    write_jsonl(tmp_path / "mine.jsonl", questions(3, start=40))
    settings = config(tmp_path / "run", benchmarks=[str(tmp_path / "mine.jsonl")])
    problems(settings)
    for model in ("base", "sft"):
        measure(settings, model)
    assert main(["harness", str(tmp_path / "run"), str(tmp_path / "out")]) == 0
    assert len(capsys.readouterr().out.split()) == 2
    return tmp_path


def table(results):
    """Rows as their `make_table` reads them: a metric and its filter stand in one key, its error beside it."""
    for task, figures in results["results"].items():
        for key, value in figures.items():
            metric, comma, name = key.partition(",")
            if not comma or metric.endswith("_stderr"):
                continue
            assert results["higher_is_better"][task][metric] and results["versions"][task] == 1
            assert results["n-shot"][task] == 0 and name == "none"
            yield (task, metric), (value, figures[f"{metric}_stderr,{name}"])


def test_the_summary_holds_every_metric_with_its_error(exported):
    [path] = (exported / "out" / "run__sft").glob("results_*.json")
    results = json.loads(path.read_text())
    ours = json.loads((exported / "run" / "eval" / "sft.json").read_text())["metrics"]
    rows = dict(table(results))
    assert {task for task, _ in rows} == {"eval", "mine"}
    assert (
        rows["eval", "exact_match"][0] == ours["greedy"]["value"]
        and rows["eval", "pass@1"][0] == ours["pass@1"]["value"]
    )
    lines = list(read_jsonl(exported / "run" / "eval" / "questions-sft.jsonl"))
    values = [line["values"]["pass@1"] for line in lines]
    assert rows["eval", "pass@1"][1] == pytest.approx(statistics.stdev(values) / len(values) ** 0.5)
    assert results["n-samples"] == {"eval": {"original": 8, "effective": 8}, "mine": {"original": 3, "effective": 3}}
    assert results["model_name_sanitized"] == path.parent.name and results["config"]["rftt"]["extract"] == "boxed"


def test_the_samples_hold_documents_prompts_answers_and_metrics(exported):
    folder = exported / "out" / "run__sft"
    [results] = folder.glob("results_*.json")
    date = results.name.removeprefix("results_").removesuffix(".json")
    config = json.loads(results.read_text())["configs"]["mine"]
    rows = list(read_jsonl(folder / f"samples_mine_{date}.jsonl"))
    greedy = {s["question_id"]: s for s in read_jsonl(exported / "run" / "eval" / "mine" / "greedy-sft.jsonl")}
    assert [row["doc_id"] for row in rows] == [0, 1, 2]
    for row in rows:
        sample = greedy[row["doc"]["id"]]
        assert row["arguments"]["gen_args_0"]["arg_0"] == f"[user]{sample['question']}\n[assistant]"
        assert row["resps"] == [[sample["text"]]] and row["target"] == sample["gold"]
        assert row["exact_match"] == float(sample["verdict"] == "correct")
        assert all(metric["metric"] in row for metric in config["metric_list"])
    assert config["output_type"] == "generate_until"


def test_the_samples_load_as_a_data_set(exported, tmp_path):
    import datasets

    [path] = (exported / "out" / "run__sft").glob("samples_eval_*.jsonl")
    loaded = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(loaded) == 8 and "exact_match" in loaded.column_names


def test_writing_again_replaces_nothing_but_itself(exported, capsys):
    before = {p: p.read_bytes() for p in (exported / "out").rglob("*") if p.is_file()}
    assert main(["eval", "--harness", str(exported / "run"), str(exported / "out")]) == 0
    assert {p: p.read_bytes() for p in (exported / "out").rglob("*") if p.is_file()} == before


def test_a_run_without_an_evaluation(tmp_path, capsys):
    assert main(["eval", "--harness", str(tmp_path), str(tmp_path / "out")]) == 2
    assert "run `rftt eval CONFIG` first" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_the_first_name_of_the_command_still_works(exported, capsys):
    assert main(["eval", "--harness", str(exported / "run"), str(exported / "again")]) == 0
    assert {p.parent.name for p in (exported / "again").rglob("results_*.json")} == {"run__base", "run__sft"}
