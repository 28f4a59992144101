"""What the report takes from a run folder: whole, partial, damaged and absent runs, and how much of long ones."""

from __future__ import annotations

import json
import shutil

import pytest

from rftt.errors import UsageError
from rftt.report import write_report
from search.functions import RFTT
from search.tree import Tree
from tests.rftt.report.runs import embedded, grown_tree, shown, write_lines, write_run


def test_the_data_is_what_the_run_folder_holds(run):
    data = embedded(run / "report.html")
    assert data["missing"] == [] and data["notes"] == []
    assert data["name"] == "toy-run" and data["seeds"] == {"seed": 7}
    assert data["measures"][0]["models"]["rl"]["pass@1"]["value"] == 0.71
    assert "api_key: …" in data["config"] and "sesame" not in json.dumps(data)  # reports get passed around
    assert [(p["benchmark"], p["kind"], p["model"]) for p in data["samples"]] == [
        *(("", "samples", m) for m in ("base", "sft", "rl")),
        *(("gsm8k", "greedy", m) for m in ("base", "sft", "rl")),
    ]
    assert data["samples"][0]["verdicts"]["correct"] == 56 and sum(data["samples"][0]["verdicts"].values()) == 120
    assert data["chains"]["kinds"] == {"plain": 30, "merged": 30}
    [steps] = data["chains"]["steps"]
    assert (steps["function"], steps["valid"], steps["broken"]) == ("next_step", 33, {"computes": 8, "whole": 4})
    curves = {(c["phase"], c["name"]): c["points"] for c in data["metrics"]}
    assert len(curves["rl", "reward"]) == 40 and len(curves["rl", "logprob_difference/mean"]) == 39
    assert data["trees"][0]["source"] == "search" and data["trees"][0]["total"] == 24
    tree = Tree.from_json(json.loads((run / "search/trees.jsonl").open().readline()))
    shown = data["trees"][0]["records"][0]
    assert [n["function"] for n in shown["nodes"]] == [n.function for n in tree.nodes]
    assert [n.get("visits", 0) for n in shown["nodes"]] == [n.visits for n in tree.nodes]
    assert shown["nodes"][1]["tokens"] == len(tree.nodes[1].ids) and "ids" not in shown["nodes"][1]
    assert tree.nodes[shown["chosen"]].verdict == "correct"
    for tree in data["trees"][2]["records"]:
        answers = {n["answer"] for n in tree["nodes"] if n.get("rollout") and "answer" in n}
        assert tree["voted"] == "17" and (tree["chosen"] is not None) == ("17" in answers)


def test_functions_of_another_token_set_are_shown_in_order_of_appearance(tmp_path):
    tree = Tree("a", "1 + 1?")
    tree.add(tree.root, "guess", 0, text="2")
    assert shown(tmp_path, "search/trees.jsonl", [tree.to_json()])["functions"] == [*RFTT.names, "guess"]


def test_a_run_that_has_just_begun_says_what_is_missing_and_which_command_makes_it(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    missing = {(m["section"], m["command"]) for m in embedded(write_report(tmp_path))["missing"]}
    commands = {
        "search": "trees chains",
        "sft": "training",
        "shad": "roles",
        "rl": "training rollouts",
        "eval": "results budget trees samples",
    }
    commands |= {"run": "time functions"}
    assert missing == {(section, f"rftt {name} CONFIG") for name in commands for section in commands[name].split()}


@pytest.mark.parametrize("gone", ["config.yaml", "summary.json", "metrics.jsonl", "search", "rl", "eval"])
def test_each_file_may_be_missing(run, tmp_path, gone):
    folder = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns(gone, "report.html"))
    assert embedded(write_report(folder))["missing"]


DAMAGE = [
    ("", "", "there is no run folder"),
    ("notes.txt", "hello", "holds no run"),
    ("summary.json", '{"models": ', "summary.json: not JSON"),
    ("summary.json", "[]", "summary.json: a list, not an object"),
    ("config.yaml", "a: [", "config.yaml:1: not valid YAML"),
    ("config.yaml", "text", "config.yaml: a str, not a mapping"),
]


@pytest.mark.parametrize(("name", "content", "message"), DAMAGE)
def test_what_the_user_must_mend_is_one_line(tmp_path, name, content, message):
    folder = tmp_path / "run"
    if name:
        folder.mkdir()
        (folder / name).write_text(content)
    with pytest.raises(UsageError) as caught:
        write_report(folder)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not (folder / "report.html").exists()


def test_a_torn_last_line_is_ignored_and_a_broken_line_is_told(tmp_path):
    *good, cycle = (grown_tree(i, 2).to_json() for i in range(4))
    cycle["nodes"][1]["parent"] = 2
    write_lines(tmp_path / "search/trees.jsonl", [*good, cycle, {"schema": "other"}])
    with (tmp_path / "search/trees.jsonl").open("a") as file:
        file.write("not json\n" + json.dumps(good[0])[:50])
    data = embedded(write_report(tmp_path))
    assert [t["question_id"] for t in data["trees"][0]["records"]] == ["q-000", "q-001", "q-002"]
    assert data["notes"] == ["search/trees.jsonl: 3 unreadable lines were left out"]


def test_a_step_that_was_done_again_counts_once_and_what_is_no_number_is_no_curve(tmp_path):
    values = [(1, 0.1), (2, 0.2), (2, 0.4), (3, float("nan")), (4, True), (5, "x"), (6, 0.6)]
    rows = [json.dumps({"phase": "rl", "step": step, "reward": value}) for step, value in values]
    (tmp_path / "metrics.jsonl").write_text("\n".join(rows))  # a last line without its newline counts when it is whole
    (curve,) = embedded(write_report(tmp_path))["metrics"]
    assert curve["points"] == [[1, 0.1], [2, 0.4], [6, 0.6]]
    (curve,) = shown(tmp_path, "metrics.jsonl", ({"step": i, "reward": i % 2} for i in range(1000)))["metrics"]
    assert curve["steps"] == 1000 and len(curve["points"]) == 250 and curve["points"][-1] == [999, 0.5]


def test_trees_are_sampled_evenly_and_the_page_says_how_many(tmp_path):
    records = (Tree(f"q-{i:03}", "?").to_json() for i in range(101))
    (part,) = shown(tmp_path, "search/trees.jsonl", records, trees=5)["trees"]
    assert [t["question_id"] for t in part["records"]] == ["q-000", "q-025", "q-050", "q-075", "q-100"]
    assert part["total"] == 101
    assert len(embedded(write_report(tmp_path, trees=1))["trees"][0]["records"]) == 1
    with pytest.raises(UsageError, match="trees = 0"):
        write_report(tmp_path, trees=0)


def test_a_page_of_long_texts_stays_small(tmp_path):
    page = write_report(write_run(tmp_path / "run", trees=8, samples=60, text="long " * 1300))
    data = embedded(page)
    assert page.stat().st_size < 5e6
    assert data["samples"][0]["records"][0]["text"].endswith("long  … (500 more characters)")
    assert all(0 < len(part["records"]) < part["total"] for part in (*data["trees"], *data["samples"]))
