"""The text of a verification by rule: which step of a wrong path is wrong, and why."""

from search.fault import find_fault

QUESTION = "Jo has 3 boxes of 40 pens. She gives 25 away. How many pens are left?"
FIRST = "3 * 40 = 120 pens are there."
RIGHT = [FIRST, "120 - 25 = 95 are left.", "It is \\boxed{95}."]


def fault(*wrong, right=RIGHT, shared=1):
    return find_fault(QUESTION, right, [FIRST, *wrong], shared)


def test_a_wrong_calculation_is_put_right():
    found = fault("120 - 25 = 85 are left.", "It is \\boxed{85}.")
    assert (found.step, found.text) == (2, "Step 2 is wrong: 120 - 25 is 95, not 85.")


def test_a_calculation_that_does_not_belong_there_is_named_with_the_one_that_does():
    found = fault("She has 120 + 25 = 145 pens.", "It is \\boxed{145}.")
    assert found.step == 2 and "it calculates 120 + 25 = 145" in found.text and "should be 120 - 25 = 95" in found.text


def test_steps_that_hold_nothing_new_are_not_blamed():
    found = fault("What is left?", "40 - 25 = 15 are left.", "It is \\boxed{15}.")
    assert found.step == 3


def test_without_a_calculation_the_conclusion_is_wrong():
    found = fault("She gives 25 away.", "It is \\boxed{25}.")
    assert (found.step, found.text) == (3, "Step 3 is wrong: it answers 25, but what is asked for is 95.")


def test_what_the_wrong_path_calculated_as_well_is_no_correction():
    right = [FIRST, "3 * 40 = 120 again.", "120 - 25 = 95 are left.", "It is \\boxed{95}."]
    assert "should be 120 - 25 = 95" in fault("She has 120 + 25 = 145 pens.", "It is \\boxed{145}.", right=right).text
