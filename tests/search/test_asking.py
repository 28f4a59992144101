"""What an un-tuned model is asked with a transcript, and how its answer is read."""

import pytest

from search import Tree
from search.asking import ByTranscript, read_step, transcript, up_to_box, way_of
from search.functions import RFTT
from search.tree import Node
from tests.own_functions import OWN
from tests.search.fakes import TOKENIZER

STEP, SUB, FINISH, CLARIFY = (RFTT[n] for n in ("next_step", "subquestion", "direct_answer", "clarify"))


def asked(function, steps=(), max_step_tokens=400):
    way = ByTranscript(TOKENIZER, RFTT)
    tree = Tree("q", "What is 1 + 1?")
    tree.prompt_ids = way.start_ids(tree.question)
    nodes = [Node(-1, None, name, text=text, ids=way.step_ids(name, text)) for name, text in steps]
    return way.request(tree, nodes, function, max_step_tokens)


def test_the_examples_are_earlier_turns_and_each_line_begins_with_its_label():
    messages = transcript(RFTT, "What is 1 + 1?")
    assert [m["role"] for m in messages] == ["system", *["user", "assistant"] * len(RFTT.examples), "user"]
    assert all(f.begins in messages[0]["content"] for f in RFTT.functions[:5])
    assert messages[2]["content"].startswith("Given: ") and "\nCalculation: 14 trays" in messages[2]["content"]
    assert messages[-1] == {"role": "user", "content": "What is 1 + 1?"}


def test_a_function_is_chosen_by_beginning_its_line():
    text = TOKENIZER.decode(asked(STEP, [("analyze", "Add\nthem.")]).prompt_ids)
    assert text.endswith("[user]What is 1 + 1?\n[assistant]Plan: Add them.\nCalculation:")


def test_a_line_stops_at_its_end_and_a_question_at_its_mark():
    newline, mark = TOKENIZER.vocabulary["\n"], TOKENIZER.vocabulary["?"]
    assert asked(STEP).stop_ids == (newline,) and set(asked(SUB).stop_ids) == {newline, mark}
    assert asked(FINISH).stop_ids == ()


def test_limits_are_shares_of_the_longest_step():
    limits = {f.name: asked(f).max_tokens for f in (CLARIFY, SUB, STEP, FINISH)}
    assert limits == {"clarify": 100, "subquestion": 50, "next_step": 100, "direct_answer": 400}


def test_the_rest_is_asked_for_in_the_models_own_words():
    text = TOKENIZER.decode(asked(FINISH, [("next_step", "1 + 1 = 2.")]).prompt_ids)
    assert text == f"[user]What is 1 + 1?\n\n{FINISH.prompt}\n[assistant]1 + 1 = 2.\n"


@pytest.mark.parametrize(
    ("function", "text", "stopped", "step", "whole"),
    [
        (STEP, " 1 + 1 = 2.\n", True, "1 + 1 = 2.", True),
        (STEP, " 1 + 1 = 2.\nStep: 2", False, "1 + 1 = 2.", True),
        (STEP, " 1 + 1 =", False, "1 + 1 =", False),
        (SUB, " How many? 2 + 2", False, "How many?", True),
        (CLARIFY, " One. Two. Three. Four. Fi", False, "One. Two. Three.", True),
        (FINISH, "First 2.\nSo \\boxed{2}.\nThat", False, "First 2.\nSo \\boxed{2}.", True),
        (FINISH, "First 2.\nThen", False, "First 2.\nThen", False),
    ],
)
def test_a_step_is_read_up_to_its_end(function, text, stopped, step, whole):
    assert read_step(text, function, stopped) == (step, whole)


def test_a_formula_is_closed_after_the_box():
    assert up_to_box("So\n\\[\n\\boxed{2}\n\\]\nMore") == "So\n\\[\n\\boxed{2}\n\\]"
    assert up_to_box("no answer\nat all") == "no answer\nat all"


def test_a_set_without_examples_is_asked_by_instruction():
    tree = Tree("q", "What is 1 + 1?")
    way = way_of(TOKENIZER, OWN)
    tree.prompt_ids = way.start_ids(tree.question)
    text = TOKENIZER.decode(way.request(tree, [], OWN["step"], 100).prompt_ids)
    assert text == f"[user]What is 1 + 1?\n\nSteps so far:\n\n{OWN['step'].prompt}\n[assistant]"


def test_an_instruction_after_a_transcript_is_a_turn_of_its_own():
    way, tree = ByTranscript(TOKENIZER, RFTT), Tree("q", "What is 1 + 1?")
    text = TOKENIZER.decode(way.instructed(tree, [Node(-1, None, "next_step", text="1 + 1 = 3")], "Where is it wrong?"))
    assert text == "[user]What is 1 + 1?\n\nSteps so far:\n1 + 1 = 3\n\nWhere is it wrong?\n[assistant]"
