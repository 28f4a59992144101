"""The token table: a slip in it would change the method everywhere at once."""

import dataclasses

import pytest

from search.functions import RFTT, ROOT


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


def test_unknown_name_in_a_table_is_refused():
    with pytest.raises(ValueError, match="unknown functions: gues"):
        dataclasses.replace(RFTT, functional={ROOT: ("gues",)})
