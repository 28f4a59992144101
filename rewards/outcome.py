"""TRL reward functions over the grader: outcome, format, and both.

`GRPOTrainer(reward_funcs=[rewards.math_reward])` works with any data set that has an `answer` column. Where the text
was decoded with special tokens skipped, the tags of a functional chain may be lost: `math_reward_from(tokenizer)`
reads the token ids instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from rewards.equivalence import tells_time
from rewards.extraction import extract_answer
from rewards.grader import STATUSES, Verdict, grade, grade_many, unboxed
from rewards.reading import read

Completion = str | list[dict[str, Any]]
RewardFunction = Callable[..., list[float]]


def math_reward(
    prompts: Sequence[Any],
    completions: Sequence[Completion],
    completion_ids: Sequence[Sequence[int]] | None = None,
    answer: Sequence[str] | None = None,
    *,
    wrong: float = 0.1,
    extract: str = "boxed",
    timeout: float = 3.0,
    processing_class: Any = None,
    log_metric: Callable[[str, float], None] | None = None,
    **kwargs: Any,
) -> list[float]:
    """Outcome reward (RFTT, section 3.3): 1 for a correct answer, `wrong` for an answer that is not, 0 for none.

    "unparseable" and "timeout" pay 0: an answer that nobody can read is worth less than an honest mistake.

    Args:
        prompts: as TRL hands them over; not used.
        completions: texts, or chats whose assistant messages are read.
        completion_ids: the generated ids; read instead of the texts when `processing_class` is given.
        answer: the column of reference answers.
        wrong: reward of an answer that is not correct, in [0, 1).
        extract: extraction rule.
        timeout: seconds for one pair.
        processing_class: tokenizer; ids are decoded with special tokens kept.
        log_metric: TRL's hook; receives the share of each verdict.

    Raises:
        ValueError: there is no `answer` column, or one of its values is empty.
    """
    if answer is None:
        raise ValueError(
            "math_reward needs a column `answer` with the reference answers; rename the data set's column to it"
        )
    texts = _texts(completions, completion_ids, processing_class)
    verdicts = grade_many(zip(answer, texts, strict=True), extract=extract, timeout=timeout)
    _log(verdicts, log_metric)
    return [1.0 if verdict.correct else wrong if verdict.status == "wrong" else 0.0 for verdict in verdicts]


def format_reward(
    prompts: Sequence[Any],
    completions: Sequence[Completion],
    completion_ids: Sequence[Sequence[int]] | None = None,
    *,
    processing_class: Any = None,
    **kwargs: Any,
) -> list[float]:
    """1 where an answer stands in its place (the "boxed" rule finds it), else 0."""
    texts = _texts(completions, completion_ids, processing_class)
    return [float(extract_answer(text) is not None) for text in texts]


def outcome_and_format_reward(*args: Any, format_weight: float = 0.1, **kwargs: Any) -> list[float]:
    """`(1 - format_weight) * math_reward(wrong=0) + format_weight * format_reward`, for trainers that take one
    function.
    """
    outcomes = math_reward(*args, **{**kwargs, "wrong": 0.0})
    formats = format_reward(*args, **kwargs)
    return [(1 - format_weight) * outcome + format_weight * form for outcome, form in zip(outcomes, formats)]


def math_reward_from(processing_class: Any, **options: Any) -> RewardFunction:
    """`math_reward` that reads token ids with this tokenizer, with other `options` fixed.

    >>> trainer = GRPOTrainer(..., reward_funcs=[math_reward_from(tokenizer, wrong=0.0)])  # doctest: +SKIP
    """

    def reward(*args: Any, **kwargs: Any) -> list[float]:
        return math_reward(*args, **{**kwargs, **options, "processing_class": processing_class})

    reward.__name__ = "math_reward"
    return reward


def check_golds(golds: Sequence[str], timeout: float = 10.0) -> list[tuple[int, str]]:
    """(index, what is wrong) of every reference answer that cannot be graded against; to be called when data is loaded.

    A gold must not be empty, must be read as mathematics, a time or words (any other text is equal to its own spelling
    only), and must equal itself.
    """
    problems = []
    for index, gold in enumerate(golds):
        if not isinstance(gold, str) or not gold.strip():
            problems.append((index, f"empty or not text: {gold!r}"))
        elif not (read(unboxed(gold)).readable or tells_time(gold)):
            problems.append((index, f"neither mathematics nor words, so only its own spelling equals it: {gold!r}"))
        elif not (verdict := grade(gold, gold, extract="none", timeout=timeout)).correct:
            problems.append((index, f"does not equal itself ({verdict.status}): {gold!r}"))
    return problems


def _texts(
    completions: Sequence[Completion], completion_ids: Sequence[Sequence[int]] | None, processing_class: Any
) -> list[str]:
    if processing_class is not None and completion_ids is not None:
        return [processing_class.decode(ids, skip_special_tokens=False) for ids in completion_ids]
    return [completion if isinstance(completion, str) else _chat_text(completion) for completion in completions]


def _chat_text(messages: list[dict[str, Any]]) -> str:
    """What the assistant said last; content may be text or blocks of it."""
    for message in reversed(messages):
        if message.get("role", "assistant") == "assistant":
            content = message.get("content") or ""
            return content if isinstance(content, str) else "".join(block.get("text", "") for block in content)
    return ""


def _log(verdicts: Sequence[Verdict], log_metric: Callable[[str, float], None] | None) -> None:
    if log_metric is None or not verdicts:
        return
    counts = Counter(verdict.status for verdict in verdicts)
    for status in STATUSES:
        log_metric(f"verdict/{status}", counts[status] / len(verdicts))
