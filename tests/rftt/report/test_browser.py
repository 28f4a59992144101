"""The page in a real browser."""

from __future__ import annotations

import json
import random
import re

import pytest

from rftt.report import write_report
from search.functions import RFTT
from search.tree import Tree
from tests.rftt.report.browser import KEY, PRESS, SELECTED, SET
from tests.rftt.report.runs import HOSTILE, write_lines, write_run


def test_hostile_text_is_inert_in_a_browser(tmp_path, browser):
    folder = write_run(tmp_path / "run </title><script>window.owned=1<", trees=2, samples=3, text=HOSTILE)
    browser.open(write_report(folder))
    browser.run("document.querySelectorAll('details').forEach(d => { d.open = true })")
    browser.run("new Promise(done => setTimeout(done, 200))")  # what is inside is made when it opens
    assert browser.run("window.owned") is None and browser.count("img") == 0
    assert browser.run("document.querySelector('#samples .entry').textContent").count("onerror") >= 2


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_fits_and_draws_every_section(run, browser, width, dark):
    browser.open(run / "report.html", width, dark)
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    assert browser.count(".note") == 0
    counts = {"#results td .bar": 21, "#budget .plot svg": 2, "#budget .band": 12, "#training .plot svg": 19}
    counts |= {"#time .spans i": 4, "#trees [role=treeitem][aria-selected=true]": 1, "#trees .map rect": None}
    counts |= {"#chains .step": None, "#samples .entry": 20, "#rollouts .entry": 4, "#rollouts .tokens .fn": 3}
    for selector, count in counts.items():
        assert browser.count(selector) == count if count else browser.count(selector) > 0, selector
    paper = re.findall(r"\d+", browser.run("getComputedStyle(document.body).backgroundColor"))
    assert (sum(map(int, paper)) < 3 * 128) is dark


# Title, note and number of lines of each chart of the last phase.
CHARTS = """[...document.querySelectorAll("#training .charts:last-of-type .chart")].map(c => [
  c.querySelector("b").textContent, c.querySelector("figcaption span").textContent,
  c.querySelectorAll(".legend button").length || 1])"""


def test_known_curves_come_first_and_share_a_chart_where_they_are_parts_of_one_whole(run, browser):
    browser.open(run / "report.html")
    charts = browser.run(CHARTS)
    lines = {title: count for title, _, count in charts}
    assert lines["origin"] == lines["seconds"] == 3 and lines["function share"] == len(RFTT.names)
    assert lines["logprob difference/mean"] == lines["search/replaced"] == 1
    assert ["search/exhausted", "Trees that had fewer distinct paths than wanted.", 1] in charts
    search = browser.run(CHARTS.replace("last-of-type", "first-of-type"))
    assert search == [["seconds", "", 1], ["trees per s", "", 1]]  # a name that is another curve's prefix is its own
    assert charts[0][0] == "reward" and charts[-1][:2] == ["completions", ""]


def test_samples_are_filtered_and_searched(run, browser):
    browser.open(run / "report.html")
    fit = "parseInt(document.querySelector('#samples [role=status]').textContent)"
    browser.run(f"({SET})('samples', 'Model', 'sft')")
    assert browser.run(fit) == 120
    browser.run(f"({SET})('samples', 'Verdict', 'timeout')")
    states = browser.run("[...document.querySelectorAll('#samples .entry .state')].map(s => s.textContent)")
    assert browser.run(fit) == len(states) == 16 and set(states) == {"◷ grader timeout"}
    browser.run(f"({SET})('samples', 'Verdict', '')")
    browser.run(f"({SET})('samples', 'Text', 'WHAT ARE 4 TIMES 17 ')")
    assert browser.run(fit) == 1


def test_a_tree_is_chosen_and_walked_with_the_keyboard(run, browser):
    browser.open(run / "report.html")
    assert "★ on the chosen chain" in browser.run("document.querySelector('.panel').textContent")
    assert browser.count("[aria-selected=true] > .row .star") == 1
    before = browser.run("document.querySelector('#trees .text').textContent")
    browser.run(f"({KEY})('Home')")
    assert browser.run(SELECTED) == "0"
    assert before == browser.run("document.querySelector('.panel .text').textContent")
    browser.run(f"({KEY})('ArrowRight')")
    assert browser.run(SELECTED) != "0" and browser.run("document.activeElement.dataset.id") == browser.run(SELECTED)
    browser.run(f"({KEY})('ArrowLeft')")
    browser.run(f"({KEY})('ArrowLeft')")
    assert browser.run(SELECTED) == "0"
    browser.run("document.querySelector('[aria-label=\"Next tree\"]').click()")
    assert before != browser.run("document.querySelector('#trees .text').textContent")


def test_trees_are_filtered_and_copied(run, browser):
    browser.open(run / "report.html")
    browser.run(f"({SET})('trees', 'Outcome', 'not graded')")
    options = browser.run("[...document.querySelectorAll('#trees .grow option')].map(o => o.textContent)")
    assert len(options) == 12 and all("Evaluation of Base ·" in option for option in options)
    browser.run("window.copied = []; navigator.clipboard.writeText = async text => { copied.push(text) }")
    browser.run("document.querySelectorAll('.panel .buttons button').forEach(b => b.click())")
    step, chain, tree = browser.run("new Promise(done => setTimeout(() => done(copied), 50))")
    nodes = json.loads(tree)["nodes"]
    assert json.loads(step) in nodes and chain.startswith("<") and nodes[0]["children"]


def test_a_tree_of_thousands_of_nodes_stays_quick(tmp_path, browser):
    tree = Tree("big", "How deep?", "1")
    rng = random.Random(0)
    for i in range(6000):
        parent = tree.root if i < 400 else tree.nodes[rng.randrange(len(tree.nodes))]
        tree.add(parent, RFTT.names[i % 8], 0, text=f"step {i} " * 5, visits=1)
    tree.root.visits = 6000
    write_lines(tmp_path / "search/trees.jsonl", [tree.to_json()])
    browser.open(write_report(tmp_path))
    assert browser.count("[role=treeitem]") == 61
    assert browser.run(f"({PRESS})('Expand all')") < 3000
    assert 500 < browser.count("[role=treeitem]") < 2000
    assert browser.run(f"({PRESS})('more steps')") < 3000


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
