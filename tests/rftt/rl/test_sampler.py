"""The sampler on a scripted engine: grouping, order, ids, seeds, refilling, and what earns a verdict."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from rftt.config import from_dict
from rftt.config.sections import RLSection
from rftt.data.problems import Problem
from rftt.errors import UsageError
from rftt.rl import branches
from rftt.rl.reward import FormatReward, OutcomeReward
from rftt.rl.rollout import Rollout
from rftt.rl.sampler import FunctionalSampler, Turn, prompt_of
from search.engines import FakeEngine, Generation, Sampling
from search.engines.engine import EngineError
from search.functions import RFTT
from tests.search.fakes import OPEN, TOKENIZER, functional_script

PROBLEMS = [Problem(f"q{i}", f"What is {i}+1?", str(i % 3), "test") for i in range(3)]


class Tokenizer(type(TOKENIZER)):
    def decode(self, ids, skip_special_tokens: bool = False) -> str:
        text = super().decode(ids)
        return text.replace("<eos>", "") if skip_special_tokens else text


@dataclass
class Run:
    """A sampler with its engine."""

    sampler: FunctionalSampler
    engine: FakeEngine

    def __call__(self, asked: list, step: int = 0, group_size: int = 4, training: bool = True) -> list[Rollout]:
        return self.sampler(asked, self.engine, Turn(step, group_size, training))


def run_of(script=functional_script, problems=PROBLEMS, scorer=None, **settings) -> Run:
    """Groups are filled up with whole samples, which the scripts write; `test_groups` has those that walk."""
    rl = from_dict({"rl": {"max_depth": 6, "fill": "plain", **settings}}).rl
    sampler = FunctionalSampler(problems, rl, scorer=scorer)
    return Run(sampler, FakeEngine(script, Tokenizer(), eos_ids=frozenset({0})))


def column(rollouts: list[Rollout], name: str) -> list:
    return [getattr(rollout, name) for rollout in rollouts]


def prompts(*questions: int, times: int = 4) -> list:
    return [prompt_of(PROBLEMS[q]) for q in questions for _ in range(times)]


def chain(answer: str, function: str = "next_step") -> str:
    return f"<{function}>\nstep\n</{function}>\n<output>\n\\boxed{{{answer}}}\n</output>\n<eos>"


def one_path(answer: str, plain: str):
    """A model that knows one chain; a plain sample (no stop ids) writes `plain`."""

    def script(prompt_ids: list[int], sampling: Sampling) -> list[Generation]:
        function = OPEN.get(prompt_ids[-1])
        if not sampling.stop_ids:
            ids = TOKENIZER(plain)["input_ids"][: sampling.max_tokens]
            return [Generation(tuple(ids), ids[-1] == 0, (-0.25,) * len(ids))] * sampling.n
        if function == "output":
            text, following = f"\n\\boxed{{{answer}}}\n</output>\n<eos>", "output"
        elif function is None:
            text, following = "<next_step>", "next_step"
        else:
            text, following = f"\nstep\n{RFTT[function].close}\n<output>", "output"
        ids = TOKENIZER(text)["input_ids"]
        watched = {i: (0.0 if OPEN[i] == following else -50.0) for i in sampling.watch_ids}
        return [Generation(tuple(ids), True, (-0.5,) * len(ids), watched)]

    return script


def test_rows_stand_in_the_order_of_the_prompts_and_hold_what_the_engine_sampled():
    run = run_of()
    rows = run(prompts(2, 0))
    assert column(rows, "question_id") == ["q2"] * 4 + ["q0"] * 4
    for tree, start in ((run.sampler.trees["q2"], 0), (run.sampler.trees["q0"], 4)):
        for row, leaf in enumerate(tree.leaves(), start):
            path = tree.path(leaf)
            assert rows[row].prompt_ids == tree.prompt_ids
            assert rows[row].completion_ids == [i for node in path for i in node.ids]
            assert rows[row].logprobs == [p for node in path for p in node.logprobs]
            opened = [rows[row].completion_ids[i] for i in rows[row].starts]
            assert [OPEN[i] for i in opened] == [node.function for node in path]
            assert rows[row].texts == [node.text for node in path] and rows[row].nodes == [n.id for n in path]
            assert rows[row].status == leaf.status and rows[row].answer == tree.gold
    assert len(rows) == 8


def test_the_same_step_gives_the_same_samples_and_another_step_others():
    again = [column(run_of()(prompts(0, 1), step), "completion_ids") for step in (3, 3, 4)]
    assert again[0] == again[1] != again[2]
    run = run_of()
    twice = [column(run(prompts(0), 3), "completion_ids") for _ in range(2)]
    assert twice[0] != twice[1], "two generations within one step must differ"


def test_samples_of_a_question_do_not_depend_on_the_others():
    alone = column(run_of()(prompts(1)), "completion_ids")
    assert column(run_of()(prompts(0, 1))[4:], "completion_ids") == alone


def test_an_exhausted_tree_is_refilled_with_plain_samples_in_one_request():
    run = run_of(one_path("0", plain=chain("0", "analyze")), min_prior=0.5)
    rows = run(prompts(0))
    assert column(rows, "origin") == ["tree", *["plain"] * 3] and run.sampler.stats.exhausted == 1
    assert column(rows, "verdict") == ["correct", "no_answer", "no_answer", "no_answer"], (
        "analyze may not lead to output"
    )
    assert [s.n for _, s in run.engine.log if not s.stop_ids] == [3]
    assert rows[1].nodes == [] and rows[1].texts == ["step", "\\boxed{0}"]


@pytest.mark.parametrize(
    ("plain", "status", "verdict"),
    [
        (chain("0"), "answered", "correct"),
        (chain("2"), "answered", "wrong"),
        (chain("0").removesuffix("<eos>"), "truncated", "no_answer"),
        ("so \\boxed{0}<eos>", "malformed", "no_answer"),
    ],
)
def test_a_plain_sample_earns_a_verdict_only_as_a_whole_chain(plain, status, verdict):
    rows = run_of(one_path("0", plain), min_prior=0.5)(prompts(0))
    assert column(rows, "status")[1:] == [status] * 3 and column(rows, "verdict")[1:] == [verdict] * 3


def says(text: str):
    """A model that is sure of every token of one completion."""
    whole, mark = TOKENIZER(text)["input_ids"], TOKENIZER("[assistant]")["input_ids"]

    def script(prompt_ids: list[int], sampling: Sampling) -> list[Generation]:
        begins = next(k for k in range(len(prompt_ids)) if prompt_ids[k : k + len(mark)] == mark) + len(mark)
        rest = whole[len(prompt_ids) - begins :][: sampling.max_tokens]
        end = next((k for k, i in enumerate(rest, 1) if i == 0 or i in sampling.stop_ids), None)
        ids = tuple(rest[:end])
        watched = {i: (0.0 if ids and i == ids[-1] else -50.0) for i in sampling.watch_ids}
        return [Generation(ids, end is not None, (0.0,) * len(ids), watched)] * sampling.n

    return script


STATED = "<next_step>\nstep\n</next_step>\n<output>\nThe answer is 0\n</output>\n<eos>"
UNCLOSED = "<next_step>\nstep\n</next_step>\n<output>\n\\boxed{0}\n<eos>"


@pytest.mark.parametrize(("sampler", "fill"), [
    ("uct", "plain"), ("uct", "walk"), ("priority", "plain"), ("flat", "plain"), ("walk", "plain"),
])  # fmt: skip
@pytest.mark.parametrize(("text", "rule", "expected"), [
    (STATED, {}, ("no_answer", 0.0, 0.0)),
    (STATED, {"extract": "lenient"}, ("correct", 1.0, 1.0)),
    (UNCLOSED, {}, ("no_answer", 0.0, 0.0)),
    (UNCLOSED, {"answers": "any"}, ("correct", 1.0, 0.0)),
])  # fmt: skip
def test_one_chain_earns_the_same_whatever_sampled_it(sampler, fill, text, rule, expected):
    least = {} if sampler == "priority" else {"min_prior": 0.5}
    rows = run_of(says(text), sampler=sampler, fill=fill, **least, **rule)(prompts(0))
    found = [row for row in rows if row.completion_ids == TOKENIZER(text)["input_ids"]]
    assert len(found) == (1 if sampler == "priority" else 4)
    earned = zip(column(found, "verdict"), OutcomeReward()(rollout=found), FormatReward()(rollout=found), strict=True)
    assert set(earned) == {expected}


def test_truncated_paths_have_no_verdict_and_no_end_that_was_not_sampled():
    rows = run_of(max_depth=1)(prompts(0))
    assert set(column(rows, "status")) == {"truncated"} and set(column(rows, "verdict")) == {"no_answer"}
    assert all(ids[-1] != 0 for ids in column(rows, "completion_ids"))


def test_torn_groups_are_refused():
    for rows in (prompts(0, times=3), prompts(0, times=2) + prompts(1, times=2)):
        with pytest.raises(UsageError, match="rl.rollouts"):
            run_of()(rows)


def test_errors_reach_the_caller_as_they_are():
    def broken(prompt_ids, sampling):
        raise EngineError("out of memory")

    with pytest.raises(EngineError, match="out of memory"):
        run_of(broken)(prompts(0))

    run = run_of()
    run.engine.max_model_len = 5
    with pytest.raises(UsageError, match="q0.*max_model_len"):
        run(prompts(0))


def test_a_question_that_occurs_twice_is_refused():
    with pytest.raises(UsageError, match="twice"):
        FunctionalSampler([*PROBLEMS, PROBLEMS[0]], RLSection())


def test_flat_sampling_is_one_request_a_question_and_no_tree():
    run = run_of(one_path("0", plain=chain("0")), sampler="flat")
    rows = run(prompts(0, 1))
    assert column(rows, "origin") == ["plain"] * 8 and run.sampler.trees == {} and run.sampler.stats.exhausted == 0
    assert [s.n for _, s in run.engine.log] == [4, 4]


def test_a_tree_that_has_spent_its_tokens_is_filled_up_with_plain_samples():
    rows = run_of(budget_tokens=1)(prompts(0))
    assert column(rows, "origin") == ["tree", *["plain"] * 3]


def test_masked_are_the_chosen_tags_or_what_was_cut_off_and_nothing_else():
    assert column(run_of()(prompts(0)), "loss_mask") == [None] * 4
    rows = run_of(branch_correction="mask")(prompts(0))
    for mask, starts, ids in zip(column(rows, "loss_mask"), column(rows, "starts"), column(rows, "completion_ids")):
        assert [k for k, kept in enumerate(mask) if not kept] == starts and len(mask) == len(ids)
    plain = run_of(one_path("0", chain("0")), min_prior=0.5, branch_correction="mask")(prompts(0))
    assert [0 in mask for mask in column(plain, "loss_mask")] == [True, False, False, False]
    cut = run_of(max_depth=1, truncated="mask")(prompts(0))
    assert not any(map(any, column(cut, "loss_mask")))


def test_paths_carry_the_weight_of_the_branch_correction():
    assert set(column(run_of()(prompts(0)), "weight")) == {1.0}
    run = run_of(branch_correction="importance", branch_cap=100.0)
    found = column(run(prompts(0)), "weight")
    tree = run.sampler.trees["q0"]
    assert found == [branches.weights(tree, 100.0)[leaf.id] for leaf in tree.leaves()]
    assert sum(found) / 4 == pytest.approx(1.0) and len(set(found)) > 1


def test_a_question_whose_paths_agree_gives_its_place_to_others_until_some_differ():
    def script(prompt_ids, sampling):
        known = "What is 2+1?" in TOKENIZER.decode(prompt_ids)  # paths differ for this question only
        return functional_script(prompt_ids, sampling) if known else one_path("9", chain("9"))(prompt_ids, sampling)

    run = run_of(script, min_prior=0.5, dynamic_sampling=2)
    rows = run(prompts(0, times=8), group_size=8)
    differ = len({verdict == "correct" for verdict in column(rows, "verdict")}) > 1
    assert column(rows, "question_id") == ["q2"] * 8 and differ, column(rows, "verdict")
    assert run.sampler.stats.replaced == run.sampler.stats.questions - 1 >= 1
    assert column(run_of(script, min_prior=0.5)(prompts(0)), "question_id") == ["q0"] * 4
    never = run_of(one_path("9", chain("9")), min_prior=0.5, dynamic_sampling=2)
    assert len(set(column(never(prompts(0)), "question_id"))) == 1 and never.sampler.stats.questions == 3, (
        "the batch stays full"
    )
    held_out = run_of(script, min_prior=0.5, dynamic_sampling=2)
    assert column(held_out(prompts(0, times=2), group_size=2, training=False), "question_id") == ["q0"] * 2


def test_questions_of_one_step_are_disjoint_over_processes():
    problems = [Problem(f"q{i}", f"{i}?", "1", "test") for i in range(9)]
    sampler = FunctionalSampler(problems, RLSection(dynamic_sampling=2))
    asked = [prompt_of(p) for p in problems[:4]]
    places = [
        place
        for process, own in enumerate((problems[:2], problems[2:4]))
        for place in sampler._candidates(own, 7, Turn(0, 4, process=process, processes=2, asked=asked))
    ]
    ids = [problem.id for place in places for problem in place]
    assert len(ids) == len(set(ids)) == 9 and [place[0].id for place in places] == ["q0", "q1", "q2", "q3"]


def test_a_replacement_takes_its_gold_along():
    run = run_of(one_path("9", chain("9")), min_prior=0.5, dynamic_sampling=1)
    rows = run(prompts(0))
    assert rows[0].question_id != "q0"
    [asked] = [p for p in PROBLEMS if p.id == rows[0].question_id]
    assert rows[0].answer == asked.answer and run.sampler.prompt(rows[0]) == prompt_of(asked)


def test_process_returns_come_from_one_question_to_the_model_for_all_paths():
    asked = []

    async def scorer(question, steps):
        asked.append((question, tuple(steps)))
        return [0.25 + 0.5 * (k > 0) for k in range(len(steps))]

    rows = run_of(scorer=scorer, process_weight=2.0)(prompts(0))
    assert [steps for _, steps in asked] == [tuple(texts) for texts in column(rows, "texts")]
    assert {question for question, _ in asked} == {PROBLEMS[0].question}
    for texts, returns in zip(column(rows, "texts"), column(rows, "process_returns")):
        assert returns == pytest.approx([0.0, 0.0, *[-1.0] * (len(texts) - 2)][: len(texts)])


def test_a_solved_question_is_replayed_where_nothing_is_right_and_survives_a_checkpoint(tmp_path):
    right, wrong = one_path("0", chain("0")), one_path("9", chain("9"))
    answers = [right]
    run = run_of(lambda *asked: answers[0](*asked), min_prior=0.5, replay=True)
    first = run(prompts(0))
    answers[0] = wrong
    again = run(prompts(0), 1)
    assert column(again, "origin") == ["tree", "plain", "plain", "tree"]
    assert column(again, "replayed") == [False, False, False, True]
    assert again[-1].completion_ids == first[0].completion_ids
    assert again[-1].logprobs == first[0].logprobs
    run.sampler.save(tmp_path, 0)
    resumed = run_of(wrong, min_prior=0.5, replay=True)
    assert resumed(prompts(0), 2)[-1].origin == "plain"
    resumed.sampler.load(tmp_path)
    assert resumed(prompts(0), 2)[-1].completion_ids == first[0].completion_ids


@pytest.mark.parametrize("sampler", ["uct", "flat"])
def test_a_reward_function_of_ones_own_is_the_outcome(sampler):
    from search.grading import load_grading

    run = run_of(sampler=sampler)
    run.sampler.grading = load_grading("tests.own_rewards:digit", 0.9)
    rollouts = run(prompts(1))
    ended = [r for r in rollouts if r.status == "answered"]
    assert ended
    for rollout in ended:
        answer = int(rollout.texts[-1].removeprefix("\\boxed{").removesuffix("}"))
        assert rollout.score == pytest.approx(1 - abs(1 - answer) / 9)
    assert OutcomeReward(0.1)(rollout=ended) == [r.score for r in ended], "also where an answer is wrong"
    assert all(r.score in (None, 0.0) for r in rollouts if r.status != "answered")
