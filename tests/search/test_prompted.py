"""Phase 1 with rules for steps: what is asked for again, left out, completed, or becomes the answer."""

import asyncio

import pytest

from search import Question, SearchConfig, Tree, search_many
from search.engines import FakeEngine, Generation
from search.engines.engine import EngineError, TooLong
from search.functions import RFTT
from search.prompted import PromptedPolicy
from search.step_counts import StepCounts, add_counts, table, valid_share
from tests.search.fakes import TOKENIZER, prompted_engine

CONFIG = SearchConfig(rollouts=12, max_depth=4, seed=3)
GOOD = {
    "Given:": " Two ones.\n",
    "Plan:": " Add them.\n",
    "Smaller question:": " What is one?",
    "Calculation:": " 1 + 1 = 2.\n",
}
ANSWER = "It is \\boxed{2}.<eos>"


class Model:
    """Answers the last label of the prompt with the next of its texts; the last one again and again."""

    def __init__(self, **texts):
        self.texts = {f"{label.replace('_', ' ')}:": list(found) for label, found in texts.items()}
        self.prompts, self.temperatures = [], []

    def __call__(self, prompt_ids, sampling):
        prompt = TOKENIZER.decode(prompt_ids)
        self.prompts.append(prompt)
        self.temperatures.append(sampling.temperature)
        last = max(prompt.rfind("\n"), prompt.rfind("]")) + 1
        label = next((label for label in GOOD if prompt[last:].startswith(label)), "Rest:")
        left = self.texts.get(label, [GOOD.get(label, ANSWER)])
        text = left.pop(0) if len(left) > 1 else left[0]
        ids = TOKENIZER(text)["input_ids"]
        return [Generation(tuple(ids[: sampling.max_tokens]), len(ids) <= sampling.max_tokens)] * sampling.n

    def engine(self, **options):
        return FakeEngine(self, TOKENIZER, eos_ids=frozenset({0}), **({"max_model_len": 16384} | options))


def expanded(model, function, **config):
    """One expansion below the root."""
    policy, tree = PromptedPolicy(model.engine(), RFTT, SearchConfig(**config)), Tree("q", "What is 1 + 1?", "2")

    async def run():
        await policy.start(tree)
        return await policy.expand(tree, tree.root, function)

    return asyncio.run(run())


def test_a_step_that_breaks_a_rule_is_asked_for_once_more():
    model = Model(Given=[" 1 + 1 = 2.\n", " Two ones.\n"])
    found = expanded(model, "clarify")
    assert [n.text for n in found.children] == ["Two ones."] and model.prompts[0] == model.prompts[1]
    assert found.steps == {"clarify": {"asked": 1, "no_calculation": 1, "retried": 1, "valid": 1}}


@pytest.mark.parametrize(
    ("function", "texts"),
    [("clarify", {"Given": [" 1 + 1 = 2.\n", " Two ones.\n"]}),
     ("next_step", {"Calculation": [" There are 1 and 1.\n", " 1 + 1 = 2.\n"]})],
)  # fmt: skip
def test_steps_have_a_temperature_of_their_own_and_second_requests_that_of_samples(function, texts):
    for settings, expected in (({}, [0.7, 0.7]), ({"step_temperature": 0.3}, [0.3, 0.7])):
        model = Model(**texts)
        expanded(model, function, **settings)
        assert model.temperatures == expected


def test_what_proposes_is_sampled_at_the_temperature_of_samples():
    model = Model()
    expanded(model, "subquestion", step_temperature=0.3)
    assert model.temperatures == [0.7]


def test_a_step_that_computes_nothing_is_continued():
    model = Model(Calculation=[" There are 1 and 1.\n", " 1 + 1 = 2.\n"])
    found = expanded(model, "next_step")
    assert [n.text for n in found.children] == ["There are 1 and 1, so 1 + 1 = 2."]
    assert model.prompts[1].endswith("Calculation: There are 1 and 1, so")
    assert found.steps == {"next_step": {"asked": 1, "computes": 1, "retried": 1, "valid": 1}}


def test_a_question_that_is_the_whole_problem_is_asked_for_anew():
    model = Model(Smaller_question=[" What is 1 + 1?", " What is one?"])
    found = expanded(model, "subquestion")
    assert [n.text for n in found.children] == ["What is one?"]
    assert model.prompts[1].endswith("Smaller question: First, about only one part of the problem:")


def test_what_continues_a_step_counts_against_its_limit():
    model = Model(Calculation=[" There are 1 and 1.\n", " " + "word " * 100])
    found = expanded(model, "next_step", max_step_tokens=400)
    assert found.children == [] and found.steps["next_step"]["whole"] == 1


def test_no_smaller_question_is_offered_where_every_number_is_used():
    policy, tree = PromptedPolicy(Model().engine(), RFTT, SearchConfig()), Tree("q", "What is 1 + 1?", "2")

    async def run():
        await policy.start(tree)
        [child] = (await policy.expand(tree, tree.root, "next_step")).children
        [plan] = (await policy.expand(tree, tree.root, "analyze")).children
        return child.options, plan.options

    after_step, after_plan = asyncio.run(run())
    assert "subquestion" in tree.root.options and "subquestion" in after_plan
    assert set(after_step) == {"next_step", "direct_answer"}


@pytest.mark.parametrize("bad", [" Add the numbers.\n", "\n", " 1 + 1 = 3.\n", " " + "word " * 200])
def test_a_step_that_stays_bad_is_left_out(bad):
    found = expanded(Model(Calculation=[bad]), "next_step", max_step_tokens=400)
    assert found.children == [] and found.steps["next_step"]["dropped"] == 1


def test_a_step_with_a_box_is_the_answer_and_ends_the_path():
    found = expanded(Model(Calculation=[" 1 + 1 = 2, so \\boxed{2}.\n"]), "next_step")
    [child] = found.children
    assert (child.function, child.status, child.options) == ("direct_answer", "answered", {})
    assert found.steps == {"next_step": {"asked": 1, "answered": 1}}


def test_an_answer_without_a_box_gets_the_beginning_of_one():
    model = Model(Rest=["It is two.<eos>", "2}. I hope it helps.\nMore"])
    found = expanded(model, "direct_answer")
    assert [n.text for n in found.children] == ["It is two.\nThe final answer is \\boxed{2}. I hope it helps."]
    assert model.prompts[-1].endswith("[assistant]It is two.\nThe final answer is \\boxed{")
    assert found.steps["direct_answer"] == {"asked": 1, "boxed": 1, "retried": 1, "valid": 1}


def test_an_answer_that_stays_without_a_box_is_kept():
    found = expanded(Model(Rest=["It is two.<eos>", "no<eos>"]), "direct_answer")
    assert [n.status for n in found.children] == ["answered"] and found.steps["direct_answer"]["dropped"] == 1


def grown(model, **config):
    trees = []
    settings = SearchConfig(**({"rollouts": 12, "max_depth": 4} | config))
    questions = [Question("q", "What is 1 + 1?", "2")]
    asyncio.run(search_many(questions, model.engine(), settings, trees.append, policy="prompted"))
    return trees[0]


@pytest.mark.parametrize("parallel", [1, 4])
def test_a_node_does_without_a_function_that_cannot_be_had(parallel):
    tree = grown(Model(Given=["\n"], Plan=["\n"]), parallel_rollouts=parallel)
    assert {n.function for n in tree.nodes} == {"question", "subquestion", "next_step", "direct_answer"}
    assert set(tree.root.options) == {"subquestion", "next_step", "direct_answer"}
    assert tree.steps["clarify"]["dropped"] == 1 and tree.stopped in ("rollouts", "exhausted")


def test_only_the_answer_is_offered_where_one_more_step_would_be_the_last():
    tree = grown(Model(), rollouts=40)
    assert {n.status for n in tree.leaves()} == {"answered"}
    assert max(tree.depth(n) for n in tree.nodes) == 4


def test_counts_survive_the_file_and_zero_shot_trees_have_none():
    tree = grown(Model())
    assert Tree.from_json(tree.to_json()).steps == tree.steps and tree.steps
    assert "steps" not in Tree("q", "What?").to_json()


def test_worked_examples_that_leave_no_room_are_refused():
    with pytest.raises(EngineError, match=r"worked examples take \d+ tokens .* engine.max_model_len"):
        PromptedPolicy(prompted_engine(max_model_len=2048))


def test_shares_and_the_table_say_what_was_counted():
    counts = StepCounts()
    counts.first(
        "next_step", [("next_step", ""), ("next_step", "computes"), ("direct_answer", ""), ("next_step", "new")]
    )
    counts.second("next_step", [("next_step", ""), ("next_step", "new")])
    total = {}
    add_counts(total, counts.counted)
    add_counts(total, counts.counted)
    assert valid_share(total["next_step"]) == 2 / 3 and valid_share(total["next_step"], "first") == 1 / 3
    [_, row] = table(total).splitlines()
    assert row.split() == ["next_step", "8", "2", "33%", "67%", "4", "2", "new", "4,", "computes", "2"]
    assert table({}) == "" and valid_share({}) == 1.0


def test_a_question_that_leaves_no_room_beside_the_worked_examples_fails_alone():
    engine, found, failed = prompted_engine(), [], []
    room = len(PromptedPolicy(engine).way.start_ids("")) + 600
    engine.max_model_len = room
    questions = [Question("long", "x" * 600), Question("short", "What is 1 + 1?", "2")]
    config = SearchConfig(rollouts=2)

    def fail(question, error):
        failed.append((question.id, type(error), str(error)))

    asyncio.run(search_many(questions, engine, config, found.append, policy="prompted", on_failure=fail))
    assert [tree.question_id for tree in found] == ["short"]
    [(name, kind, message)] = failed
    assert (name, kind) == ("long", TooLong) and "worked examples included" in message and "\n" not in message
