"""Two commands on one run folder: the second is told, and nothing is left of one that was killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import pytest

from rftt.cli import main
from rftt.errors import UsageError
from rftt.runtime import folder_lock
from rftt.runtime.folder_lock import beside, holding

TOY = "configs/toy.yaml"
# A shell that starts the tests in the background leaves SIGINT ignored, which children inherit.
HOLD = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)
from rftt.runtime.folder_lock import holding
with holding(Path(sys.argv[1]), *sys.argv[2:]):
    print("held", flush=True)
    time.sleep(60)
"""
# A parent that holds a lock, and a child that goes on for a second after the parent is gone.
PARENT = """
import sys
from pathlib import Path
from rftt.runtime.children import run_children
from rftt.runtime.folder_lock import holding
with holding(Path(sys.argv[1]), "search"):
    run_children([[sys.executable, "-c", '''
import sys, time
from pathlib import Path
from rftt.runtime.folder_lock import holding
with holding(Path(sys.argv[1]), "search", "0"):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
''', *sys.argv[1:]]])
"""


@pytest.fixture
def started():
    """Start Python source that prints "held" once it has its lock; whatever is left is ended."""
    processes = []

    def start(source, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", source, *map(str, arguments)], stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def refused(folder, *what):
    with pytest.raises(UsageError) as caught, holding(folder, *what):
        pass
    return str(caught.value)


@pytest.mark.parametrize("command", ["search", "sft", "rl", "shad", "tokens", "eval", "run"])
def test_a_second_command_on_the_same_folder_is_told_who_is_there(tmp_path, command, started):
    process = started(HOLD, tmp_path, command)
    line = refused(tmp_path, command)
    assert str(tmp_path) in line and f"process {process.pid} on " in line and "since 20" in line and "\n" not in line


def test_the_command_line_says_it_in_one_line_and_writes_nothing(tmp_path, started, capsys):
    run = tmp_path / "run"
    started(HOLD, run, "search")
    before = sorted(run.iterdir())
    assert main(["search", TOY, f"run={run}"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("rftt: ") and err.count("\n") == 1 and "is at work there" in err and "goes on" not in err
    assert sorted(run.iterdir()) == before


def test_evaluation_goes_beside_the_phases_that_make_models(tmp_path, started):
    started(HOLD, tmp_path, "search")
    with holding(tmp_path, "eval"):
        pass
    refused(tmp_path, "sft")


def test_parts_of_a_search_go_side_by_side(tmp_path, started):
    started(HOLD, tmp_path, "search", "0")
    with holding(tmp_path, "search", "1"):
        assert "at work" in refused(tmp_path, "search", "0")
    assert "at work" in refused(tmp_path, "search")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_one_leaves_no_lock(tmp_path, started, number):
    process = started(HOLD, tmp_path, "search")
    process.send_signal(number)
    process.wait()
    with holding(tmp_path, "search"):
        pass
    assert not list(tmp_path.iterdir())


def test_what_is_left_of_a_killed_command_is_waited_for(tmp_path, started):
    parent = started(PARENT, tmp_path, 1.0)
    begun = time.monotonic()
    parent.kill()
    parent.wait()
    # The child has no lifeline thread: it lives on and holds what its parent held.
    with holding(tmp_path, "search"):
        assert 0.2 < time.monotonic() - begun < folder_lock.PATIENCE


def test_children_hold_the_lock_of_their_parent(tmp_path, started):
    started(PARENT, tmp_path, 30)
    assert "at work" in refused(tmp_path, "search")
    assert "at work" in refused(tmp_path, "search", "0")


def test_threads_of_one_process_exclude_each_other(tmp_path):
    told = []

    def second():
        try:
            with holding(tmp_path, "sft"):
                told.append(None)
        except UsageError as error:
            told.append(str(error))

    with holding(tmp_path, "sft"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert told[0] and f"process {os.getpid()}" in told[0]


def test_nothing_is_left_of_a_command_that_was_refused(tmp_path):
    with pytest.raises(ZeroDivisionError), holding(tmp_path / "a" / "new", "sft"):
        raise ZeroDivisionError
    assert not (tmp_path / "a" / "new").exists()
    (tmp_path / "old").mkdir()
    with holding(tmp_path / "old", "sft"):
        (tmp_path / "old" / "result").touch()
    assert [p.name for p in (tmp_path / "old").iterdir()] == ["result"]


def test_of_processes_that_train_together_the_first_one_holds_it(tmp_path, monkeypatch):
    with holding(tmp_path, "sft"):
        monkeypatch.setenv("RANK", "1")
        with holding(tmp_path, "sft"):
            pass
        monkeypatch.setenv("RANK", "0")
        refused(tmp_path, "sft")


def test_the_results_of_solve_are_locked_too(tmp_path):
    out = tmp_path / "out.jsonl"
    with beside(out), pytest.raises(UsageError, match="at work there"), beside(out):
        pass
    with beside(tmp_path / "out.jsonl"), beside(tmp_path / "other.jsonl"):
        pass


def test_a_file_system_without_locks(tmp_path, monkeypatch, capsys):
    def refuse(descriptor, how):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(folder_lock.fcntl, "flock", refuse)
    with holding(tmp_path, "sft"):
        assert "no locks" in capsys.readouterr().err


def test_a_torn_signature_is_no_traceback(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_lock, "PATIENCE", 0.2)
    with ExitStack() as stack:
        stack.enter_context(holding(tmp_path, "sft"))
        (tmp_path / ".phases.lock").write_text(json.dumps({"process": 1})[:5])
        assert "another process" in refused(tmp_path, "rl")
