"""Worked questions that show an un-tuned model what each function's line of a transcript looks like (phase 1).

Their questions, words and numbers are the project's own. Numbers from 13 up are chosen so that they are easily told from
those of other questions: a step that takes one over is found out (`search.step_rules`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WorkedExample:
    """A question with its solution as a transcript.

    Args:
        question: what is asked.
        lines: (name of the function, text of its step), in order; a text is one line.

    Raises:
        ValueError: the question is empty, or there is no line, or a text is empty or not one line.
    """

    question: str
    lines: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        if not self.question.strip() or not self.lines:
            raise ValueError("examples: expected a question and at least one line")
        for function, text in self.lines:
            if not text.strip() or "\n" in text:
                raise ValueError(f"examples: the text of {function} has to be one line, found {text[:40]!r}")


RFTT_EXAMPLES = (
    WorkedExample(
        "A gardener buys 14 trays with 6 seedlings in each tray. 9 seedlings wither before she can plant them. She plants "
        "all the others in rows of 15. How many rows does she plant?",
        (
            (
                "clarify",
                "There are 14 trays of 6 seedlings, 9 seedlings are lost, and 15 go into a row. Wanted: the rows.",
            ),
            ("analyze", "Find how many seedlings there are, take away the lost ones, then share them out into rows."),
            ("subquestion", "How many seedlings are there in all the trays?"),
            ("next_step", "14 trays with 6 seedlings each hold 14 * 6 = 84 seedlings."),
            ("subquestion", "How many seedlings are left after some have withered?"),
            ("next_step", "9 of them wither, so 84 - 9 = 75 seedlings are left."),
            ("next_step", "In rows of 15 they fill 75 / 15 = 5 rows."),
            ("direct_answer", "She plants \\boxed{5} rows."),
        ),
    ),
    WorkedExample(
        "Tomas ran 17 km a week for 8 weeks. In the 5 weeks after that he ran 4 km a week more than before. How far did he "
        "run altogether?",
        (
            ("next_step", "In the first 8 weeks he ran 17 * 8 = 136 km."),
            ("subquestion", "How far did he run in each week of the second period?"),
            ("next_step", "4 km more than before is 17 + 4 = 21 km a week."),
            ("next_step", "In the 5 weeks of the second period he ran 21 * 5 = 105 km."),
            ("next_step", "Both periods together are 136 + 105 = 241 km."),
            ("direct_answer", "He ran \\boxed{241} km altogether."),
        ),
    ),
    WorkedExample(
        "A coat costs $260. In a sale it is 35% cheaper, and a voucher takes another $19 off. What does Ines pay for the "
        "coat if she uses the voucher?",
        (
            ("clarify", "The coat costs $260 before a discount of 35% and a voucher of $19. Wanted: what Ines pays."),
            ("analyze", "Find the discount, take it off the price, then take off the voucher."),
            ("subquestion", "By how much does the sale lower the price?"),
            ("next_step", "35% of $260 is 0.35 * 260 = $91."),
            ("next_step", "The price in the sale is 260 - 91 = $169."),
            ("next_step", "With the voucher it is 169 - 19 = $150."),
            ("direct_answer", "Ines pays $\\boxed{150}."),
        ),
    ),
)
