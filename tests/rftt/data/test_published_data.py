"""Published benchmark files with models that know nothing: answers are wrong, formats, ids, resume and report are right."""

import json

import pytest

from rftt.cli import main
from search import Tree
from search.journal import read_jsonl

SETTINGS = [
    "data.overlap=drop", "data.train_limit=4", "data.eval_limit=4", "search.rollouts=3", "search.max_depth=4",
    "search.processes=1",
    "search.max_step_tokens=12", "eval.models=[base]", "eval.rollouts=[1,2]", "eval.samples=2", "eval.max_tokens=24",
    "eval.max_step_tokens=12", "eval.max_depth=3", "engine.max_model_len=1024", "eval.benchmarks=[aime24]",
    "model.functions=docs/examples/functions.yaml",  # no worked examples, which take more than so small a model has room for
    "eval.benchmark_limit=3", "eval.strategies=[best_of_n,majority]", "eval.budgets=[2]",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.vllm
@pytest.mark.parametrize(
    ("arch", "train", "held_out"),
    [("llama", "math_train", "math500_test"), ("qwen3", "gsm8k_train", "gsm8k_test")],
)
def test_search_and_eval_run_to_the_end(arch, train, held_out, tiny_model, shared_data, tmp_path):
    run = tmp_path / "run"
    settings = [
        f"run={run}", f"model.path={tiny_model(arch)}", f"data.train={shared_data / 'math' / train}.jsonl",
        f"data.eval={shared_data / 'math' / held_out}.jsonl", f"data.root={shared_data / 'math'}", *SETTINGS,
    ]  # fmt: skip
    for phase in ("search", "eval", "eval"):
        assert main([phase, "configs/toy.yaml", *settings]) == 0
    asked = {name: list(read_jsonl(run / "data" / f"{name}.jsonl")) for name in ("train", "eval")}
    trees = [Tree.from_json(t) for t in read_jsonl(run / "search" / "trees.jsonl")]
    assert [t.question_id for t in trees] == [p["id"] for p in asked["train"]]
    assert all(t.gold == p["answer"] for t, p in zip(trees, asked["train"], strict=True))
    # Steps of a model that knows nothing break the rules, so that a tree may run out of functions before its rollouts.
    assert all(t.root.visits == 3 or (t.stopped == "exhausted" and t.root.visits) for t in trees), [
        (t.root.visits, t.stopped) for t in trees
    ]
    samples = list(read_jsonl(run / "eval" / "samples-base.jsonl"))
    assert [s["sample_id"] for s in samples] == [f"{p['id']}#{k}" for p in asked["eval"] for k in range(2)]
    results = json.loads((run / "summary.json").read_text())["models"]["base"]
    assert results["pass@1"]["n"] == 4 and results["format_rate"]["value"] == 0
    aime = json.loads((run / "eval" / "aime24" / "base.json").read_text())
    assert aime["metrics"]["pass@1"]["n"] == aime["metrics"]["best_of_n@2"]["n"] == 3
    assert aime["lengths"]["samples"]["truncated"] == 1 and sum(aime["statuses"]["samples"].values()) == 6
    assert main(["view", str(run)]) == 0 and (run / "report.html").exists()
