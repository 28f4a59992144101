"""What a reader sees: one line a phase, no dependency's words, no carriage return in a pipe; the rest is in the log."""

import os
import pty
import re
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest

from rftt.runtime import chatter, terminal

ROOT = Path(__file__).resolve().parents[3]

# A phase as `rftt run` has it: two children count, print as dependencies do (Python, C, a logger) and warn as we do.
CHILD = """
import ctypes, logging, os, sys, time
from rftt.runtime import terminal
from rftt.runtime.progress import progress_bar
with terminal.attached():
    print("Loading weights: 100%"); sys.stderr.write("a bar\\rthe same bar\\n"); os.write(1, b"from a C library\\n")
    ctypes.CDLL(None).puts(b"by puts"); ctypes.CDLL(None).fflush(None)
    logging.getLogger("vllm").warning("engine up"); logging.getLogger("rftt.data").warning("left out %d", 3)
    with progress_bar(20, "search", "questions") as bar:
        for _ in range(20):
            time.sleep(0.06); bar.note(solved=bar.n); bar.update()
    if len(sys.argv) > 1: exec(sys.argv[1])
"""
PARENT = """
import sys
from pathlib import Path
from rftt.runtime import terminal
from rftt.runtime.children import run_children
with terminal.attached(verbose="-v" in sys.argv):
    print("chatter before there is a folder")
    terminal.keep_log(Path(sys.argv[1]))
    for name in ("search", "sft"):
        with terminal.phase(name):
            assert run_children([[sys.executable, "-c", CHILD]] * 2, 2) == [0, 0]
            terminal.conclude("17 chains")
    terminal.say("the table\\nof results")
""".replace("CHILD", repr(CHILD))


def python(code, *arguments):
    return [sys.executable, "-c", code, *map(str, arguments)]


def screen(data):
    """Lines of a terminal after everything was written: carriage returns go back, ``ESC[K`` erases the rest."""
    lines, column = [""], 0
    for piece in re.findall(r"\r|\n|\x1b\[K|[^\r\n\x1b]+", data.replace("\r\n", "\n")):
        if piece == "\n":
            lines.append("")
        elif piece == "\x1b[K":
            lines[-1] = lines[-1][:column]
        elif piece != "\r":
            lines[-1] = lines[-1][:column] + piece + lines[-1][column + len(piece) :]
        column = column + len(piece) if piece not in ("\r", "\n", "\x1b[K") else 0 if piece != "\x1b[K" else column
    return [line.rstrip() for line in lines if line.strip()]


def in_terminal(command, columns=160):
    """Run a command with a pseudo-terminal; returns its exit code and everything that it wrote there."""
    main, other = pty.openpty()
    termios.tcsetwinsize(other, (24, columns))
    process = subprocess.Popen(command, cwd=ROOT, stdin=other, stdout=other, stderr=other, close_fds=True)
    os.close(other)
    written = bytearray()

    def read():
        try:
            while data := os.read(main, 4096):
                written.extend(data)
        except OSError:  # the other side is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    code = process.wait(120)
    reader.join(10)
    os.close(main)
    return code, written.decode()


def test_on_a_terminal_a_phase_is_one_line_though_two_processes_work(tmp_path):
    code, written = in_terminal(python(PARENT, tmp_path))
    assert code == 0, written
    lines = screen(written)
    assert [line.split()[0] for line in lines if line.split()[0] in ("search", "sft")] == ["search", "sft"]
    assert lines[-2:] == ["the table", "of results"] and all("17 chains" in line for line in lines[2:-2:3])
    assert sorted({line for line in lines if "left out" in line}) == ["left out 3"]
    assert len(lines) == 4 + 2 + 2  # four warnings of ours, two phases, the table
    drawn = [text for text in re.split(r"\r|\x1b\[K|\n", written) if "questions" in text]
    assert drawn and all(re.match(r"(search|sft) +\d+ s   (search )?\d+/\d+ questions", text) for text in drawn)
    both = [re.search(r"(\d+)/40 questions.*solved (\d+)", text) for text in drawn]
    assert any(both) and all(m is None or int(m[2]) <= int(m[1]) for m in both)


def test_a_line_is_no_longer_than_the_terminal_is_wide(tmp_path):
    code, written = in_terminal(python(PARENT, tmp_path), columns=40)
    drawn = [text for text in re.split(r"\r|\x1b\[K|\n", written) if "questions" in text]
    assert code == 0 and max(map(len, drawn)) == 39


def test_in_a_pipe_there_are_plain_lines_and_the_log_has_the_rest(tmp_path):
    log = tmp_path / terminal.LOG
    log.write_text("of an earlier sitting\n")
    done = subprocess.run(python(PARENT, tmp_path), cwd=ROOT, capture_output=True, check=True)
    out, err = done.stdout.decode(), done.stderr.decode()
    assert "\r" not in out + err and "\x1b" not in out + err
    assert re.fullmatch(r"search +\d+ s   17 chains\nsft +\d+ s   17 chains\nthe table\nof results\n", out)
    assert set(err.splitlines()) == {"left out 3"}
    kept = log.read_text()
    assert kept.startswith("of an earlier sitting\nchatter before there is a folder\n== ")
    for text in ("Loading weights: 100%\n", "the same bar\n", "from a C library\n", "by puts\n", "engine up\n"):
        assert kept.count(text) == 4, text


def test_verbose_shows_what_the_log_has(tmp_path):
    done = subprocess.run(python(PARENT, tmp_path, "-v"), cwd=ROOT, capture_output=True, text=True, check=True)
    for text in ("chatter before", "Loading weights: 100%", "from a C library", "engine up"):
        assert text in done.stderr and text in (tmp_path / terminal.LOG).read_text()
    assert "17 chains" in done.stdout


def test_progress_is_told_in_plain_lines_now_and_then(tmp_path):
    code = """
import sys, time
from rftt.runtime import terminal
from rftt.runtime.progress import progress_bar
terminal.SELDOM = 0.4
with terminal.attached(), terminal.phase("search"), progress_bar(100, "search", "questions") as bar:
    for _ in range(15):
        time.sleep(0.1); bar.update()
"""
    done = subprocess.run(python(code), cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert 2 <= len(lines) <= 6 and all(re.search(r"search .*\d+/100 questions, .*/s, .* left", line) for line in lines)


def test_long_lines_of_several_children_are_cut_and_a_bad_line_is_passed_over(tmp_path):
    child = """
import os, sys
from rftt.runtime import terminal
os.write(int(os.environ[terminal.EVENTS]), b"torn\\n[]\\n")
with terminal.attached():
    for _ in range(300): terminal.say("\u9519" * 2900)
    terminal.conclude("\\x00" * 5000)
    terminal.say("half \\ud83d")
"""
    code = PARENT.replace(repr(CHILD), repr(child))
    done = subprocess.run(python(code, tmp_path), cwd=ROOT, capture_output=True, check=True)
    lines = [line for line in done.stdout.decode().splitlines() if "\u9519" in line]
    assert len(lines) == 2 * 2 * 300 and len(set(lines)) == 1 and set(lines[0]) == {"\u9519"} and len(lines[0]) > 1000
    assert done.stdout.decode().count("half ?") == 4


FAILING = """
import sys
from rftt import cli
from rftt.runtime import terminal
from rftt.runtime.children import run_children
from pathlib import Path
from rftt.errors import PhaseFailed
def run(arguments):
    arguments.goes_on = True
    terminal.keep_log(Path(sys.argv[1]))
    with terminal.phase("sft"):
        [code] = run_children([[sys.executable, "-c", CHILD]])
        if code: raise PhaseFailed("phase sft", code)
cli._run = run
sys.exit(cli.main(["run", "a.yaml"]))
"""
BROKEN = """
import sys
from rftt import cli
def run(arguments):
    print("chatter" + 100 * "\\nmore")
    ACT
cli._run = run
sys.exit(cli.main(["run", "a.yaml"]))
"""


@pytest.mark.parametrize(
    ("act", "code", "told", "shown"),
    [
        ("raise FloatingPointError('loss is nan')", 1, "phase sft ended with exit code 1; the same command goes on",
         "FloatingPointError: loss is nan"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 1, "phase sft ended with exit code -9", "more"),
        ("import ctypes; ctypes.string_at(0)", 1, "phase sft ended with exit code -11", "Segmentation fault"),
        ("from rftt.errors import UsageError; raise UsageError('no such model')", 2, "rftt: no such model", None),
    ],
)  # fmt: skip
def test_a_failure_shows_the_end_of_the_log_and_where_it_is(tmp_path, act, code, told, shown):
    child = BROKEN.replace("ACT", act)
    done = subprocess.run(
        python(FAILING.replace("CHILD", repr(child)), tmp_path), cwd=ROOT, capture_output=True, text=True
    )
    lines = done.stderr.splitlines()
    assert done.returncode == code and told in lines[-1] and done.stdout == ""
    if shown is None:
        assert len(lines) == 1
    else:
        assert str(tmp_path / terminal.LOG) in lines[-2]
        assert any(shown in line for line in lines[:-2]) and len(lines) < 60
        assert "chatter" in (tmp_path / terminal.LOG).read_text()


def test_the_tail_of_a_log_is_its_last_traceback():
    text = "".join(f"line {i}\n" for i in range(50)) + "a 10%\ra 100%\n"
    assert chatter.tail(text)[-1] == "a 100%" and len(chatter.tail(text)) == chatter.LINES
    failed = text + "Traceback (most recent call last):\n" + 30 * "  in f\n" + "ValueError: no\n\n"
    assert chatter.tail(failed)[0].startswith("Traceback") and chatter.tail(failed)[-1] == "ValueError: no"
    assert len(chatter.tail(failed)) == 32 and chatter.tail("") == []


def test_without_a_command_what_is_said_is_printed(capsys):
    terminal.say("an answer")
    terminal.say("a complaint", error=True)
    terminal.conclude("a result")
    assert capsys.readouterr() == ("an answer\na result\n", "a complaint\n")


def test_streams_are_given_back(tmp_path):
    code = """
import os, sys
from rftt.runtime import terminal
with terminal.attached():
    print("hidden")
print("shown"); os.write(1, b"also shown\\n")
with terminal.attached():
    terminal.say("again")
"""
    done = subprocess.run(python(code), cwd=ROOT, capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split("\n")) == ["", "again", "also shown", "shown"] and done.stderr == ""
