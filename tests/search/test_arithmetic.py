"""Calculations are read where they can be read without doubt, and nowhere else."""

import pytest

from search.arithmetic import all_used, calculations, numbers


@pytest.mark.parametrize(
    ("text", "left", "stated", "right"),
    [
        ("so 84 - 9 = 75 are left", "84 - 9", "75", True),
        ("14 × 6 = $85.", "14 × 6", "85", False),
        ("so 1,200 / 7 = 171.43 each", "1,200 / 7", "171.43", True),
        ("5 + 3 * 2 = 11", "5 + 3 * 2", "11", True),
        ("5 + 3 * 2 = 16", "5 + 3 * 2", "16", False),
        ("0.35 * $260 = $91", "0.35 * $260", "91", True),
        ("20 x 3 = 60", "20 x 3", "60", True),
        ("10 - 12 = -2", "10 - 12", "-2", True),
        ("100 / 3 = 33", "100 / 3", "33", False),
        ("7 \\times 8 = 56", "7 \\times 8", "56", True),
        ("1 / 0 = 0", "1 / 0", "0", False),
    ],
)
def test_a_calculation_is_read_and_checked(text, left, stated, right):
    [found] = calculations(text)
    assert (found.left, found.stated, found.right) == (left, stated, right)


@pytest.mark.parametrize(
    "text",
    ["2x + 3 = 7", "x - 3 + 10 = 7", "(14 + 6) * 3 = 60", "2 * (14 + 6) = 40", "3 + 4 = 7 + 1 = 8", "35% * 260 = 91",
     "2^3 + 1 = 9", "15 * 100% = 15", "a = 5", "9 - 4 = 5%"],
)  # fmt: skip
def test_what_is_part_of_more_is_left_alone(text):
    assert calculations(text) == []


def test_numbers_have_one_spelling():
    assert numbers("1,200 and 007.50 and .5 and 3.0") == ["1200", "7.5", "0.5", "3"]


def test_numbers_are_used_where_an_equation_holds_them():
    question = "Jo has 3 boxes of 40 pens."
    assert not all_used(question, ["There are 3 boxes of 40 pens."]) and not all_used("Who is it?", ["1 = 1"])
    assert all_used(question, ["So far.", "3 * 40 = 120 pens."])


def test_a_long_run_of_numbers_takes_no_time():
    assert calculations("1 + " * 20_000 + "1 = 2") == []
