"""The chain that won is told apart into reasoning and answer, in one piece and as a stream."""

import asyncio
import json

import pytest

from rftt.serve.chat_answers import chunks, completion, compose, event
from rftt.serve.protocol import Ask
from search import Question, Solver
from search.config import SearchConfig
from search.engines import FakeEngine
from search.engines.engine import Generation
from search.solution import Candidate, Solution
from tests.search.fakes import TOKENIZER

CHAIN = "<analyze>\nplan\n</analyze>\n<next_step>\n1+1=2\n</next_step>\n<output>\n\\boxed{2}\n</output>\n"
ASK = Ask(({"role": "user", "content": "?"},), "majority", SearchConfig(max_tokens=50))


def solution(*chains, stopped="rollouts"):
    """Chains with their answers and lengths; those of 50 tokens were cut off."""
    found = Solution("question", "?", "majority", "majority", stopped=stopped)
    found.candidates = [Candidate(text, answer, tokens, 0, ended=tokens < 50) for text, answer, tokens in chains]
    found.tokens = sum(c.tokens for c in found.candidates)
    return found.elect()


def answer(found, **changes):
    from dataclasses import replace

    return compose(found, replace(ASK, **changes), 7, lambda text: len(text.split()))


def test_the_elected_chain_is_shown_not_the_first():
    found = answer(solution(("<output>\n\\boxed{3}\n</output>", "3", 9), (CHAIN, "2", 20), (CHAIN, "2.0", 20)))
    assert found.content == "\\boxed{2}" and found.details["answer"] == "2"
    assert [v["count"] for v in found.details["votes"]] == [2, 1]
    assert found.usage == {"prompt_tokens": 7, "completion_tokens": 49, "total_tokens": 56,
                           "completion_tokens_details": {"reasoning_tokens": 48}}  # fmt: skip


@pytest.mark.parametrize(
    ("reasoning", "shown"),
    [
        ("functional", "<analyze>\nplan\n</analyze>\n<next_step>\n1+1=2\n</next_step>\n"),
        ("text", "plan\n1+1=2\n"),
        ("none", None),
    ],
)
def test_the_chain_is_shown_with_or_without_its_functions_or_not_at_all(reasoning, shown):
    record = completion(answer(solution((CHAIN, "2", 20)), reasoning=reasoning), "id", 1, "m")
    assert record["choices"][0]["message"].get("reasoning_content") == shown


@pytest.mark.parametrize(
    ("text", "reasoning", "content"),
    [
        ("Plainly \\boxed{2}.", (), "Plainly \\boxed{2}."),
        ("<think>\nhm\n</think>\n\nIt is 2.", ("hm\n",), "It is 2."),
        ("<analyze>\nplan\n<output>\n2", ("plan\n",), "2"),
        ("", (), ""),
    ],
)
def test_chains_of_any_form_are_shown(text, reasoning, content):
    found = answer(solution((text, None, 5)))
    assert (found.reasoning, found.content) == (reasoning, content)


def test_a_chain_without_an_answer_says_whether_it_was_cut_off():
    assert answer(solution(("no idea", None, 5))).finish == "stop"
    assert answer(solution(("no ide", None, 50))).finish == "length"
    assert answer(solution(("no", None, 5), stopped="budget")).finish == "length"
    assert answer(solution((CHAIN, "2", 50))).finish == "stop"
    assert answer(solution()).finish == "length" and answer(solution()).content == ""


@pytest.mark.parametrize("strategy", ["greedy", "majority", "beam", "best_first", "mcts"])
def test_a_chain_that_fills_the_context_was_cut_off(strategy):
    def endless(prompt_ids, sampling):
        count = min(sampling.max_tokens, 200 - len(prompt_ids))
        ids = (TOKENIZER.vocabulary["x"],) * count
        top = (((ids[0], -1.0),),) * count if sampling.top_logprobs else ()
        return [Generation(ids, False, (-1.0,) * count, dict.fromkeys(sampling.watch_ids, -1.0), top)] * sampling.n

    engine = FakeEngine(endless, TOKENIZER, eos_ids=frozenset({0}), max_model_len=200)
    solver = Solver(engine, SearchConfig(rollouts=4), strategy)
    found = asyncio.run(solver.solve(Question("question", "?")))
    assert answer(found, search=solver.config).finish == "length"


def test_a_stream_holds_what_the_whole_answer_holds():
    found = answer(solution((CHAIN, "2", 20)))
    whole = completion(found, "id", 1, "m")
    parts = [json.loads(event(c)[6:]) for c in chunks(found, "id", 1, "m", include_usage=True)]
    deltas = [c["choices"][0]["delta"] for c in parts if c["choices"]]
    message = whole["choices"][0]["message"]
    assert "".join(d.get("reasoning_content", "") for d in deltas) == message["reasoning_content"]
    assert "".join(d.get("content", "") for d in deltas) == message["content"]
    assert parts[-2]["choices"][0]["finish_reason"] == "stop" and parts[-2]["rftt"] == whole["rftt"]
    assert parts[-1]["choices"] == [] and parts[-1]["usage"] == whole["usage"]
    assert all(c.startswith(b"data: ") and c.endswith(b"\n\n") and c.count(b"\n") == 2
               for c in (event(p) for p in parts))  # fmt: skip
