"""What a tuned model samples becomes nodes: ids are kept as they were, and what is broken ends the path."""

import asyncio

import pytest

from search import SearchConfig
from search.engines import Generation
from search.functional import FunctionalPolicy, tag_ids
from search.functions import RFTT
from search.tree import Tree
from tests.search.fakes import TOKENIZER, functional_engine


def expand(text, function="next_step", stopped=True):
    """The child that comes out of one sampled text."""
    engine = functional_engine()
    tree = Tree("q", "What is 1 + 1?")
    policy = FunctionalPolicy(engine, config=SearchConfig(max_step_tokens=500))
    asyncio.run(policy.start(tree))
    tree.root.options = {function: 1.0}
    tree.root.branch_logprobs = {function: -0.25}
    ids = tuple(TOKENIZER(text)["input_ids"])
    watched = {TOKENIZER.vocabulary[f.open]: -float(i) for i, f in enumerate(RFTT.functions)}
    engine.script = lambda prompt, sampling: [Generation(ids, stopped, tuple(-0.1 for _ in ids), watched)]
    [child] = asyncio.run(policy.expand(tree, tree.root, function)).children
    return child, ids


def test_a_step_ends_before_the_opening_token_that_stopped_it():
    node, ids = expand("\n1 + 1 = 2\n</next_step>\n<verify>")
    assert node.status == "open" and node.text == "1 + 1 = 2"
    assert node.ids == [TOKENIZER.vocabulary["<next_step>"], *ids[:-1]]
    assert len(node.logprobs) == len(node.ids) and node.logprobs[0] == -0.25


def test_the_distribution_at_the_stop_is_the_childrens_prior():
    node, _ = expand("\nx\n</next_step>\n<verify>")
    assert set(node.options) == set(RFTT.functional["next_step"])
    assert sum(node.options.values()) == pytest.approx(1.0)
    assert node.options["subquestion"] > node.options["next_step"] > node.options["output"]
    assert node.branch_logprobs["subquestion"] == -2.0


def test_output_ends_the_chain_with_the_sampled_end_of_sequence():
    node, ids = expand("\n\\boxed{2}\n</output>\n<eos>", "output")
    assert node.status == "answered" and node.text == "\\boxed{2}"
    assert node.ids[-1] == 0 and list(ids) == node.ids[1:]


@pytest.mark.parametrize(
    "text",
    [
        "\nno close<verify>",
        "\nwrong close\n</verify>\n<verify>",
        "\ntext after\n</next_step> and more<verify>",
        "\ntwo closes\n</next_step>\n</next_step>\n<verify>",
        "\nends without an answer\n</next_step>\n<eos>",
        "<eos>",
    ],
)
def test_a_broken_step_ends_its_path_and_keeps_every_sampled_id(text):
    node, ids = expand(text)
    assert node.status == "malformed" and node.options is None
    assert node.ids[1:] == list(ids)


def test_a_chain_that_goes_on_after_output_is_broken():
    node, _ = expand("\n\\boxed{2}\n</output>\n<verify>", "output")
    assert node.status == "malformed"


def test_a_step_that_is_too_long_is_truncated_without_an_end_of_sequence():
    node, _ = expand("\n1 + 1 = ", stopped=False)
    assert node.status == "truncated" and 0 not in node.ids


def test_a_model_without_functional_tokens_is_told_what_to_do():
    class Plain(type(TOKENIZER)):
        def get_vocab(self):
            return {"a": 0}

    with pytest.raises(ValueError, match="rftt tokens"):
        tag_ids(Plain(), list(RFTT.tags))


def test_each_function_has_its_own_limit():
    engine, tree = functional_engine(), Tree("q", "What is 1 + 1?")
    policy = FunctionalPolicy(engine, config=SearchConfig(max_step_tokens=400))
    asyncio.run(policy.start(tree))
    tree.root.options = tree.root.branch_logprobs = dict.fromkeys(("subquestion", "next_step", "direct_answer"), 0.3)
    for function in tree.root.options:
        asyncio.run(policy.expand(tree, tree.root, function))
    assert [sampling.max_tokens for _, sampling in engine.log[1:]] == [50, 100, 400]
