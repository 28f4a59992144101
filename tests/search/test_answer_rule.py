"""One rule says what counts as an answer, wherever a chain is read."""

import pytest

from search.answer_rule import AnswerRule
from search.tree import Node

GOOD = "<next_step>\n1 + 1 = 2\n</next_step>\n<output>\n\\boxed{2}\n</output>\n"
BROKEN = "<next_step>\n1 + 1 = 2\n</analyze>\n<output>\n\\boxed{2}\n</output>\n"
UNCLOSED = "<next_step>\n1 + 1 = 2\n</next_step>\n<output>\n\\boxed{2}\n</next_step>"
SAID = "<next_step>\n1 + 1 = 2\n</next_step>\n<output>\nThe answer is 2.\n</output>\n"
ELSEWHERE = "<next_step>\n\\boxed{2}\n</next_step>\n"
PLAIN = "It is \\boxed{2}."


@pytest.mark.parametrize(
    ("form", "extract", "answered"),
    [
        ("well_formed", "boxed", (GOOD,)),
        ("any", "boxed", (GOOD, BROKEN, UNCLOSED, PLAIN)),
        ("well_formed", "lenient", (GOOD, SAID)),
        ("any", "lenient", (GOOD, BROKEN, UNCLOSED, SAID, PLAIN)),
    ],
)
def test_which_chains_give_an_answer(form, extract, answered):
    rule = AnswerRule(form, extract)
    for text in (GOOD, BROKEN, UNCLOSED, SAID, ELSEWHERE, PLAIN):
        assert (rule.answer(text) == "2") == (text in answered), text
        assert (rule.answer(text) is None) == (text not in answered)


def test_the_same_holds_for_leaves_of_trees():
    strict, lax = AnswerRule(), AnswerRule("any")
    for status, function, counts in (
        ("answered", "output", (True, True)),
        ("malformed", "output", (False, True)),
        ("malformed", "next_step", (False, False)),
        ("truncated", "output", (False, False)),
    ):
        leaf = Node(1, 0, function, text="\\boxed{3}", status=status)
        assert (strict.counts(leaf), lax.counts(leaf)) == counts
        assert (strict.leaf_answer(leaf), lax.leaf_answer(leaf)) == tuple("3" if c else None for c in counts)
