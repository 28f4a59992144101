"""Phase 1 as a job: killed anywhere it ends in the same files, a failing question stands aside, rounds build on rounds."""

import asyncio
import json
import multiprocessing
import random
import signal

import pytest

from rftt.errors import UsageError
from rftt.phases import search_phase
from rftt.phases.search_phase import RESULT, STEPS
from rftt.run_folder import open_round
from rftt.runtime import progress
from rftt.runtime.progress import shown_meanwhile
from search import Question, SearchConfig, search_many
from search.chain import check, parse
from search.engines.engine import EngineError
from search.function_files import FILE, write_functions
from search.functions import RFTT
from search.journal import read_jsonl
from search.live import LiveTrees
from search.prompted import PromptedPolicy
from search.step_counts import valid_share
from tests.rftt.phases import fake_search
from tests.search.fakes import prompted_engine

FILES = ("trees.jsonl", "chains.jsonl", "preferences.jsonl")


@pytest.fixture(scope="module")
def run():
    """Searches in a process of its own, forked from one that has imported everything; returns its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([fake_search.__name__])

    def search(folder, kill_at=0):
        process = context.Process(target=fake_search.run_killed_at, args=(folder, kill_at))
        process.start()
        process.join()
        return process.exitcode

    return search


def bytes_of(folder):
    return [(folder / "search" / name).read_bytes() for name in FILES]


@pytest.mark.slow
@pytest.mark.resume
def test_killed_at_any_point_the_files_are_those_of_a_run_that_was_not(tmp_path, run):
    assert run(tmp_path / "whole") == 0
    expected = bytes_of(tmp_path / "whole")
    assert all(expected)
    dice = random.Random(20261121)
    requests = fake_search.run_search(fake_search.config(tmp_path / "count")).stats.requests
    points = [dice.randrange(1, requests) for _ in range(24)]
    for i, point in enumerate(points):
        folder = tmp_path / f"killed-{i}"
        assert run(folder, point) == -signal.SIGKILL
        partial = folder / "search" / "questions-0.jsonl.partial"
        lines = partial.read_bytes().splitlines(keepends=True)
        if lines:  # the kill may have torn the last record at any byte
            kept = b"".join(lines[:-1]) + lines[-1][: dice.randrange(len(lines[-1]) + 1)]
            partial.write_bytes(kept)
        again = run(folder, dice.randrange(1, requests))  # perhaps killed a second time
        if again:
            assert again == -signal.SIGKILL
            assert run(folder) == 0
        assert bytes_of(folder) == expected
        assert not list(folder.rglob("*.partial")) and not list(folder.rglob("*.tmp"))


def test_a_question_that_fails_is_listed_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FAIL", "What is 3?")
    fake_search.run_search(fake_search.config(tmp_path))
    found = [r["question_id"] for r in read_jsonl(tmp_path / "search" / "trees.jsonl")]
    assert found == [f"q{i}" for i in range(fake_search.QUESTIONS) if i != 3]
    [failed] = read_jsonl(tmp_path / "search" / "failed.jsonl")
    assert failed["question_id"] == "q3" and "cannot read" in failed["reason"]
    assert "1 questions failed" in capsys.readouterr().err


def test_when_every_question_fails_the_phase_fails_and_tries_again(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIL", "What is")
    with pytest.raises(EngineError, match="no question could be searched"):
        fake_search.run_search(fake_search.config(tmp_path))
    assert not (tmp_path / "search" / "trees.jsonl").exists()
    monkeypatch.delenv("FAIL")
    fake_search.run_search(fake_search.config(tmp_path))
    assert len(list(read_jsonl(tmp_path / "search" / "trees.jsonl"))) == fake_search.QUESTIONS


def test_the_metrics_say_what_the_search_cost(tmp_path):
    engine = fake_search.run_search(fake_search.config(tmp_path))
    last = list(read_jsonl(tmp_path / "metrics.jsonl"))[-1]
    assert last["generated_tokens"] == engine.stats.generated_tokens and last["requests"] == engine.stats.requests
    assert last["rounds_per_question"] <= last["requests_per_question"] <= last["requests"] / fake_search.QUESTIONS
    assert last["redundancy"] > 1 and 0 <= last["outside_engine"] <= 1 and last["questions_per_s"] > 0


def test_rounds_keep_what_is_solved_and_search_the_rest_with_the_tuned_model(tmp_path):
    settings = fake_search.config(tmp_path, rounds=2, rollouts=2, max_depth=8)
    fake_search.run_search(settings)
    assert open_round(settings, RESULT) == 2
    with pytest.raises(UsageError, match="run `rftt sft CONFIG` first"):
        fake_search.run_search(settings)
    (tmp_path / "rounds" / "1" / "sft" / "final").mkdir(parents=True)
    fake_search.run_search(settings)
    assert open_round(settings, RESULT) is None

    first = {t["question_id"]: t for t in read_jsonl(tmp_path / "rounds" / "1" / "search" / "trees.jsonl")}
    second = {t["question_id"]: t for t in read_jsonl(tmp_path / "search" / "trees.jsonl")}
    assert list(first) == list(second)
    solved = {i for i, tree in first.items() if any(n.get("verdict") == "correct" for n in tree["nodes"])}
    assert 0 < len(solved) < len(first)
    for name, tree in second.items():
        assert (tree == first[name]) is (name in solved)
        assert tree["made_by"]["policy"] == ("prompted" if name in solved else "functional")
    before = [c for c in read_jsonl(tmp_path / "rounds" / "1" / "search" / "chains.jsonl")]
    chains = list(read_jsonl(tmp_path / "search" / "chains.jsonl"))
    assert all(c in chains for c in before) and len(chains) > len(before)
    for chain in chains:
        check(parse(chain["messages"][-1]["content"]))


def test_preference_pairs_are_siblings_with_different_fortunes(tmp_path):
    fake_search.run_search(fake_search.config(tmp_path, rollouts=16, preferences=3, preference_gap=0.4))
    trees = {t["question_id"]: t for t in read_jsonl(tmp_path / "search" / "trees.jsonl")}
    pairs = list(read_jsonl(tmp_path / "search" / "preferences.jsonl"))
    assert pairs
    for pair in pairs:
        good, bad = (pair[k][0]["content"] for k in ("chosen", "rejected"))
        ours, theirs = parse(good), parse(bad)
        assert ours[:-1] == theirs[:-1] and good != bad
        assert pair["values"][0] - pair["values"][1] >= 0.4 - 1e-6
        assert pair["prompt"] == [{"role": "user", "content": trees[pair["question_id"]]["question"]}]
    per_question = [p["question_id"] for p in pairs]
    assert max(per_question.count(q) for q in per_question) <= 3


def test_trl_reads_the_preference_pairs(tmp_path):
    from datasets import load_dataset
    from trl.data_utils import is_conversational, maybe_extract_prompt

    fake_search.run_search(fake_search.config(tmp_path, rollouts=16))
    rows = load_dataset("json", data_files=str(tmp_path / "search" / "preferences.jsonl"), split="train",
                        cache_dir=str(tmp_path / "cache"))  # fmt: skip
    assert is_conversational(rows[0])
    assert maybe_extract_prompt(dict(rows[0])) == rows[0]


def test_counts_of_steps_are_kept_and_told(tmp_path, capsys):
    settings = fake_search.config(tmp_path)
    (tmp_path / FILE).write_text(write_functions(RFTT), encoding="utf-8")
    fake_search.run_search(settings)
    counts = json.loads((tmp_path / "search" / STEPS).read_text())
    trees = list(read_jsonl(tmp_path / "search" / "trees.jsonl"))
    assert set(counts) == {"clarify", "analyze", "subquestion", "next_step", "direct_answer"}
    for name, kinds in counts.items():
        assert kinds["asked"] == sum(t["steps"].get(name, {}).get("asked", 0) for t in trees) > 0
    last = list(read_jsonl(tmp_path / "metrics.jsonl"))[-1]
    assert last["valid/next_step"] == valid_share(counts["next_step"]) and last["rollouts"] > len(trees)
    assert "next_step" in capsys.readouterr().out


def test_figures_are_shown_before_the_first_tree_is_done(monkeypatch):
    monkeypatch.setattr(progress, "PAUSE", 0.01)
    shown = []

    class Bar:
        def note(self, rollouts):
            shown.append(rollouts)

    async def search():
        live, grown = LiveTrees(PromptedPolicy(prompted_engine(turns=400))), []
        async with shown_meanwhile(Bar(), lambda: {"rollouts": live.rollouts}):
            settings = SearchConfig(rollouts=12, max_depth=4)
            await search_many([Question("q", "What is 1?", "0")], live.engine, settings, grown.append, policy=live)
        live.finished(grown[0])
        assert live.rollouts == grown[0].root.visits

    asyncio.run(search())
    assert any(0 < rollouts < 12 for rollouts in shown)


def test_a_search_that_was_killed_while_it_collected_ends_with_all_of_its_files(tmp_path, monkeypatch):
    settings, folder = fake_search.config(tmp_path), tmp_path / "search"
    (tmp_path / FILE).write_text(write_functions(RFTT), encoding="utf-8")

    def killed(_):
        if (tmp_path / RESULT).exists():
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(search_phase, "remove_collected", killed)
        fake_search.run_search(settings)
    assert list(folder.glob("questions-*")) and (folder / STEPS).exists()
    search_phase.search(settings)
    assert not [*folder.glob("questions-*"), *folder.glob("failed-*")]
