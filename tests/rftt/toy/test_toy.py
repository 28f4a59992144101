"""The embedded world: exact, disjoint, and taught as said."""

import asyncio
import json
import random

import pytest

from rftt.cli import main
from rftt.config import from_dict
from rftt.errors import UsageError
from rftt.runtime.running_scorer import build_scorer
from rftt.toy import BASE, lessons
from rftt.toy.prompts import TOY
from rftt.toy.step_labels import label_steps, read_problem
from rftt.toy.train_prm import area, solutions
from rftt.toy.world import LEVELS, MODULUS, SPLITS, Definition, draw, evaluate, problems, rows
from search.function_files import SUGGESTED, read_functions
from search.functions import RFTT
from search.journal import read_jsonl, write_jsonl


def test_splits_are_disjoint_by_construction_whatever_the_seed():
    questions = {split: {r["question"] for seed in (0, 1) for r in rows(split, 300, seed)} for split in SPLITS}
    assert not questions["train"] & questions["test"]
    assert not questions["train"] & questions["validation"]
    assert not questions["validation"] & questions["test"]


def test_answers_are_what_the_definitions_give():
    for row in rows("train", 200, 3):
        text = row["question"].removeprefix(f"Work modulo {MODULUS}:")
        body, asked = text.removesuffix("=?").split(".")
        values: dict[str, int] = {}
        for part in body.split(","):
            name, expression = part.split("=")
            values[name] = eval(expression, {}, dict(values)) % MODULUS
        first, second = list(values)[-2:]
        assert asked == f"({first},{second})" and row["answer"] == f"({values[first]},{values[second]})"


def test_levels_are_balanced_and_ids_unique():
    found = rows("test", 300, 0)
    assert len({r["id"] for r in found}) == len({r["question"] for r in found}) == 300
    for level in LEVELS:
        assert sum(r["level"] == str(level) for r in found) == 300 // len(LEVELS)


def test_the_same_seed_gives_the_same_problems():
    assert rows("train", 20, 5) == rows("train", 20, 5) != rows("train", 20, 6)


def test_the_base_never_learns_from_a_held_out_problem():
    rng = random.Random(0)
    for _ in range(300):
        user, _ = lessons.lesson(rng, max(LEVELS), 0.3)
        question = user.split("\n")[0]
        held_out = {
            p.question for split in ("validation", "test") for p, _ in zip(problems(split, 0), range(50), strict=False)
        }
        assert question not in held_out


def test_slips_come_at_the_known_rate():
    rng = random.Random(0)
    wraps, easy = Definition("b", "a", "-", 9), Definition("b", "a", "+", 2)
    for definition, rate in ((wraps, lessons.SLIP_WRAP), (easy, lessons.SLIP_EASY)):
        right = evaluate(definition, {"a": 3})
        slips = sum(lessons.slipped(definition, {"a": 3}, rng) != right for _ in range(4000)) / 4000
        assert abs(slips - rate) < 0.02


def test_a_comparison_names_a_step_that_is_wrong():
    rng = random.Random(1)
    for _ in range(100):
        problem = draw(rng, 4)
        lines, rest, remark = lessons.comparison(problem, rng)
        assert remark.startswith("Wrong:")
        assert lines[-1].startswith(problem.asked) and rest.splitlines()[-1].startswith(problem.asked)


def test_a_drill_is_right():
    for line in lessons.drill(random.Random(2)).splitlines():
        calculation, result = line.split("=")
        assert eval(calculation) % MODULUS == int(result)


def test_steps_are_labelled_as_the_world_decides():
    problem = read_problem("Work modulo 10:k=3,l=k+4,m=l*2.(l,m)=?")
    steps = ["Given:k. Wanted:(l,m)", "Plan:l,m", "Next:l=?", "l=k+4=3+4=8", "Next:m=?", "m=l*2=8*2=6",
             "(l,m)=(8,6). The answer is \\boxed{(8,6)}.", "Wrong:l. Right:l=k+4=3+4=7", "l=k+4=3+4=7", "m=l*2=7*2=4",
             "Wrong:m. Right:m=l*2=7*2=4", "m=l*2=7*3=4", "(l,m)=(7,4)", "\\boxed{(7,4)}", "l=k+4", "",
             "Plan:(l,m)"]  # fmt: skip
    expected = [1, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 0, 1, 1, 0, 0, 1]
    assert [int(right) for right in label_steps(problem, steps)] == expected
    with pytest.raises(UsageError, match="no question of the embedded world"):
        read_problem("What is 1 + 1?")


def test_lessons_without_slips_are_right_steps(monkeypatch):
    monkeypatch.setattr(lessons, "SLIP_EASY", 0.0)
    monkeypatch.setattr(lessons, "SLIP_WRAP", 0.0)
    rng = random.Random(4)
    for _ in range(200):
        problem = draw(rng, rng.randint(1, 5))
        book = lessons.Notebook.open(problem)
        lessons.fill(book, len(problem.definitions), rng)
        steps = [*book.lines, lessons.direct_answer(book), f"\\boxed{{{problem.answer}}}"]
        assert all(label_steps(read_problem(problem.question), steps)), (problem.question, steps)


def test_the_area_under_the_curve_counts_ordered_pairs():
    rng = random.Random(5)
    scores, labels = [rng.choice([0.1, 0.4, 0.5, 0.9]) for _ in range(80)], [rng.randrange(2) for _ in range(80)]
    right = [s for s, label in zip(scores, labels, strict=True) if label]
    wrong = [s for s, label in zip(scores, labels, strict=True) if not label]
    pairs = [(a > b) + 0.5 * (a == b) for a in right for b in wrong]
    assert area(scores, labels) == pytest.approx(sum(pairs) / len(pairs))


def solved_run(folder, split, count):
    """A run folder with the trees and chains that a search would leave: one right path a question, and a wrong one."""
    from search import Tree

    trees, chains = [], []
    for problem, i in zip(problems(split, 0), range(count), strict=False):
        tree = Tree(f"q{i}", problem.question)
        for slip in (0, 1):
            parent, values = tree.root, {problem.first: problem.value}
            for d in problem.definitions:
                values[d.name] = (evaluate(d, values) + slip) % MODULUS
                parent = tree.add(parent, "next_step", slip, text=lessons.working(d, values, values[d.name]))
            answer = problem.answer_from(values)
            text = lessons.stated(problem, answer)
            tree.add(parent, "direct_answer", 0, text=text, status="answered", answer=answer, rollout=slip + 1)
        trees.append(tree.to_json())
        content = f"<next_step>\n{tree.nodes[1].text}\n</next_step>\n"
        chains.append({"messages": [{"role": "user", "content": problem.question},
                                    {"role": "assistant", "content": content}]})  # fmt: skip
    write_jsonl(folder / "search" / "trees.jsonl", trees)
    write_jsonl(folder / "search" / "chains.jsonl", chains)
    return folder


def test_solutions_hold_every_step_of_a_tree_once_and_of_the_right_split(tmp_path):
    run = solved_run(tmp_path / "run", "train", 6)
    found = solutions(run, "train")
    nodes = sum(len(t["nodes"]) - 1 for t in read_jsonl(run / "search" / "trees.jsonl"))
    labels = [label for s in found for label in s.labels]
    assert sum(label != -100 for label in labels) == nodes + 2 * 6 + 6, "and an output a path, and the chains"
    assert {0, 1} <= set(labels)
    with pytest.raises(UsageError, match="data.train_split=validation"):
        solutions(run, "validation")
    with pytest.raises(UsageError, match="run `rftt search"):
        solutions(tmp_path / "none", "train")


@pytest.mark.slow
def test_a_process_reward_model_is_trained_measured_and_read_by_the_scorer(tmp_path, capsys):
    run, other = solved_run(tmp_path / "run", "train", 6), solved_run(tmp_path / "other", "validation", 4)
    out = tmp_path / "prm"
    command = ["toy", "prm", str(run), str(out), "--held-out", str(other), "--steps", "3"]
    assert main(command) == 0
    result = json.loads(next(line for line in capsys.readouterr().out.splitlines() if line.startswith('{"solutions"')))
    assert (
        result["held_out_steps"] > result["calculation_steps"] > 10
        and 0 <= result["auc"] <= 1
        and 0 < result["share_right"] < 1
    )
    scorer = build_scorer(from_dict({"prm": {"path": str(out)}}).prm)
    scores = asyncio.run(scorer("Work modulo 10:k=3,l=k+4,m=l*2.(l,m)=?", ["l=k+4=3+4=7", "m=l*2=7*2=5"]))
    assert len(scores) == 2 and all(0 < s < 1 for s in scores)
    assert main(command) == 2, "nothing is overwritten"
    assert main(["toy", "prm", str(out)]) == 2 and main(["toy", "build", str(run), str(tmp_path / "x")]) == 2


def test_the_base_suggests_the_prompts_of_its_lessons():
    assert read_functions(BASE / SUGGESTED) == TOY
    assert TOY.names == RFTT.names and TOY.functional == RFTT.functional and TOY.prompted == RFTT.prompted
    assert not TOY.examples and not any(f.valid for f in TOY.functions)
    assert {f.limit(32) for f in TOY.functions} == {32}
    users = {lessons.lesson(random.Random(i), 3, 0.0)[0] for i in range(200)}
    for function in TOY.functions:
        assert not function.prompt or any(user.endswith(function.prompt) for user in users)
