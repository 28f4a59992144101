"""The examples of docs/extending.md do what the page says of them, and the page shows the files as they are.

That they work together in a run is tested with the commands of the page (`test_commands`).
"""

from __future__ import annotations

import asyncio
import re

import pytest
import torch

from rftt.config import load_config
from rftt.data.benchmarks import find_benchmark, load_benchmark
from rftt.model.function_sets import load_functions
from rftt.rl.advantages import ScoredBatch
from rftt.rl.estimators import load_estimator
from rftt.weighting.interface import Tokens
from rftt.weighting.registry import load_weighting
from search import Question, SearchConfig, Solver
from search.engines import FakeEngine, Generation, Sampling
from search.named import load_named
from tests.docs.pages import FENCE, ROOT
from tests.search.fakes import TOKENIZER

EXAMPLES = ROOT / "docs" / "examples"
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")


def example(name):
    return load_named(f"{EXAMPLES}/{name}", {}, "example")


def test_the_page_shows_the_files_as_they_are():
    shown = {text for language, text in FENCE.findall(PAGE) if language in ("python", "yaml")}
    files = {path.read_text(encoding="utf-8") for path in EXAMPLES.glob("*.*") if path.name != "all.yaml"}
    assert shown == files and len(files) == 7


def test_the_names_of_the_page_and_of_the_run_are_accepted(monkeypatch):
    monkeypatch.chdir(ROOT)
    config = load_config(EXAMPLES / "all.yaml")
    used = {config.rl.advantage, config.sft.weighting.name, config.engine.name, config.model.functions,
            *config.eval.benchmarks, *config.eval.strategies}  # fmt: skip
    names = {path.name for path in EXAMPLES.glob("*.*")} - {"all.yaml", "reward.py"}
    assert {re.sub(r"docs/examples/([\w.]+).*", r"\1", name) for name in used} == names


def test_the_estimator_ranks_the_paths_of_a_question():
    compute = load_estimator(f"{EXAMPLES}/advantage.py:ranks").compute
    mask_BT = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0]] * 2)
    rewards_B = torch.tensor([1.0, 0.1, 0.0, 1.0, 100.0, 0.5, 0.5, 0.5])
    advantages_BT = compute(ScoredBatch(rewards_B, torch.zeros_like(mask_BT), mask_BT, group_size=4))
    assert torch.allclose(advantages_BT[:, 0], torch.tensor([2, -1, -3, 2, 3, -1, -1, -1]) / 3)
    assert torch.equal(advantages_BT, advantages_BT[:, :1] * mask_BT)


def test_the_weighting_lifts_the_beginning():
    weighting = load_weighting(f"{EXAMPLES}/weighting.py:Beginning", {"first": 2, "weight": 4.0})
    zeros = torch.zeros(5)
    weights = weighting(Tokens(zeros.long(), zeros.long(), zeros.bool(), zeros, zeros))
    assert weights.tolist() == [4.0, 4.0, 1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="first"):
        load_weighting(f"{EXAMPLES}/weighting.py:Beginning", {"first": 0})


def test_the_strategy_stops_when_two_chains_agree():
    answers = iter(["1", "2", None, r"\frac{2}{1}", "5"])

    def script(prompt_ids: list[int], sampling: Sampling) -> list[Generation]:
        answer = next(answers)
        steps = "<analyze>\na\n</analyze>\n<next_step>\nb\n</next_step>\n<direct_answer>\nc\n</direct_answer>\n"
        text = f"{steps}<output>\n" + (f"\\boxed{{{answer}}}" if answer else "?") + "\n</output>\n<eos>"
        return [Generation(tuple(TOKENIZER(text)["input_ids"]), True)]

    engine = FakeEngine(script, TOKENIZER, eos_ids=frozenset({0}))
    solver = Solver(engine, SearchConfig(rollouts=8), f"{EXAMPLES}/strategy.py:until_two_agree")
    solution = asyncio.run(solver.solve(Question("q", "How many?")))
    assert [c.answer for c in solution.candidates] == ["1", "2", None, r"\frac{2}{1}"]
    assert solution.stopped == "decided" and solution.requests == 4 and solution.answer in ("2", r"\frac{2}{1}")
    assert solution.tokens == sum(c.tokens for c in solution.candidates)


def test_the_engine_writes_down_what_is_slow(tmp_path):
    class Slow(FakeEngine):
        async def generate(self, prompt_ids, sampling):
            await asyncio.sleep(0.05 if len(prompt_ids) > 2 else 0)
            return await super().generate(prompt_ids, sampling)

    inner = Slow(lambda ids, sampling: [Generation((1,), True)], TOKENIZER, eos_ids=frozenset({0}))
    engine = example("engine.py:Watched")(inner, 0.04, tmp_path / "slow.txt")
    for ids in ([1], [1, 2, 3]):
        assert asyncio.run(engine.generate(ids, Sampling(1)))[0].ids == (1,)
    [line] = (tmp_path / "slow.txt").read_text().splitlines()
    assert "3 prompt tokens, n = 1" in line and engine.stats.requests == 2


def test_the_reward_is_the_share_of_words():
    reward = example("reward.py:shared_words")
    assert [reward("red Blue", answer) for answer in ("blue red", "red", "green", None)] == [1.0, 0.5, 0.0, 0.0]


def test_the_benchmark_has_the_answers_of_its_questions(monkeypatch):
    monkeypatch.chdir(ROOT)
    problems = list(load_benchmark(find_benchmark("docs/examples/benchmark.py:sums")))
    assert len(problems) == 20
    for problem in problems:
        body, values = problem.question.removeprefix("Work modulo 10:").partition(".")[0], {}
        for definition in body.split(","):
            name, _, terms = definition.partition("=")
            values[name] = (
                sum(values.get(term) or int(term) for term in terms.split("+") if values.get(term, 1) != 0) % 10
            )
        assert problem.answer == f"({values['b']},{values['c']})"


def test_the_token_set_is_one():
    functions = load_functions(EXAMPLES / "functions.yaml")
    assert functions.names == ("plan", "step", "solve", "answer") and functions.checking is None
