"""What answers are worth: by the grader, by any of several golds, and by a reward function of one's own."""

from __future__ import annotations

import asyncio

import pytest

from search.config import SearchConfig
from search.driver import Question, grow_tree, make_policy
from search.engines import FakeEngine
from search.grading import Asked, Graded, RewardError, alternatives, any_of, grade_math, grade_now, load_grading
from tests.search.fakes import TOKENIZER, functional_script


def graded(name, gold, text, threshold=1.0, question="?", extract="boxed"):
    grading = load_grading(f"tests.own_rewards:{name}", threshold)
    return asyncio.run(grading(Asked("q", question, gold), text, extract))


def test_any_of_several_golds_is_right():
    gold = any_of([r"\frac{1}{2}", "east"])
    assert alternatives(gold) == [r"\frac{1}{2}", "east"] and alternatives("7") == ["7"] and any_of(["7"]) == "7"
    asked = Asked("q", "?", gold)
    for answer, status in (("0.5", "correct"), ("east", "correct"), ("west", "wrong")):
        assert asyncio.run(grade_math(asked, f"\\boxed{{{answer}}}")).status == status
        assert grade_now(grade_math, asked, answer, "none").status == status
    assert alternatives('{"any": [torn') == ['{"any": [torn']


def test_a_function_of_gold_and_answer_gives_a_score():
    assert graded("sorted_letters", "abc", "so \\boxed{abd}") == Graded("wrong", "abd", 2 / 3)
    assert graded("sorted_letters", "abc", "\\boxed{abd}", threshold=0.5).status == "correct"
    assert graded("sorted_letters", "abc", "\\boxed{abc}").value == 1.0
    assert graded("sorted_letters", "abc", "no box") == Graded("no_answer", None, 0.0)
    assert graded("sorted_letters", "abc", "abc", extract="none").correct


def test_a_function_of_the_row_gives_a_truth_value():
    gold = '{"words": ["cat", "hat"]}'
    found = graded("holds_words", gold, "\\boxed{The cat has a hat}", question="Write a sentence.")
    assert found == Graded("correct", "The cat has a hat", 1.0)
    assert graded("holds_words", gold, "\\boxed{The cat}", question="Write a sentence.").score == 0.0


def test_a_coroutine_function_gives_a_verdict():
    assert graded("slowly", "a", "\\boxed{a}").correct and graded("slowly", "a", "\\boxed{b}").value == 0.0
    grading = load_grading("tests.own_rewards:slowly")
    assert grade_now(grading, Asked("q", "?", "a"), "a", "none").correct


def test_what_is_no_reward_is_told_with_the_question():
    with pytest.raises(
        RewardError, match=r"out_of_range returned 7\.0 on question q, expected a score between 0 and 1"
    ):
        graded("out_of_range", "1", "\\boxed{1}")
    with pytest.raises(RewardError, match="failing failed on question q: KeyError: 'no such thing'"):
        graded("failing", "1", "\\boxed{1}")


def test_functions_that_cannot_be_used_are_refused_before_the_search():
    assert load_grading(None) is grade_math
    for name, message in {
        "tests.own_rewards:nothing": "cannot be imported",
        "tests.own_rewards:of_three": "does not take",
        "tests.own_rewards:__doc__": "expected a function",
    }.items():
        with pytest.raises(ValueError, match=message):
            load_grading(name)


def test_a_search_with_gold_earns_the_scores_of_the_function():
    engine = FakeEngine(functional_script, TOKENIZER, eos_ids=frozenset({0}))
    config = SearchConfig(rollouts=8, max_depth=6)
    policy, grading = make_policy("functional", engine, config), load_grading("tests.own_rewards:digit", 0.9)
    tree = asyncio.run(grow_tree(Question("q", "?", "2"), policy, config, grading=grading))
    ended = [leaf for leaf in tree.leaves() if leaf.status == "answered"]
    assert ended and {leaf.answer for leaf in ended} > {"2"}
    for leaf in ended:
        assert leaf.score == pytest.approx(1 - abs(2 - int(leaf.answer)) / 9) == leaf.value / leaf.visits
        assert leaf.verdict == ("correct" if leaf.score >= 0.9 else "wrong")
    again = type(tree).from_json(tree.to_json())
    kept = [leaf.score for leaf in again.leaves() if leaf.score is not None]
    assert kept == pytest.approx([leaf.score for leaf in tree.leaves() if leaf.score is not None], abs=1e-6)
