"""The report of a run: every section, partial runs, text that would like to be markup, sampling, and a real browser."""

from __future__ import annotations

import html.parser
import json
import math
import os
import random
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from rftt import report
from rftt.errors import UsageError
from rftt.report import chosen_leaf, write_report
from search.chain import Step, render
from search.functions import RFTT, ROOT
from search.mcts import back_up
from search.tree import Node, Tree

SECTIONS = ["results", "budget", "training", "time", "trees", "chains", "samples", "run"]
HOSTILE = "</script><script>window.owned=1</script><img src=x onerror='window.owned=1'><!-- \u2028 \ud800 {{data}} &lt;"
VERDICTS = ("correct", "wrong", "unparseable", "timeout", "no_answer")
LEVELS = {"base": 0.2, "sft": 0.46, "rl": 0.71}


# A synthetic run


def grown_tree(number: int, rollouts: int = 8, *, table=RFTT.functional, graded: bool = True, text: str = "") -> Tree:
    """A tree by random walks along the transition table, with the search's own back-up."""
    rng = random.Random(number)
    gold = str(4 * number + 6)
    question = text or f"Mia has {number} bags with 4 apples each and finds 6 more. How many apples has she?"
    tree = Tree(f"q-{number:03}", question, gold if graded else None, list(range(40)), made_by={"seed": 7})
    tree.root.options = dict.fromkeys(table[ROOT], 1 / len(table[ROOT]))
    for rollout in range(1, rollouts + 1):
        node = tree.root
        while not node.terminal:
            children = tree.children(node)
            fresh = [f for f in table[node.function] if f not in {c.function for c in children}]
            if fresh and (not children or rng.random() < 0.4):
                function = rng.choice(fresh)
                for sibling in range(2):
                    step = text or f"{rng.randrange(9)} + {rng.randrange(9)} = {rng.randrange(18)}, on with {function}."
                    child = tree.add(node, function, sibling, ids=[1] * 9, logprobs=[-0.3] * 9, text=step, prior=0.25)
                    child.options = dict.fromkeys(table[function], 0.2) or None
                    if child.options is None:
                        child.status, child.answer = "answered", gold if rng.random() < 0.45 else "17"
                    elif tree.depth(child) == 10 or rng.random() < 0.04:
                        child.status = "truncated" if tree.depth(child) == 10 else "malformed"
                children = tree.children(node)
            node = rng.choice([c for c in children if not c.closed] or children)
        node.rollout = node.rollout or rollout
        if node.answer and graded:
            node.verdict = "correct" if node.answer == gold else "wrong"
        back_up(tree, node, float(node.answer == gold))
        tree.spent.append(9 * len(tree.nodes))
    return tree


def write_lines(path: Path, records) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in records))


def figure(value: float, tokens: float = 120.0) -> dict:
    half = 1.96 * math.sqrt(value * (1 - value) / 500)
    return {"value": value, "low": value - half, "high": value + half, "n": 500, "tokens": tokens}


def chain_text(number: int, *functions: str) -> str:
    steps = [Step(f, f"{number} bags of 4 make {4 * number} apples.") for f in functions]
    return render([*steps, Step("output", f"\\boxed{{{4 * number + 6}}}")])


def searched(value: float, rollouts: int) -> dict:
    return figure(value + 0.03 * math.log2(rollouts), tokens=90 * rollouts**0.8)


def results(value: float) -> dict:
    found = {"pass@1": figure(value), "greedy": figure(value + 0.02), f"maj@{round(9 + value)}": figure(value + 0.08)}
    return found | {f"search@{n}": searched(value, n) for n in (1, 4, 16)} | {"format_rate": figure(value + 0.25)}


def metrics():
    rng = random.Random(3)
    for i in range(10):
        yield {"phase": "search", "step": i, "time": 1.7e9 + i, "trees_per_s": 2 + rng.random()}
    for i in range(80):
        yield {"phase": "sft", "step": i, "time": 1.7e9 + 60 + i, "loss": 2 * math.exp(-i / 20), "learning_rate": 7e-6}
    for i in range(40):
        values = {"reward": 0.5 + 0.01 * i + 0.05 * rng.random(), "accuracy": 0.45 + 0.006 * i, "kl": 0.001 * i}
        values |= {"length": 110 + 20 * rng.random(), "entropy": 1.1 - 0.01 * i, "format_rate": 0.9 + 0.002 * i}
        values |= {"agreeing_trees": 0.3, "logprob_difference": float("nan") if i == 5 else 0.01}
        values |= {"completions/min_length": 20.0 + i, "completions/max_length": 190.0}
        values |= {f"function_share/{f}": (1 + rng.random()) / 16 for f in RFTT.names}
        yield {"phase": "rl", "step": i, "time": 1.7e9 + 200 + 5 * i, **values}


def sample(i: int, offset: int, text: str) -> dict:
    verdict = VERDICTS[0 if i % 3 == 0 else (i + offset) % len(VERDICTS)]
    chain = text or (chain_text(i, "next_step") if i % 7 else "<next_step>\nunfinished")
    record = {"question_id": f"q-{1000 + i}", "question": text or f"What are 4 times {i} and 6?", "text": chain}
    record |= {"gold": str(4 * i + 6), "answer": str(4 * i + 6 + i % 3), "verdict": verdict, "well_formed": i % 7 > 0}
    return record | {"tokens": 90 + i, "level": 1 + i % 5}


def write_run(run: Path, *, trees: int = 24, samples: int = 120, text: str = "") -> Path:
    """A finished run in every detail that the report reads; `text` replaces the text of questions and steps."""
    run.mkdir(parents=True)
    config = {"seed": 7, "model": {"path": text or "toy"}, "engine": {"name": "vllm", "api_key": "sesame"}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    budgets = (1, 2, 4, 8, 16)
    summary = {
        "models": {m: results(v) for m, v in LEVELS.items()},
        "seconds": {"search": 95.4, "sft": 61.0, "rl": 301.5, "eval": 128.0},
        "curves": {m: [{"rollouts": b, **searched(v, b)} for b in budgets] for m, v in LEVELS.items()},
        "majority": {
            m: [{"k": b, **figure(v + b / 200, tokens=118.0 * b)} for b in budgets] for m, v in LEVELS.items()
        },
        "data": {"train": 400, "eval": 500, "overlapping": 0, "chains": {"plain": 30, "merged": 30}},
        "command": text or "rftt run configs/toy.yaml seed=7 engine.api_key=sesame",
        "versions": {"rftt": "0.1.0", "torch": "2.13.0", "trl": "1.16.0", "vllm": "0.31.0"},
    }
    (run / "summary.json").write_text(json.dumps(summary))
    write_lines(run / "metrics.jsonl", metrics())
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"phase": "rl", "st')
    phase_1 = (grown_tree(i, table=RFTT.prompted, text=text) for i in range(trees))
    write_lines(run / "search/trees.jsonl", (tree.to_json() for tree in phase_1))
    chains = []
    for i in range(30):
        for kind, functions in (("plain", ["next_step"]), ("merged", ["next_step", "verify", "refine"])):
            asked = {"role": "user", "content": text or f"How many apples are in {i} bags of 4 and a heap of 6?"}
            answered = {"role": "assistant", "content": text or chain_text(i, "clarify", *functions)}
            chains.append({"question_id": f"q-{i:03}", "kind": kind, "answer": "6", "messages": [asked, answered]})
    write_lines(run / "search/chains.jsonl", chains)
    for offset, model in enumerate(LEVELS):
        forest = (grown_tree(1000 + i, graded=model != "base", text=text) for i in range(trees // 2))
        votes = {"4": {"answer": "17"}, "16": {"answer": "17"}}
        write_lines(run / f"eval/trees-{model}.jsonl", ({**tree.to_json(), "votes": votes} for tree in forest))
        write_lines(run / f"eval/samples-{model}.jsonl", (sample(i, offset, text) for i in range(samples)))
    return run


FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--remote-debugging-pipe")
# A Chromium reads commands from descriptor 3 and writes to 4; this little program puts two pipes there.
PLACE = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)


class Browser:
    """A headless Chromium, driven over its debugging pipe (JSON messages that end in NUL)."""

    def __init__(self, binary: str, profile: Path):
        self.to_read, self.to_write = os.pipe(), os.pipe()
        ends = (self.to_write[0], self.to_read[1])
        self.process = subprocess.Popen(
            [sys.executable, "-c", PLACE, *map(str, ends), binary, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=ends,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(self.to_write[0])
        os.close(self.to_read[1])
        self.buffer, self.sent, self.session, self.trouble = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params) -> dict:
        self.sent += 1
        message = {"id": self.sent, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_write[1], json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.sent:
                assert "error" not in answer, answer
                return answer["result"]

    def receive(self) -> dict:
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.to_read[0]], [], [], 60)
            assert ready, "the browser does not answer"
            chunk = os.read(self.to_read[0], 1 << 20)
            assert chunk, "the browser went away"
            self.buffer += chunk
        line, self.buffer = self.buffer.split(b"\0", 1)
        event = json.loads(line)
        if event.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
            self.trouble.append(event["params"])
        return event

    def open(self, page: Path, width: int = 1280, dark: bool = False) -> None:
        self.trouble.clear()
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=page.resolve().as_uri())
        deadline = time.monotonic() + 60
        while self.run("document.readyState === 'complete' && document.documentElement.dataset.drawn") != "yes":
            assert time.monotonic() < deadline, f"the page was not drawn: {self.trouble}"
            time.sleep(0.05)
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def run(self, script: str):
        """The value of a script, awaited."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def count(self, selector: str) -> int:
        return self.run(f"document.querySelectorAll({selector!r}).length")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.to_read[0])
        os.close(self.to_write[1])


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if binary is None:
        pytest.skip("there is no Chromium on this machine: the report was not looked at in a browser")
    started = Browser(binary, tmp_path_factory.mktemp("browser"))
    yield started
    started.close()


@pytest.fixture
def browser(chromium):
    """A browser that has nothing to complain of when the test is over."""
    yield chromium
    assert chromium.trouble == []


# What the page holds


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A finished run with its report."""
    folder = write_run(tmp_path_factory.mktemp("runs") / "toy-run")
    write_report(folder)
    return folder


class Elements(html.parser.HTMLParser):
    """Tags with their attributes, and the content of scripts and styles by the place of their tag."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.content: dict[int, str] = {}
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] in ("script", "style"):
            self.content.setdefault(len(self.tags) - 1, data)


def embedded(page: Path) -> dict:
    elements = Elements(page.read_text(encoding="utf-8"))
    place = next(i for i, (tag, attrs) in enumerate(elements.tags) if attrs.get("id") == "data")
    return json.loads(elements.content[place])


def shown(run: Path, name: str, records, **options) -> dict:
    """What the report of a run shows that has these records in this file."""
    write_lines(run / name, records)
    return embedded(write_report(run, **options))


def test_one_file_with_every_section_and_nothing_from_elsewhere(run):
    text = (run / "report.html").read_text(encoding="utf-8")
    elements = Elements(text)
    assert [attrs["id"] for tag, attrs in elements.tags if tag == "section"] == SECTIONS
    assert {tag for tag, _ in elements.tags}.isdisjoint({"link", "img", "iframe", "object", "base"})
    assert not [attrs for _, attrs in elements.tags if "src" in attrs or not attrs.get("href", "#").startswith("#")]
    assert "url(" not in text and "@import" not in text
    assert len(text.encode()) < 5e6


def test_the_policy_allows_the_page_s_own_script_and_style_only(run):
    elements = Elements((run / "report.html").read_text(encoding="utf-8"))
    policy = next(a["content"] for tag, a in elements.tags if a.get("http-equiv") == "Content-Security-Policy")
    content = {elements.tags[place][0]: text for place, text in elements.content.items()}  # the last of each tag
    for tag in ("script", "style"):
        assert f"{tag}-src '{report._hash(content[tag])}'" in policy
    assert "default-src 'none'" in policy and "unsafe" not in policy


def test_the_data_is_what_the_run_folder_holds(run):
    data = embedded(run / "report.html")
    assert data["missing"] == [] and data["notes"] == []
    assert data["name"] == "toy-run" and data["seeds"] == {"seed": 7}
    assert data["summary"]["models"]["rl"]["pass@1"]["value"] == 0.71
    assert "api_key: …" in data["config"] and "sesame" not in json.dumps(data)  # reports get passed around
    assert [p["model"] for p in data["samples"]] == ["base", "sft", "rl"]
    assert data["samples"][0]["verdicts"]["correct"] == 56 and sum(data["samples"][0]["verdicts"].values()) == 120
    assert data["chains"]["kinds"] == {"plain": 30, "merged": 30}
    curves = {(c["phase"], c["name"]): c["points"] for c in data["metrics"]}
    assert len(curves["rl", "reward"]) == 40 and len(curves["rl", "logprob_difference"]) == 39
    assert data["trees"][0]["source"] == "search" and data["trees"][0]["total"] == 24
    tree = Tree.from_json(json.loads((run / "search/trees.jsonl").open().readline()))
    shown = data["trees"][0]["records"][0]
    assert [n["function"] for n in shown["nodes"]] == [n.function for n in tree.nodes]
    assert [n.get("visits", 0) for n in shown["nodes"]] == [n.visits for n in tree.nodes]
    assert shown["nodes"][1]["tokens"] == len(tree.nodes[1].ids) and "ids" not in shown["nodes"][1]
    assert tree.nodes[shown["chosen"]].verdict == "correct"
    for tree in data["trees"][2]["records"]:
        answers = {n["answer"] for n in tree["nodes"] if n.get("rollout") and "answer" in n}
        assert tree["voted"] == "17" and (tree["chosen"] is not None) == ("17" in answers)


def test_the_static_files_name_no_functional_token():
    """Another token set must not need another page."""
    for path in Path(report.__file__).parent.glob("report*"):
        named = re.findall(rf"""["'`<]/?({"|".join(RFTT.names)})["'`>]""", path.read_text(encoding="utf-8"))
        assert not named, f"{path.name} names {named}"


def test_functions_of_another_token_set_are_shown_in_order_of_appearance(tmp_path):
    tree = Tree("a", "1 + 1?")
    tree.add(tree.root, "guess", 0, text="2")
    assert shown(tmp_path, "search/trees.jsonl", [tree.to_json()])["functions"] == [*RFTT.names, "guess"]


# Partial, damaged and absent runs


def test_a_run_that_has_just_begun_says_what_is_missing_and_which_command_makes_it(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    missing = {(m["section"], m["command"]) for m in embedded(write_report(tmp_path))["missing"]}
    commands = {"search": "trees chains", "sft": "training", "rl": "training", "eval": "results budget trees samples"}
    commands |= {"run": "time"}
    assert missing == {(section, f"rftt {name} CONFIG") for name in commands for section in commands[name].split()}


@pytest.mark.parametrize("gone", ["config.yaml", "summary.json", "metrics.jsonl", "search", "eval"])
def test_each_file_may_be_missing(run, tmp_path, gone):
    folder = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns(gone, "report.html"))
    assert embedded(write_report(folder))["missing"]


DAMAGE = [
    ("", "", "there is no run folder"),
    ("notes.txt", "hello", "holds no run"),
    ("summary.json", '{"models": ', "summary.json: not JSON"),
    ("summary.json", "[]", "summary.json: a list, not an object"),
    ("config.yaml", "a: [", "config.yaml: not YAML"),
    ("config.yaml", "text", "config.yaml: a str, not a mapping"),
]


@pytest.mark.parametrize(("name", "content", "message"), DAMAGE)
def test_what_the_user_must_mend_is_one_line(tmp_path, name, content, message):
    folder = tmp_path / "run"
    if name:
        folder.mkdir()
        (folder / name).write_text(content)
    with pytest.raises(UsageError) as caught:
        write_report(folder)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not (folder / "report.html").exists()


def test_a_torn_last_line_is_ignored_and_a_broken_line_is_told(tmp_path):
    *good, cycle = (grown_tree(i, 2).to_json() for i in range(4))
    cycle["nodes"][1]["parent"] = 2
    write_lines(tmp_path / "search/trees.jsonl", [*good, cycle, {"schema": "other"}])
    with (tmp_path / "search/trees.jsonl").open("a") as file:
        file.write("not json\n" + json.dumps(good[0])[:50])
    data = embedded(write_report(tmp_path))
    assert [t["question_id"] for t in data["trees"][0]["records"]] == ["q-000", "q-001", "q-002"]
    assert data["notes"] == ["search/trees.jsonl: 3 unreadable lines were left out"]


def test_a_step_that_was_done_again_counts_once_and_what_is_no_number_is_no_curve(tmp_path):
    values = [(1, 0.1), (2, 0.2), (2, 0.4), (3, float("nan")), (4, True), (5, "x"), (6, 0.6)]
    rows = [json.dumps({"phase": "rl", "step": step, "reward": value}) for step, value in values]
    (tmp_path / "metrics.jsonl").write_text("\n".join(rows))  # a last line without its newline counts when it is whole
    (curve,) = embedded(write_report(tmp_path))["metrics"]
    assert curve["points"] == [[1, 0.1], [2, 0.4], [6, 0.6]]
    (curve,) = shown(tmp_path, "metrics.jsonl", ({"step": i, "reward": i % 2} for i in range(1000)))["metrics"]
    assert curve["steps"] == 1000 and len(curve["points"]) == 250 and curve["points"][-1] == [999, 0.5]


def test_trees_are_sampled_evenly_and_the_page_says_how_many(tmp_path):
    records = (Tree(f"q-{i:03}", "?").to_json() for i in range(101))
    (part,) = shown(tmp_path, "search/trees.jsonl", records, trees=5)["trees"]
    assert [t["question_id"] for t in part["records"]] == ["q-000", "q-025", "q-050", "q-075", "q-100"]
    assert part["total"] == 101
    assert len(embedded(write_report(tmp_path, trees=1))["trees"][0]["records"]) == 1
    with pytest.raises(UsageError, match="trees = 0"):
        write_report(tmp_path, trees=0)


def test_a_page_of_long_texts_stays_small(tmp_path):
    page = write_report(write_run(tmp_path / "run", trees=8, samples=60, text="long " * 1300))
    data = embedded(page)
    assert page.stat().st_size < 5e6
    assert data["samples"][0]["records"][0]["text"].endswith("long  … (500 more characters)")
    assert all(0 < len(part["records"]) < part["total"] for part in (*data["trees"], *data["samples"]))


def test_the_report_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    (tmp_path / "report.html").write_text("before")

    def fail(*paths):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", fail)
        with pytest.raises(UsageError, match="No space left"):
            write_report(tmp_path)
    assert (tmp_path / "report.html").read_text() == "before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.yaml", "report.html"]
    assert write_report(tmp_path, tmp_path / "other.html") == tmp_path / "other.html"
    with pytest.raises(UsageError, match="cannot write"):
        write_report(tmp_path, tmp_path / "absent" / "other.html")


def path_of(tree: Tree, *steps: tuple[str, float], answer: str, verdict: str | None = None, **values) -> Node:
    node = tree.root
    for text, mean in steps:
        node = tree.add(node, "next_step", len(node.children), text=text, visits=1, value=mean, **values)
    node.status, node.answer, node.verdict, node.rollout = "answered", answer, verdict, len(tree.leaves()) + 1
    return node


def test_with_gold_the_correct_path_with_the_best_mean_score_is_chosen():
    tree = Tree("a", "?")
    assert chosen_leaf(tree) is None
    path_of(tree, ("a", 1.0), ("b", 1.0), answer="3", verdict="wrong")
    path_of(tree, ("a", 0.2), ("b", 1.0), answer="2", verdict="correct")
    best = path_of(tree, ("a", 0.5), ("b", 1.0), answer="2", verdict="correct")
    path_of(tree, ("a", 0.5), ("a", 1.0), answer="2", verdict="correct")
    assert chosen_leaf(tree) is best
    best = path_of(tree, ("a", 0.3), answer="2", verdict="correct", prm=0.9)
    assert chosen_leaf(tree) is best


def test_without_gold_the_vote_chooses():
    tree = Tree("a", "?")
    lone = path_of(tree, ("a", 1.0), answer="3")
    path_of(tree, ("a", 0.1), answer="2")
    best = path_of(tree, ("a", 0.2), answer="2")
    assert chosen_leaf(tree, by_vote=True) is best
    assert chosen_leaf(tree, by_vote=True, voted="3") is lone
    assert chosen_leaf(tree, by_vote=True, voted="4") is None


def test_hostile_text_is_data(tmp_path):
    page = write_report(write_run(tmp_path / "run", trees=2, samples=3, text=HOSTILE))
    elements = Elements(page.read_text(encoding="utf-8"))
    assert [tag for tag, _ in elements.tags].count("script") == 2 and "img" not in dict(elements.tags)
    data = embedded(page)
    assert data["summary"]["command"] == data["samples"][0]["records"][0]["text"] == HOSTILE
    assert data["trees"][0]["records"][0]["question"] == HOSTILE


# In a browser

# Choose or type in the field with this label of this section.
SET = """(section, label, value) => {
  const place = [...document.querySelectorAll(`#${section} label`)].find(l => l.firstChild.data === label);
  const field = place.querySelector("select, input");
  field.value = value;
  field.dispatchEvent(new Event(field.tagName === "INPUT" ? "input" : "change"));
}"""
# Press the first button of the trees whose label holds these words; returns the milliseconds it took.
PRESS = """words => {
  const start = performance.now();
  [...document.querySelectorAll("#trees button")].find(b => b.textContent.includes(words)).click();
  return performance.now() - start;
}"""
KEY = """key => document.querySelector("[aria-selected=true]").dispatchEvent(
  new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}))"""
SELECTED = "document.querySelector('[aria-selected=true]').dataset.id"


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
    counts = {"#results td .bar": 21, "#budget .plot svg": 2, "#budget .band": 12, "#training .plot svg": 13}
    counts |= {"#time .spans i": 4, "#trees [role=treeitem][aria-selected=true]": 1, "#trees .map rect": None}
    counts |= {"#chains .step": None, "#samples .entry": 20}
    for selector, count in counts.items():
        assert browser.count(selector) == count if count else browser.count(selector) > 0, selector
    paper = re.findall(r"\d+", browser.run("getComputedStyle(document.body).backgroundColor"))
    assert (sum(map(int, paper)) < 3 * 128) is dark


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
