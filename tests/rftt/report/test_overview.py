"""What is shown of settings and commands holds no credentials."""

import shlex

import pytest

from rftt.report.overview import masked


@pytest.mark.parametrize(
    "argument",
    [
        "engine.options.api_key=sk-SECRET",
        "engine.options={api_key: sk-SECRET, seed: 3}",
        'engine.options={"api_key": "sk-SECRET", "seed": 3}',
        "engine.options={'api_key': 'sk-SECRET', 'seed': 3}",
        "engine.options.headers.Authorization=Bearer sk-SECRET",
        'engine.options={headers: {"X-Api-Key": "sk-SECRET", Authorization: Basic sk-SECRET}}',
        "engine.servers=[http://me:SECRET@host:8000/v1]",
    ],
)
def test_commands_hold_no_credentials(argument):
    command = shlex.join(["rftt", "run", "c.yaml", argument, "seed=7"])
    shown = masked({"command": command})["command"]
    assert "SECRET" not in shown and shown.startswith("rftt run c.yaml") and shown.endswith(" seed=7")
    assert ("seed: 3" in shown or '"seed": 3' in shown) if "seed: 3" in argument else True


def test_settings_hold_no_credentials_and_stay_otherwise():
    settings = {"servers": ["http://me:SECRET@host:1/v1"], "options": {"headers": {"Authorization": "Bearer SECRET"}}}
    assert masked(settings) == {"servers": ["http://…@host:1/v1"], "options": {"headers": {"Authorization": "…"}}}
    plain = {
        "max_tokens": 3,
        "pad_token": "<pad>",
        "path": "a@b/c",
        "url": "http://host:1/a@b",
        "text": "a secret life",
    }
    assert masked(plain) == plain
