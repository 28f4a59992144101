"""The process reward model of a config: built, used by solve and by phase 1, and never silently absent."""

import asyncio
import json
from contextlib import contextmanager

import pytest

from rewards.prm.process import PRMError, PRMGone
from rftt.cli import main
from rftt.config import from_dict
from rftt.errors import UsageError
from rftt.model.vocabulary import add_functional_tokens
from rftt.phases import search_phase
from rftt.runtime.running_scorer import RunningScorer, build_scorer
from search.engines.engine import EngineError, EngineGone
from search.journal import read_jsonl
from tests.ports import free_port
from tests.rewards.prm.prms import build
from tests.rftt.phases import fake_search


@pytest.fixture(scope="module")
def prm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prm") / "model"
    build(folder, "token_classification")
    return str(folder)


@pytest.fixture(scope="module")
def model(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy") / "model"
    add_functional_tokens(tiny_model("qwen2"), folder)
    return str(folder)


def solve(model, *argv):
    small = ["--set", "search.max_step_tokens=12", "--set", "search.max_depth=4", "--set", "search.max_tokens=24"]
    command = ["solve", "What is 1 + 1?", "--model", model, "--engine", "transformers", "--rollouts", "4", "--json"]
    return main([*command, *small, *argv])


@pytest.mark.parametrize(
    ("strategy", "vote"),
    [("mcts", "prm"), ("mcts", "best_prm"), ("best_of_n", "majority"), ("majority", "prm"), ("beam", "majority"),
     ("dvts", "best_prm")],
)  # fmt: skip
def test_solve_is_guided_by_a_process_reward_model(model, prm, capsys, strategy, vote):
    code = solve(model, "--prm", prm, "--strategy", strategy, "--set", f"search.vote={vote}")
    record = json.loads(capsys.readouterr().out)
    assert code == 0 and len(record["candidates"]) >= 1
    for candidate in record["candidates"]:
        score = candidate.get("score")
        assert (candidate["answer"] is None) or 0 < score < 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--prm", "/no/such/prm"], "/no/such/prm"),
        (["--prm-server", "http://127.0.0.1:1"], "prm.path"),
        (["--prm", "PRM", "--prm-format", "orm"], "expected one of token_classification, math_shepherd, qwen"),
        (["--prm", "PRM", "--prm-format", "qwen"], "<extra_0>"),
        (["--prm", "PRM", "--set", "prm.format_options.separater=x"], "separater"),
        (["--set", "search.vote=prm"], "process reward model"),
    ],
)
def test_slips_are_one_line_and_code_2(model, prm, capsys, argv, message):
    assert solve(model, *(prm if a == "PRM" else a for a in argv)) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("rftt: ")]
    assert message in line


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prm": {"servers": ["http://x"]}}, "prm.path: '' is not allowed with servers"),
        ({"prm": {"batch_size": 0}}, "prm.batch_size: 0 is not allowed"),
        ({"prm": {"fromat": "qwen"}}, "prm.fromat is unknown; did you mean format"),
        ({"prm": {"format": "orm"}}, "expected one of token_classification"),
        ({"eval": {"guide": "prm"}}, "expected prm.path"),
    ],
)
def test_config_slips(values, message):
    with pytest.raises(UsageError) as caught:
        from_dict(values)
    assert message in str(caught.value)


def test_no_path_is_no_scorer_and_a_server_that_is_gone_ends_the_search(prm):
    assert build_scorer(from_dict({}).prm) is None
    served = {"path": prm, "servers": [f"127.0.0.1:{free_port()}"], "options": {"attempts": 2, "backoff": 0.01}}
    scorer = build_scorer(from_dict({"prm": served}).prm)
    with pytest.raises(EngineGone, match="2 attempts failed"):
        asyncio.run(scorer("q", ["a"]))
    scorer.close()
    with pytest.raises(UsageError, match="prm.options: .*atempts"):
        build_scorer(from_dict({"prm": served | {"options": {"atempts": 2}}}).prm)


def test_one_path_that_cannot_be_scored_is_no_end_of_the_search():
    class Inner:
        async def __call__(self, question, steps):
            raise PRMGone("gone") if question == "gone" else PRMError("long")

    with pytest.raises(EngineError) as caught:
        asyncio.run(RunningScorer(Inner())("long", ["a"]))
    assert not isinstance(caught.value, EngineGone)
    with pytest.raises(EngineGone):
        asyncio.run(RunningScorer(Inner())("gone", ["a"]))


def test_phase_1_scores_finished_chains_and_takes_the_best(tmp_path, monkeypatch):
    asked = []

    async def odd_is_right(question, steps):
        asked.append((question, tuple(steps)))
        return [0.9 if text.rstrip(".")[-1:] in "13579" else 0.2 for text in steps]

    @contextmanager
    def running_scorer(config):
        yield odd_is_right

    monkeypatch.setattr(search_phase, "running_scorer", running_scorer)
    fake_search.run_search(fake_search.config(tmp_path, chains_per_question=1, merged_share=0.0))
    scored = right = 0
    for tree in read_jsonl(tmp_path / "search" / "trees.jsonl"):
        for node in tree["nodes"]:
            if node.get("status") == "answered":
                assert 0 < node["prm"] < 1
                scored += 1
                right += node["verdict"] == "correct"
    assert scored > right > 0 and len(asked) >= scored
    chains = list(read_jsonl(tmp_path / "search" / "chains.jsonl"))
    assert chains and all(
        c["score"] in {round(0.1 * k, 6) for k in range(2, 10)} or 0.2 <= c["score"] <= 0.9 for c in chains
    )
