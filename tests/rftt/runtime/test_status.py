"""The progress line: parts of one work are added up, rates are of the last minute, times are for people."""

import pytest

from rftt.runtime.status import Part, duration, status_line


def part(label, unit, total, marks, **note):
    made = Part(label, unit, total, note=note)
    for now, done in marks:
        made.advance(done, now)
    return made


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (192, "3 min 12 s"),
        (3600, "1 h 00 min"),
        (7530, "2 h 05 min"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_a_line_says_how_far_how_fast_and_how_long():
    line = status_line("sft", 12, [part("sft", "steps", 200, [(0, 0), (10, 50)], loss=0.1234)], 10)
    assert line.split() == ["sft", "12", "s", "50/200", "steps,", "5.0/s,", "30", "s", "left,", "loss", "0.123"]


def test_parts_of_one_label_are_one_work():
    shares = [part("search", "questions", 130, [(0, 0), (10, 40)], solved=10, **{"tokens/s": 1500.0}),
              part("search", "questions", 129, [(0, 20), (10, 60)], solved=12, **{"tokens/s": 2000.0})]  # fmt: skip
    line = status_line("search", 20, shares, 10)
    assert "100/259 questions, 8.0/s, 20 s left, solved 22, 3,500 tokens/s" in line


def test_different_works_stand_side_by_side():
    works = [part("sft: search", "questions", 80, [(0, 0), (10, 20)]), part("rl: greedy", "questions", 500, [(0, 0)])]
    assert status_line("eval", 31, works, 10).endswith("sft: search 20/80, 2.0/s, 30 s left | rl: greedy 0/500")


def test_slow_work_is_told_by_the_unit():
    assert "4.0 s each, 56 s left" in status_line("rl", 8, [part("rl", "steps", 16, [(0, 0), (8, 2)])], 8)
    assert "2 min 00 s each" in status_line("rl", 240, [part("rl", "steps", 16, [(0, 0), (240, 2)])], 240)


def test_work_done_in_an_earlier_sitting_does_not_count_as_speed():
    assert "150/200 steps, 1.0/s, 50 s left" in status_line(
        "sft", 10, [part("sft", "steps", 200, [(0, 140), (10, 150)])], 10
    )


def test_a_rate_forgets_what_was_long_ago():
    made = part("a", "b", 1000, [(0, 0), (1, 100), (100, 101), (150, 103), (200, 110)])
    assert made.rate(200) == pytest.approx(9 / 100)


def test_one_unit_makes_no_rate_but_slow_ones_do():
    made = part("a", "b", 10, [(0, 0), (80, 1), (100, 1)])
    assert made.rate(100) == 0 and "left" not in status_line("a", 100, [made], 100)
    assert part("a", "b", 10, [(0, 0), (300, 1), (600, 2), (900, 3)]).rate(900) == pytest.approx(1 / 300)
