"""The server over HTTP, on a scripted engine: statuses, streams, limits, and clients that hang up."""

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import openai
import pytest
import requests

from search import Question, Solver
from search.chain import parse, render
from search.config import SearchConfig
from search.engines import FakeEngine
from search.engines.engine import EngineError, EngineGone
from tests.rftt.serve.running import QUESTION, SEARCH, HeldEngine, running, until
from tests.search.fakes import OPEN, TOKENIZER, functional_engine

BODY = {"model": "fake", "messages": QUESTION}


def post(server, body=None, *, path="/v1/chat/completions", **options):
    """Send a body; returns the response."""
    data = {"json": BODY | (body or {})} if "data" not in options else {}
    return requests.post(server.url + path, **data, **options, timeout=20)


def client(server, **options):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, **options)


def counted(server, line):
    """A figure of /metrics; 0 where there is no such line."""
    lines = requests.get(f"{server.url}/metrics", timeout=5).text.splitlines()
    return next((float(found.split()[-1]) for found in lines if found.startswith(f"{line} ")), 0.0)


@pytest.fixture(scope="module")
def server():
    with running(functional_engine(turns=3)) as found:
        yield found


def test_the_answer_is_what_the_search_votes_for(server):
    solver = Solver(functional_engine(), SEARCH, "mcts")
    expected = asyncio.run(solver.solve(Question("question", QUESTION[0]["content"])))
    found = client(server).chat.completions.create(model="fake", messages=QUESTION, extra_body={"tree": True})
    assert found.rftt["answer"] == expected.answer is not None
    assert found.choices[0].message.content == f"\\boxed{{{expected.answer}}}"
    assert found.usage.completion_tokens == expected.tokens
    assert found.rftt["tree"]["nodes"] == json.loads(json.dumps(expected.tree.to_json()))["nodes"]
    assert "<next_step>" in found.choices[0].message.reasoning_content


@pytest.mark.parametrize("strategy", ["greedy", "majority", "best_of_n", "beam", "dvts", "mcts"])
def test_a_stream_says_what_the_whole_answer_says(server, strategy):
    extra = {"strategy": strategy, "seed": 5}
    whole = post(server, extra).json()
    stream = client(server).chat.completions.create(
        model="fake", messages=QUESTION, stream=True, stream_options={"include_usage": True}, extra_body=extra
    )
    parts = list(stream)
    deltas = [part.choices[0].delta for part in parts if part.choices]
    message = whole["choices"][0]["message"]
    assert deltas[0].role == "assistant"
    assert "".join(d.content or "" for d in deltas) == message["content"]
    assert "".join(getattr(d, "reasoning_content", None) or "" for d in deltas) == message.get("reasoning_content", "")
    assert parts[-2].choices[0].finish_reason == whole["choices"][0]["finish_reason"]
    assert parts[-1].usage.model_dump()["completion_tokens"] == whole["usage"]["completion_tokens"] > 0


def test_a_stream_of_best_first_tells_the_first_chain_while_the_search_goes_on():
    class Held(FakeEngine):
        """Answers what the first chain asks for; what branches ask for waits."""

        go_on = threading.Event()

        async def generate(self, prompt_ids, sampling):
            while set(sampling.stop_ids) != set(OPEN) and not self.go_on.is_set():
                await asyncio.sleep(0.01)
            return await super().generate(prompt_ids, sampling)

    plain = functional_engine()
    engine = Held(plain.script, TOKENIZER, eos_ids=frozenset({0}))
    body = {"stream": True, "rollouts": 12, "confidence": True, "strategy": "best_first"}
    with running(engine) as server:
        told, content, last = "", "", {}
        with requests.post(f"{server.url}/v1/chat/completions", json={"model": "fake", "messages": QUESTION, **body},
                           stream=True, timeout=20) as response:  # fmt: skip
            for line in response.iter_lines():
                if not line.startswith(b"data: {"):
                    continue
                record = json.loads(line[6:])
                delta = record["choices"][0]["delta"]
                told += delta.get("reasoning_content", "")
                content += delta.get("content", "")
                if told and not engine.go_on.is_set():
                    assert not content
                    first = told
                    engine.go_on.set()
                last = record.get("rftt", last)
    solver = Solver(functional_engine(), replace(SEARCH, rollouts=12), "best_first")
    expected = asyncio.run(solver.solve(Question("question", QUESTION[0]["content"])))
    chain = parse(expected.candidates[0].text)
    assert told.startswith(first) and told.startswith(render(chain[:-1]))
    winner = parse(expected.candidates[expected.votes[0].members[0]].text)
    assert told == render(chain[:-1]) + (render(winner[:-1]) if winner != chain else "")
    assert content == f"\\boxed{{{expected.answer}}}" and last["answer"] == expected.answer
    assert last["confidence"] == pytest.approx(expected.share, abs=1e-6) and 0 < last["confidence"] <= 1


def test_confidence_is_told_where_it_is_asked_for(server):
    assert "confidence" not in post(server, {}).json()["rftt"]
    record = post(server, {"confidence": True, "strategy": "majority"}).json()["rftt"]
    assert record["confidence"] == pytest.approx(
        record["votes"][0]["weight"] / sum(v["weight"] for v in record["votes"])
    )


def test_earlier_turns_stand_in_the_prompt():
    engine = functional_engine()
    messages = [{"role": "system", "content": "Be brief."}, *QUESTION, {"role": "assistant", "content": "2"},
                {"role": "user", "content": "And 2 + 2?"}]  # fmt: skip
    with running(engine) as server:
        for strategy in ("mcts", "majority"):
            assert post(server, {"messages": messages, "strategy": strategy}).status_code == 200
    expected = TOKENIZER.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert all(TOKENIZER.decode(prompt).startswith(expected) for prompt, _ in engine.log)


def test_max_tokens_bounds_every_chain():
    engine = functional_engine()
    with running(engine) as server:
        for strategy in ("mcts", "majority", "beam", "greedy"):
            engine.log.clear()
            record = post(server, {"max_tokens": 40, "strategy": strategy}).json()
            prompt = record["usage"]["prompt_tokens"]
            assert engine.log and all(len(p) + s.max_tokens <= prompt + 40 for p, s in engine.log)
            assert record["choices"][0]["finish_reason"] in ("length", "stop")


def test_sampling_reaches_the_engine():
    engine = functional_engine()
    with running(engine) as server:
        assert post(server, {"temperature": 0.25, "top_p": 0.5, "rollouts": 2}).json()["rftt"]["paths"] == 2
        assert {(s.temperature, s.top_p) for _, s in engine.log} == {(0.25, 0.5)}
        assert post(server, {"rollouts": 30, "budget_tokens": 50}).json()["rftt"]["stopped"] == "budget"


def test_the_same_seed_gives_the_same_answer_whatever_else_is_in_flight(server):
    def ask(seed):
        found = post(server, {"seed": seed % 8}).json()
        return seed % 8, found["choices"], found["usage"], found["rftt"]

    alone = {seed: ask(seed) for seed in range(8)}
    with ThreadPoolExecutor(64) as clients:
        together = list(clients.map(ask, range(64)))
    assert all(found == alone[found[0]] for found in together)
    assert len({json.dumps(found) for _, found, _, _ in alone.values()}) > 1


def test_64_clients_share_the_engine():
    engine = HeldEngine(pause=0.01)
    with running(engine, concurrent=64) as server, ThreadPoolExecutor(64) as clients:
        statuses = list(clients.map(lambda seed: post(server, {"seed": seed, "rollouts": 2}).status_code, range(128)))
        assert statuses == [200] * 128
        assert engine.most_in_flight > 32 and engine.in_flight == 0
        assert counted(server, "rftt_searches_running") == 0
        assert counted(server, 'rftt_requests_total{route="/v1/chat/completions",status="200"}') == 128
        assert counted(server, "rftt_paths_total") == 256


@pytest.mark.parametrize(
    ("status", "options"),
    [
        (400, {"data": b"{", "headers": {"Content-Type": "application/json"}}),
        (400, {"data": b"\xff", "headers": {"Content-Type": "application/json; charset=utf-8"}}),
        (400, {"data": b"[" * 200_000, "headers": {"Content-Type": "application/json"}}),
        (400, {"data": b"no gzip", "headers": {"Content-Type": "application/json", "Content-Encoding": "gzip"}}),
        (400, {"body": {"messages": [{"role": "user", "content": "9" * 5000}]}}),
        (400, {"body": {"n": 2}}),
        (404, {"body": {"model": "gpt-4o"}}),
        (404, {"path": "/v1/embeddings"}),
        (405, {"path": "/v1/models"}),
        (413, {"data": b" " * 2_000_000, "headers": {"Content-Type": "application/json"}}),
        (413, {"data": (b" " * 1000 for _ in range(2000)), "headers": {"Content-Type": "application/json"}}),
        (415, {"data": b"{}", "headers": {"Content-Type": "text/plain"}}),
        (415, {"data": b"{}"}),
    ],
)
def test_bad_requests_get_their_status_and_openais_error(server, status, options):
    answer = post(server, **options)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_compressed_bodies_are_read_and_bombs_refused(server):
    import zlib

    def send(data):
        headers = {"Content-Type": "application/json", "Content-Encoding": "deflate"}
        return post(server, data=zlib.compress(data), headers=headers).status_code

    assert send(json.dumps(BODY).encode()) == 200
    assert send(b" " * 50_000_000) == 413


def test_models_and_health(server):
    openai_client = client(server)
    assert [m.id for m in openai_client.models.list()] == ["fake"]
    assert openai_client.models.retrieve("fake").max_model_len == 4096
    with pytest.raises(openai.NotFoundError):
        openai_client.models.retrieve("a/b")
    assert requests.get(f"{server.url}/health", timeout=5).json() == {"status": "ready"}


def test_the_api_key_guards_v1_and_nothing_else():
    with running(functional_engine(), api_key="secret\n") as server:  # as a file holds it
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "Basic secret"},
            {"Authorization": "ÿ"},
        ):
            answer = post(server, headers={k: v.encode("latin-1") for k, v in headers.items()})
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert post(server, headers={"Authorization": "bearer secret"}).status_code == 200
        assert requests.get(f"{server.url}/v1/models", timeout=5).status_code == 401
        assert requests.get(f"{server.url}/health", timeout=5).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("strategy", ["mcts", "majority", "beam"])
def test_a_client_that_hangs_up_cancels_its_search(stream, strategy):
    engine = HeldEngine()
    engine.go.clear()
    with running(engine, keep_alive=0.01) as server:
        body = json.dumps(BODY | {"stream": stream, "strategy": strategy}).encode()
        connection = _open(server, body)
        until(lambda: engine.in_flight)
        assert server.server.gate.running == 1
        connection.close()
        until(lambda: not engine.in_flight and not server.server.gate.running)
        assert engine.cancelled
        until(lambda: counted(server, 'rftt_requests_total{route="/v1/chat/completions",status="499"}') == 1)
        engine.go.set()
        assert post(server).status_code == 200


def _open(server, body):
    import socket

    connection = socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    connection.sendall(head.encode() + b"\r\n\r\n" + body)
    return connection


def test_too_many_get_429_and_the_place_in_the_queue_of_one_that_hangs_up_is_free_again():
    engine = HeldEngine()
    engine.go.clear()
    with running(engine, concurrent=1, queue=1) as server, ThreadPoolExecutor(2) as clients:
        first = clients.submit(post, server)
        until(lambda: server.server.gate.running == 1)
        waiting = _open(server, json.dumps(BODY).encode())
        until(lambda: server.server.gate.waiting == 1)
        full = post(server)
        assert full.status_code == 429 and int(full.headers["Retry-After"]) >= 1
        assert full.json()["error"]["code"] == "queue_full"
        waiting.close()
        until(lambda: server.server.gate.waiting == 0)
        second = clients.submit(post, server)
        engine.go.set()
        assert [first.result().status_code, second.result().status_code] == [200, 200]


def test_a_search_that_takes_too_long_is_504_and_ended():
    engine = HeldEngine()
    engine.go.clear()
    with running(engine, seconds=0.1, keep_alive=0.02) as server:
        assert post(server).status_code == 504
        with pytest.raises(openai.APIError, match="no answer within"):
            list(client(server).chat.completions.create(model="fake", messages=QUESTION, stream=True))
        until(lambda: not engine.in_flight)
        assert counted(server, 'rftt_requests_total{route="/v1/chat/completions",status="504"}') == 2


def test_a_body_that_never_comes_is_408():
    with running(functional_engine(), body_seconds=0.1) as server:
        connection = _open(server, b"")
        connection.close()
        connection = _open_headless(server)
        assert b" 408 " in connection.recv(100)
        connection.close()


def _open_headless(server):
    import socket

    connection = socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])))
    connection.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    )
    return connection


def test_a_stream_shows_signs_of_life_while_the_search_goes_on():
    with running(HeldEngine(pause=0.03), keep_alive=0.01) as server:
        text = post(server, {"stream": True}).text
    assert ": searching, " in text and text.index(": searching") > text.index('"role": "assistant"')
    assert text.endswith("data: [DONE]\n\n")


def test_503_while_the_model_is_loaded():
    loading = threading.Event()
    with running(functional_engine(), loading=loading) as server:
        answer = post(server)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "starting")
        health = requests.get(f"{server.url}/health", timeout=5)
        assert (health.status_code, health.json()["status"]) == (503, "starting")
        assert counted(server, "rftt_engine_up") == 0
        assert requests.get(f"{server.url}/v1/models", timeout=5).status_code == 200
        loading.set()
        until(lambda: requests.get(f"{server.url}/health", timeout=5).status_code == 200)
        assert post(server).status_code == 200


def test_a_broken_engine_is_503_and_unhealthy_until_it_serves_again():
    engine = HeldEngine()
    with running(engine) as server:
        engine.error = EngineError("tree x: 4 attempts failed")
        assert post(server).json()["error"]["message"] == "tree x: 4 attempts failed"
        assert requests.get(f"{server.url}/health", timeout=5).status_code == 200
        engine.error = EngineGone("vLLM failed")
        assert post(server).status_code == 503
        health = requests.get(f"{server.url}/health", timeout=5)
        assert (health.status_code, health.json()["reason"]) == (503, "vLLM failed")
        stream = post(server, {"stream": True}).text
        assert '"error": {"message": "vLLM failed"' in stream and stream.endswith("[DONE]\n\n")
        engine.error = RuntimeError("a mistake of ours")
        answer = post(server)
        assert answer.status_code == 500 and "a mistake" not in answer.text
        engine.error = None
        assert post(server).status_code == 200
        assert requests.get(f"{server.url}/health", timeout=5).status_code == 200


def test_at_the_end_searches_may_finish_and_what_is_left_is_told():
    engine = HeldEngine()
    engine.go.clear()
    with running(engine) as server, ThreadPoolExecutor(3) as clients:
        jobs = [clients.submit(post, server, {"stream": stream}) for stream in (False, True)]
        until(lambda: server.server.gate.running == 2)
        draining = clients.submit(server.do, server.server.drain(5))
        until(lambda: server.server.gate.closed)
        assert (post(server).status_code, requests.get(f"{server.url}/health", timeout=5).status_code) == (503, 503)
        engine.go.set()
        assert jobs[0].result().status_code == 200 and '"finish_reason": "stop"' in jobs[1].result().text
        draining.result()
    engine.go.clear()
    with running(engine) as server, ThreadPoolExecutor(1) as clients:
        job = clients.submit(post, server)
        until(lambda: server.server.gate.running == 1)
        server.do(server.server.drain(0.05))
        assert job.result().json()["error"]["code"] == "shutting_down"
        until(lambda: not engine.in_flight)


def test_an_untuned_model_answers_without_functions():
    from tests.search.fakes import prompted_engine

    engine = prompted_engine()
    engine.tokenizer = _without_tags()
    messages = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hi."}, *QUESTION]
    with running(engine, search=SearchConfig(rollouts=3, max_depth=4)) as server:
        found = post(server, {"messages": messages}).json()
        assert found["choices"][0]["message"]["content"].startswith("So it is \\boxed{")
        assert post(server, {"strategy": "beam"}).status_code == 400
    assert all("[assistant]Hi." in engine.tokenizer.decode(prompt) for prompt, _ in engine.log)


def _without_tags():
    from search.functions import RFTT
    from tests.search.fakes import CharTokenizer

    tokenizer = CharTokenizer()
    kept = {token: i for token, i in tokenizer.vocabulary.items() if token not in RFTT.tags}
    tokenizer.get_vocab = lambda: kept
    return tokenizer
