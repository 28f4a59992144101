"""The vote of a tree at a budget."""

from rftt.evaluate.tree_search import at_budget


def vote(answer, correct, tokens, **more):
    return {"4": {"answer": answer, "correct": correct, "tokens": tokens, **more}}


def test_statuses_are_those_of_the_grader_or_what_an_older_file_says():
    trees = {
        "a": vote("1", True, 10, verdict="correct"), "b": vote("x^", False, 30, verdict="unparseable"),
        "c": vote("1", True, 20), "d": vote("2", False, 20), "e": vote(None, False, 20),
    }  # fmt: skip
    outcome, found = at_budget(trees, 4)
    assert found == ["correct", "unparseable", "correct", "wrong", "no_answer"]
    assert outcome.values == {"a": 1, "b": 0, "c": 1, "d": 0, "e": 0} and outcome.mean_tokens == 20
