"""The server engine on real vLLM servers, started by launch/servers.sh: exact, and indifferent to a server that dies."""

import asyncio
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from rftt.model.vocabulary import add_functional_tokens
from rftt.toy import BASE
from search import Question, SearchConfig, search_many
from search.engines import Sampling, ServerEngine
from search.engines.engine import EngineError
from search.functional import tag_ids
from search.functions import RFTT
from search.prompt import question_ids
from tests.ports import IN_USE, PortTaken, on_free_port

pytestmark = [pytest.mark.slow, pytest.mark.vllm]
ROOT = Path(__file__).resolve().parents[2]
FLAGS = ["--dtype", "float32", "--enforce-eager", "--max-model-len", "512", "--max-num-seqs", "32"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server") / "model"
    add_functional_tokens(BASE, folder)
    return str(folder)


@pytest.fixture(scope="module")
def servers(model, tmp_path_factory):
    """URLs and process ids of two servers."""
    script, logs = on_free_port(lambda port: start(model, port, tmp_path_factory.mktemp("logs")), count=2)
    try:
        yield {url: int((logs / f"server-{i}.pid").read_text()) for i, url in enumerate(script.urls)}
    finally:
        end(script, logs)


def start(model, port, logs):
    """The script that has started two servers, with their `urls`, and where their logs are.

    Raises:
        PortTaken: another program has taken one of their ports.
    """
    command = [ROOT / "launch" / "servers.sh", model, "--servers", "2", "--gpus-per-server", "0", "--port", str(port),
               "--logs", logs, "--wait", "400", "--", *FLAGS]  # fmt: skip
    script = subprocess.Popen(command, env=os.environ | {"PYTHON": sys.executable}, text=True, stdout=subprocess.PIPE)
    script.urls = script.stdout.read().split()
    if len(script.urls) == 2:
        return script, logs
    end(script, logs)
    told = "".join(path.read_text()[-4000:] for path in sorted(logs.glob("server-*.log")))
    if IN_USE in told:
        raise PortTaken
    raise AssertionError(told)


def end(script, logs):
    script.terminate()
    try:
        script.wait(timeout=30)
    finally:
        for path in logs.glob("server-*.pid"):
            end_group(int(path.read_text()))


def end_group(pid):
    """A server and the engine process behind it."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def requests_for(tokenizer):
    """Greedy and seeded, one and several, with and without a nucleus, all with log-probs and watched ids."""
    watch = tuple(tag_ids(tokenizer, [f.open for f in RFTT.functions]).values())
    for i in range(24):
        prompt = question_ids(tokenizer, f"What is ({i % 10} + {i * 7 % 10}) * {i * 3 % 10}?")
        greedy = i % 2 == 0
        yield prompt, Sampling(
            40, n=1 if greedy else 1 + i % 3, temperature=0.0 if greedy else 1.0, top_p=0.9 if i % 4 == 1 else 1.0,
            seed=i, stop_ids=watch, watch_ids=watch, logprobs=True, tree=f"q{i}",
        )  # fmt: skip


def test_servers_give_what_vllm_in_this_process_gives(model, servers):
    from search.engines import VLLMEngine

    served = ServerEngine([f"{url}/v1" for url in servers], tokenizer=model)
    local = VLLMEngine(model, max_model_len=512, dtype="float32", enforce_eager=True, max_num_seqs=32)
    assert (served.model, served.max_model_len, served.eos_ids) == (model, 512, local.eos_ids)
    requests = list(requests_for(served.tokenizer))

    def generate(engine):
        async def run():
            return await asyncio.gather(*(engine.generate(*request) for request in requests))

        return [generation for generations in asyncio.run(run()) for generation in generations]

    try:
        expected = generate(local)
        found = generate(served)
        assert [(g.ids, g.stopped) for g in found] == [(g.ids, g.stopped) for g in expected]
        assert {g.stopped for g in found} == {True, False}
        for one, other in zip(found, expected, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
            assert one.watched == pytest.approx(other.watched, abs=1e-4)
        for _ in range(2):
            asyncio.run(served.generate([7] * 100, Sampling(1, tree="again")))
        assert served.stats.cached_tokens >= 64
    finally:
        served.close()
        local.close()


def running_requests(urls):
    total = 0.0
    for url in urls:
        with urllib.request.urlopen(f"{url}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        total += sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:num_requests_running{"))
    return total


def test_cancelled_requests_are_aborted_and_bad_ones_refused(model, servers):
    engine = ServerEngine(list(servers), tokenizer=model)

    async def run():
        jobs = [asyncio.ensure_future(engine.generate([7] * 20, Sampling(480, seed=i))) for i in range(16)]
        while not await asyncio.to_thread(running_requests, servers):
            await asyncio.sleep(0.01)
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        for _ in range(100):
            if not await asyncio.to_thread(running_requests, servers):
                return
            await asyncio.sleep(0.02)
        raise AssertionError("the servers go on with requests that nobody waits for")

    asyncio.run(run())
    with pytest.raises(EngineError, match="refuses a request: HTTP 400: .*out-of-vocab"):
        asyncio.run(engine.generate([7], Sampling(1, watch_ids=(99999,))))
    engine.close()


def search(urls, model, config, on_tree=lambda tree: None):
    engine = ServerEngine(urls, tokenizer=model, backoff=0.1)
    questions = [Question(f"q{i}", f"What is ({i % 10} + {i * 7 % 10}) * {i * 3 % 10}?", "3") for i in range(12)]
    trees = {}

    def keep(tree):
        trees[tree.question_id] = tree.to_json()
        on_tree(engine)

    asyncio.run(search_many(questions, engine, config, keep, policy="functional"))
    engine.close()
    return dict(sorted(trees.items()))


def test_a_search_gives_the_same_trees_whichever_servers_do_it_and_although_one_dies(model, servers):
    first, second = servers
    # Less than all trees in flight, so that some begin after the death.
    sampled = SearchConfig(rollouts=8, max_depth=5, max_step_tokens=24, temperature=1.0, top_p=1.0, live_trees=6)
    greedy = SearchConfig(rollouts=8, max_depth=5, max_step_tokens=24, temperature=0.0, live_trees=6)
    alone = {config: search([second], model, config) for config in (greedy, sampled)}
    assert search([first, second], model, greedy) == alone[greedy]

    def kill(engine):
        os.killpg(servers[first], signal.SIGKILL)
        killed.append(engine)

    killed = []
    after_death = search([first, second], model, sampled, lambda engine: killed or kill(engine))
    assert after_death == alone[sampled]
    assert [s.live for s in killed[0]._fleet.servers] == [False, True]
    assert any(node["visits"] > 1 for tree in after_death.values() for node in tree["nodes"])
