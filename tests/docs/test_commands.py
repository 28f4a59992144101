"""Every command of the pages exists with its options; those that a machine with two cores runs in seconds are run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
import urllib.request
from pathlib import Path

import pytest

from rftt.cli import build_parser, parse
from tests.docs.pages import PAGES, ROOT, Block, blocks, spans
from tests.ports import free_port

COMMANDS = sorted({
    (page.name, line)
    for page in PAGES
    for line in [*(line for block in blocks(page, "sh") for line in block.lines), *spans(page)]
})  # fmt: skip
MARKERS = [
    m.partition(":")[0]
    for m in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["markers"]
]
# The settings of configs/toy.yaml, but small: the pages' commands are those of the quick start.
SMALL = f"""
base: {ROOT}/configs/toy.yaml
data: {{train_limit: 12, eval_limit: 8}}
search: {{rollouts: 12, processes: 1}}
sft: {{trainer: {{num_train_epochs: 2}}}}
rl: {{questions_per_step: 4, rollouts: 4, trainer: {{max_steps: 2}}}}
eval: {{rollouts: [1, 2], samples: 1, search_limit: 4, models: [sft, rl]}}
"""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_block_says_in_known_words_why_it_is_not_run(page):
    first = [block.text.partition("\n")[0] for block in blocks(page, "sh")]
    assert not [line for line in first if re.match("# (needs|takes|keeps) ", line)]


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_a_command_exists_with_its_options(page, line):
    words = shlex.split(re.sub(r'^SERVERS="[^"]*" ', "", line))
    name = Path(words[0]).name if words[0].startswith(".venv/") else words[0]
    if name == "rftt" and all(re.fullmatch(r"-?-?[a-z]+", word) for word in words[1:]):
        help_text = build_parser().format_help()  # the name of a command, and perhaps what it is to do
        assert re.search(rf"^\s+{words[1]}\s", help_text, re.MULTILINE) or words[1] == "--help"
    elif name == "rftt":
        assert callable(parse(words[1:]).run_command)
    elif name == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert all(word in targets for word in words[1:] if "=" not in word)
    elif name.startswith("launch/") or name == "sbatch":
        script = next(word for word in words if word.startswith("launch/"))
        text = (ROOT / script).read_text()
        text += "".join((ROOT / "launch" / n).read_text() for n in ("train.sh", "servers.sh", "search.sh"))
        own = words[: words.index("--")] if "--" in words else words
        assert all(word.partition("=")[0] in text for word in own if word.startswith("--") and word != "--nodes=4")
    elif name == "python":
        script = re.sub(r"^carry[\w-]*/", "launch/once/", words[1])  # where pack.py has put it
        path = ROOT / (words[2].replace(".", "/") + ".py" if words[1] == "-m" else script)
        sources = path.read_text() + "".join(p.read_text() for p in (ROOT / "tests" / "benchmarks").glob("_*.py"))
        assert all(f'"{word}"' in sources for word in words[2:] if word.startswith("--")), line
    elif name == "pytest":
        assert all((ROOT / word).exists() for word in words[1:] if word.startswith("tests"))
        assert "-m" not in words or words[words.index("-m") + 1].split()[-1] in MARKERS
    else:
        assert name in ("mkdir", "cp", "echo", "pre-commit", "lm_eval", "pip")


def test_links_lead_somewhere():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:|<)([^)#]+)(?:#[^)]*)?\)", text):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
        for target, heading in re.findall(r"\]\(([\w./-]*\.md)#([\w-]+)\)", text):
            headings = re.findall(r"^#+ (.*)$", (page.parent / target).read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
            assert heading in anchors, f"{page.name}: {target}#{heading}"


def test_the_readme_is_short_and_the_contents_page_names_every_page():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 160
    contents = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in contents, page.name


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """What blocks are run with: a folder that has the commands of an installed project on its path."""
    home = tmp_path_factory.mktemp("pages")
    (home / "bin").mkdir()
    program = f'#!/bin/sh\nexec {sys.executable} -m rftt.cli "$@"\n'
    for name, text in (("rftt", program), ("python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')):
        (home / "bin" / name).write_text(text)
        (home / "bin" / name).chmod(0o755)
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    environment |= {"PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}

    def run(text: str, folder: Path, seconds: float = 900) -> None:
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=folder, env=environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds)  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout[-4000:]}"

    run.environment = environment
    return run


@pytest.fixture(scope="module")
def quickstart(shell, tmp_path_factory):
    """A folder as a reader has it after the quick start."""
    home = tmp_path_factory.mktemp("reader")
    (home / "configs").mkdir()
    (home / "configs" / "toy.yaml").write_text(SMALL)
    for name in ("docs", "launch", "tests"):
        (home / name).symlink_to(ROOT / name)
    shell("rftt run configs/toy.yaml", home)
    return home


RUNNABLE = [
    page
    for page in PAGES
    if any(not block.mark for block in blocks(page, "sh", "python")) and page.name != "CONTRIBUTING.md"
]


@pytest.mark.pages
@pytest.mark.slow
@pytest.mark.vllm
@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in RUNNABLE])
def test_the_blocks_of_a_page_run(page, quickstart, shell, tmp_path):
    folder = tmp_path / "reader"
    shutil.copytree(quickstart, folder, symlinks=True)
    port, server = free_port(), None
    try:
        for block in blocks(page, "sh", "python"):
            text = block.text.replace("8000", str(port))
            if page.name == "extending.md" and block.language == "python":
                continue  # a file of docs/examples, which the run below uses
            if block.mark == "keeps running":
                server = served(f"{text.strip()} --port {port}", folder, shell.environment, port)
            elif not block.mark and not all(line.startswith("make ") for line in block.lines):
                shell(text if block.language == "sh" else f"python - <<'EOF'\n{text}\nEOF", folder)
    finally:
        if server is not None:
            server.terminate()
            server.wait(60)


def served(command: str, folder: Path, environment: dict[str, str], port: int) -> subprocess.Popen:
    """Start a server and wait until it answers."""
    process = subprocess.Popen(shlex.split(command), cwd=folder, env=environment)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        assert process.poll() is None
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as answer:
                if answer.status == 200:
                    return process
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"{command} does not answer")


def test_marks_are_read():
    [block] = [b for b in blocks(ROOT / "docs" / "search-and-serving.md", "sh") if b.mark == "keeps running"]
    assert block == Block("sh", "rftt serve --model runs/toy/rl/final --rollouts 16\n", "keeps running")
