"""How a model is asked travels in its chat template."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from rftt.config import from_dict
from rftt.config.sections import ModelConfig
from rftt.errors import UsageError
from rftt.model.templates import Asking, ask_as_configured, asking_of
from rftt.model.vocabulary import add_functional_tokens, check_model
from rftt.runtime.running_engine import running_engine
from search.prompt import habits_of, prompt_text
from tests.templates import FAMILIES, family_tokenizer
from tests.tiny import build_tiny_model

USER = {"role": "user", "content": "What is 1 + 1?"}
ODD = "Say \"yes\" {{- '' }} {# not #} {% that %} }} \\n 😀\nnext line"


@pytest.mark.parametrize("system", ["Think first.", ODD])
@pytest.mark.parametrize("name", FAMILIES)
def test_system_text_is_said_in_every_family_and_read_back(name, system):
    family = FAMILIES[name]
    tokenizer = family_tokenizer(family)
    before = prompt_text(tokenizer, [{"role": "system", "content": system}, USER])
    ask_as_configured(tokenizer, ModelConfig(system=system), name)
    assert prompt_text(tokenizer, [USER]) == before
    assert asking_of(tokenizer) == Asking(system, {})


def test_a_conversation_with_a_system_turn_keeps_its_own():
    tokenizer = family_tokenizer(FAMILIES["qwen2.5"])
    ask_as_configured(tokenizer, ModelConfig(system="Think first."), "x")
    text = prompt_text(tokenizer, [{"role": "system", "content": "Be brief."}, USER])
    assert "Be brief." in text and "Think first." not in text


def test_variables_of_the_template_hold_whoever_renders_it():
    tokenizer = family_tokenizer(FAMILIES["qwen3"])
    assert not prompt_text(tokenizer, [USER]).endswith("</think>\n\n")
    ask_as_configured(tokenizer, ModelConfig(chat_template_kwargs={"enable_thinking": False}), "x")
    rendered = tokenizer.apply_chat_template([USER], add_generation_prompt=True, tokenize=False)
    assert rendered == prompt_text(tokenizer, [USER]) and rendered.endswith("<think>\n\n</think>\n\n")
    assert asking_of(tokenizer).kwargs == {"enable_thinking": False}


def test_variables_of_any_kind_are_written_and_read_back():
    tokenizer = family_tokenizer(FAMILIES["qwen2.5"])
    values = {"nothing": None, "yes": True, "one": 1, "half": 0.5, "text": "}} {{ #} '", "many": [1, {"a": "b"}]}
    tokenizer.chat_template += "{{ [nothing, yes, one, half, text, many] | tojson }}"
    ask_as_configured(tokenizer, ModelConfig(chat_template_kwargs=values), "x")
    assert asking_of(tokenizer).kwargs == values
    import json

    assert prompt_text(tokenizer, [USER]).endswith(json.dumps(list(values.values()), ensure_ascii=False))


@pytest.mark.parametrize("name", ["messages", "add_generation_prompt", "no name"])
def test_names_that_the_template_gets_otherwise_are_refused(name):
    with pytest.raises(UsageError, match="chat_template_kwargs"):
        from_dict({"model": {"chat_template_kwargs": {name: 1}}})


def test_a_trained_model_is_not_asked_otherwise():
    tokenizer = family_tokenizer(FAMILIES["qwen3"])
    ask_as_configured(tokenizer, ModelConfig(system="Think first."), "x")
    template = tokenizer.chat_template
    ask_as_configured(tokenizer, ModelConfig(), "x")
    ask_as_configured(tokenizer, ModelConfig(system="Think first."), "x")
    assert tokenizer.chat_template == template
    with pytest.raises(
        UsageError, match=r"runs/x: it was trained to be asked with system='Think first.'.*leave them out"
    ):
        ask_as_configured(tokenizer, ModelConfig(system="Be brief."), "runs/x")


def test_a_template_that_is_a_file(tmp_path):
    (tmp_path / "chat.jinja").write_text(FAMILIES["gemma2"].template)
    tokenizer = family_tokenizer(FAMILIES["gemma2"])
    tokenizer.chat_template = None
    with pytest.raises(UsageError, match="has no chat template; name the file of one with model.chat_template=FILE"):
        ask_as_configured(tokenizer, ModelConfig(), "gemma")
    given = ModelConfig(chat_template=str(tmp_path / "chat.jinja"), system="Think first.")
    ask_as_configured(tokenizer, given, "gemma")
    assert "Think first.\n\nWhat is" in prompt_text(tokenizer, [USER])
    ask_as_configured(tokenizer, given, "gemma")  # again, on what was made of it
    (tmp_path / "other.jinja").write_text(FAMILIES["qwen2.5"].template)
    with pytest.raises(UsageError, match="trained with another chat template"):
        ask_as_configured(tokenizer, ModelConfig(chat_template=str(tmp_path / "other.jinja")), "gemma")
    with pytest.raises(UsageError, match="cannot be read"):
        ask_as_configured(tokenizer, ModelConfig(chat_template=str(tmp_path / "none.jinja")), "gemma")


def test_a_template_that_drops_the_question_is_told_with_the_remedy(tmp_path):
    build_tiny_model(tmp_path / "m")
    (tmp_path / "m" / "chat_template.jinja").write_text("{% for m in messages %}{{ m.text }}{% endfor %}")
    with pytest.raises(UsageError, match="does not write what the user says.*model.chat_template=FILE"):
        check_model(tmp_path / "m")


def test_a_date_in_the_template_is_warned_of(caplog):
    tokenizer = family_tokenizer(FAMILIES["qwen2.5"])
    tokenizer.chat_template = (
        "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}{{ date_string }}"
        + tokenizer.chat_template
    )
    ask_as_configured(tokenizer, ModelConfig(), "x")
    assert "model.chat_template_kwargs.date_string" in caplog.text
    caplog.clear()
    ask_as_configured(tokenizer, ModelConfig(chat_template_kwargs={"date_string": "1 Jan 2026"}), "x")
    assert not caplog.text and prompt_text(tokenizer, [USER]).startswith("1 Jan 2026")


def test_settings_travel_with_the_model_that_gets_functional_tokens(tmp_path, caplog):
    family = FAMILIES["gemma2"]
    build_tiny_model(tmp_path / "m", tokenizer=family_tokenizer(family))
    add_functional_tokens(tmp_path / "m", tmp_path / "out", asking=ModelConfig(system="Think first."))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert asking_of(tokenizer).system == "Think first."
    vocabulary = tokenizer.get_vocab()
    import json

    ends = json.loads((tmp_path / "out" / "generation_config.json").read_text())["eos_token_id"]
    assert ends == [vocabulary["<end_of_turn>"], vocabulary["<eos>"]], "whoever generates stops at the end of the turn"
    engine = {"name": "transformers"}
    config = from_dict({"model": {"path": str(tmp_path / "m"), "system": "Think first."}, "engine": engine})
    for model in ("m", "out"):
        with running_engine(config, tmp_path / model) as running:
            assert "Think first.\n\nWhat" in prompt_text(running.tokenizer, [USER])
            assert running.eos_ids == {vocabulary["<end_of_turn>"], vocabulary["<eos>"]}
    add_functional_tokens(tmp_path / "m", tmp_path / "unasked")
    with running_engine(config, tmp_path / "unasked"):
        assert "unasked: it was trained to be asked without model.system" in caplog.text
    other = from_dict({"model": {"path": str(tmp_path / "out"), "system": "Be brief."}, "engine": engine})
    with pytest.raises(UsageError, match="trained to be asked with"), running_engine(other, tmp_path / "out"):
        pass


def test_a_template_that_writes_tokens_without_rows_is_refused(tmp_path):
    tokenizer = family_tokenizer(FAMILIES["qwen2.5"])
    build_tiny_model(tmp_path / "m", tokenizer=tokenizer)
    tokenizer.add_tokens(["<|late|>"], special_tokens=True)
    tokenizer.save_pretrained(tmp_path / "m")
    check_model(tmp_path / "m")  # a tokenizer longer than the embedding does no harm by itself
    tokenizer.chat_template = "<|late|>" + tokenizer.chat_template
    tokenizer.save_pretrained(tmp_path / "m")
    with pytest.raises(UsageError, match=r"writes <\|late\|>.* rows"):
        check_model(tmp_path / "m")


def test_a_tokenizer_without_an_end_token_takes_what_ends_the_turn(tmp_path):
    tokenizer = family_tokenizer(FAMILIES["qwen2.5"])
    build_tiny_model(tmp_path / "m", tokenizer=tokenizer)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path / "m")
    add_functional_tokens(tmp_path / "m", tmp_path / "out")
    assert AutoTokenizer.from_pretrained(tmp_path / "out").eos_token == "<|im_end|>"
    assert habits_of(tokenizer).system
