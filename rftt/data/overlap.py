"""Training questions that an evaluation question gives away, by shared n-grams of words or equality (methods 1.2)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from rftt.errors import UsageError

SIGNS = str.maketrans({"−": "-", "–": "-", "×": "*", "·": "*", "÷": "/", "≤": "<", "≥": ">"})


class Asked(Protocol):
    """What a problem must have to be compared."""

    @property
    def id(self) -> str: ...
    @property
    def question(self) -> str: ...


P = TypeVar("P", bound=Asked)


@dataclass(frozen=True)
class Overlap:
    """A training question that an evaluation question gives away.

    Args:
        train_id: id of the training problem.
        eval_id: id of the first evaluation problem that it shares the n-gram or the wording with.
        kind: ``"equal"`` or ``"ngram"``.
        ngram: the shared words.
        spread: evaluation questions that hold these words; many of them mean a template, not a copied problem.
    """

    train_id: str
    eval_id: str
    kind: str
    ngram: str
    spread: int


def words(question: str) -> list[str]:
    """Words of a question for comparison: lower case, without punctuation and LaTeX grouping.

    Digits, single letters, operators and round brackets are words, so that problems that differ in them differ.
    """
    text = unicodedata.normalize("NFC", question).lower().translate(SIGNS)
    return re.findall(r"[^\W\d_]+|\d+(?:\.\d+)?|[-+*/=^<>%!|()]", text)


def find_overlap(train: Sequence[Asked], evaluation: Sequence[Asked], n: int = 13) -> list[Overlap]:
    """Training questions that equal an evaluation question or share n words in a row with one.

    Questions of fewer than `n` words are compared for equality only.

    Args:
        train: training problems.
        evaluation: evaluation problems.
        n: length of the shared word sequence, at least 1.

    Returns:
        At most one overlap for each training problem, equality before n-gram, in the order of `train`. Templates are
        not excused: a sentence that all questions share is reported for all of them.
    """
    return [overlap for overlap in _overlaps(train, evaluation, n) if overlap is not None]


@dataclass(frozen=True)
class Contamination:
    """What training and evaluation questions share, seen from both sides.

    Args:
        train: one overlap for each training question that an evaluation question gives away.
        evaluation: ids of the evaluation questions that a training question gives away, in their order.
    """

    train: tuple[Overlap, ...]
    evaluation: tuple[str, ...]

    def examples(self, count: int) -> list[Overlap]:
        """The plainest overlaps: equality first, then words that few evaluation questions share."""
        return sorted(self.train, key=lambda o: (o.kind != "equal", o.spread))[:count]


def contamination(train: Sequence[Asked], evaluation: Sequence[Asked], n: int = 13) -> Contamination:
    """Overlaps as `find_overlap` finds them, and which evaluation questions they spoil."""
    spoilt = tuple(overlap.train_id for overlap in find_overlap(evaluation, train, n))
    return Contamination(tuple(find_overlap(train, evaluation, n)), spoilt)


def refuse_overlap(
    train: Sequence[P], evaluation: Sequence[Asked], mode: str = "refuse", n: int = 13
) -> tuple[list[P], list[Overlap]]:
    """Training problems that may be used, and the overlaps found.

    Args:
        train: training problems.
        evaluation: evaluation problems.
        mode: ``"refuse"`` raises if there is any overlap, ``"drop"`` leaves the overlapping training problems out.
        n: as in `find_overlap`.

    Raises:
        UsageError: there is overlap in mode ``"refuse"``, nothing is left, or the mode is unknown.
    """
    if mode not in ("refuse", "drop"):
        raise UsageError(f"overlap mode {mode!r} is unknown; use 'refuse' or 'drop'")
    found = _overlaps(train, evaluation, n)
    kept = [problem for problem, overlap in zip(train, found) if overlap is None]
    overlaps = [overlap for overlap in found if overlap is not None]
    if overlaps and (mode == "refuse" or not kept):
        first = overlaps[0]
        raise UsageError(
            f"{len(overlaps)} of {len(train)} training questions overlap the {len(evaluation)} evaluation questions; "
            f"first: {first.train_id} and {first.eval_id} share {first.ngram[:160]!r} ({first.kind}, in {first.spread} "
            f"evaluation questions); {'leave them out with mode drop, or ' if kept else ''}train on other data"
        )
    return kept, overlaps


def _overlaps(train: Sequence[Asked], evaluation: Sequence[Asked], n: int) -> list[Overlap | None]:
    if n < 1:
        raise UsageError(f"n-gram length {n} is not positive; use 13")
    # Words, or n of them, joined → (first evaluation problem, number of evaluation problems).
    wordings: dict[str, tuple[str, int]] = {}
    ngrams: dict[str, tuple[str, int]] = {}
    for problem in evaluation:
        sequence = words(problem.question)
        for index, keys in ((wordings, {" ".join(sequence)}), (ngrams, set(_ngrams(sequence, n)))):
            for key in keys:
                first, count = index.get(key, (problem.id, 0))
                index[key] = (first, count + 1)

    def overlap(problem: Asked) -> Overlap | None:
        sequence = words(problem.question)
        if (wording := " ".join(sequence)) in wordings:
            eval_id, spread = wordings[wording]
            return Overlap(problem.id, eval_id, "equal", wording, spread)
        # The rarest of the shared n-grams tells a copied problem from a template.
        shared = [ngram for ngram in _ngrams(sequence, n) if ngram in ngrams]
        if not shared:
            return None
        rarest = min(shared, key=lambda ngram: ngrams[ngram][1])
        eval_id, spread = ngrams[rarest]
        return Overlap(problem.id, eval_id, "ngram", rarest, spread)

    return [overlap(problem) for problem in train]


def _ngrams(sequence: Sequence[str], n: int) -> Iterator[str]:
    return (" ".join(sequence[start : start + n]) for start in range(len(sequence) - n + 1))
