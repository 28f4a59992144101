"""A benchmark: rows with a question and an answer, from wherever a function gets them.

eval.benchmarks='[docs/examples/benchmark.py:sums]'
"""

import random


def sums() -> list[dict[str, str]]:
    """Twenty sums modulo 10 in the words of the embedded world, the same in every run."""
    rng = random.Random(20)
    rows = []
    for number in range(20):
        first, second, third = (rng.randrange(2, 10) for _ in range(3))
        b, c = (first + second) % 10, (first + second + third) % 10
        question = f"Work modulo 10:a={first},b=a+{second},c=b+{third}.(b,c)=?"
        rows.append({"id": f"sum-{number}", "question": question, "answer": f"({b},{c})"})
    return rows
