"""Which branches a best-first search takes, and in which order: by hand."""

import math

import pytest

from search.frontier import Branch, Chain, Frontier, Order
from search.functions import RFTT
from tests.search.fakes import TOKENIZER

V = TOKENIZER.vocabulary
OPENINGS = {V[f.open]: f.name for f in RFTT.functions}
CLOSINGS = {V[f.close]: f.name for f in RFTT.functions}
LIKELY = math.log(0.9)


def order(keep=1.0):
    return Order(OPENINGS, CLOSINGS, RFTT, frozenset({0}), keep)


def chain(tokens, alternatives=None, start=0, forced=(), logprob=LIKELY):
    """A chain of which each token has the probability 0.9, and alternatives at some places: place → token → probability."""
    ids = tuple(V[t] for t in tokens)
    others = alternatives or {}
    top = tuple(
        ((id, logprob), *((V[t], math.log(p)) for t, p in others.get(place, {}).items())) if place >= start else ()
        for place, id in enumerate(ids)
    )
    return Chain(ids, (logprob,) * len(ids), top, start, forced)


def texts(branches):
    return ["".join(TOKENIZER.names[i] for i in branch.ids) for branch in branches]


def test_content_branches_come_by_the_probability_of_prefix_and_token():
    frontier = Frontier(order())
    tokens = ["<next_step>", "1", "2", "</next_step>", "<output>", "3", "</output>", "<eos>"]
    frontier.add(chain(tokens, {1: {"7": 0.05}, 5: {"8": 0.08}, 2: {"9": 0.001}}))
    content = [b for b in frontier.take(100) if not b.forced]
    # 0.9⁵ · 0.08 = 0.0472 before 0.9 · 0.05 = 0.045.
    assert texts(content) == ["<next_step>12</next_step><output>8", "<next_step>7", "<next_step>19"]
    assert content[1] == Branch((V["<next_step>"], V["7"]), (LIKELY, math.log(0.05)), replaced=6)


def test_branches_at_one_position_come_one_after_the_other():
    frontier = Frontier(order())
    tokens = ["<next_step>", "1", "2", "</next_step>", "<eos>"]
    frontier.add(chain(tokens, {1: {"7": 0.05, "<verify>": 0.04, "8": 0.02, "9": 0.01}, 2: {"5": 0.03, "6": 0.01}}))
    found = [branch for [branch] in iter(lambda: frontier.take(1), [])]
    content = texts(b for b in found if not b.forced)
    assert [t.removeprefix("<next_step>") for t in content] == ["7", "15", "8", "9", "16"]


def test_with_keep_0_only_the_branch_itself_counts():
    tokens = ["<next_step>", "1", "2", "3", "4", "</next_step>", "<output>", "5", "</output>", "<eos>"]
    likely_late = {1: {"7": 0.05}, 7: {"8": 0.06}}
    for keep, first in ((1.0, "<next_step>7"), (0.0, "<next_step>1234</next_step><output>8")):
        frontier = Frontier(order(keep))
        frontier.add(chain(tokens, likely_late))
        assert texts(b for b in frontier.take(100) if not b.forced)[0] == first


def test_functions_are_forced_where_the_step_that_they_replace_is_doubtful():
    frontier = Frontier(order())
    sure, unsure = math.log(0.999), math.log(0.5)
    ids = tuple(
        V[t] for t in ["<next_step>", "1", "</next_step>", "<next_step>", "2", "</next_step>", "<output>", "<eos>"]
    )
    logprobs = (sure, sure, sure, sure, unsure, sure, sure, sure)
    frontier.add(Chain(ids, logprobs, tuple(((i, p),) for i, p in zip(ids, logprobs, strict=True))))
    branches = frontier.take(100)
    assert all(b.forced == (len(b.ids) - 1,) and b.logprobs[-1] == 0.0 for b in branches)
    # The second step is less certain than the first; after next_step only neutral functions that the table allows.
    assert texts(branches)[0] == "<next_step>1</next_step><subquestion>"
    assert {t.rpartition("<")[2] for t in texts(branches)} == {"clarify>", "analyze>", "subquestion>", "next_step>"}
    assert not any("<verify>" in t or t.endswith("<output>") for t in texts(branches))


def test_no_branch_ends_a_text_opens_a_function_or_closes_another_one():
    frontier = Frontier(order())
    alternatives = {1: {"<eos>": 0.3, "<verify>": 0.3, "</verify>": 0.3, "</next_step>": 0.2}}
    frontier.add(chain(["<next_step>", "1", "</next_step>", "<eos>"], alternatives))
    assert [t for t in texts(b for b in frontier.take(100) if not b.forced)] == ["<next_step></next_step>"]


def test_what_a_chain_shares_with_its_parent_is_branched_once():
    frontier = Frontier(order())
    tokens = ["<next_step>", "1", "2", "</next_step>", "<eos>"]
    frontier.add(chain(tokens, {1: {"7": 0.05}}))
    frontier.add(chain(["<next_step>", "7", "4", "</next_step>", "<eos>"], {2: {"5": 0.1}}, start=2))
    assert texts(b for b in frontier.take(100) if not b.forced) == ["<next_step>75", "<next_step>7"]


def test_a_process_reward_model_sends_branches_where_it_trusts_what_is_before_and_doubts_the_step():
    tokens = [
        "<next_step>",
        "1",
        "</next_step>",
        "<next_step>",
        "2",
        "</next_step>",
        "<next_step>",
        "3",
        "</next_step>",
        "<eos>",
    ]
    alternatives = {1: {"7": 0.05}, 4: {"8": 0.05}, 7: {"9": 0.05}}
    plain = chain(tokens, alternatives)
    scored = Chain(plain.ids, plain.logprobs, plain.top, scores={0: 0.9, 3: 0.1, 6: 0.1})
    for found, first in ((plain, "<next_step>7"), (scored, "<next_step>1</next_step><next_step>8")):
        frontier = Frontier(order())
        frontier.add(found)
        branches = frontier.take(100)
        assert texts(b for b in branches if not b.forced)[0] == first
    # What is doubtful from the start on is not continued: 0.9⁶ · 0.05 · 0.1 · 0.9 comes last.
    assert texts(b for b in branches if not b.forced)[-1].endswith("9")
    assert texts(b for b in branches if b.forced)[0] == "<next_step>1</next_step><subquestion>"


def test_a_forced_tag_counts_nothing_in_what_follows():
    tokens = ["<analyze>", "1", "</analyze>", "<next_step>", "2", "</next_step>", "<eos>"]
    worth = {}
    for forced in ((), (0,)):
        frontier = Frontier(order())
        frontier.add(chain(tokens, {4: {"7": 0.5}}, start=1, forced=forced, logprob=math.log(0.5)))
        worth[forced] = max(-entry[0] for entry in frontier._heap if entry[3] >= 0)
    assert worth[(0,)] - worth[()] == pytest.approx(math.log(2), abs=2e-3)
