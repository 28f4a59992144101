"""What an answer earns, and TRL reward functions over the grader: outcome, format, and both.

`GRPOTrainer(reward_funcs=[rewards.math_reward])` works with any data set that has an `answer` column. Where the text
was decoded with special tokens skipped, the tags of a chain may be lost: `math_reward_from(tokenizer)` reads the token
ids instead. `math_reward_from(within=("<answer>", "</answer>"))` says which part of a chain answers; without it the
last block does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from rewards.equivalence import tells_time
from rewards.extraction import extract_answer
from rewards.golds import Gold, gold_text, unboxed
from rewards.grader import STATUSES, Verdict, grade, grade_many
from rewards.place import Place
from rewards.reading import read

Completion = str | list[dict[str, Any]]
RewardFunction = Callable[..., list[float]]


def outcome(status: str, wrong: float = 0.1) -> float:
    """Outcome reward of a verdict (RFTT, section 3.3): 1 for a correct answer, `wrong` for one that is not, else 0.

    "unparseable" and "timeout" pay 0: an answer that nobody can read is worth less than an honest mistake.

    Args:
        status: status of a `Verdict`.
        wrong: reward of an answer that is not correct, in [0, 1).
    """
    return 1.0 if status == "correct" else wrong if status == "wrong" else 0.0


def in_place(text: str, within: Place | tuple[str, str] | None = None) -> bool:
    """Whether an answer stands in its place, where the "boxed" rule finds it."""
    return extract_answer(text, "boxed", within) is not None


def math_reward(
    prompts: Sequence[Any],
    completions: Sequence[Completion],
    completion_ids: Sequence[Sequence[int]] | None = None,
    answer: Sequence[Gold] | None = None,
    *,
    wrong: float = 0.1,
    extract: str = "boxed",
    timeout: float = 3.0,
    within: Place | tuple[str, str] | None = None,
    processing_class: Any = None,
    log_metric: Callable[[str, float], None] | None = None,
    **kwargs: Any,
) -> list[float]:
    """The `outcome` reward of every completion.

    Args:
        prompts: prompts as TRL hands them over; not used.
        completions: texts, or chats whose assistant messages are read.
        completion_ids: the generated ids; read instead of the texts when `processing_class` is given.
        answer: the column of reference answers: texts, numbers, or lists of those.
        wrong: reward of an answer that is not correct, in [0, 1).
        extract: extraction rule.
        timeout: seconds for one pair.
        within: the part of a completion that answers, e.g. `("<answer>", "</answer>")`; by default the last block of a
            chain, the whole of any other text.
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
    verdicts = grade_many(zip(answer, texts, strict=True), extract=extract, timeout=timeout, within=within)
    _log(verdicts, log_metric)
    return [outcome(verdict.status, wrong) for verdict in verdicts]


def format_reward(
    prompts: Sequence[Any],
    completions: Sequence[Completion],
    completion_ids: Sequence[Sequence[int]] | None = None,
    *,
    within: Place | tuple[str, str] | None = None,
    processing_class: Any = None,
    **kwargs: Any,
) -> list[float]:
    """1 where an answer stands `in_place`, else 0."""
    texts = _texts(completions, completion_ids, processing_class)
    return [float(in_place(text, within)) for text in texts]


def outcome_and_format_reward(*args: Any, format_weight: float = 0.1, **kwargs: Any) -> list[float]:
    """`(1 - format_weight) * math_reward(wrong=0) + format_weight * format_reward`, for trainers that take one
    function.
    """
    outcomes = math_reward(*args, **{**kwargs, "wrong": 0.0})
    formats = format_reward(*args, **kwargs)
    return [(1 - format_weight) * outcome + format_weight * form for outcome, form in zip(outcomes, formats)]


def math_reward_from(processing_class: Any = None, **options: Any) -> RewardFunction:
    """`math_reward` that reads token ids with this tokenizer where one is given, with other `options` fixed.

    >>> trainer = GRPOTrainer(..., reward_funcs=[math_reward_from(tokenizer, wrong=0.0)])  # doctest: +SKIP
    """

    def reward(*args: Any, **kwargs: Any) -> list[float]:
        return math_reward(*args, **{**kwargs, **options, "processing_class": processing_class})

    reward.__name__ = "math_reward"
    return reward


def check_golds(golds: Sequence[Gold], timeout: float = 10.0) -> list[tuple[int, str]]:
    """(index, what is wrong) of every reference answer that cannot be graded against; to be called when data is loaded.

    A gold must not be empty, must be read as mathematics, a time or words (any other text is equal to its own spelling
    only), and must equal itself.
    """
    problems = []
    for index, given in enumerate(golds):
        try:
            gold = gold_text(given)
        except ValueError:
            problems.append((index, f"empty or no answer: {given!r}"))
            continue
        if not (read(unboxed(gold)).readable or tells_time(gold)):
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
