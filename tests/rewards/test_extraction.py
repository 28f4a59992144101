"""One channel: breaks when a text has two places where an answer may stand, or when the true place is missed."""

from __future__ import annotations

import pytest

from rewards import extract_answer

BOXED = [
    (r"so \boxed{7}.", "7"),
    (r"\fbox{7}", "7"),
    (r"\boxed 7", "7"),
    (r"\boxed{\frac{1}{2}} and so on", r"\frac{1}{2}"),
    (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
    (r"\boxed{a\}b}", r"a\}b"),
    (r"first \boxed{1}, wait, \boxed{2}", "2"),
    (r"\boxed{7} \boxed{8", "7"),
    (r"\boxed{}", None),
    (r"\boxed{} 7", None),
    ("the answer is 7", None),
    ("", None),
    (r"<think>\boxed{1}</think> \boxed{2}", "2"),
    (r"<think>\boxed{1}</think> it is 2", None),
    (r"<think>\boxed{1}", None),
    (r"\boxed{1} <think> hm", None),
    (r"\boxed{1}<|im_end|><|im_start|>user \boxed{2}", "1"),
    ("\\boxed{1}\n\nHuman: and this?\n\nAssistant: \\boxed{2}", "1"),
    ("Problem: 1+1\n\\boxed{2}", "2"),
    (r"\boxed{1}, \boxed{2} and \boxed{3}", "1, 2, 3"),
    (r"\boxed{1} \text{ and } \boxed{2}", "1, 2"),
    (r"\boxed{1} or \boxed{2}", None),
    (r"$\boxed{1}$ or $\boxed{2}$", None),
]


@pytest.mark.parametrize(("text", "answer"), BOXED)
def test_boxed_rule(text: str, answer: str | None) -> None:
    assert extract_answer(text) == answer


CHAINS = [
    ("<analyze>\n\\boxed{1}\n</analyze>\n<output>\n\\boxed{2}\n</output>\n", "2"),
    ("<analyze>\n\\boxed{1}\n</analyze>\n", None),
    ("<output>\n\\boxed{1}\n</output>\n<verify>\nit is \\boxed{3}\n</verify>\n<output>\n\\boxed{2}\n</output>\n", "2"),
    ("<output>\n\\boxed{1}\n</output>\n<verify>\n\\boxed{2}\n</verify>\n", "1"),
    ("<analyze>\nx\n</analyze>\n<output>\n\\boxed{2}", "2"),
    ("<direct_answer>\n\\boxed{1}\n</direct_answer>\n<output>\nno box\n</output>\n", None),
]


@pytest.mark.parametrize(("text", "answer"), CHAINS)
def test_functional_chain_answers_only_inside_its_last_output(text: str, answer: str | None) -> None:
    assert extract_answer(text) == answer


LENIENT = [
    ("The answer is 0.5.", "0.5"),
    ("So the final answer is: $\\frac{1}{2}$. I hope it is correct.", "$\\frac{1}{2}$"),
    ("Step 1\n#### 42", "42"),
    ("Final Answer: The final answer is $12$. I hope it is correct.", "$12$"),
    ("The answer is (C).", "(C)"),
    ("The answer is $1$ or $2$ or $3$.", "$1$ or $2$ or $3$"),
    ("Answer: 1\nAnswer: 2\nAnswer: 3", None),
    ("The answer is 7 \\boxed{8}", "8"),
    ("There are 7 days in a week, so I cannot solve it", None),
    ("Therefore $x > 5$ holds.", "$x > 5$"),
]


@pytest.mark.parametrize(("text", "answer"), LENIENT)
def test_lenient_rule(text: str, answer: str | None) -> None:
    assert extract_answer(text, "lenient") == answer


def test_none_rule_takes_the_text_as_it_is() -> None:
    assert extract_answer(" 7 ", "none") == "7"
    assert extract_answer("  ", "none") is None


def test_unknown_rule_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="unknown extraction rule 'box'"):
        extract_answer("7", "box")
