"""Models that come with code: it runs only where that is asked for, and nobody is asked on standard input."""

import io
import json
import shutil
import sys

import pytest

from rftt.cli import main
from rftt.config import from_dict
from rftt.errors import UsageError
from rftt.model.lora import peft_config
from rftt.model.vocabulary import add_functional_tokens, check_model
from rftt.runtime.running_engine import build_engine, server_flags
from rftt.runtime.running_scorer import build_scorer
from search.engines.engine import EngineError
from search.loading import CodeRefused, load_model, load_model_config, load_tokenizer

CODE = """
from pathlib import Path
Path({marker!r}).touch()
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

class OwnConfig(Qwen2Config):
    model_type = "rftt-own"

class OwnModel(Qwen2ForCausalLM):
    config_class = OwnConfig

class OwnTokenizer(PreTrainedTokenizerFast):
    pass
"""


class Yes(io.StringIO):
    """A standard input that agrees to everything, and knows whether it was asked."""

    asked = False

    def readline(self, *_):
        self.asked = True
        return "y\n"


@pytest.fixture
def own(tmp_path, tiny_model, monkeypatch):
    """A model folder whose config, model and tokenizer are code in it; the code leaves a file where it runs."""
    folder, marker = tmp_path / "own", tmp_path / "code-ran"
    shutil.copytree(tiny_model(), folder)
    (folder / "own.py").write_text(CODE.format(marker=str(marker)))
    for name, more in {
        "config.json": {
            "model_type": "rftt-own",
            "architectures": ["OwnModelForCausalLM"],
            "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"},
        },
        "tokenizer_config.json": {
            "tokenizer_class": "OwnTokenizer",
            "auto_map": {"AutoTokenizer": [None, "own.OwnTokenizer"]},
        },
    }.items():
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | more))
    stdin = Yes()
    monkeypatch.setattr(sys, "stdin", stdin)
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    yield folder
    assert not stdin.asked


def settings(model, **engine):
    return from_dict({"model": {"path": str(model)}, "engine": {"max_model_len": 256, **engine}})


CALLS = {
    "tokenizer": (CodeRefused, load_tokenizer),
    "config": (CodeRefused, load_model_config),
    "model": (CodeRefused, load_model),
    "check": (UsageError, check_model),
    "tokens": (UsageError, lambda m: add_functional_tokens(m, m.with_name("out"))),
    "lora": (CodeRefused, lambda m: peft_config(from_dict({"rl": {"lora": {"rank": 2}}}).rl.lora, m)),
    "transformers": (EngineError, lambda m: build_engine(settings(m, name="transformers"), m)),
    "vllm": (EngineError, lambda m: build_engine(settings(m, name="vllm", options={"enforce_eager": True}), m)),
}


@pytest.mark.parametrize("call", [pytest.param(c, marks=pytest.mark.vllm) if c == "vllm" else c for c in CALLS])
def test_code_in_a_model_folder_is_not_run_and_the_line_says_how_it_would_be(own, tmp_path, call):
    kind, load = CALLS[call]
    with pytest.raises(kind) as caught:
        load(own)
    assert "model.trust_remote_code=true" in str(caught.value) and str(own) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "code-ran").exists()


def test_a_process_reward_model_has_its_own_setting(own, tmp_path):
    for servers in ([], ["http://127.0.0.1:9"]):
        config = from_dict({"prm": {"path": str(own), "format": "math_shepherd", "servers": servers}})
        with pytest.raises(UsageError, match="prm.trust_remote_code"):
            build_scorer(config.prm)
    assert not (tmp_path / "code-ran").exists()


@pytest.mark.parametrize("command", [
    ["run", "configs/toy.yaml", "model.path={own}", "run={run}"],
    ["sft", "configs/toy.yaml", "model.path={own}", "run={run}"],
    ["tokens", "{own}", "{run}"],
    ["solve", "What is 1 + 1?", "--model", "{own}", "--engine", "transformers"],
    ["serve", "--model", "{own}", "--engine", "transformers"],
])  # fmt: skip
def test_commands_say_it_in_one_line(own, tmp_path, capsys, command):
    assert main([word.format(own=own, run=tmp_path / "run") for word in command]) == 2
    [line] = [x for x in capsys.readouterr().err.splitlines() if x.startswith("rftt: ")]
    assert "trust_remote_code=true" in line and "goes on" not in line
    assert not (tmp_path / "code-ran").exists() and not (tmp_path / "run").exists()


def test_where_it_is_trusted_it_runs(own, tmp_path):
    tokenizer = load_tokenizer(own, True)
    assert (tmp_path / "code-ran").exists() and type(tokenizer).__name__ == "OwnTokenizer"
    assert type(load_model(own, True)).__name__ == "OwnModel"
    add_functional_tokens(own, tmp_path / "out", trust_remote_code=True)
    with pytest.raises(UsageError, match="trust_remote_code"):
        check_model(tmp_path / "out")
    check_model(tmp_path / "out", trust_remote_code=True)


def test_servers_are_started_with_it():
    assert "--trust-remote-code" not in server_flags(from_dict({}))
    assert "--trust-remote-code" in server_flags(from_dict({"model": {"trust_remote_code": True}}))


def test_what_a_library_says_fits_one_line():
    from pydantic import TypeAdapter, ValidationError

    from search.loading import first_line

    assert first_line(ValueError("\n  out of memory\nmore")) == "out of memory"
    assert first_line(OSError()) == "OSError"
    try:
        TypeAdapter(int).validate_python("no number")
    except ValidationError as error:
        assert str(error).startswith("1 validation error")
        assert first_line(error).startswith("Input should be a valid integer")
