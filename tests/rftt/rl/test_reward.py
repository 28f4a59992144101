"""Rewards of a path: breaks when outcome or form follow another rule than `rewards.outcome`."""

from __future__ import annotations

from rftt.rl.reward import FormatReward, OutcomeReward


class _Tokenizer:
    def __init__(self, texts):
        self.texts = texts

    def decode(self, ids, skip_special_tokens):
        return self.texts[ids[0]]


def test_a_path_without_a_verdict_is_graded_where_its_answer_counts():
    texts = [
        "<analyze>\nx\n</analyze>\n<output>\n\\boxed{7}\n</output>\n",
        "<analyze>\n\\boxed{7}\n</analyze>\n",
        "<output>\n\\boxed{8}\n</output>\n",
        "<output>\n\\boxed{7}\n</output>\n",
    ]
    reward = OutcomeReward(_Tokenizer(texts), eos_ids=[99], wrong=0.2)
    ids = [[0, 99], [1, 99], [2, 99], [3]]
    assert reward(completion_ids=ids, answer=["7"] * 4) == [1.0, 0.0, 0.2, 0.0]
    assert reward(completion_ids=ids, answer=["7"] * 4, verdict=["timeout", "correct", None, "wrong"]) == [
        0.0,
        1.0,
        0.2,
        0.2,
    ]


def test_form_is_a_whole_chain_with_an_answer_in_its_place():
    statuses = ["answered", "answered", "answered", "malformed", "truncated"]
    verdicts = ["correct", "wrong", "no_answer", "no_answer", "no_answer"]
    assert FormatReward()(status=statuses, verdict=verdicts) == [1.0, 1.0, 0.0, 0.0, 0.0]
    assert FormatReward()(status=statuses) == [1.0, 1.0, 1.0, 0.0, 0.0]
