"""The rollouts of the RL in the report: what is taken from their file, and how their advantages are shown."""

from __future__ import annotations

import json

import pytest

from rftt.report import write_report
from tests.rftt.report.browser import PRESS, SET
from tests.rftt.report.runs import HOSTILE, embedded, group, shown, write_lines

FILE = "rl/rollouts.jsonl"


def path(tokens: list[str], advantages: list, **values) -> dict:
    outcome = {"verdict": "correct", "status": "answered", "origin": "tree", "reward": 1.0}
    return {**outcome, **values, "tokens": tokens, "advantages": advantages}


# What is taken from the file


def test_a_group_keeps_its_paths_and_the_largest_advantage(tmp_path):
    kept = shown(tmp_path, FILE, [group(1), group(11)])["rollouts"]
    assert kept["total"] == 2 and [g["step"] for g in kept["records"]] == [1, 11]
    found, given = kept["records"][0], group(1)
    assert found["gold"] == "4" and found["prompt"] == given["prompt"] and found["largest"] == 1.5
    for shown_path, given_path in zip(found["paths"], given["paths"], strict=True):
        assert {name: shown_path[name] for name in given_path} == given_path


def test_a_torn_last_line_is_ignored_and_what_is_no_group_is_told(tmp_path):
    uneven = {**group(2), "paths": [path(["a", "b"], [0.5])]}
    text = {**group(2), "paths": [{**path([], []), "tokens": "ab", "advantages": [0.5, 0.5]}]}
    write_lines(tmp_path / FILE, [group(1), uneven, text, {"step": 3}, {**group(4), "step": None}])
    with (tmp_path / FILE).open("a") as file:
        file.write(json.dumps(group(5))[:80])
    data = embedded(write_report(tmp_path))
    assert [g["step"] for g in data["rollouts"]["records"]] == [1] and data["rollouts"]["total"] == 5
    assert data["notes"] == ["rl/rollouts.jsonl: 4 unreadable lines were left out"]


def test_a_large_file_is_sampled_evenly_and_a_large_group_too(tmp_path):
    page = write_run_of(tmp_path, [group(step, "word " * 500) for step in range(1, 400)])
    kept = embedded(page)["rollouts"]
    steps = [g["step"] for g in kept["records"]]
    assert kept["total"] == 399 and 10 < len(steps) < 100 and steps[0] == 1 and steps[-1] == 399
    assert page.stat().st_size < 2e6
    page = write_run_of(tmp_path, [group(1, "word " * 4000, paths=32)])
    (found,) = embedded(page)["rollouts"]["records"]
    assert found["total"] == 32 and 1 < len(found["paths"]) < 32 and found["largest"] == 1.5
    assert found["paths"][0]["length"] == 8000 and len(found["paths"][0]["tokens"]) == 3000
    assert found["paths"][-1]["number"] == 32
    assert page.stat().st_size < 1e6


def write_run_of(run, groups):
    write_lines(run / FILE, groups)
    return write_report(run)


@pytest.mark.parametrize(("every", "hint"), [(0, True), (10, False)])
def test_a_run_without_rollouts_says_why(tmp_path, every, hint):
    (tmp_path / "config.yaml").write_text(f"rl: {{rollouts_every: {every}}}\n")
    data = embedded(write_report(tmp_path))
    (missing,) = [m for m in data["missing"] if m["section"] == "rollouts"]
    assert data["rollouts"] is None and missing["command"] == "rftt rl CONFIG"
    assert ("rl.rollouts_every = 0 keeps none" in missing["what"]) is hint


# In a browser

# Tokens of the open paths: [text, title, label, weight, class].
TOKENS = """[...document.querySelectorAll("#rollouts .tokens .token")].map(t => [t.textContent, t.title,
  t.ariaLabel, Number(t.style.getPropertyValue("--weight")), t.className])"""


def test_tokens_carry_sign_and_value_of_their_advantage(tmp_path, browser):
    shares = path([" up", "\n", "down", "none", "lost"], [1.0, 0.5, -2.0, 0.0, float("nan")])
    other = path(["far"], [-4.0], verdict="wrong", origin="replay", reward=0.1)
    browser.open(write_run_of(tmp_path, [{**group(1), "paths": [shares, other]}]))
    assert browser.run(TOKENS) == [
        [" up", "advantage +1", "“ up”, advantage +1", 0.25, "token plus"],
        ["\n", "advantage +0.5", "a line break, advantage +0.5", 0.125, "token plus"],
        ["down", "advantage −2", "“down”, advantage −2", 0.5, "token minus"],
        ["none", "advantage 0", "“none”, advantage 0", 0, "token zero"],
        ["lost", "advantage not a number", "“lost”, advantage not a number", 0, "token zero"],
    ]
    scale = browser.run("document.querySelector('#rollouts .scale').textContent")
    assert "−4 negative" in scale and "+4 positive" in scale
    heads = browser.run("[...document.querySelectorAll('#rollouts .entry > summary')].map(s => s.textContent)")
    assert "correct" in heads[0] and "advantage −2 to +1" in heads[0] and "5 tokens" in heads[0]
    assert all(part in heads[1] for part in ("wrong", "from replay", "reward 0.1", "advantage −4"))


STEPS = """[...document.querySelectorAll("#rollouts .tokens .step")].map(s => [s.dataset.name, s.textContent])"""


@pytest.mark.parametrize(
    ("tokens", "steps", "strays"),
    [
        (["<verify>", "\n", "a", "</verify>", "\n", "b"], [["verify", "<verify>\na</verify>\n"], ["", "b"]], []),
        (["<ver", "ify>", "a<", "/verify", ">b"], [["verify", "<verify>a</verify>b"]], []),
        (["<verify>", "<refine>", "b"], [["verify", "<verify><refine>b"]], ["<refine>"]),
        (["a", "<verify>", "</refine>"], [["", "a"], ["verify", "<verify></refine>"]], ["</refine>"]),
        (["", "a"], [["", "a"]], []),
    ],
)
def test_functional_tags_make_steps_however_the_vocabulary_spells_them(tmp_path, browser, tokens, steps, strays):
    kept = path(tokens, [0.5] * len(tokens))
    browser.open(write_run_of(tmp_path, [{**group(1), "paths": [kept]}]))
    assert browser.run(STEPS) == steps
    found = "[...document.querySelectorAll('#rollouts .tokens .stray')].map(s => s.textContent)"
    assert browser.run(found) == strays
    assert browser.count("#rollouts .tokens .token") == len(tokens)


def test_a_step_is_chosen_and_its_tokens_are_walked_with_the_keyboard(run, browser):
    browser.open(run / "report.html")
    asked = "document.querySelector('#rollouts .text').textContent"
    assert "all 5 groups" in browser.run("document.querySelector('#rollouts').textContent")
    browser.run(f"({SET})('rollouts', 'Step', '1')")
    assert browser.run(asked) == "How many apples are in 11 bags of 4?"
    browser.run("document.querySelector('[aria-label=\"Next step\"]').click()")
    assert browser.run(asked) == "How many apples are in 21 bags of 4?"
    browser.run("new Promise(done => setTimeout(done, 100))")  # what is inside is made when it opens
    assert browser.count("#rollouts .token[tabindex='0']") == 1
    browser.run("document.querySelector('#rollouts .token[tabindex=\"0\"]').focus()")
    for key, place in (("ArrowRight", "1"), ("ArrowRight", "2"), ("ArrowLeft", "1"), ("Home", "0"), ("ArrowLeft", "0")):
        browser.run(f"({PRESS})('{key}')")
        assert browser.run("document.activeElement.dataset.at") == place
    assert "advantage +" in browser.run("document.getElementById('tip').textContent")
    assert browser.count("#rollouts .token[tabindex='0']") == browser.count("#rollouts [aria-selected=true]") == 1


@pytest.mark.parametrize("dark", [False, True])
def test_shaded_text_can_be_read(run, browser, dark):
    """Contrast of at least 4.5 where the shade is strongest (WCAG AA)."""
    browser.open(run / "report.html", 400, dark)
    colours = browser.run("""['#rollouts .scale .plus', '#rollouts .scale .minus', '.panel .rare'].flatMap(shade => {
      const style = getComputedStyle(document.querySelector(shade));
      const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
      return [style.backgroundColor, style.color].map(colour => {
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)];
      });
    })""")
    light = [luminance(*colour) for colour in colours]
    for first, second in zip(light[::2], light[1::2], strict=True):
        assert (max(first, second) + 0.05) / (min(first, second) + 0.05) >= 4.5, colours


def luminance(*rgb: int) -> float:
    r, g, b = (c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_hostile_and_invisible_text_is_shown_as_text(tmp_path, browser):
    tokens = [*HOSTILE[:60], "\u200b\u202e", "\ud800", "字"]
    hostile = {**group(1, HOSTILE), "question_id": HOSTILE, "answer": HOSTILE}
    hostile["paths"] = [path(tokens, [1.0] * len(tokens), origin=HOSTILE, verdict=HOSTILE, status=HOSTILE)]
    browser.open(write_run_of(tmp_path, [hostile]))
    browser.run("new Promise(done => setTimeout(done, 100))")
    assert browser.run("window.owned") is None and browser.count("img") == 0
    assert browser.count("#rollouts .token") == len(tokens) + 2  # two of them in the legend
    signs = browser.run("""[...document.querySelectorAll("#rollouts .blank")].slice(-3).map(
      b => getComputedStyle(b, "::before").content)""")
    assert signs == ['"U+200B"', '"U+202E"', '"U+D800"']
