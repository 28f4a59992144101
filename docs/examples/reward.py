"""A reward function, for tasks other than mathematics: the share of the wanted words that the answer holds.

reward.function=docs/examples/reward.py:shared_words reward.threshold=0.8
"""


def shared_words(gold: str, answer: str | None) -> float:
    """Score in [0, 1].

    Args:
        gold: words that are wanted, in any order.
        answer: answer of the chain; None where it has none.
    """
    wanted = set(gold.lower().split())
    return len(wanted & set((answer or "").lower().split())) / max(1, len(wanted))
