"""The answer in what is published as one: what wraps it is taken off, and what stays unclear is counted."""

import pytest

from rftt.data.problems import load_problems
from rftt.data.usable_golds import NoAnswer, read_answer, why_unusable


@pytest.mark.parametrize(
    ("published", "answer"),
    [
        ("The answer is 5. We are done.", "5"),
        ("So the answer is $x=5$. We then check it.", "$x=5$"),
        ("The answer is 3.14.", "3.14"),
        ("The answer is 5! / 2.", "5! / 2"),
        ("The answer is 2. New York", "2. New York"),  # number two of a choice, perhaps
        ("The answer is **5**.", "5"),
        ("**Answer:** 5", "5"),
        ("**Answer: 5**", "5"),
        ("Six less one.\n\nAnswer: $5$", "$5$"),
        ("<answer>5</answer>", "5"),
        ("<think>4? no</think> 5", "5"),
        ("<think>a</think>\n<answer>The answer is 5.</answer>", "5"),
        ('{"answer": 5}', "5"),
        ('{"final_answer": ["1", "2"]}', '{"any": ["1", "2"]}'),
        ('{"any": ["1", "2"]}', '{"any": ["1", "2"]}'),
        ("{1, 2}", "{1, 2}"),
        ("{}", "{}"),
    ],
)
def test_what_wraps_an_answer_is_taken_off(published, answer):
    assert read_answer(published) == answer and why_unusable(answer) is None


@pytest.mark.parametrize("published", ['{"answer": 5, "unit": "cm"}', '{"value": 5}', '{"answer": {"a": 1}}'])
def test_an_object_as_text_is_no_answer(published):
    with pytest.raises(NoAnswer, match="an object"):
        read_answer(published)


def test_markup_that_is_left_makes_a_gold_unusable():
    assert why_unusable(read_answer("<think>5")) == "markup around it"


def test_ids_and_subjects_are_not_read_as_answers(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"id": "a####1", "question": "a?", "answer": 1, "subject": "{\\"a\\": 1}"}\n')
    [found] = load_problems(tmp_path / "p.jsonl")
    assert (found.id, found.subject) == ("a####1", '{"a": 1}')
