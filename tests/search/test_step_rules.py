"""Each rule with a step that keeps it and one that breaks it; the cases are steps that small models wrote."""

import pytest

from search.functions import RFTT
from search.step_rules import RULES, Draft, broken, sentences

QUESTION = "Jo has 3 boxes of 40 pens. She gives 25 away. How many pens are left?"
BEFORE = ("There are 3 boxes of 40 pens.", "3 * 40 = 120 pens are there.")
FOREIGN = frozenset({"14", "84", "9", "17"})


def draft(text, **values):
    return Draft(**({"text": text, "whole": True, "question": QUESTION, "before": BEFORE, "foreign": FOREIGN} | values))


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        ("whole", "95 are left.", ""),
        ("new", "120 - 25 = 95.", "3 * 40 = 120 pens  are there"),
        ("short", "One. Two. Three with 2.5 parts.", "One. Two. Three. Four."),
        ("asks", "How many are there in all?", "How many are there? And how many are left?"),
        ("asks", "How many are there in all?", "Find the number of pens."),
        ("smaller", "How many pens are there in all the boxes?", "How many pens are left?"),
        ("smaller", "How many does she give away?", "So, how many pens are left?"),
        ("no_calculation", "There are 3 boxes.", "There are 3 * 40 = 120 pens."),
        ("no_box", "The number of pens.", "It is \\boxed{95}."),
        ("concrete", "Let x = p - y.", "Calculate the number of pens."),
        ("computes", "120 - 25 = 95.", "3*40=120, as we said."),
        ("computes", "Half of them would be 60.", "She gives 25 away."),
        ("computes", "Let x = 120 - y.", "Now subtract the pens."),
        ("computes", "Let the pens that are left be \\( p \\).", "She gives $25$ pens away."),
        ("computes", "Let $p$ pens be left.", "She gives $25 away, so she gives $25 of them."),
        ("arithmetic", "120 - 25 = 95.", "120 - 25 = 85."),
        ("own_numbers", "7 * 2 = 14 pens.", "There are 14 trays."),
        ("own_numbers", "2 men * 6 hours a day * 7 days = $84.", "14 trays * 6 = 84."),
        ("own_numbers", "9 of them.", "84 - 9 are left."),
        ("boxed", "It is \\boxed{95}.", "It is 95."),
    ],
)
def test_a_rule_tells_good_steps_from_bad_ones(rule, good, bad):
    assert broken(draft(good), [rule]) == "" and broken(draft(bad), [rule]) == rule


def test_the_part_of_a_question_that_asks_is_not_smaller():
    question = "If he has 8 logs that make 5 blocks each, how many logs does the carpenter still need?"
    copied = draft("How many logs does the carpenter still need?", question=question)
    assert broken(copied, ["smaller"]) == "smaller"
    assert broken(draft("How many blocks are made of 8 logs?", question=question), ["smaller"]) == ""


def test_the_same_for_another_time_is_smaller():
    question = "John volunteers at a shelter twice a month for 3 hours. How many hours does he volunteer per year?"
    assert broken(draft("How many hours does he volunteer per month?", question=question), ["smaller"]) == ""
    for same in ("How many hours does John volunteer per year?", "How many hours does he volunteer?"):
        assert broken(draft(same, question=question), ["smaller"]) == "smaller"


def test_a_step_that_its_limit_cut_is_not_whole():
    assert broken(draft("There are", whole=False), ["whole"]) == "whole"


def test_every_rule_is_used_and_every_example_keeps_those_of_its_function():
    assert {rule for f in RFTT.functions for rule in f.valid} == set(RULES)
    for example in RFTT.examples:
        before: list[str] = []
        for name, text in example.lines:
            step = Draft(text, True, example.question, tuple(before))
            assert broken(step, RFTT[name].valid) == "", text
            before.append(text)


def test_sentences_do_not_end_inside_numbers():
    assert [s.strip() for s in sentences("It is $2.50 each. Who pays? Jo")] == ["It is $2.50 each.", "Who pays?", "Jo"]
