"""A token set as YAML: what is written is read back, and what cannot be meant is told with its place."""

import re

import pytest

from search.function_files import difference, read_functions, write_functions
from search.functions import RFTT
from tests.own_functions import OWN, YAML


@pytest.mark.parametrize("functions", [RFTT, OWN])
def test_round_trip(tmp_path, functions):
    path = tmp_path / "functions.yaml"
    path.write_text(write_functions(functions), encoding="utf-8")
    assert read_functions(path) == functions
    assert difference(read_functions(path), functions) == ""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("answering: solve", "answring: solve", "the file: answring is unknown; did you mean answering?"),
        ("answering: solve", "", "answering: missing"),
        ("    children: 1", "    children: one", "functions[3].children is 'one', expected a whole number"),
        ("    children: 1", "    childen: 1", "functions[3]: childen is unknown; did you mean children?"),
        ("    description: state the final answer", "", "functions[4].description: missing"),
        ("name: plan", "name: yes", "functions[1].name: True is no text"),
        ("name: plan", "name: the plan", "'the plan' is not fit for a tag"),
        ("name: plan", "name: step", "the name step occurs twice"),
        (r"answer in \boxed{}.", r'"answer in \boxed{}."', None),
        ("prompt: Finish", 'prompt: "\\boxed"\n    #', "functions[3].prompt holds a control character"),
        ("  solve: [answer]", "", "functional transitions: there is no way from question to answer"),
        ("  solve: [answer]", "  solve: answer", "functional.solve is 'answer', expected a list of functions"),
        ("  solve: [answer]", "  solve: [answer, answer]", "functional.solve: a function occurs twice"),
        ("  solve: [answer]", "  step: [answer]", "step occurs twice"),
        ("prompted:\n  question", "prompted:\n  root", "prompted: expected a mapping from question"),
        ("functions:", "functions: {", "not valid YAML"),
        ("\nfunctions:", "\n- functions:", "functions.yaml"),
    ],
)
def test_a_slip_is_told_in_one_line(tmp_path, old, new, told):
    assert old in YAML
    path = tmp_path / "functions.yaml"
    path.write_text(YAML.replace(old, new), encoding="utf-8")
    if told is None:  # quotes inside plain text mean nothing to YAML
        assert "boxed" in read_functions(path)["solve"].prompt
        return
    with pytest.raises(ValueError, match=re.escape(told)) as error:
        read_functions(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


ASKED = YAML.replace(
    "description: do exactly one step of reasoning",
    "description: do exactly one step of reasoning\n    label: Step\n    length: 0.25\n    sentences: 2\n    ends: [;]\n"
    "    valid: [whole, computes]\n    continued: {computes: ', so'}\n    anew: {whole: 'In short:'}\n"
    "    varied: true\n    unused: true",
).replace(
    "answering: solve", "examples:\n  - question: Why?\n    lines: [{plan: Think.}, {solve: So.}]\nanswering: solve"
)


def test_how_steps_are_asked_for_and_worked_examples_are_read(tmp_path):
    path = tmp_path / "functions.yaml"
    path.write_text(ASKED, encoding="utf-8")
    functions = read_functions(path)
    step = functions["step"]
    assert (step.begins, step.limit(400), step.sentences, step.ends) == ("Step:", 100, 2, (";",))
    assert step.valid == ("whole", "computes") and functions.examples[0].lines == (("plan", "Think."), ("solve", "So."))
    assert (step.continued, step.anew) == ((("computes", ", so"),), (("whole", "In short:"),))
    assert step.varied and step.unused
    path.write_text(write_functions(functions), encoding="utf-8")
    assert read_functions(path) == functions


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("unused: true", "unused: often", "functions[2].unused is 'often', expected true or false"),
        ("{whole: 'In short:'}", "[whole]", "functions[2].anew is ['whole'], expected a mapping from rules to words"),
        ("length: 0.25", "length: short", "functions[2].length is 'short', expected a share"),
        ("sentences: 2", "sentences: two", "functions[2].sentences is 'two', expected a whole number"),
        ("ends: [;]", "ends: ;", "functions[2].ends is ';', expected a list of texts"),
        ("valid: [whole, computes]", "valid: [whole, clever]", "step.valid: no rule clever"),
        ("lines: [{plan: Think.}, {solve: So.}]", "lines: [Think.]", "examples[1].lines: expected a list of lines"),
        ("lines: [{plan: Think.}, {solve: So.}]", "lines: [{plan: 4}]", "examples[1].plan: 4 is no text"),
        ("{plan: Think.}, {solve: So.}", "{answer: So.}", "examples[1]: answer may not follow question"),
        ("question: Why?", "qestion: Why?", "examples[1]: qestion is unknown; did you mean question?"),
    ],
)
def test_a_slip_in_how_steps_are_asked_for_is_told(tmp_path, old, new, told):
    assert old in ASKED
    path = tmp_path / "functions.yaml"
    path.write_text(ASKED.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(told)) as error:
        read_functions(path)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        read_functions(tmp_path / "none.yaml")


def test_the_first_difference_is_named():
    import dataclasses

    assert "plan, step, solve, answer" in difference(OWN, RFTT)
    functions = (dataclasses.replace(OWN["plan"], prompt="Plan."), *OWN.functions[1:])
    assert difference(OWN, dataclasses.replace(OWN, functions=functions)) == "the prompt of plan"
    functional = {**OWN.functional, "plan": ("step",)}
    assert difference(OWN, dataclasses.replace(OWN, functional=functional)) == "functional"
