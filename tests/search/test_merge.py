"""From trees to chains: the right paths are chosen and merged chains have the shape of the paper."""

import asyncio
from dataclasses import replace

from search import CollectionConfig, Tree
from search.asking import step_text
from search.chain import check, parse
from search.functions import RFTT
from search.merge import chains, merged, pairs, plain, rank, score_steps, tells
from search.prompted import PromptedPolicy
from tests.search.fakes import TOKENIZER, prompted_engine

# A set whose model is asked for the verification.
ASKED = replace(RFTT, examples=(), merge_prompt="Compare with {reference} and say where the steps go wrong.")


def example():
    """One correct and two wrong paths, of which one shares its first step with the correct one."""
    tree = Tree("q", "What is 1 + 1?", "2")
    tree.root.visits, tree.root.value = 4, 2.0

    def step(parent, function, text, visits, value, **values):
        ids = TOKENIZER(step_text(text))["input_ids"]
        return tree.add(
            parent, function, len(parent.children), text=text, ids=ids, visits=visits, value=value, **values
        )

    plan = step(tree.root, "analyze", "add", 2, 1.0)
    step(plan, "direct_answer", "\\boxed{2}", 1, 1.0, status="answered", verdict="correct", answer="2", rollout=1)
    step(plan, "direct_answer", "\\boxed{3}", 1, 0.0, status="answered", verdict="wrong", answer="3", rollout=2)
    other = step(tree.root, "next_step", "1 + 1 = 5", 1, 0.0)
    step(other, "direct_answer", "\\boxed{5}", 1, 0.0, status="answered", verdict="wrong", answer="5", rollout=3)
    guess = step(tree.root, "direct_answer", "\\boxed{2}", 1, 1.0)
    guess.status, guess.verdict, guess.answer, guess.rollout = "answered", "correct", "2", 4
    return tree


def make(tree, functions=RFTT, **settings):
    policy = PromptedPolicy(prompted_engine(), functions)
    return asyncio.run(chains(tree, policy, CollectionConfig(**settings), functions))


def test_rank_prefers_the_best_correct_and_the_worst_wrong():
    tree = example()
    assert [tree.depth(n) for n in rank(tree, correct=True)] == [1, 2], "a tie goes to the shorter path"
    tree.nodes[1].visits, tree.nodes[1].value = 3, 2.0
    assert [tree.depth(n) for n in rank(tree, correct=True)] == [2, 1], "a leaf's own verdict must not count"
    assert rank(tree, correct=False)[0].answer == "5"


def test_a_wrong_path_that_shares_steps_comes_before_a_worse_one_that_shares_none():
    tree = example()
    correct = tree.nodes[2]
    assert [p.wrong[-1].answer for p in pairs(tree, correct)] == ["3", "5"]
    assert pairs(tree, correct)[0].shared == 1


def test_a_plain_chain_repeats_the_answer_in_the_output():
    steps = plain(example().path(example().nodes[2]), RFTT)
    assert [s.function for s in steps] == ["analyze", "direct_answer", "output"]
    assert steps[-1].text == "\\boxed{2}"


def test_a_merged_chain_is_prefix_wrong_rest_verify_refine_output():
    tree = example()
    pair = pairs(tree, tree.nodes[2])[0]
    steps = merged(pair, "3 is wrong", RFTT)
    assert [s.function for s in steps] == ["analyze", "direct_answer", "verify", "refine", "output"]
    assert [s.text for s in steps] == ["add", "\\boxed{3}", "3 is wrong", "\\boxed{2}", "\\boxed{2}"]
    check(steps)


def test_written_chains_are_legal_and_a_lucky_guess_alone_is_none():
    for share, kinds, functions in ((0.0, ["plain"], RFTT), (1.0, ["merged"], RFTT), (1.0, ["merged"] * 2, ASKED)):
        records = make(example(), functions, chains_per_question=4, merged_share=share)
        assert [r["kind"] for r in records] == kinds
        for record in records:
            check(parse(record["messages"][-1]["content"]))
            assert record["question_id"] == "q" and record["answer"] == "2"


def test_easy_questions_give_fewer_chains_where_difficulty_counts():
    tree = example()  # two of its four paths are wrong
    settings = {"functions": ASKED, "merged_share": 1.0, "chains_per_question": 2}
    assert len(make(tree, **settings)) == 2
    assert len(make(tree, **settings, chains_by_difficulty=True)) == 1
    assert len(make(tree, **settings | {"chains_per_question": 3}, chains_by_difficulty=True)) == 2, "rounded up"
    for node in tree.nodes:
        node.verdict = "correct" if node.verdict else None
    assert len(make(tree, chains_per_question=3, merged_share=0.0, chains_by_difficulty=True)) == 1, "never none"


def test_a_tree_without_a_correct_path_gives_no_chain():
    tree = example()
    for node in tree.nodes:
        node.verdict = "wrong" if node.verdict else None
    assert make(tree) == []


def test_the_verification_sees_the_wrong_steps_and_the_correct_rest():
    engine, tree = prompted_engine(), example()
    policy = PromptedPolicy(engine, ASKED)
    asyncio.run(policy.start(tree))
    asyncio.run(chains(tree, policy, CollectionConfig(merged_share=1.0), ASKED))
    [(prompt, _)] = engine.log
    text = engine.tokenizer.decode(prompt)
    assert text.index("What is 1 + 1?") < text.index("\\boxed{5}") < text.index("\\boxed{2}") < text.index("go wrong")


def test_scores_of_a_process_reward_model_choose_the_chain():
    tree, asked = example(), []

    async def scorer(question, steps):
        asked.append(steps)
        return [0.9 if "\\boxed" in text else 0.1 for text in steps]

    asyncio.run(score_steps(tree, scorer))
    assert (tree.question, len(asked)) == ("What is 1 + 1?", 4)
    assert [n.prm for n in tree.nodes] == [None, 0.1, 0.9, 0.9, 0.1, 0.9, 0.9]
    assert [tree.depth(n) for n in rank(tree, correct=True)] == [1, 2], "the mean over the steps, not their sum"
    tree.nodes[1].prm = 1.0
    assert [tree.depth(n) for n in rank(tree, correct=True)] == [2, 1]
    assert make(tree, merged_share=0.0)[0]["score"] == 0.95


def test_without_a_merge_prompt_the_verification_is_written_by_rule():
    engine, tree = prompted_engine(), example()
    policy = PromptedPolicy(engine)
    [record] = asyncio.run(chains(tree, policy, CollectionConfig(merged_share=1.0, chains_per_question=2), RFTT))
    steps = parse(record["messages"][-1]["content"])
    assert engine.log == [] and steps[2].text == "Step 2 is wrong: it answers 3, but what is asked for is 2."


def test_a_pair_tells_when_it_shares_a_step_and_the_correction_calculates():
    tree = example()
    sharing, apart = pairs(tree, tree.nodes[2])
    assert tells(sharing) and not tells(apart)
    tree.nodes[2].text = "Let us think again."
    assert not tells(sharing)


def test_an_answer_without_a_box_is_repeated_as_it_was_graded():
    tree = example()
    tree.nodes[2].text = "So it is 2."
    [record] = make(tree, merged_share=0.0)
    assert parse(record["messages"][-1]["content"])[-1].text == "\\boxed{2}"
    tree.nodes[2].answer = None
    assert make(tree, merged_share=0.0) == []
