"""Chains: what is written is read back, and what is not well formed is told why."""

import pytest

from search.chain import ChainError, Step, check, parse, render, well_formed

GOOD = [Step("analyze", "add them"), Step("next_step", "1 + 1 = 2"), Step("output", "\\boxed{2}")]


def test_render_then_parse_gives_the_same_steps():
    text = render(GOOD)
    assert text.startswith("<analyze>\nadd them\n</analyze>\n<next_step>\n")
    assert parse(text) == GOOD
    assert well_formed(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<analyze>\nadd\n", "not closed before the end"),
        ("<analyze>\nadd\n</verify>\n", "not closed before </verify>"),
        ("<analyze>\n<verify>\nx\n</verify>\n</analyze>", "not closed before <verify>"),
        ("hello <analyze>\nadd\n</analyze>", "expected an opening tag"),
        ("</analyze>", "expected an opening tag"),
        ("<analyze>\nadd\n</analyze> and so on", "expected an opening tag"),
    ],
)
def test_broken_text_is_told_what_and_where(text, reason):
    with pytest.raises(ChainError, match=reason):
        parse(text)
    assert not well_formed(text)


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([], "no step"),
        ([Step("direct_answer", "x"), Step("output", "\\boxed{2}")], "<direct_answer> may not follow question"),
        (
            [Step("next_step", "x"), Step("refine", "y"), Step("output", "\\boxed{2}")],
            "<refine> may not follow next_step",
        ),
        ([Step("next_step", "x")], "ends in <next_step>"),
        ([Step("next_step", "x"), Step("output", "two")], "no .boxed"),
    ],
)
def test_illegal_chains_are_refused(steps, reason):
    with pytest.raises(ChainError, match=reason):
        check(steps)


def test_plain_text_is_not_a_chain():
    assert not well_formed("The answer is \\boxed{2}.")
    assert not well_formed("")
