"""Configs that are no configs: one line each, at once, and never a traceback."""

import random
import time
from pathlib import Path

import pytest
import yaml

from rftt.cli import main
from rftt.config import load_config
from rftt.errors import LONGEST, UsageError

TOY = "configs/toy.yaml"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
TEXTS = {
    "refers to itself": "search: &a\n  rollouts: *a\n",
    "a list in itself": "eval:\n  rollouts: &a [1, *a]\n",
    "deep lists": "search: " + "[" * 20_000,
    "deep mappings": "".join(f"{'  ' * i}a:\n" for i in range(300)),
    "deep and closed": "rl:\n  trainer: " + "{a: " * 60 + "1" + "}" * 60,
    "references to references": BOMB,
    "a key of its own": "? [a, b]\n: c\n",
    "a key that is a number": "1: 2\n",
    "a mapping as key": "? {a: b}\n: c\n",
    "an endless number": f"seed: {'9' * 6000}\n",
    "no date": "run: 2026-13-45\n",
    "an unknown tag": "run: !!python/object/apply:os.system ['true']\n",
    "control characters": "run: \x07bell\n",
    "a list of sections": "- search\n- rl\n",
    "a word": "toy\n",
    "a weighting that is a list": "sft:\n  weighting:\n    name: [plain]\n",
    "trainer options that are a number": "rl:\n  trainer: 5\n",
    "a section that is text": "rl: fast\n",
    "a section of a list": "search: [rollouts]\n",
    "numbers that are none": "search:\n  exploration: .nan\n",
    "a number beyond all": f"search:\n  exploration: {'9' * 400}\n",
    "half a file": "search: {rollouts: 4",
    "a tab": "search:\n\trollouts: 4\n",
    "a long value": f"run: [{'x' * 900_000}]\n",
    "a long key": f"{'k' * 900_000}: 1\n",
    "many values": f"data:\n  columns: [{'1, ' * 150_000}]\n",
}


def refused(path, *overrides):
    begun = time.process_time()
    with pytest.raises(UsageError) as caught:
        load_config(path, overrides)
    line = str(caught.value)
    assert "\n" not in line and line.isprintable() and len(line) <= LONGEST + 10
    # PyYAML reads about 100,000 characters a second.
    assert time.process_time() - begun < 60
    return line


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_no_config_is_one_line_that_names_the_file(name, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(TEXTS[name])
    assert str(path) in refused(path)


@pytest.mark.parametrize("content", [b"run: \xff\xfe\n", "run: é\n".encode("latin-1"), "run: a\n".encode("utf-16")])
def test_a_file_that_is_not_utf_8(content, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    assert str(path) in refused(path)


def test_thirty_megabytes_are_refused_unread(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_bytes(b"run: " + b"x" * (30 << 20))
    begun = time.process_time()
    assert "no file of settings" in refused(path)
    assert time.process_time() - begun < 5
    assert "search.rollouts" in refused(TOY, "search.rollouts=" + "x" * (30 << 20))


def test_symbolic_links_that_lead_in_a_circle(tmp_path, capsys):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert str(loop) in refused(loop)
    for command in (["view", loop], ["run", TOY, f"run={loop}"], ["run", TOY, f"run={loop}/in"], ["export", loop, "out"],
                    ["grade", "--file", loop], ["tokens", loop, "out"], ["sft", TOY, f"model.path={loop}"]):  # fmt: skip
        assert main([*map(str, command), *([f"run={tmp_path / 'r'}"] if command[0] == "sft" else [])]) in (1, 2)
        err = capsys.readouterr().err
        assert "Traceback" not in err and "loop" in err and "goes on" not in err, command


@pytest.mark.parametrize(("text", "folder"), [
    ("12e4", "12e4"), ("2024", "2024"), ("007", "007"), ("1_000", "1_000"), ("0x1F", "0x1F"), ("yes", "yes"),
    ("2026-11-26", "2026-11-26"), ("1:30", "1:30"), ("1.50", "1.50"), (".5", ".5"), ("'12'", "12"), (".inf", ".inf"),
])  # fmt: skip
def test_a_name_that_looks_like_a_number_is_a_name(text, folder, tmp_path):
    config = load_config(
        TOY, [f"run={text}", f"model.path={text}", f"data.eval_name={text}", f"eval.benchmarks=[{text}]"]
    )
    assert (config.run, config.model.path, config.data.eval_name) == (folder, folder, folder)
    assert config.eval.benchmarks == (folder,)
    path = tmp_path / "c.yaml"
    path.write_text(f"run: {text}\nmodel:\n  path: {text}\n")
    assert load_config(path).run == load_config(path).model.path == folder
    path.write_text(yaml.safe_dump(config.to_dict(), sort_keys=False))
    assert load_config(path) == config  # as it stands in the run folder


def test_numbers_stay_numbers_and_nothing_stays_nothing():
    config = load_config(
        TOY, ["search.rollouts=7", "sft.learning_rate=1e-6", "search.exploration=2", "data.train_limit=null"]
    )
    assert (config.search.rollouts, config.search.exploration, config.data.train_limit) == (7, 2.0, None)
    assert config.sft.trainer["learning_rate"] == 1e-6
    assert "expected str" in refused(TOY, "run=null") and "expected int" in refused(TOY, "search.rollouts=many")
    assert "expected bool" in refused(TOY, "model.trust_remote_code=12")


def test_an_empty_section_is_one_that_says_nothing(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("seed: 3\nsearch:\nrl:\n")
    config = load_config(path, ["search.rollouts=4"])
    assert (config.search.rollouts, config.search.seed) == (4, 3)


def test_random_damage_to_a_config_is_never_a_traceback(tmp_path):
    rng = random.Random(14)
    whole = Path(TOY).read_text(encoding="utf-8")
    bits = ["&a ", "*a", "[", "]", "{", "}", ": ", "- ", "\n", "  ", "!!int ", "? ", "1e999", ".nan", "null", "'", '"',
            "\x00", "<<: ", "%", "|", "é", "trainer: ", "2026-99-99", "0o9", "1:2:3"]  # fmt: skip
    path, kept = tmp_path / "c.yaml", 0
    for _ in range(300):
        text = whole
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(text))
            text = text[:at] + rng.choice(bits) + text[at + rng.randrange(0, 6) :]
        path.write_text(text, encoding="utf-8")
        try:
            load_config(path)
            kept += 1
        except UsageError as error:
            assert "\n" not in str(error) and str(error).isprintable()
    assert 0 < kept < 300
