"""Votes count what is mathematically equal."""

from search.voting import group, majority


def test_equal_answers_vote_together():
    groups = group(["1/2", "3", "0.5", None, "\\frac{1}{2}"])
    assert [(g.answer, g.count) for g in groups] == [("1/2", 3), ("3", 1)]
    assert groups[0].members == [0, 2, 4]


def test_the_earlier_answer_wins_a_tie_and_nothing_wins_nothing():
    assert majority(["7", "8"]) == "7"
    assert majority([None, None]) is None
    assert majority([]) is None


def test_weights_decide():
    assert group(["1", "2"], [0.2, 0.9])[0].answer == "2"
