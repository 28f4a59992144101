"""Configs: a slip is told in one line before anything runs."""

import pytest

from rftt.config import config_file as home
from rftt.config.config_file import from_dict, load_config, trainer_options
from rftt.errors import UsageError


def test_defaults_are_the_papers():
    config = from_dict({})
    assert (config.search.rollouts, config.search.max_depth, config.search.exploration) == (16, 15, 2.0)
    assert (config.rl.rollouts, config.rl.questions_per_step, config.rl.search.max_depth) == (16, 16, 18)
    assert config.sft.batch_size == 128 and config.rl.wrong_reward == 0.1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"serach": {}}, "serach is unknown; did you mean search"),
        ({"search": {"rolouts": 3}}, "search.rolouts is unknown; did you mean rollouts"),
        ({"search": {"rollouts": "many"}}, "search.rollouts is 'many', expected int"),
        ({"search": {"rollouts": 0}}, "search.rollouts: 0 is not allowed"),
        ({"search": {"top_p": 1.5}}, "search.top_p: 1.5 is not allowed"),
        ({"engine": {"name": "llamacpp"}}, "expected one of vllm, transformers"),
        (
            {"rl": {"trainer": {"learnin_rate": 1}}},
            "rl.trainer.learnin_rate is unknown to TRL; did you mean learning_rate",
        ),
        ({"sft": {"batch_size": 0}}, "sft.batch_size: 0 is not allowed, expected 1 or more"),
        ({"sft": {"learning_rate": "abc"}}, "sft.learning_rate is 'abc', expected float"),
        ({"sft": {"max_steps": None}}, "sft.max_steps is None, expected int"),
        ({"sft": {"bf16": "maybe"}}, "sft.bf16 is 'maybe', expected bool"),
        ({"shad": {"lr_scheduler_type": "cosin"}}, "shad.lr_scheduler_type is 'cosin'; did you mean cosine?"),
        ({"sft": {"save_strategy": "daily"}}, "sft.save_strategy is 'daily'; expected one of no, steps, epoch, best"),
        ({"rl": {"temperature": 0.5}}, "rl.temperature is 0.5, but must be 1.0"),
        ({"rl": {"seed": 3}}, "rl.seed cannot be set there: set seed"),
        ({"sft": {"lerning_rate": 1}}, "sft.lerning_rate is unknown; did you mean learning_rate?"),
        ({"sft": {"num_train_epoch": 1}}, "did you mean num_train_epochs?"),
        ({"rl": {"max_step": 1}}, "did you mean max_steps?"),
        ({"rl": {"rollout": 3}}, "did you mean rollouts?"),
        ({"eval": {"temprature": 1}}, "did you mean temperature?"),
        ({"seed": -1}, "seed: -1 is not allowed, expected 0 ≤ seed < 2³²"),
        ({"seed": 2**32}, "seed: 4294967296 is not allowed"),
        ({"data": {"eval_limit": 0}}, "data.eval_limit: 0 is not allowed, expected 1 or more"),
        ({"data": {"train_limit": -3}}, "data.train_limit: -3 is not allowed"),
        ({"reward": {"function": "foo"}}, "expected module:function or file.py:function"),
        ({"rl": {"wrong_reward": 1.0}}, "rl.wrong_reward: 1.0 is not allowed"),
        ({"eval": {"rollouts": [4, 1]}}, "eval.rollouts"),
        ({"eval": {"models": ["best"]}}, "eval.models: best is not allowed"),
        ({"search": 3}, "search must be a section"),
    ],
)
def test_a_slip_is_named_with_its_place(values, message):
    with pytest.raises(UsageError, match=r"(?s)config: ") as caught:
        from_dict(values)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_overrides_win_and_trl_options_reach_the_trainer(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("search: {rollouts: 4}\nrl:\n  trainer: {beta: 0.5}\n")
    config = load_config(path, ["search.rollouts=8", "rl.learning_rate=1e-6", "sft.num_train_epochs=2", "run=here"])
    assert config.search.rollouts == 8 and config.run == "here"
    assert config.rl.trainer == {"beta": 0.5, "learning_rate": 1e-6}
    assert config.sft.trainer == {"num_train_epochs": 2}


def test_a_config_takes_from_its_base_what_it_does_not_set(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "base.yaml").write_text(
        "seed: 3\nsearch: {rollouts: 4, max_depth: 9}\nsft: {trainer: {max_steps: 7}}\n"
    )
    (tmp_path / "deep" / "middle.yaml").write_text("base: ../base.yaml\nsearch: {rollouts: 5}\n")
    (tmp_path / "deep" / "top.yaml").write_text("base: middle.yaml\nsft: {trainer: {learning_rate: 0.5}}\nrun: mine\n")
    config = load_config(tmp_path / "deep" / "top.yaml", ["search.max_depth=8"])
    assert (config.seed, config.run, config.search.rollouts, config.search.max_depth) == (3, "mine", 5, 8)
    assert config.sft.trainer == {"max_steps": 7, "learning_rate": 0.5} and "base" not in config.to_dict()


def test_a_base_that_is_not_there_or_leads_back_is_told(tmp_path):
    (tmp_path / "a.yaml").write_text("base: b.yaml")
    with pytest.raises(UsageError, match=r"b\.yaml: cannot be read"):
        load_config(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_text("base: a.yaml")
    with pytest.raises(UsageError, match=r"base leads back to .*a\.yaml; leave it out"):
        load_config(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("a: [", [], "not valid YAML"),
        ("- 1", [], "expected a mapping"),
        ("seed: 1", ["seed"], "expected section.key=value"),
        ("seed: 1", ["seed.x=1"], "seed is not a section"),
        ("search:\n  rollouts: 3\n  rollouts: 4", [], r"c\.yaml:3: .*rollouts is set twice"),
        ("seed: 1", ["search={rollouts: 3, rollouts: 4}"], "rollouts is set twice"),
        ("3", [], "expected a mapping of sections, found 3"),
        ("base:", [], "base is None, expected the path of another config"),
    ],
)
def test_unreadable_configs_and_overrides(tmp_path, text, overrides, message):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        load_config(path, overrides)


def test_an_empty_file_sets_nothing_and_keys_that_are_merged_in_may_be_set_again(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("# nothing\n")
    assert load_config(path) == from_dict({})
    path.write_text("search: &a {max_depth: 3, siblings: 2}\neval: {<<: *a, max_depth: 4}\n")
    assert (load_config(path).eval.search.max_depth, load_config(path).eval.search.siblings) == (4, 2)


def test_options_of_trl_that_are_right_are_taken_as_they_are():
    given = {"learning_rate": "1e-6", "save_steps": 0.5, "max_length": None, "bf16": 1, "save_strategy": False,
             "optim": "sgd", "deepspeed": "ds.json", "max_steps": 3, "run_name": 12}  # fmt: skip
    read = {**given, "learning_rate": 1e-6, "save_strategy": "no"}
    assert from_dict({"sft": given}).sft.trainer == read
    assert from_dict({"rl": {"temperature": 1, "top_k": 0}}).rl.trainer["top_k"] == 0


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        load_config(tmp_path / "none.yaml")


def test_one_seed_reaches_every_section():
    assert from_dict({"seed": 7}).search.seed == 7
    assert from_dict({"seed": 7, "search": {"seed": 3}}).search.seed == 3
    assert from_dict({}).search.seed == 0


def test_the_resolved_config_builds_the_same_config():
    config = from_dict({"rl": {"learning_rate": "1e-6"}, "eval": {"rollouts": [1, 2]}})
    assert from_dict(config.to_dict()) == config


def test_option_names_read_from_the_source_are_those_of_the_classes():
    import dataclasses

    from trl import GRPOConfig, SFTConfig

    for name, cls in (("sft", SFTConfig), ("grpo", GRPOConfig)):
        assert {f.name for f in dataclasses.fields(cls) if f.init} <= trainer_options(name)


def test_a_tracker_that_is_not_installed_is_told_before_anything_starts(monkeypatch):
    known = home.find_spec
    monkeypatch.setattr(home, "find_spec", lambda name: None if name == "wandb" else known(name))
    with pytest.raises(UsageError, match=r"rl\.trainer\.report_to: wandb is not installed; pip install wandb"):
        from_dict({"rl": {"report_to": ["none", "wandb"]}})
    from_dict({"sft": {"report_to": "none"}})


@pytest.mark.parametrize("section", ["rl", "eval"])
def test_every_setting_of_a_search_is_known_in_every_phase(section: str):
    given = {"selection": "puct", "siblings": 2, "vote": "prior", "branch_entropy": 0.1, "beam_width": 2,
             "parallel_rollouts": 3, "exploration": 1.5}  # fmt: skip
    search = getattr(from_dict({section: dict(given)}), section).search
    assert {name: getattr(search, name) for name in given} == given
    assert getattr(from_dict({section: {"search": dict(given)}}), section).search == search


def test_a_resolved_config_reads_as_itself():
    config = from_dict({"rl": {"max_depth": 7, "beta": 0.5}, "eval": {"siblings": 2}, "search": {"live_trees": 8}})
    assert from_dict(config.to_dict()) == config
    assert config.eval.search.live_trees == config.rl.search.live_trees == 8
    assert config.eval.search.max_depth == 18 and config.rl.search.max_depth == 7


@pytest.mark.parametrize(
    "override", ["eval.merged_share=0.1", "eval.seed=3", "rl.search.temperature=0.5", "rl.rounds=2"]
)
def test_what_a_phase_would_not_heed_is_refused(override: str, tmp_path):
    (tmp_path / "c.yaml").write_text("seed: 1\n")
    with pytest.raises(UsageError, match=override.split("=")[0].rpartition(".")[2]):
        load_config(tmp_path / "c.yaml", [override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("engine.name=vlm", "engine 'vlm'; did you mean vllm"),
        ("rl.advantage=reinforce", "estimator 'reinforce'; did you mean reinforce"),
        ("eval.strategies=[majorty]", "strategy 'majorty'; did you mean majority"),
        ("sft.weighting.name=rtf", "did you mean rft"),
    ],
)
def test_a_slip_in_a_name_is_told_with_the_nearest_one(override: str, message: str, tmp_path):
    (tmp_path / "c.yaml").write_text("{}\n")
    with pytest.raises(UsageError, match=message):
        load_config(tmp_path / "c.yaml", [override])


def test_things_of_ones_own_are_named_by_module_and_function():
    config = from_dict({"engine": {"name": "mine:start"}, "rl": {"advantage": "mine.py:credit"},
                        "eval": {"strategies": ["mine:think"]}})  # fmt: skip
    assert (config.engine.name, config.rl.advantage, config.eval.strategies) == (
        "mine:start",
        "mine.py:credit",
        ("mine:think",),
    )
