"""The command lines of `rftt eval` and `rftt shad`."""

import pytest

from rftt.cli import parse


def test_settings_may_stand_behind_options():
    found = parse(["eval", "c.yaml", "seed=1", "--model", "rl", "run=x", "engine.name=server"])
    assert (found.config, found.model, found.overrides) == ("c.yaml", "rl", ["seed=1", "run=x", "engine.name=server"])
    assert parse(["eval", "c.yaml", "--model", "rl", "run=x"]).overrides == ["run=x"]
    assert parse(["search", "c.yaml", "--share", "0", "run=x"]).overrides == ["run=x"]

    found = parse(["shad", "c.yaml", "seed=1", "--data", "x.jsonl", "--out", "y", "shad.share=0.5"])
    assert (found.settings, found.data, found.out) == (["c.yaml", "seed=1", "shad.share=0.5"], "x.jsonl", "y")
    assert parse(["shad", "--data", "x.jsonl", "shad.share=0.5"]).settings == ["shad.share=0.5"]


@pytest.mark.parametrize(
    "arguments", ["eval c.yaml --nope", "eval c.yaml --model rl x", "view r --out y a=1", "shad c.yaml --out y x"]
)
def test_what_is_no_setting_is_refused(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(arguments.split())
    assert ended.value.code == 2 and "unrecognized arguments" in capsys.readouterr().err
