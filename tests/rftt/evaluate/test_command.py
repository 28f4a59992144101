"""The command line of `rftt eval`."""

import pytest

from rftt.cli import parse


def test_settings_may_stand_behind_options():
    found = parse(["eval", "c.yaml", "seed=1", "--model", "rl", "run=x", "engine.name=server"])
    assert (found.config, found.model, found.overrides) == ("c.yaml", "rl", ["seed=1", "run=x", "engine.name=server"])


@pytest.mark.parametrize("arguments", ["eval c.yaml --nope", "eval c.yaml --model rl x"])
def test_what_is_no_setting_is_refused(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(arguments.split())
    assert ended.value.code == 2 and "unrecognized arguments" in capsys.readouterr().err
