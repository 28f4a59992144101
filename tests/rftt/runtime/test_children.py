"""Child processes share the cores, report their codes, and never outlive the process that started them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rftt.runtime import children
from rftt.runtime.children import run_children


def python(code):
    return [sys.executable, "-c", code]


def test_codes_come_in_order():
    assert run_children([python(f"raise SystemExit({i})") for i in (0, 0)]) == [0, 0]
    assert run_children([python("raise SystemExit(3)")]) == [3]


def test_after_a_failure_nothing_more_is_started(tmp_path):
    assert run_children([python("raise SystemExit(2)"), python(f"open({str(tmp_path / 'x')!r}, 'w')")]) == [2, 0]
    assert not list(tmp_path.iterdir())


def test_a_failure_ends_the_others():
    begun = time.monotonic()
    assert run_children([python("import time; time.sleep(60)"), python("raise SystemExit(2)")], at_once=2) == [0, 2]
    assert time.monotonic() - begun < 30


def test_a_child_that_does_not_end_when_another_fails_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(children, "PATIENCE", 0.5)
    up = tmp_path / "up"
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"open({str(up)!r}, 'w').close(); time.sleep(60)"
    )
    failing = f"import os, time\nwhile not os.path.exists({str(up)!r}): time.sleep(0.02)\nraise SystemExit(3)"
    begun = time.monotonic()
    assert run_children([python(stubborn), python(failing)], at_once=2) == [0, 3]
    assert time.monotonic() - begun < 30


def test_several_at_once_share_the_cores(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    code = (
        f"import os; e = os.environ; open({str(tmp_path)!r} + '/' + str(os.getpid()), 'w').write(e['OMP_NUM_THREADS'])"
    )
    assert run_children([python(code), python(code)], at_once=2) == [0, 0]
    share = str(max(1, (os.cpu_count() or 1) // 2))
    assert [p.read_text() for p in tmp_path.iterdir()] == [share, share]


@pytest.mark.resume
def test_a_child_ends_with_its_killed_parent(tmp_path):
    pid_file = tmp_path / "pid"
    child = (
        "import os, time; from rftt.runtime.children import end_with_parent; end_with_parent(); "
        f"open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(120)"
    )
    code = (
        f"import sys; from rftt.runtime.children import run_children; run_children([[sys.executable, '-c', {child!r}]])"
    )
    parent = subprocess.Popen(python(code), cwd=Path(__file__).resolve().parents[3])
    deadline = time.monotonic() + 60
    while not (pid_file.exists() and pid_file.read_text()):
        assert parent.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    while ended(int(pid_file.read_text())) is False:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ended(pid):
    """Whether the process is gone, or a zombie that nobody has collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_an_interrupt_that_reaches_only_the_parent_ends_the_children_too(tmp_path):
    child = f"import os, time; open({str(tmp_path)!r} + '/' + str(os.getpid()), 'w'); time.sleep(120)"
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "  # a background job ignores it
        "from rftt.runtime.children import run_children; "
        f"run_children([[sys.executable, '-c', {child!r}]] * 3, 2)"
    )
    parent = subprocess.Popen(python(code), cwd=Path(__file__).resolve().parents[3], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2:
        assert parent.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    parent.send_signal(signal.SIGINT)
    parent.wait(30)
    assert len(list(tmp_path.iterdir())) == 2  # the third was not started
    assert not any(Path(f"/proc/{path.name}").exists() for path in tmp_path.iterdir())
