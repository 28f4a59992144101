"""A token set of one's own: found with the model, refused where it is another one, and through the whole pipeline."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shutil

import pytest
from transformers import AutoTokenizer

from rftt.cli import main
from rftt.config import load_config
from rftt.data.problems import Problem
from rftt.errors import UsageError
from rftt.evaluate.job import Job
from rftt.evaluate.samples import draw
from rftt.model.function_sets import choose, functions_of_folder, functions_of_model, functions_of_run
from rftt.model.vocabulary import add_functional_tokens
from rftt.pipeline import prepare
from rftt.toy import BASE
from rftt.toy.prompts import TOY
from search.chain import check, parse
from search.engines import FakeEngine, Generation
from search.function_files import write_functions
from search.functions import RFTT
from search.journal import read_jsonl
from tests.own_functions import OWN, write_own
from tests.search.fakes import Scripted


@pytest.fixture(scope="module")
def own_model(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("own") / "model"
    add_functional_tokens(tiny_model(), folder, OWN)
    return folder


def test_the_set_lies_beside_the_tokenizer(own_model, tiny_model, tmp_path):
    assert functions_of_model(own_model) == OWN and functions_of_model(tiny_model()) is None
    vocabulary = AutoTokenizer.from_pretrained(own_model).get_vocab()
    assert all(tag in vocabulary for tag in OWN.tags) and "<verify>" not in vocabulary
    assert choose(None, own_model) == OWN and choose(None, tiny_model()) == RFTT
    assert choose(str(write_own(tmp_path)), own_model) == OWN


def test_an_untuned_model_may_suggest_a_set_which_binds_nobody(tmp_path):
    assert choose(None, BASE) == TOY and functions_of_model(BASE) is None
    assert choose(str(write_own(tmp_path)), BASE) == OWN


def test_another_set_than_the_models_is_refused(own_model, tmp_path):
    changed = dataclasses.replace(OWN, functional={**OWN.functional, "plan": ("step",)})
    (tmp_path / "changed.yaml").write_text(write_functions(changed))
    with pytest.raises(UsageError, match="they differ in functional"):
        choose(str(tmp_path / "changed.yaml"), own_model)
    with pytest.raises(UsageError, match="they differ in functions plan, step, solve, answer and clarify"):
        add_functional_tokens(own_model, tmp_path / "out", RFTT)
    assert not (tmp_path / "out").exists()


def small(run, *more):
    return load_config("configs/toy.yaml", [f"run={run}", "data.train_limit=2", "data.eval_limit=2", *more])


def test_a_run_keeps_the_set_it_was_begun_with(own_model, tmp_path):
    own = f"model.functions={write_own(tmp_path)}"
    config = small(tmp_path / "run", own)
    prepare(config)
    assert functions_of_folder(tmp_path / "run") == functions_of_run(config) == OWN
    prepare(config)
    changed = (tmp_path / "own.yaml").read_text().replace("Give a short idea", "Give an idea")
    (tmp_path / "own.yaml").write_text(changed)
    with pytest.raises(UsageError, match="begun with another token set .they differ in the prompt of plan"):
        prepare(config)
    prepare(small(tmp_path / "paper"))
    with pytest.raises(UsageError, match="differ in functions plan"):
        functions_of_run(small(tmp_path / "paper"), own_model)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            ["sft.weighting.name=per_function", "sft.weighting.weights={verify: 2}"],
            "verify is not a function, expected",
        ),
        (["model.functions=none.yaml"], "none.yaml: cannot be read"),
    ],
)
def test_slips_are_told_before_anything_starts(tmp_path, settings, told):
    own = f"model.functions={write_own(tmp_path)}"
    with pytest.raises(UsageError, match=told):
        prepare(small(tmp_path / "run", own, *settings))


def test_solve_finds_the_set_with_the_model(own_model, tmp_path, capsys):
    arguments = ["solve", "What is 1 + 1?", "--model", str(own_model), "--engine", "transformers", "--rollouts", "4",
                 "--strategy", "mcts",
                 "--set", "search.max_step_tokens=12", "--set", "search.max_depth=4", "--json"]  # fmt: skip
    assert main(arguments) == 0
    tree = json.loads(capsys.readouterr().out)["tree"]
    assert tree["made_by"]["policy"] == "functional"
    assert {n["function"] for n in tree["nodes"]} <= {"question", *OWN.names}
    (tmp_path / "paper.yaml").write_text(write_functions(RFTT))
    assert main([*arguments, "--set", f"model.functions={tmp_path / 'paper.yaml'}"]) == 2
    assert "they differ in functions" in capsys.readouterr().err


def test_tokens_takes_a_file(tiny_model, tmp_path):
    path = write_own(tmp_path)
    assert main(["tokens", str(tiny_model()), str(tmp_path / "out"), "--functions", str(path)]) == 0
    assert functions_of_model(tmp_path / "out") == OWN


@pytest.mark.slow
def test_the_whole_pipeline_with_four_functions(tmp_path):
    run = tmp_path / "run"
    settings = [
        f"run={run}", f"model.functions={write_own(tmp_path)}", "engine.name=transformers", "engine.options={}",
        "data.train_limit=24", "data.eval_limit=4", "search.processes=1", "search.rollouts=8", "search.merged_share=1",
        "sft.num_train_epochs=1", "sft.weighting.name=per_function", "sft.weighting.weights={answer: 2}",
        "sft.weighting.roles=regex", "rl.max_steps=1", "rl.questions_per_step=2", "rl.rollouts=3", "rl.max_depth=5",
        "eval.rollouts=[1,2]", "eval.samples=1", "eval.search_limit=2", "eval.max_tokens=60", "eval.processes=1",
        "eval.models=[sft,rl]",
    ]  # fmt: skip
    for phase in ("tokens", "search", "sft", "rl", "eval"):
        assert main([phase, "configs/toy.yaml", *settings]) == 0
    chains = list(read_jsonl(run / "search" / "chains.jsonl"))
    assert chains and {c["kind"] for c in chains} == {"plain"}
    for chain in chains:
        check(parse(chain["messages"][-1]["content"], OWN), OWN)
    for model in ("model-with-tokens", "sft/final", "rl/final"):
        assert functions_of_model(run / model) == OWN
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rl = next(line for line in lines if line["phase"] == "rl")
    assert {f"function_share/{name}" for name in OWN.names} <= set(rl) and "function_share/verify" not in rl
    trees = list(read_jsonl(run / "eval" / "trees-sft.jsonl"))
    assert {n["function"] for t in trees for n in t["nodes"]} <= {"question", *OWN.names}
    shutil.rmtree(run / "model-with-tokens")
    assert main(["view", str(run)]) == 0
    assert "clarify" not in json.dumps([n for t in trees for n in t["nodes"]])


def test_a_sample_answers_in_the_terminal_step_of_its_set_alone(tmp_path):
    model = Scripted(OWN)
    told = iter([
        "<plan>\nbox it\n</plan>\n<solve>\n\\boxed{1}\n</solve>\n<answer>\n\\boxed{1}\n</answer>\n<eos>",
        "<plan>\nbox it\n</plan>\n<solve>\n\\boxed{1}\n</solve>\n",
    ])  # fmt: skip

    def script(prompt_ids, sampling):
        ids = (tuple(model.tokenizer(next(told))["input_ids"]) for _ in range(sampling.n))
        return [Generation(i, i[-1] == 0) for i in ids]

    engine = FakeEngine(script, model.tokenizer, eos_ids=frozenset({0}))
    problems = [Problem("q", "What is 1?", "1", "test")]
    job = Job("sft", engine, problems, small(tmp_path), tmp_path / "eval", functions=OWN)
    [samples] = asyncio.run(draw(job, "samples", 2)).values()
    assert [s["verdict"] for s in samples] == ["correct", "no_answer"]
    assert [s["well_formed"] for s in samples] == [True, False]
