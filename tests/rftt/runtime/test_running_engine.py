"""The engine of a config: servers must serve the model that the phase asks for."""

import pytest

from rftt.config import from_dict
from rftt.errors import UsageError
from rftt.runtime.running_engine import build_engine, main, server_flags
from search.engines.engine import EngineError
from tests.search.fake_server import FakeServer


@pytest.fixture
def server(tiny_model):
    started = FakeServer(model=f"{tiny_model()}/", root=str(tiny_model()), max_model_len=256)
    yield started
    started.stop()


def config_of(server, **options):
    return from_dict({"engine": {"name": "server", "servers": [server.url], "max_model_len": 128, "options": options}})


def test_servers_that_serve_the_model_are_used(server, tiny_model):
    engine = build_engine(config_of(server, attempts=2, give_up=5), tiny_model())
    assert (engine.model, engine.max_model_len) == (f"{tiny_model()}/", 128)
    assert engine.eos_ids == {engine.tokenizer.eos_token_id}
    engine.close()


def test_servers_that_serve_another_model_are_not_unless_told_so(server, tiny_model):
    other = tiny_model("llama")
    with pytest.raises(EngineError, match=f"not {other}: start them with launch/servers.sh {other}") as caught:
        build_engine(config_of(server), other)
    assert "\n" not in str(caught.value)
    build_engine(config_of(server, model=f"{tiny_model()}/"), other).close()


def test_an_option_that_is_not_the_servers_is_named(server, tiny_model):
    with pytest.raises(UsageError, match="engine.options.enforce_eager is unknown to engine.name: server, .*timeout"):
        build_engine(config_of(server, enforce_eager=True), tiny_model())


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ({"name": "server"}, "engine.servers: () is not allowed with name: server"),
        ({"servers": ["http://a"]}, "engine.servers: ('http://a',) is not allowed with name: vllm"),
    ],
)
def test_servers_go_with_the_engine_of_that_name(engine, message):
    with pytest.raises(UsageError) as caught:
        from_dict({"engine": engine})
    assert message in str(caught.value)


def test_flags_of_a_server_are_the_options_of_the_engine_in_this_process(tmp_path, capsys):
    options = {"enforce_eager": True, "enable_chunked_prefill": False, "hf_overrides": {"a": 1}, "dtype": "float16"}
    values = {"seed": 3, "model": {"path": "m"}, "engine": {"max_model_len": 99, "options": options}}
    expected = [
        "--max-model-len", "99", "--dtype", "float16", "--seed", "3", "--enforce-eager", "--no-enable-chunked-prefill",
        "--hf-overrides", '{"a": 1}',
    ]  # fmt: skip
    assert server_flags(from_dict(values)) == expected
    path = tmp_path / "c.yaml"
    path.write_text("model: {path: m}")
    assert main([str(path), "engine.options.enforce_eager=true"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["m", "engine.options={}"]
    assert main([str(path), "engin.name=vllm"]) == 2
    assert "engin is unknown" in capsys.readouterr().err
