"""Rollouts without a trainer: grouping, order, ids, seeds, refilling, and what earns a verdict."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from rftt.errors import UsageError
from rftt.problems import Problem
from rftt.rl.rollout import FunctionalRollout, prompt_of
from search import SearchConfig
from search.engines import FakeEngine, Generation, Sampling
from search.engines.interface import EngineError
from search.functions import RFTT
from tests.search.fakes import OPEN, TOKENIZER, functional_script

PROBLEMS = [Problem(f"q{i}", f"What is {i}+1?", str(i % 3), "test") for i in range(3)]


class Tokenizer(type(TOKENIZER)):
    def decode(self, ids, skip_special_tokens: bool = False) -> str:
        text = super().decode(ids)
        return text.replace("<eos>", "") if skip_special_tokens else text


def trainer(step: int = 0, num_generations: int = 4):
    model = SimpleNamespace(training=True)
    state = SimpleNamespace(global_step=step)
    return SimpleNamespace(model=model, state=state, num_generations=num_generations, num_generations_eval=2)


def rollout(script=functional_script, **settings) -> FunctionalRollout:
    config = SearchConfig(temperature=1.0, top_p=1.0, max_depth=settings.pop("max_depth", 6), **settings)
    engine = FakeEngine(script, Tokenizer(), eos_ids=frozenset({0}))
    made = FunctionalRollout(PROBLEMS, config, make_engine=lambda _: engine)
    made.engine = engine
    return made


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
    run = rollout()
    rows = run(prompts(2, 0), trainer())
    assert rows["question_id"] == ["q2"] * 4 + ["q0"] * 4
    assert [t.question_id for t in run.trees] == ["q2", "q0"]
    for tree, start in zip(run.trees, (0, 4)):
        for row, leaf in enumerate(tree.leaves(), start):
            path = tree.path(leaf)
            assert rows["prompt_ids"][row] == tree.prompt_ids
            assert rows["completion_ids"][row] == [i for node in path for i in node.ids]
            assert rows["logprobs"][row] == [p for node in path for p in node.logprobs]
            opened = [rows["completion_ids"][row][i] for i in rows["branch_positions"][row]]
            assert [OPEN[i] for i in opened] == [node.function for node in path]
            assert rows["status"][row] == leaf.status and rows["depth"][row] == len(path)
    assert len({len(column) for column in rows.values()}) == 1


def test_the_same_step_gives_the_same_samples_and_another_step_others():
    again = [rollout()(prompts(0, 1), trainer(step))["completion_ids"] for step in (3, 3, 4)]
    assert again[0] == again[1] != again[2]
    run = rollout()
    twice = [run(prompts(0), trainer(3))["completion_ids"] for _ in range(2)]
    assert twice[0] != twice[1], "two generations within one step must differ"


def test_samples_of_a_question_do_not_depend_on_the_others():
    alone = rollout()(prompts(1), trainer())["completion_ids"]
    assert rollout()(prompts(0, 1), trainer())["completion_ids"][4:] == alone


def test_an_exhausted_tree_is_refilled_with_plain_samples_in_one_request():
    run = rollout(one_path("0", plain=chain("0", "analyze")), min_prior=0.5)
    rows = run(prompts(0), trainer())
    assert rows["refilled"] == [False, True, True, True] and run.stats.exhausted == 1 and run.stats.refilled == 3
    assert rows["verdict"] == ["correct", "no_answer", "no_answer", "no_answer"], "analyze may not lead to output"
    assert [s.n for _, s in run.engine.log if not s.stop_ids] == [3]
    assert rows["branch_positions"][1] == [] and rows["depth"] == [2] * 4


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
    rows = rollout(one_path("0", plain), min_prior=0.5)(prompts(0), trainer())
    assert rows["status"][1:] == [status] * 3 and rows["verdict"][1:] == [verdict] * 3


def test_truncated_paths_have_no_verdict_and_no_end_that_was_not_sampled():
    rows = rollout(max_depth=1)(prompts(0), trainer())
    assert set(rows["status"]) == {"truncated"} and set(rows["verdict"]) == {"no_answer"}
    assert all(ids[-1] != 0 for ids in rows["completion_ids"])


def test_torn_groups_are_refused():
    for rows in (prompts(0, times=3), prompts(0, times=2) + prompts(1, times=2)):
        with pytest.raises(UsageError, match="rl.rollouts"):
            rollout()(rows, trainer())


def test_errors_reach_the_caller_as_they_are():
    def broken(prompt_ids, sampling):
        raise EngineError("out of memory")

    with pytest.raises(EngineError, match="out of memory"):
        rollout(broken)(prompts(0), trainer())

    run = rollout()
    run.engine.max_model_len = 5
    with pytest.raises(UsageError, match="q0.*max_model_len"):
        run(prompts(0), trainer())


def test_a_question_that_occurs_twice_is_refused():
    with pytest.raises(UsageError, match="twice"):
        FunctionalRollout([*PROBLEMS, PROBLEMS[0]], SearchConfig())
