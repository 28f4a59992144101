"""The token table: a slip in it would change the method everywhere at once."""

import dataclasses
import re

import pytest

from search.functions import RFTT, ROOT, Function, FunctionSet
from search.worked_examples import WorkedExample


def test_eight_functions_give_sixteen_tags():
    assert len(RFTT.tags) == len(set(RFTT.tags)) == 16
    assert RFTT["analyze"].open == "<analyze>" and RFTT["analyze"].close == "</analyze>"


def test_every_function_is_reachable_and_every_path_can_end():
    reached, frontier = {ROOT}, [ROOT]
    while frontier:
        for child in RFTT.functional[frontier.pop()]:
            if child not in reached:
                reached.add(child)
                frontier.append(child)
    assert reached == {ROOT, *RFTT.names}
    assert RFTT.functional[RFTT.terminal] == ()
    assert RFTT.prompted[RFTT.answering] == ()


def test_prompted_functions_have_prompts():
    for children in RFTT.prompted.values():
        assert all(RFTT[name].prompt for name in children)


def test_clarify_is_only_ever_a_first_step():
    for table in (RFTT.prompted, RFTT.functional):
        assert [parent for parent, children in table.items() if "clarify" in children] == [ROOT]


SMALL = {
    "functions": (Function("think", "think", "Think."), Function("say", "say it", "Say it."), Function("end", "end")),
    "prompted": {ROOT: ("think", "say"), "think": ("think", "say")},
    "functional": {ROOT: ("think",), "think": ("think", "say"), "say": ("end",)},
    "answering": "say",
    "terminal": "end",
}


def test_a_set_without_verification_is_a_set():
    small = FunctionSet(**SMALL)
    assert small.tags == ("<think>", "</think>", "<say>", "</say>", "<end>", "</end>")
    assert small.checking is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"functional": {ROOT: ("gues",)}}, "unknown functions: gues"),
        ({"functions": (*SMALL["functions"], Function("say", "again"))}, "the name say occurs twice"),
        ({"functions": (*SMALL["functions"], Function("idle", "idle"))}, "no way from question to idle"),
        ({"terminal": "finish"}, "terminal: unknown function finish"),
        ({"functional": {**SMALL["functional"], "end": ("think",)}}, "end ends a path"),
        ({"functional": {ROOT: ("think",), "think": ("think",)}}, "no way from question to end"),
        ({"functional": {**SMALL["functional"], "think": ("say",), ROOT: ("say",)}}, "no way from question to think"),
        ({"prompted": {ROOT: ("say", "think"), "think": ("think",)}}, "think leads nowhere"),
        ({"prompted": {ROOT: ("end", "say"), "end": ("say",)}}, "end has no prompt"),
        ({"prompted": {ROOT: ("say",)}}, "no path from question to say is allowed by both tables"),
        (
            {"functional": {ROOT: ("think",), "think": ("say", "end"), "say": ("think",)}},
            "end must be allowed after say",
        ),
        ({"checking": "think"}, "one is missing, expected both or none"),
        (
            {"checking": "think", "correcting": "say", "merge_prompt": "Compare."},
            "merge_prompt: expected an instruction that holds {reference}",
        ),
        ({"examples": (WorkedExample("Why?", (("end", "So."),)),)}, "examples[1]: end may not follow question"),
        (
            {
                "functions": (
                    *SMALL["functions"][:1],
                    Function("say", "s", "s", label="Think"),
                    *SMALL["functions"][2:],
                ),
                "examples": (WorkedExample("Why?", (("think", "So."),)),),
            },
            "two have the label Think:",
        ),
        (
            {"checking": "think", "correcting": "say", "merge_prompt": "{reference}"},
            "think must be allowed after say, or no merged chain is legal",
        ),
    ],
)
def test_a_set_that_could_not_be_used_is_refused(changes, told):
    with pytest.raises(ValueError, match=re.escape(told)) as error:
        FunctionSet(**{**SMALL, **changes})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["", "two words", "1st", "a<b", "/x", "question", "x" * 41, "é"])
def test_a_name_that_is_no_tag_is_refused(name):
    with pytest.raises(ValueError, match="is not fit for a tag"):
        Function(name, "words")


def test_braces_in_a_merge_prompt_are_text():
    asked = dataclasses.replace(RFTT, merge_prompt="Box it: \\boxed{}. {reference}").merge_instruction("{1}")
    assert asked == "Box it: \\boxed{}. {1}"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"form": "lines"}, "think.form is 'lines', expected line or rest"),
        ({"length": 0}, "think.length is 0, expected a share above 0"),
        ({"sentences": 0}, "think.sentences is 0"),
        ({"ends": ("",)}, "think.ends holds an empty text"),
        ({"valid": ("whole", "witty")}, "think.valid: no rule witty, expected some of whole, new"),
        (
            {"continued": (("computes", ", so"),)},
            "think: continued and anew name computes, expected words for one of its",
        ),
        ({"anew": (("new", " "),)}, "think: continued and anew name new, expected words for one of its rules"),
    ],
)
def test_how_a_step_is_asked_for_is_checked(values, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        Function("think", "words", **values)


def test_an_example_is_one_line_a_step():
    with pytest.raises(ValueError, match="the text of think has to be one line"):
        WorkedExample("Why?", (("think", "one\ntwo"),))


def test_each_prompted_function_is_shown_at_least_twice():
    shown = [name for example in RFTT.examples for name, _ in example.lines]
    assert all(shown.count(name) >= 2 for name in RFTT.names if RFTT[name].prompt)
    assert RFTT["next_step"].begins == "Calculation:" and Function("next_step", "words").begins == "Next step:"
