"""One channel: breaks when a text has two places where an answer may stand, or when the true place is missed."""

from __future__ import annotations

import time

import pytest

from rewards import Place, extract_answer

BOXED = [
    (r"so \boxed{7}.", "7"),
    (r"\fbox{7}", "7"),
    (r"\boxed 7", "7"),
    (r"\boxed 7.", "7"),
    (r"\boxed 7.5", None),
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


JOINTS = [
    # one list
    (", ", "3, 7"),
    ("; ", "3, 7"),
    (" and ", "3, 7"),
    ("$ AND $", "3, 7"),
    (r"\quad\text{and}\quad ", "3, 7"),
    (r" \land ", "3, 7"),
    ("、", "3, 7"),
    # two guesses
    (" or ", None),
    (" OR ", None),
    (" or perhaps ", None),
    (r" \lor ", None),
    (r" \text{ or } ", None),
    ("/", None),
    (" vs ", None),
    (" vs. ", None),
    (" resp. maybe ", None),
    (" oder ", None),
    (" if not then ", None),
    (" alternatively ", None),
    ("; alternatively, ", None),
    (", or, ", None),
    (" …or ", None),
    ("或", None),
    (" (or so) ", None),
    (" ", None),
    ("", None),
    ("\nor\n", None),
    ("\n\nor\n\n", None),
    # one answer after another that is withdrawn
    (", wait, ", "7"),
    (". wait, actually ", "7"),
    ("? No, ", "7"),
    (". So the answer is ", "7"),
    ("\n\nSo the answer is ", "7"),
    ("\n", "7"),
]


@pytest.mark.parametrize(("between", "answer"), JOINTS)
def test_what_stands_between_two_boxes_decides(between: str, answer: str | None) -> None:
    assert extract_answer(rf"It is $\boxed{{3}}${between}$\boxed{{7}}$.") == answer
    assert extract_answer(rf"\boxed{{3}}{between}\boxed{{7}}") == answer


def test_the_same_answer_twice_is_one() -> None:
    assert extract_answer(r"\boxed{7}, that is to say \boxed{7}") == "7"


CHAINS = [
    ("<analyze>\n\\boxed{1}\n</analyze>\n<output>\n\\boxed{2}\n</output>\n", "2"),
    ("<analyze>\n\\boxed{1}\n</analyze>\n", None),
    ("<output>\n\\boxed{1}\n</output>\n<verify>\nit is \\boxed{3}\n</verify>\n<output>\n\\boxed{2}\n</output>\n", "2"),
    ("<output>\n\\boxed{1}\n</output>\n<verify>\n\\boxed{2}\n</verify>\n", "1"),
    ("<analyze>\nx\n</analyze>\n<output>\n\\boxed{2}", "2"),
    ("<direct_answer>\n\\boxed{1}\n</direct_answer>\n<output>\nno box\n</output>\n", None),
    ("It is \\boxed{3}.", "3"),
    ("<analyze>\nx\n</analyze>\n<output>\n\\boxed{2}\n</analyze>", "2"),
]


@pytest.mark.parametrize(("text", "answer"), CHAINS)
def test_a_chain_answers_only_inside_the_part_that_is_named(text: str, answer: str | None) -> None:
    tags = ("<analyze>", "</analyze>", "<verify>", "</verify>", "<direct_answer>", "</direct_answer>")
    assert extract_answer(text, within=Place("<output>", "</output>", tags)) == answer
    dressed = text.replace("<output>", "[[").replace("</output>", "]]")
    assert extract_answer(dressed, within=Place("[[", "]]", tags)) == answer


BLOCKS = [
    ("<plan>\n\\boxed{1}\n</plan>\n<answer>\nso \\boxed{7}\n</answer>\n", "7"),
    ("<plan>\\boxed{1}</plan><answer>\\boxed{7}</answer>", "7"),
    ("<answer>\n\\boxed{7}\n</answer>\nI hope it helps.", "7"),
    ("<plan>\n\\boxed{7}\n</plan>\n<answer>\nno box\n</answer>\n", None),
    ("<plan>\n\\boxed{7}\n</plan>\n<answer>\nIt is 7.\n</answer>\n", None),
    ("<plan>\nx\n</plan>\n<answer>\n\\boxed{7}", "7"),
    ("<plan>\n\\boxed{7}\n<answer>\nno box\n</answer>\n", None),
    ("<reasoning>\n\\boxed{1}\n</reasoning>\nThe answer is \\boxed{7}.", "7"),
    ("<response>\n<plan>\n\\boxed{7}\n</plan>\n<answer>\nno box\n</answer>\n</response>", None),
    ("<think>\\boxed{1}</think><answer>\\boxed{7}</answer>", "7"),
    ("The <b>answer</b> is \\boxed{7}, since 1<x>0", "7"),
    ("\\boxed{7}\n<br>", "7"),
    ("\\boxed{7}\n<p>Done</p>", "7"),
]


@pytest.mark.parametrize(("text", "answer"), BLOCKS)
def test_without_a_name_the_last_block_answers(text: str, answer: str | None) -> None:
    assert extract_answer(text) == answer


def test_a_place_needs_both_ends() -> None:
    with pytest.raises(ValueError, match="answering part needs"):
        extract_answer("\\boxed{7}", within=("<answer>", ""))


SIZE = 200_000
FLOODS = [
    r"\boxed{", "\\boxed{1}\nUser:", "\nUser:", "answer ", "answer:", "answer is 7 ", r"\$", r"\(", r"\[", "$", "$1$ ",
    "<a>", "<a></a>", "<a></a>x <b>", "\n<b>", "</a>", "<think>", "####", "{", "}", " ", "\n", ". ", "I hope ", "\n##", "\\",
    r"\boxed{1} or ", r"\boxed 1", r"\boxed{1}, ", r"$1$\text{ and ", "final ", "is ",
]  # fmt: skip


@pytest.mark.parametrize("fragment", FLOODS)
@pytest.mark.parametrize("rule", ["boxed", "lenient"])
def test_extraction_takes_linear_time(fragment: str, rule: str) -> None:
    """Ten times the text in less than thirty times the time, where quadratic would be a hundred."""

    def seconds(size: int) -> float:
        text = fragment * (size // len(fragment)) + "x"
        times = []
        for _ in range(3):
            started = time.process_time()
            extract_answer(text, rule)
            times.append(time.process_time() - started)
        return min(times)

    assert seconds(SIZE) < 30 * max(seconds(SIZE // 10), 2e-3)


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


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(ValueError, match="no text but NoneType"):
        extract_answer(None)  # type: ignore[arg-type]


def test_unknown_rule_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="unknown extraction rule 'box'"):
        extract_answer("7", "box")
