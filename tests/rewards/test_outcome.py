"""Reward functions as TRL calls them."""

from __future__ import annotations

import asyncio
import inspect
from fractions import Fraction
from typing import Any

import pytest

import rewards
from rewards import Place, check_golds, format_reward, grade, grade_async, grade_many, math_reward
from rewards.outcome import math_reward_from, outcome, outcome_and_format_reward

TEXTS = [r"\boxed{0.5}", r"\boxed{0.6}", "I give up", r"\boxed{@@}"]
GOLDS = [r"\frac12"] * 4


def test_outcome_pays_correct_wrong_and_nothing() -> None:
    assert math_reward(prompts=["p"] * 4, completions=TEXTS, completion_ids=None, answer=GOLDS) == [1.0, 0.1, 0.0, 0.0]
    assert math_reward(["p"] * 4, TEXTS, answer=GOLDS, wrong=0.0) == [1.0, 0.0, 0.0, 0.0]


def test_chats_are_read_like_texts() -> None:
    chats = [[{"role": "assistant", "content": text}] for text in TEXTS]
    blocks = [[{"role": "assistant", "content": [{"type": "text", "text": text}]}] for text in TEXTS]
    expected = math_reward(["p"] * 4, TEXTS, answer=GOLDS)
    assert math_reward(["p"] * 4, chats, answer=GOLDS) == expected
    assert math_reward(["p"] * 4, blocks, answer=GOLDS) == expected


def test_verdicts_are_counted_for_the_trainer() -> None:
    logged: dict[str, float] = {}
    math_reward(["p"] * 4, TEXTS, answer=GOLDS, log_metric=logged.__setitem__, trainer_state=None, log_extra=None)
    assert logged == {
        "verdict/correct": 0.25,
        "verdict/wrong": 0.25,
        "verdict/no_answer": 0.25,
        "verdict/unparseable": 0.25,
        "verdict/timeout": 0.0,
    }


def test_missing_column_is_said_plainly() -> None:
    with pytest.raises(ValueError, match="column `answer`"):
        math_reward(["p"], [r"\boxed{1}"])


def test_format_reward_needs_an_answer_in_its_place() -> None:
    assert format_reward(["p"] * 4, TEXTS, answer=GOLDS) == [1.0, 1.0, 0.0, 1.0]
    assert outcome_and_format_reward(["p"] * 4, TEXTS, answer=GOLDS) == pytest.approx([1.0, 0.1, 0.0, 0.1])


class _Tokenizer:
    """Knows one special token; skipping it loses the tag."""

    pieces = ("<output>\n", r"\boxed{1}", "\n</output>\n", "<analyze>\n")

    def decode(self, ids: list[int], skip_special_tokens: bool = True) -> str:
        return "".join(self.pieces[i] for i in ids if not (skip_special_tokens and i in (0, 2, 3)))


def test_token_ids_are_read_where_a_tokenizer_is_given() -> None:
    """The answer stands before the answering part, which only the ids show."""
    ids = [[3, 1, 0, 2], [0, 1, 2]]
    texts = [_Tokenizer().decode(one) for one in ids]
    reward = math_reward_from(_Tokenizer(), within=("<output>", "</output>"))
    assert math_reward(["p"] * 2, texts, ids, ["1", "1"]) == [1.0, 1.0]
    assert reward(prompts=["p"] * 2, completions=texts, completion_ids=ids, answer=["1", "1"]) == [0.0, 1.0]
    assert reward.__name__ == "math_reward"


CHAIN = "<plan>\n{first}\n</plan>\n<answer>\nIt is $\\boxed{{{last}}}$.\n</answer>\n"


@pytest.mark.parametrize("options", [{}, {"within": ("<answer>", "</answer>")}])
def test_a_token_set_of_ones_own_needs_no_word_of_it_here(options: dict[str, Any]) -> None:
    texts = [
        CHAIN.format(first="x", last="7"),
        CHAIN.format(first=r"\boxed{7}", last="8"),
        CHAIN.format(first=r"\boxed{7}", last=""),
        r"It is \boxed{7}.",
    ]
    reward = math_reward_from(**options)
    assert reward(prompts=["p"] * 4, completions=texts, answer=["7"] * 4) == [1.0, 0.1, 0.0, 1.0]
    assert format_reward(["p"] * 4, texts, **options) == [1.0, 1.0, 0.0, 1.0]


def test_an_answer_outside_of_the_part_that_is_named_earns_nothing() -> None:
    texts = ["<plan>\n\\boxed{7}\n</plan>\n", "<answer>\nno\n</answer>\n\\boxed{7}"]
    within = Place("<answer>", "</answer>", ("<plan>", "</plan>"))
    assert math_reward(["p"] * 2, texts, answer=["7"] * 2, within=within) == [0.0, 0.0]


@pytest.mark.parametrize(
    ("status", "earned"), [("correct", 1.0), ("wrong", 0.2), ("unparseable", 0.0), ("timeout", 0.0), ("no_answer", 0.0)]
)
def test_what_a_verdict_earns(status: str, earned: float) -> None:
    assert outcome(status, wrong=0.2) == earned


GOLDS_OF_ANY_TYPE = [
    (7, "7"),
    (7.0, "7"),
    (-3, r"-\frac{6}{2}"),
    (0.5, r"\frac{1}{2}"),
    (0.1 + 0.2, "0.3"),
    (1e-7, r"10^{-7}"),
    (Fraction(1, 3), r"\frac{2}{6}"),
    ([1, 2], "2, 1"),
    ((1, 2.5), r"\frac52, 1"),
    ([7], "7"),
    ([[1, 2], [3, 4]], "(3,4), (1,2)"),
    (["x+1", 2], r"2, 1+x"),
    ("7", "7"),
]


@pytest.mark.parametrize(("gold", "answer"), GOLDS_OF_ANY_TYPE)
def test_golds_of_any_type_are_graded_alike(gold: Any, answer: str) -> None:
    right, wrong = rf"\boxed{{{answer}}}", r"\boxed{1009}"
    for text, correct in ((right, True), (wrong, False)):
        assert grade(gold, text).correct is correct
        assert grade_many([(gold, text)])[0].correct is correct
        assert asyncio.run(grade_async(gold, text)).correct is correct
        assert math_reward(["p"], [text], answer=[gold]) == [1.0 if correct else 0.1]
    assert check_golds([gold]) == []


@pytest.mark.parametrize("gold", [None, "", " ", [], [None], ["7", ""], float("nan"), float("inf"), {}, object()])
def test_what_is_no_gold_is_refused_in_one_line(gold: Any) -> None:
    with pytest.raises(ValueError, match="gold answer is empty or no answer"):
        grade(gold, r"\boxed{7}")
    assert [index for index, _ in check_golds([gold])] == [0]


def test_check_golds_names_what_cannot_be_graded() -> None:
    golds = ["7", "", r"\frac{1}{2}", None, r"\text{east}", "t(0,4]", r"4\!:\!51\!:\!06 \text{ p.m.}"]
    problems = check_golds(golds)  # type: ignore[arg-type]
    assert [index for index, _ in problems] == [1, 3, 5]


def test_signature_fits_trl() -> None:
    """TRL passes prompts, completions and completion_ids by keyword, and every column and hook besides."""
    for name in ("math_reward", "format_reward"):
        parameters = inspect.signature(getattr(rewards, name)).parameters
        assert list(parameters)[:3] == ["prompts", "completions", "completion_ids"]
        assert any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
