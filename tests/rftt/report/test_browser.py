"""The page in a real browser."""

from __future__ import annotations

import json
import random
import re
import shutil

import pytest
import yaml

from rftt.report import write_report
from search.functions import RFTT
from search.tree import Tree
from tests.rftt.report.browser import COPIES, KEY, PRESS, SELECTED, SET, SETTLE
from tests.rftt.report.runs import HOSTILE, write_lines, write_run


def test_hostile_text_is_inert_in_a_browser(tmp_path, browser):
    folder = write_run(tmp_path / "run </title><script>window.owned=1<", trees=2, samples=3, text=HOSTILE)
    browser.open(write_report(folder))
    browser.run("document.querySelectorAll('details').forEach(d => { d.open = true })")
    browser.run(SETTLE)
    browser.run("""document.querySelectorAll("select").forEach(s => [...s.options].slice(0, 4).forEach((_, i) => {
      s.selectedIndex = i; s.dispatchEvent(new Event("change")) }))""")
    browser.run(f"({SET})('samples', 'Verdict', '')")
    browser.run("document.querySelectorAll('details').forEach(d => { d.open = true })")
    browser.run(SETTLE)
    assert browser.run("window.owned") is None and browser.count("img") == 0
    assert browser.run("document.querySelector('#samples .entry').textContent").count("onerror") >= 2


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_fits_and_draws_every_section(run, browser, width, dark):
    browser.open(run / "report.html", width, dark)
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    assert browser.count(".note") == 0 and "[object" not in browser.run("document.body.innerText")
    counts = {"#results td .bar": 21, "#budget .plot svg": 2, "#training .plot svg": 16, "#functions .plot svg": 5}
    counts |= {"#time .spans i": 4, "#trees [role=treeitem][aria-selected=true]": 1, "#trees canvas": 1}
    counts |= {"#chains .step": None, "#samples .entry": 20, "#rollouts .entry": 4, "#rollouts .tokens .fn": 3}
    counts |= {"#roles .entry": 30, "#roles table": 5, "#roles .token.context": None}
    for selector, count in counts.items():
        assert browser.count(selector) == count if count else browser.count(selector) > 0, selector
    paper = re.findall(r"\d+", browser.run("getComputedStyle(document.body).backgroundColor"))
    assert (sum(map(int, paper)) < 3 * 128) is dark


# Title, note and number of lines of each chart of the last phase.
CHARTS = """[...document.querySelectorAll("#training .body > .charts:last-of-type .chart")].map(c => [
  c.querySelector("b").textContent, c.querySelector("figcaption span").textContent,
  c.querySelectorAll(".legend button").length || 1])"""


def test_known_curves_come_first_and_share_a_chart_where_they_are_parts_of_one_whole(run, browser):
    browser.open(run / "report.html")
    charts = browser.run(CHARTS)
    lines = {title: count for title, _, count in charts}
    assert lines["origin"] == lines["seconds"] == 3 and "function share" not in lines  # it has its own section
    assert lines["logprob difference/mean"] == lines["search/replaced"] == 1
    assert ["search/exhausted", "Trees that had fewer distinct paths than wanted.", 1] in charts
    assert charts[0][0] == "reward" and charts[-1][:2] == ["completions", ""]
    browser.run("[...document.querySelectorAll('#training summary')].at(-1).click()")
    browser.run(SETTLE)
    search = browser.run(CHARTS.replace("#training .body > .charts:last-of-type", "#training details:last-of-type"))
    assert search == [["seconds", "", 1], ["trees per s", "", 1]]  # a name that is another curve's prefix is its own


LINES = """[...document.querySelectorAll("#budget .chart:first-child .legend button")].map(b => b.textContent)"""
MEASURES = "[...document.querySelectorAll('#results th[scope=row]')].map(t => t.firstChild.data)"


def test_strategies_are_compared_by_what_their_answers_cost(run, browser):
    browser.open(run / "report.html")
    strategies = ["search", "majority", "beam", "best_of_n", "greedy", "one sample"]
    assert browser.run(LINES) == [f"{m}, {name}" for m in ("Base", "SFT", "RFTT") for name in strategies]
    browser.run(f"({SET})('budget', 'Model', 'rl')")
    browser.run(f"({SET})('budget', 'Strategy', 'beam')")
    axis = "document.querySelector('#budget .chart:first-child svg[role=img]').ariaLabel"
    browser.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert "RFTT, beam from 75.0\u00a0% to 81.0\u00a0%" in browser.run(axis)
    browser.run(f"({SET})('results', 'Benchmark', 'gsm8k')")
    assert browser.run("document.querySelector('#results td .value').textContent") == "10.0\u00a0%"
    assert browser.run(MEASURES)[:2] == ["pass@1", "greedy"]
    assert "250 tokens per right answer" in browser.run("document.querySelector('#results td').textContent")


def test_functions_are_shown_over_training_and_depth(run, browser):
    browser.open(run / "report.html")
    titles = browser.run("[...document.querySelectorAll('#functions b')].map(b => b.textContent)")
    models = [f"Answers of {m}, by depth" for m in ("Base", "SFT", "RFTT")]
    assert titles == ["Over the training", "Warm-up chains, by depth", *models]
    columns = "document.querySelectorAll('#functions .chart:nth-child({}) .part').length"
    assert browser.run(columns.format(1)) == 40 * len(RFTT.names)
    # 30 plain chains (clarify, next_step, output), 30 merged ones (… next_step, verify, refine, output)
    assert browser.run(columns.format(2)) == 1 + 1 + 2 + 1 + 1
    browser.run("document.querySelector('#functions .chart:nth-child(2) svg[role=img]').focus()")
    for _ in range(3):
        browser.run(f"({PRESS})('ArrowRight')")
    assert browser.run("document.getElementById('said').textContent") == (
        "step of the chain 3 · 60 steps. output: 50.0\u00a0%. verify: 50.0\u00a0%"
    )


FIT = "parseInt(document.querySelector('#samples [role=status]').textContent)"
STATES = "[...document.querySelectorAll('#samples .entry .state')].map(s => s.textContent)"


def test_failures_are_filtered_by_verdict_level_and_function_and_copied(run, browser):
    browser.open(run / "report.html")
    assert "✓ correct" not in browser.run(STATES)  # failures come first
    browser.run(f"({SET})('samples', 'Benchmark', 'held-out questions')")
    browser.run(f"({SET})('samples', 'Model', 'sft')")
    browser.run(f"({SET})('samples', 'Verdict', 'timeout')")
    assert browser.run(FIT) == len(browser.run(STATES)) == 16 and set(browser.run(STATES)) == {"◷ grader timeout"}
    browser.run(f"({SET})('samples', 'Level', '3')")
    browser.run(f"({SET})('samples', 'Uses', 'output')")
    browser.run(COPIES)
    browser.run("[...document.querySelectorAll('#samples .tools button')].at(-1).click()")
    (copied,) = browser.run("new Promise(done => setTimeout(() => done(copied), 50))")
    found = json.loads(copied)
    assert len(found) == browser.run(FIT) > 0
    assert {(r["model"], r["verdict"], r["level"], "output" in r["functions"]) for r in found} == {
        ("sft", "timeout", 3, True)
    }
    browser.run(f"({SET})('samples', 'Uses', '')")
    every = browser.run(FIT)
    browser.run(f"({SET})('samples', 'Does not use', 'output')")
    assert browser.run(FIT) == every - len(found)


def test_a_number_in_the_table_opens_the_answers_behind_it(run, browser):
    browser.open(run / "report.html")
    browser.run(f"({SET})('samples', 'Text', 'no answer has these words')")
    assert browser.run(FIT) == 0
    browser.run("document.querySelector('#samples tbody tr:nth-child(3) button[aria-label$=wrong]').click()")
    count = browser.run("Number(document.querySelector('#samples tr:nth-child(3) [aria-label$=wrong]').textContent)")
    assert browser.run(FIT) == count > 0 and set(browser.run(STATES)) == {"✗ wrong"}
    browser.run(f"({SET})('samples', 'Verdict', '')")
    browser.run(f"({SET})('samples', 'Text', 'WHAT ARE 4 TIMES 18 ')")
    assert browser.run(FIT) == 1


def test_an_answer_leads_to_the_tree_of_its_question(run, browser):
    browser.open(run / "report.html")
    browser.run(f"({SET})('trees', 'Outcome', 'not graded')")
    browser.run(f"({SET})('samples', 'Model', 'rl')")
    browser.run(f"({SET})('samples', 'Benchmark', 'held-out questions')")
    browser.run(f"({SET})('samples', 'Text', 'q-1005')")
    browser.run("document.querySelector('#samples .entry').open = true")
    browser.run(SETTLE)
    browser.run("[...document.querySelectorAll('#samples .entry button')].at(-1).click()")
    chosen = browser.run("document.querySelector('#trees .grow select').selectedOptions[0].text")
    assert "q-1005 · Evaluation of RFTT ·" in chosen


def test_a_tree_is_chosen_and_walked_with_the_keyboard(run, browser):
    browser.open(run / "report.html")
    assert "★ on the chosen chain" in browser.run("document.querySelector('.panel').textContent")
    assert browser.count("#trees [aria-selected=true] > .star") == 1
    before = browser.run("document.querySelector('#trees .text').textContent")
    browser.run(f"({KEY})('Home')")
    assert browser.run(SELECTED) == "0"
    assert before == browser.run("document.querySelector('.panel .text').textContent")
    browser.run(f"({KEY})('ArrowRight')")
    assert browser.run(SELECTED) != "0"
    active = "document.querySelector('#trees [role=tree]').getAttribute('aria-activedescendant')"
    assert browser.run(f"document.getElementById({active}).dataset.id") == browser.run(SELECTED)
    for _ in range(3):  # it closes the step, goes to the question, closes that
        browser.run(f"({KEY})('ArrowLeft')")
    assert browser.run(SELECTED) == "0" and browser.count("#trees [role=treeitem]") == 1
    browser.run("document.querySelector('[aria-label=\"Next tree\"]').click()")
    assert before != browser.run("document.querySelector('#trees .text').textContent")


def test_trees_are_filtered_and_copied(run, browser):
    browser.open(run / "report.html")
    browser.run(f"({SET})('trees', 'Outcome', 'not graded')")
    options = browser.run("[...document.querySelectorAll('#trees .grow option')].map(o => o.textContent)")
    assert len(options) == 12 and all("Evaluation of Base ·" in option for option in options)
    browser.run(COPIES)
    browser.run("document.querySelectorAll('.panel .buttons button').forEach(b => b.click())")
    step, chain, tree = browser.run("new Promise(done => setTimeout(() => done(copied), 50))")
    nodes = json.loads(tree)["nodes"]
    assert json.loads(step) in nodes and chain.startswith("<") and nodes[0]["children"]


def test_the_tokens_of_a_step_are_shaded_by_log_prob(run, browser):
    browser.open(run / "report.html")
    token = "document.querySelector('.panel [role=option]')"
    assert browser.run(f"{token}.title") == "log-prob −0.3, probability 74.1\u00a0%"
    assert browser.run(f"Number({token}.style.getPropertyValue('--weight'))") == 0.3 / 4
    one = browser.count(".panel [role=option]")
    browser.run(f"({SET})('trees', 'Show', 'chain')")
    assert one == 9 and browser.count(".panel [role=option]") > one
    browser.run(f"({SET})('trees', 'Shade by', '')")
    assert browser.count(".panel .token") == 0 and browser.count(".panel .step") > 1


# Milliseconds until the next picture after a press.
TIMED = """words => new Promise(done => {
  const start = performance.now();
  [...document.querySelectorAll("#trees button")].find(b => b.textContent.includes(words)).click();
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
})"""
ROWS = "#trees [role=treeitem]"


def test_a_tree_of_thousands_of_nodes_stays_quick(tmp_path, browser):
    tree = Tree("big", "How deep?", "1")
    rng = random.Random(0)
    for i in range(5000):
        parent = tree.root if i < 400 else tree.nodes[rng.randrange(len(tree.nodes))]
        tree.add(parent, RFTT.names[i % 8], 0, text=f"step {i} " * 5, visits=1)
    tree.root.visits = 5000
    write_lines(tmp_path / "search/trees.jsonl", [tree.to_json()])
    browser.open(write_report(tmp_path))
    assert browser.run(f"({TIMED})('Expand all')") < 1000
    assert "5001 steps are open" in browser.run("document.getElementById('said').textContent")
    assert 20 < browser.count(ROWS) < 100  # only the rows in view are drawn
    browser.run(f"({KEY})('End')")
    last = browser.run(SELECTED)
    assert browser.run(f"document.querySelector('{ROWS}[data-id=\"{last}\"]').getBoundingClientRect().height") == 27
    browser.run(f"({SET})('trees', 'Find a step', 'step 4321 ')")
    browser.run(f"({TIMED})('Next')")
    assert browser.run(SELECTED) == "4322"  # the question is 0
    assert browser.run(f"({TIMED})('Zoom to step')") < 1000 and browser.run(f"({TIMED})('Zoom out')") < 1000


def test_the_map_of_a_tree_is_painted_and_opens_what_is_clicked(run, browser):
    browser.open(run / "report.html")
    painted = """(() => { const c = document.querySelector("#trees canvas");
      return new Set(new Uint32Array(c.getContext("2d").getImageData(0, 0, c.width, c.height).data.buffer)).size })()"""
    assert browser.run(painted) > 3
    browser.run("""(() => { const c = document.querySelector("#trees canvas"), box = c.getBoundingClientRect();
      c.dispatchEvent(new MouseEvent("click", {clientX: box.left + 200, clientY: box.top + 4, bubbles: true})) })()""")
    assert browser.run(SELECTED) == "0"


def test_roles_are_listed_and_shaded(run, browser):
    browser.open(run / "report.html")
    tokens = "[...document.querySelectorAll('#roles .entry .token')].map(t => [t.textContent, t.className, t.title])"
    shown = browser.run(tokens)
    assert len(shown) == 8 and shown[0] == [" apple", "token context", "context, not judged"]
    assert shown[3] == ["<clarify>", "token minus", "boilerplate, LD −0.75"]
    assert shown[5] == [" apple", "token plus", "reasoning, LD +0.5"]
    browser.run(f"({SET})('roles', 'Shade by', 'LD')")
    assert browser.run(tokens)[3] == ["<clarify>", "token minus", "LD −0.75"]
    weights = (
        "[...document.querySelectorAll('#roles .entry .token')].map(t => Number(t.style.getPropertyValue('--weight')))"
    )
    light = browser.run(weights)
    assert light[4] > light[3] > light[7] > 0 == light[0]
    tags = browser.run("[...document.querySelectorAll('#roles table')][0].textContent")
    assert "<clarify>" in tags and "25\u00a0%" in tags and "−0.75" in tags
    browser.run(f"({SET})('roles', 'Text', 'q-007')")
    assert browser.count("#roles .entry") == 1


def test_several_runs_stand_side_by_side(run, tmp_path, browser):
    other = shutil.copytree(run, tmp_path / "other-run")
    config = yaml.safe_load((other / "config.yaml").read_text())
    (other / "config.yaml").write_text(yaml.safe_dump({**config, "seed": 8, "run": "elsewhere"}))
    shutil.rmtree(other / "shad")
    page = write_report([run, other])
    assert page == run / "comparison.html"
    browser.open(page, 400)
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    assert browser.count("#results td .bar") == 42
    head = browser.run("[...document.querySelectorAll('#results thead tr:nth-child(2) th')].map(t => t.textContent)")
    assert head == ["Measure", *["toy-run", "other-run"] * 3]
    assert browser.run("document.querySelector('#results li').textContent") == (
        "Base, other-run against toy-run: +0.0 points pass@1; the intervals overlap."
    )
    differ = browser.run("[...document.querySelectorAll('#results .differences td')].map(t => t.textContent)")
    assert differ == ["seed", "7", "8"]
    assert browser.run(LINES)[0] == "toy-run, RFTT, search"
    assert browser.run(CHARTS)[0] == ["reward", "Mean reward of the rollouts.", 2]
    assert browser.count("#roles .note") == 0
    browser.run(f"({SET})('roles', 'Run', '1')")
    assert "other-run. Missing: roles" in browser.run("document.querySelector('#roles .note').textContent")


def test_a_partial_run_opens_without_an_error(tmp_path, browser):
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    browser.open(write_report(tmp_path), 400)
    notes = browser.run("[...document.querySelectorAll('.note')].map(n => n.textContent)")
    assert "Missing: chains for the warm-up (search/chains.jsonl). rftt search CONFIG makes it." in notes
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")


def test_a_record_of_another_shape_spoils_its_own_section_only(tmp_path, browser):
    folder = write_run(tmp_path / "run", trees=2, samples=3)
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | {"curves": {"rl": 3}}))
    browser.open(write_report(folder))
    assert "could not be drawn" in browser.run("document.querySelector('#budget .note').textContent")
    assert browser.count("#results td .bar") == 21
    assert len(browser.trouble) == 1
    browser.trouble.clear()


def named_run(folder, name):
    """A run in which a name stands wherever a run can give one."""
    write_run(folder, trees=2, samples=6)
    for path in [*folder.glob("eval/samples-*.jsonl"), *folder.glob("eval/gsm8k/greedy-*.jsonl")]:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        write_lines(path, ({**line, "verdict": name if i % 2 else line["verdict"]} for i, line in enumerate(lines)))
    for path in [folder / "search/trees.jsonl", *folder.glob("eval/trees-*.jsonl")]:
        text = path.read_text().replace('"wrong"', f'"{name}"').replace('"clarify"', f'"{name}"')
        path.write_text(text.replace('"answer": "17"', f'"answer": "{name}"'))
    (folder / "eval" / name).mkdir()
    for kind in ("samples", "greedy"):
        shutil.copy(folder / "eval/samples-rl.jsonl", folder / "eval" / name / f"{kind}-{name}.jsonl")
    measured = (folder / "eval/rl.json").read_text()
    measured = measured.replace('"greedy"', f'"{name}"').replace('"beam"', f'"{name}"').replace('"level"', f'"{name}"')
    (folder / "eval" / name / "rl.json").write_text(measured)
    (folder / "eval" / f"{name}.json").write_text(measured)
    with (folder / "metrics.jsonl").open("a") as file:
        for step in range(41, 60):
            for phase in (name, "rl"):
                values = {name: 0.5, f"function_share/{name}": 0.25, f"{name}/{name}": 0.25}
                file.write(json.dumps({"phase": phase, "step": step, "time": 1.7e9, **values}) + "\n")
    text = (folder / "search/chains.jsonl").read_text()
    (folder / "search/chains.jsonl").write_text(text.replace('"merged"', f'"{name}"'))
    shad = (folder / "shad/summary.json").read_text()
    (folder / "shad/summary.json").write_text(shad.replace(f'"{RFTT.functions[0].open}"', f'"{name}"'))
    return folder


@pytest.mark.parametrize(("name", "ordinary"), [
    ("constructor", "constructos"), ("__proto__", "__protp__"), ("toString", "toStrinh"), ("valueOf", "valueOg"),
])  # fmt: skip
def test_names_that_every_object_of_javascript_knows_are_names_like_others(tmp_path, browser, name, ordinary):
    seen = []
    for word in (name, ordinary):
        browser.open(write_report(named_run(tmp_path / word, word)))
        browser.run("document.querySelectorAll('details').forEach(d => { d.open = true })")
        browser.run(SETTLE)
        text = browser.run("document.body.innerText")
        assert "could not be drawn" not in text and "NaN" not in text and "[native code]" not in text
        assert browser.trouble == []
        seen.append(
            re.sub(r"written [^\n]*", "", text.replace(word, "NAME").replace(word.strip("_"), "NAME"), flags=re.I)
        )
    assert seen[0].splitlines() == seen[1].splitlines()


def test_a_page_of_many_megabytes_opens_at_once_and_its_sections_are_there_when_they_are_looked_at(tmp_path, browser):
    folder = write_run(tmp_path / "run", trees=2, samples=6)
    first, *others = (folder / "search/trees.jsonl").read_text().splitlines()
    tree = json.loads(first)
    rng, nodes = random.Random(1), tree["nodes"]
    for i in range(len(nodes), 40_000):
        parent = rng.randrange(max(0, i - 400), i)
        nodes.append(
            {**nodes[1], "id": i, "parent": parent, "children": [], "text": f"step {i} {'of many words ' * 30}"}
        )
    (folder / "search/trees.jsonl").write_text("\n".join([json.dumps(tree), *others]) + "\n")
    page = write_report(folder)
    assert page.stat().st_size > 20e6
    browser.open(page)
    assert browser.count("#results table") and browser.count("#training svg") and not browser.count("#trees canvas")
    assert browser.run("performance.now()") < 20_000  # on a machine that has other things to do; else a second
    browser.run("location.hash = 'trees'; " + SETTLE)
    for _ in range(100):
        if browser.count("#trees canvas"):
            break
        browser.run(SETTLE)
    assert browser.count("#trees [role=treeitem]") and browser.run("document.querySelector('#trees .text').textContent")
    browser.run("location.hash = 'samples'; " + SETTLE)
    assert browser.count("#samples .entry")
