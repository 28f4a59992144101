"""The vote of a tree at a budget."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from rftt.config.sections import RewardSection
from rftt.evaluate.tree_search import _votes, at_budget
from search import Candidate, Solution


def vote(answer, correct, tokens, **more):
    return {"4": {"answer": answer, "correct": correct, "tokens": tokens, **more}}


def test_statuses_are_those_of_the_grader_or_what_an_older_file_says():
    trees = {
        "a": vote("1", True, 10, verdict="correct"), "b": vote("x^", False, 30, verdict="unparseable"),
        "c": vote("1", True, 20), "d": vote("2", False, 20), "e": vote(None, False, 20),
    }  # fmt: skip
    outcome, found = at_budget(trees, 4)
    assert found == ["correct", "unparseable", "correct", "wrong", "no_answer"]
    assert outcome.values == {"a": 1, "b": 0, "c": 1, "d": 0, "e": 0} and outcome.mean_tokens == 20


@pytest.mark.parametrize(
    ("spent", "tokens"),
    [([], [90, 90, 90]), ([20], [20, 90, 90]), ([20, 30, 60], [20, 90, 90]), ([20, 30, 40, 60, 70], [20, 60, 90])],
)
def test_the_steps_after_the_last_chain_cost_tokens_too(spent, tokens):
    job = SimpleNamespace(
        answer_rule=None, problem=lambda problem: problem, grading=None, config=SimpleNamespace(eval=None)
    )
    job.config.eval = SimpleNamespace(rollouts=(1, 4, 16))
    found = _votes(Solution("q", "", "mcts", "majority", [Candidate("", None, 1, s) for s in spent], 90), job, None)
    assert [vote["tokens"] for vote in found.values()] == tokens


def test_a_reward_function_of_ones_own_is_the_measure(tmp_path, monkeypatch):
    from rftt.phases.evaluation import evaluate
    from search.journal import read_jsonl
    from tests.rftt.evaluate.scripted import config, engines

    engines(monkeypatch)
    plain = config(tmp_path / "plain", models=["sft"])
    near = config(tmp_path / "near", models=["sft"], strategies=["majority"], budgets=[2])
    near = replace(near, reward=RewardSection("tests.own_rewards:digit", 0.85))
    for each in (plain, near):
        evaluate(each)
    before, after = (
        {r["sample_id"]: r for r in read_jsonl(each.folder / "eval" / "samples-sft.jsonl")} for each in (plain, near)
    )
    assert all("score" not in r for r in before.values())
    told = [r for r in after.values() if r["answer"] is not None]
    assert told and any(r["verdict"] == "correct" != before[r["sample_id"]]["verdict"] for r in told)
    for record in told:
        score = 1 - abs(int(record["gold"]) - int(record["answer"])) / 9
        assert record["score"] == score and record["verdict"] == ("correct" if score >= 0.85 else "wrong")
    for tree in read_jsonl(near.folder / "eval" / "trees-sft.jsonl"):
        for found in tree["votes"].values():
            if found["answer"] is not None:
                assert found["correct"] == (abs(int(tree["gold"]) - int(found["answer"])) <= 1)
