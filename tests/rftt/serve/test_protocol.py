"""Bodies are honoured or refused: no field that would change the answer is passed over, and no body breaks the parser."""

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rftt.serve.chat_answers import compose
from rftt.serve.protocol import FIELDS, NEUTRAL, ApiError, Ask, Offer, parse, read_json
from search import Question, Solver
from search.config import SearchConfig
from tests.search.fakes import functional_engine

OFFER = Offer("m", "mcts", SearchConfig(rollouts=16, seed=3), max_rollouts=32, max_budget=20_000)
GOOD = {"model": "m", "messages": [{"role": "user", "content": "What is 1 + 1?"}]}


def refused(body, offer=OFFER):
    with pytest.raises(ApiError) as caught:
        parse(body, offer)
    return caught.value


def test_what_a_body_does_not_say_is_as_the_server_was_told():
    ask = parse(GOOD, OFFER)
    assert (ask.strategy, ask.search.rollouts, ask.search.seed) == ("mcts", 16, 3)
    assert ask == parse({**GOOD, **dict.fromkeys([*FIELDS, *NEUTRAL, "stream_options"])}, OFFER)


def test_fields_reach_the_search():
    fields = {"rollouts": 2, "budget_tokens": 300, "seed": 9, "temperature": 0, "top_p": 0.5, "max_tokens": 90,
              "max_completion_tokens": 70, "strategy": "majority", "reasoning": "text"}  # fmt: skip
    ask = parse(GOOD | fields, OFFER)
    found = ask.search
    assert (found.rollouts, found.budget_tokens, found.seed, found.temperature, found.top_p) == (2, 300, 9, 0.0, 0.5)
    assert ask.max_tokens == found.max_tokens == found.max_step_tokens == 70
    assert (ask.strategy, ask.reasoning) == ("majority", "text")


def test_messages_of_several_turns_and_parts():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    answer = {"role": "assistant", "content": "1", "refusal": None, "tool_calls": None, "reasoning_content": "…"}
    messages = [
        {"role": "developer", "content": "Be brief."},
        *GOOD["messages"],
        answer,
        {"role": "user", "content": parts},
    ]
    assert [(m["role"], m["content"]) for m in parse(GOOD | {"messages": messages}, OFFER).messages] == [
        ("system", "Be brief."), ("user", "What is 1 + 1?"), ("assistant", "1"), ("user", "ab"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"n": True}, "n"),
        ({"stop": [3]}, "stop"),
        ({"tools": [{}]}, "tools"),
        ({"logprobs": True}, "logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"frequency_penalty": 0.1}, "frequency_penalty"),
        ({"reasoning_effort": "low"}, "reasoning_effort"),
        ({"rolouts": 4}, "rolouts"),
        ({"rollouts": 0}, "rollouts"),
        ({"rollouts": 33}, "rollouts"),
        ({"rollouts": True}, "rollouts"),
        ({"rollouts": 4.0}, "rollouts"),
        ({"rollouts": "4"}, "rollouts"),
        ({"budget_tokens": 20_001}, "budget_tokens"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": 1e400}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1e-9}, "top_p"),
        ({"seed": 2**63}, "seed"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"strategy": "oracle"}, "strategy"),
        ({"strategy": ["mcts"]}, "strategy"),
        ({"strategy": "greedy", "rollouts": 2}, "rollouts"),
        ({"strategy": "best_first", "temperature": 3}, "temperature"),
        ({"strategy": "majority", "tree": True}, "tree"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"x": 1}}, "stream_options"),
        ({"model": None}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": ["hi"]}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages"),
        ({"messages": [{"role": [], "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": None}]}, "messages"),
        ({"messages": [{"role": "user", "content": " \n"}]}, "messages"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": "x", "weight": 1}]}, "messages"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(fields, param):
    error = refused(GOOD | fields)
    assert (error.status, error.param) == (400, param) and len(error.message) < 250
    assert set(error.to_json()["error"]) == {"message", "type", "param", "code"}


def test_the_nearest_field_is_named_and_another_model_is_404():
    assert "did you mean rollouts?" in refused(GOOD | {"rolouts": 4}).message
    error = refused(GOOD | {"model": "gpt-4o"})
    assert (error.status, error.code) == (404, "model_not_found")


def test_a_search_that_could_generate_too_much_gets_a_budget():
    assert parse(GOOD | {"strategy": "majority"}, OFFER).search.budget_tokens == 20_000
    assert parse(GOOD | {"strategy": "majority", "max_tokens": 100}, OFFER).search.budget_tokens is None
    assert parse(GOOD | {"strategy": "greedy"}, OFFER).search.budget_tokens is None


@pytest.mark.parametrize("strategy", ["mcts", "beam", "dvts", "auto"])
def test_searches_that_are_bound_by_steps_and_not_by_chains_get_a_budget(strategy):
    offer = Offer("m", strategy, SearchConfig(rollouts=4, max_tokens=10))
    assert parse(GOOD, offer).search.budget_tokens == offer.max_budget
    assert parse(GOOD | {"budget_tokens": 9}, offer).search.budget_tokens == 9


def test_the_budget_of_best_first_goes_by_chains_not_by_steps():
    search = SearchConfig(rollouts=10, max_depth=1, max_step_tokens=1, max_tokens=10_000)
    assert parse(GOOD, Offer("m", "best_first", search)).search.budget_tokens == 65536
    assert parse(GOOD | {"max_tokens": 100}, Offer("m", "best_first", search)).search.budget_tokens is None


@pytest.mark.parametrize(
    ("strategy", "given", "sampled"),
    [
        ("majority", 0, {0.0}),
        ("best_of_n", 1.3, {1.3}),
        ("mcts", 1.3, {1.3}),
        ("beam", 1.3, {1.3}),
        ("majority", None, {0.6}),
        ("mcts", None, {0.1}),
        ("greedy", 1.3, {0.0}),
        ("best_first", 1.3, {0.0}),
    ],
)
def test_the_temperature_of_a_body_is_that_of_what_the_strategy_samples(strategy, given, sampled):
    offer = Offer("m", "auto", SearchConfig(rollouts=4, max_depth=6, step_temperature=0.1, vote_temperature=0.6))
    ask, engine = parse(GOOD | {"strategy": strategy, "temperature": given}, offer), functional_engine()
    solution = asyncio.run(Solver(engine, ask.search, ask.strategy).solve(Question("question", "What is 1 + 1?")))
    assert {sampling.temperature for _, sampling in engine.log} == sampled
    told = compose(solution, ask, 1, len).details["deterministic"]
    assert told is (sampled == {0.0} and strategy != "majority")


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"7", b"null", b'"x"', b"\xff\xfe", b"\xef\xbb\xbf{}", b'{"a": NaN}', b'{"a": Infinity}',
     b'{"a": ' + b"9" * 5000 + b"}", b"[" * 100_000, b'{"a":' * 100_000, b"{}{}"],
)  # fmt: skip
def test_what_is_no_json_object_is_400(data):
    with pytest.raises(ApiError) as caught:
        read_json(data)
    assert caught.value.status == 400 and len(caught.value.message) < 300


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text('ax0 \\"\n\x00é\ud800🙂', max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from([*FIELDS, *NEUTRAL, "model", "messages", "stream_options", "x"]), JSON, max_size=4)
)
def test_no_value_of_any_field_breaks_the_parser(fields):
    try:
        ask = parse(GOOD | fields, OFFER)
    except ApiError as error:
        assert error.status in (400, 404)
        json.dumps(error.to_json()).encode()
    else:
        assert isinstance(ask, Ask) and ask.search.rollouts <= OFFER.max_rollouts
        assert ask.messages[-1]["role"] == "user"


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader(data):
    try:
        assert isinstance(read_json(data), dict)
    except ApiError as error:
        assert error.status == 400
