"""``stop`` and ``/v1/completions``, as evaluation harnesses use them."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from rftt.serve.chat_answers import cut
from rftt.serve.protocol import ApiError, Offer, parse, parse_completions
from search.config import SearchConfig
from tests.rftt.serve.running import QUESTION, HeldEngine, running, until

OFFER = Offer("fake", "mcts", SearchConfig())
CHAT = {"model": "fake", "messages": QUESTION}


@pytest.fixture(scope="module")
def server():
    with running(HeldEngine()) as server:
        yield server


def post(server, path, **body):
    return requests.post(f"{server.url}/v1/{path}", json={"model": "fake", "seed": 3, **body}, timeout=30)


@pytest.mark.parametrize(("text", "stop", "left"), [
    ("so 7. Question: 8", ("Question:", "</s>"), "so 7. "), ("abc", (), "abc"), ("abcab", ("b", "ca"), "a"),
    ("abc", ("x",), "abc"), ("", ("x",), ""), ("xa", ("x",), ""),
])  # fmt: skip
def test_a_text_ends_before_the_first_of_its_stops(text, stop, left):
    assert cut(text, stop) == left


@pytest.mark.parametrize(("given", "read"), [
    (None, ()), ("", ()), ([], ()), ("x", ("x",)), (["a", "", "b"], ("a", "b")), (["<|im_end|>"], ("<|im_end|>",)),
])  # fmt: skip
def test_stop_is_text_or_a_list_of_texts(given, read):
    assert parse({**CHAT, "stop": given}, OFFER).stop == read


@pytest.mark.parametrize("given", [3, [3], {"a": 1}, [None], ["x"] * 17, True])
def test_other_stops_are_refused_by_name(given):
    with pytest.raises(ApiError) as caught:
        parse({**CHAT, "stop": given}, OFFER)
    assert (caught.value.status, caught.value.param) == (400, "stop")


def test_stop_cuts_the_answer_and_changes_nothing_else(server):
    whole = post(server, "chat/completions", messages=QUESTION).json()
    content = whole["choices"][0]["message"]["content"]
    assert "boxed" in content
    short = post(server, "chat/completions", messages=QUESTION, stop=["boxed", "\n\n\n"]).json()
    assert short["choices"][0]["message"]["content"] == content[: content.index("boxed")]
    assert short["choices"][0]["finish_reason"] == "stop"
    assert short["rftt"] == whole["rftt"] and short["usage"] == whole["usage"]
    streamed = post(server, "chat/completions", messages=QUESTION, stop="boxed", stream=True).text
    assert "boxed" not in streamed.split("reasoning_content")[-1].split('"content"')[-1].split('"rftt"')[0]


def test_a_completion_says_what_the_chat_says(server):
    chat = post(server, "chat/completions", messages=QUESTION).json()
    done = post(server, "completions", prompt=QUESTION[0]["content"])
    assert done.status_code == 200, done.text
    body = done.json()
    [choice] = body["choices"]
    assert body["object"] == "text_completion" and body["id"].startswith("cmpl-")
    assert choice["text"] == chat["choices"][0]["message"]["content"] and choice["finish_reason"] == "stop"
    assert choice["reasoning_content"] == chat["choices"][0]["message"]["reasoning_content"]
    assert body["rftt"] == [chat["rftt"]] and body["usage"]["total_tokens"] == chat["usage"]["total_tokens"]


def test_prompts_are_answered_in_their_order(server):
    prompts = [f"What is {i}?" for i in range(5)]
    body = post(server, "completions", prompt=prompts, max_tokens=64, temperature=0.5, stop=["Q:"]).json()
    assert [c["index"] for c in body["choices"]] == list(range(5))
    for prompt, choice in zip(prompts, body["choices"], strict=True):
        one = post(server, "completions", prompt=prompt, max_tokens=64, temperature=0.5, stop=["Q:"]).json()
        assert one["choices"][0]["text"] == choice["text"]


def test_prompts_of_one_request_queue_among_themselves():
    engine = HeldEngine()
    with running(engine, concurrent=2, queue=1) as server:
        done = post(server, "completions", prompt=[f"What is {i}?" for i in range(8)])
        assert done.status_code == 200 and len(done.json()["choices"]) == 8, done.text
        engine.go.clear()
        with ThreadPoolExecutor(2) as clients:
            first = clients.submit(post, server, "completions", prompt=[f"What is {i}?" for i in range(8)])
            until(lambda: (server.server.gate.running, server.server.gate.waiting) == (2, 1))
            searching = engine.in_flight
            assert post(server, "completions", prompt=["a", "b"]).status_code == 429
            assert engine.in_flight == searching and not engine.cancelled
            engine.go.set()
            assert first.result().status_code == 200


def test_a_prompt_that_cannot_be_asked_is_refused_before_any_is_searched_for():
    engine = HeldEngine(max_model_len=200)
    with running(engine) as server:
        assert post(server, "completions", prompt=["What is 1?", "9" * 1000]).status_code == 400
        assert not engine.log


@pytest.mark.parametrize(("fields", "param"), [
    ({}, "prompt"), ({"prompt": []}, "prompt"), ({"prompt": [1, 2]}, "prompt"), ({"prompt": [[1, 2]]}, "prompt"),
    ({"prompt": "x", "messages": QUESTION}, "messages"), ({"prompt": "x", "stream": True}, "stream"),
    ({"prompt": "x", "echo": True, "logprobs": 1}, "logprobs"), ({"prompt": "x", "suffix": "y"}, "suffix"),
    ({"prompt": ["x"] * 65}, "prompt"), ({"prompt": " "}, "messages"), ({"prompt": {"a": 1}}, "prompt"),
])  # fmt: skip
def test_what_a_completion_cannot_be_is_refused_by_name(server, fields, param):
    done = post(server, "completions", **fields)
    assert done.status_code == 400 and done.json()["error"]["param"] == param, done.text
    with pytest.raises(ApiError):
        parse_completions({"model": "fake", **fields}, OFFER)
