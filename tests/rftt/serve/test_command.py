"""``rftt serve`` as a process on a real engine: the official client, kill and restart, an orderly end; and bad usage."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import openai
import psutil
import pytest

from rftt.cli import main
from rftt.model.vocabulary import add_functional_tokens
from rftt.toy import BASE
from tests.ports import free_port

MESSAGES = [{"role": "user", "content": "Work modulo 10:h=6,m=h*4,r=m+5.(m,r)=?"}]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--strategy", "oracle"], "expected one of greedy"),
        (["--rollouts", "0"], "expected 1 or more"),
        (["--max-concurrent", "0"], "concurrent: 0 is not allowed"),
        (["--timeout", "-1"], "expected more than 0"),
        (["--api-key", " "], "is empty"),
        (["--model", "/no/such/model"], "/no/such/model"),
        (["--host", "192.0.2.1"], "192.0.2.1:8000: cannot listen there"),
        (["--port", "70000"], "cannot listen there"),
        (["--set", "engine.nam=vllm"], "did you mean name"),
    ],
)
def test_bad_usage_is_one_line_and_code_2(tiny_model, capsys, argv, message):
    assert main(["serve", "--model", str(tiny_model("qwen2")), *argv]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("rftt: ") and message in last


def test_what_does_not_fit_the_model_ends_the_server(tiny_model, capsys):
    """The model has no functional tokens, which only shows when it is loaded."""
    argv = ["--strategy", "beam", "--port", "0", "--engine", "transformers"]
    assert main(["serve", "--model", str(tiny_model("qwen2")), *argv]) == 2
    assert "needs a model with functional tokens" in capsys.readouterr().err.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serve") / "model"
    add_functional_tokens(BASE, folder)
    return str(folder)


@contextmanager
def serving(model, port, log):
    """A server process that is ready, and a client of it."""
    command = [sys.executable, "-m", "rftt.cli", "serve", "--model", model, "--name", "toy", "--port", str(port),
               "--rollouts", "4", "--set", "engine.max_model_len=512", "--set", "search.max_step_tokens=24",
               "--set", "model.dtype=float32", "--set", "search.max_tokens=400"]  # fmt: skip
    with open(log, "w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 180
        while "ready" not in (said := log.read_text()):
            assert process.poll() is None and time.monotonic() < end, said[-3000:]
            time.sleep(0.1)
        url = re.search(r"http://\S+/v1", said).group()
        yield process, openai.OpenAI(base_url=url, api_key="any", max_retries=0, timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)


def ask(client, seed=0, **extra):
    """What an answer says, without its name and time."""
    found = client.chat.completions.create(model="toy", messages=MESSAGES, seed=seed, extra_body=extra)
    return found.choices[0].message.model_dump(), found.usage.model_dump(), found.rftt


def figure(client, name):
    """A figure of /metrics; 0 where there is no such line."""
    with urllib.request.urlopen(str(client.base_url).replace("/v1/", "/metrics")) as answer:
        lines = answer.read().decode().splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0)


@pytest.mark.slow
@pytest.mark.vllm
@pytest.mark.resume
def test_the_official_client_a_kill_a_restart_and_an_orderly_end(model, tmp_path):
    port = free_port()  # the same one again after the kill
    with serving(model, port, tmp_path / "first.log") as (process, client):
        alone = [ask(client, seed) for seed in range(4)]
        assert all(usage["completion_tokens"] > 0 and found["paths"] for _, usage, found in alone)
        with ThreadPoolExecutor(16) as clients:
            together = list(clients.map(lambda i: ask(client, i % 4), range(16)))
        assert together == alone * 4
        stream = client.chat.completions.create(model="toy", messages=MESSAGES, stream=True, seed=0)
        assert "".join(p.choices[0].delta.content or "" for p in stream) == alone[0][0]["content"]
        with pytest.raises(openai.BadRequestError, match="n: 2 is not supported"):
            client.chat.completions.create(model="toy", messages=MESSAGES, n=2)
        long = {"strategy": "majority", "rollouts": 64}
        with client.chat.completions.create(
            model="toy", messages=MESSAGES, stream=True, temperature=2, seed=7, extra_body=long
        ) as stream:
            assert next(iter(stream)).choices[0].delta.role == "assistant"
        end = time.monotonic() + 10  # it has hung up
        while figure(client, 'rftt_requests_total{route="/v1/chat/completions",status="499"}') != 1:
            assert time.monotonic() < end
            time.sleep(0.02)
        assert figure(client, "rftt_searches_running") == 0
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        with pytest.raises(openai.APIConnectionError):
            ask(client)
    psutil.wait_procs(children, timeout=10)
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]

    with serving(model, port, tmp_path / "second.log") as (process, client):
        assert ask(client, 2) == alone[2]
        found = []
        job = threading.Thread(target=lambda: found.append(ask(client, 1, temperature=2, **long)))
        job.start()
        while not figure(client, "rftt_searches_running"):
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGTERM)
        job.join(60)
        assert process.wait(60) == 0
        assert found and found[0][2]["paths"] == 64
        assert (tmp_path / "second.log").read_text().rstrip().endswith("shutting down")
