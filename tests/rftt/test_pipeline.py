"""The whole pipeline in miniature on the toy, with real engines, and what a kill does to it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rftt import pipeline
from rftt.config import load_config
from rftt.errors import UsageError
from rftt.phases import PHASES
from rftt.pipeline import prepare
from search.chain import check, parse
from search.journal import read_jsonl

SMALL = [
    "data.train_limit=12", "data.eval_limit=8", "search.rollouts=12", "sft.num_train_epochs=2", "rl.max_steps=2",
    "rl.questions_per_step=4", "rl.rollouts=4", "eval.rollouts=[1,2]", "eval.samples=2", "eval.search_limit=4",
]  # fmt: skip


def command(name, run, *overrides):
    return [sys.executable, "-m", "rftt.cli", name, "configs/toy.yaml", f"run={run}", *SMALL, *overrides]


@pytest.mark.slow
@pytest.mark.parametrize("engine", [pytest.param("vllm", marks=pytest.mark.vllm), "transformers"])
def test_questions_to_report(engine, tmp_path):
    run = tmp_path / "run"
    # Each engine runs one of the two parts in several processes.
    parts = (
        ["search.processes=2", "eval.processes=1"] if engine == "vllm" else ["search.processes=1", "eval.processes=2"]
    )
    options = [*parts, "engine.options={}"] if engine == "transformers" else parts
    done = subprocess.run(command("run", run, f"engine.name={engine}", *options), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    only_ours_on_the_terminal(done, run)
    summary = json.loads((run / "summary.json").read_text())
    for model in ("base", "sft", "rl"):
        results = summary["models"][model]
        assert {"pass@1", "greedy", "search@1", "search@2", "format_rate"} <= set(results)
        assert any(name.startswith("maj@") for name in results)
        for result in results.values():
            assert 0 <= result["low"] <= result["value"] <= result["high"] <= 1
    assert set(summary["seconds"]) == set(PHASES) - {"shad"}
    for chain in read_jsonl(run / "search" / "chains.jsonl"):
        check(parse(chain["messages"][-1]["content"]))
    phases = {json.loads(line)["phase"] for line in (run / "metrics.jsonl").read_text().splitlines()}
    searches = {"search"} if engine == "transformers" else {"search 1/2", "search 2/2"}
    assert {*searches, "sft", "rl"} <= phases
    assert (run / "report.html").stat().st_size > 10_000
    assert not list(run.rglob("*.tmp")) and not list(run.rglob("*.partial"))
    again = subprocess.run(command("run", run, f"engine.name={engine}", *options), capture_output=True, text=True)
    assert again.returncode == 0 and again.stdout.count("done before") == len(PHASES) - 1


def only_ours_on_the_terminal(done, run):
    """One line for each phase, then the table; progress on standard error; all that dependencies say in the log."""
    lines = done.stdout.splitlines()
    for name, line in zip(("tokens", "search", "sft", "rl", "eval"), lines[:5], strict=True):
        assert re.fullmatch(rf"{name} +(\d+ min )?\d+ s   \S.*", line), line
    assert lines[5] == "" and {"greedy", "pass@1"} <= {line.split()[0] for line in lines[6:] if line}
    assert lines[-3:-1] == [f"report: {run / 'report.html'}", f"log: {run / 'log.txt'}"] and "s: tokens" in lines[-1]
    progress = r"(tokens|search|sft|rl|eval) .*(starting|\d+/\d+).*"
    told = [line for line in done.stderr.splitlines() if not re.fullmatch(progress, line)]
    known = ("left out", "step 1: ")  # so short a warm-up teaches no chains, which RL tells
    assert all(line.startswith(known) for line in told), told
    assert "\r" not in done.stdout + done.stderr
    log = (run / "log.txt").read_text()
    assert "Loading weights" in log and "'loss':" in log and "rftt" in log


def test_a_run_goes_on_with_other_servers_but_not_with_other_settings(tmp_path):
    small = [f"run={tmp_path / 'run'}", "data.train_limit=2", "data.eval_limit=2"]
    path = prepare(load_config("configs/toy.yaml", small))
    servers = ["engine.name=server", "engine.servers=[http://node1:8000]", "engine.options={}", "search.live_trees=3"]
    spread = ["sft.trainer.deepspeed=configs/deepspeed/zero2.json", "rl.trainer.gradient_checkpointing=true"]
    prepare(load_config("configs/toy.yaml", [*small, *servers, *spread]))
    prepare(load_config("configs/toy.yaml", [*small, *servers]))
    saved = load_config(path)
    assert saved.engine.servers == ("http://node1:8000",) and saved.search.live_trees == 3
    (tmp_path / "run" / "search").mkdir()
    (tmp_path / "run" / "search" / "questions-0.jsonl.partial").write_text('{"question_id": "toy-train-0-0"}\n')
    with pytest.raises(UsageError, match="begun with another search.rollouts, and its search depended on it"):
        prepare(load_config("configs/toy.yaml", [*small, *servers, "search.rollouts=3"]))
    assert load_config(path) == saved


def test_settings_of_phases_to_come_may_change(tmp_path):
    small = [f"run={tmp_path / 'run'}", "data.train_limit=2", "data.eval_limit=2"]
    path = prepare(load_config("configs/toy.yaml", small))
    prepare(load_config("configs/toy.yaml", [*small[:2], "data.eval_limit=3", "search.rollouts=3"]))
    assert len((tmp_path / "run" / "data" / "eval.jsonl").read_text().splitlines()) == 3, "other questions are read"
    for begun in ("search/chains.jsonl", "sft/final/model.safetensors"):
        (tmp_path / "run" / begun).parent.mkdir(parents=True)
        (tmp_path / "run" / begun).touch()
        later = [*small[:2], "data.eval_limit=3", "search.rollouts=3", "rl.learning_rate=1e-6", "eval.samples=2"]
        later += ["sft.learning_rate=1e-5"]
        prepare(load_config("configs/toy.yaml", later))
        assert load_config(path).sft.trainer["learning_rate"] == 1e-5
    for frozen in ("sft.learning_rate=2e-5", "search.rollouts=4", "data.eval_limit=4", "seed=9", "model.system=x"):
        with pytest.raises(UsageError, match=f"begun with another {frozen.partition('=')[0].split('.')[0]}"):
            prepare(load_config("configs/toy.yaml", [*later, frozen]))
    assert load_config(path).sft.trainer["learning_rate"] == 1e-5


def test_a_run_whose_phases_were_run_by_their_own_commands_ends_with_its_report(tmp_path, monkeypatch):
    config = load_config("configs/toy.yaml", [f"run={tmp_path / 'run'}", "data.train_limit=2", "data.eval_limit=2"])
    for name in ("search", "rl"):
        (tmp_path / "run" / name).mkdir(parents=True)
    monkeypatch.setattr(pipeline, "plan", lambda _: [("search", tmp_path / "run" / "search")])
    assert pipeline.run(config) == {}
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.slow
@pytest.mark.resume
def test_a_killed_search_goes_on_and_loses_nothing(tmp_path):
    run = tmp_path / "run"
    options = ["engine.name=transformers", "engine.options={}", "search.live_trees=2", "search.processes=2"]
    arguments = command("search", run, *options)
    partials = [run / "search" / f"questions-{i}.jsonl.partial" for i in (0, 1)]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not all(p.exists() and p.read_bytes().count(b"\n") for p in partials):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    while at_work(run):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    before = []
    for partial in partials:
        kept = partial.read_bytes()
        kept = kept[: kept.rfind(b"\n") + 1]
        before += [json.loads(line)["tree"] for line in kept.splitlines()]
        partial.write_bytes(kept + b'{"question_id": "torn')
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    trees = list(read_jsonl(run / "search" / "trees.jsonl"))
    train = [r["id"] for r in read_jsonl(run / "data" / "train.jsonl")]
    assert [t["question_id"] for t in trees] == train
    by_id = {t["question_id"]: t for t in trees}
    assert len(before) >= 2 and all(by_id[t["question_id"]] == t for t in before)
    assert not list(run.glob("search/questions*"))


def at_work(run):
    """Whether a process is still there that was started for this run folder."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(run).encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                return True
        except OSError:
            continue
    return False
