"""The embedded world: exact, disjoint, and taught as said."""

import random

from rftt.toy import lessons
from rftt.toy.world import LEVELS, MODULUS, SPLITS, Definition, draw, evaluate, problems, rows


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
