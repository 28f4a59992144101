"""How many steps of phase 1 were asked for, valid, asked for again and left out, by function and by rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

Counts = dict[str, dict[str, int]]  # function → what → how many

# What is counted beside the rules that were broken, in the order of tables.
KINDS = ("asked", "answered", "first", "valid", "retried", "dropped")


class StepCounts:
    """Counts of one expansion.

    ``asked`` steps; of these ``answered`` stated the final answer and became another function's; ``first`` were valid at
    once and ``valid`` at last, after ``retried`` were asked for once more; ``dropped`` were not valid then either. The
    other keys are rules that samples broke, the first of each sample.
    """

    def __init__(self) -> None:
        self.counted: Counts = {}

    def first(self, function: str, outcomes: Sequence[tuple[str, str]]) -> None:
        """Count the first samples.

        Args:
            function: function that was asked for.
            outcomes: outcomes, one for each sample: the function whose step it is and the rule that it breaks.
        """
        self._add(function, "asked", len(outcomes))
        self._outcomes(function, outcomes)
        self._add(function, "first", self.counted.get(function, {}).get("valid", 0))

    def second(self, function: str, outcomes: Sequence[tuple[str, str]]) -> None:
        """Count what came of the steps that were asked for once more; see `first`."""
        self._add(function, "retried", len(outcomes))
        self._outcomes(function, outcomes)
        self._add(function, "dropped", sum(bool(fault) for _, fault in outcomes))

    def _outcomes(self, function: str, outcomes: Sequence[tuple[str, str]]) -> None:
        for became, fault in outcomes:
            self._add(function, fault or ("valid" if became == function else "answered"), 1)

    def _add(self, function: str, what: str, count: int) -> None:
        if count:
            kinds = self.counted.setdefault(function, {})
            kinds[what] = kinds.get(what, 0) + count


def add_counts(total: Counts, more: Mapping[str, Mapping[str, int]]) -> None:
    """Add counts to others, in place."""
    for function, kinds in more.items():
        mine = total.setdefault(function, {})
        for what, count in kinds.items():
            mine[what] = mine.get(what, 0) + count


def valid_share(kinds: Mapping[str, int], what: str = "valid") -> float:
    """Share of valid steps among those that did not become another function's; 1 where none was asked for.

    Args:
        kinds: counts of one function.
        what: ``"valid"``, or ``"first"`` for those that were valid at once.
    """
    own = kinds.get("asked", 0) - kinds.get("answered", 0)
    return kinds.get(what, 0) / own if own else 1.0


def table(counts: Mapping[str, Mapping[str, int]], names: Iterable[str] = ()) -> str:
    """The counts as lines of text: a row a function, in the order of `names` where given.

    Returns:
        Empty where nothing was counted.
    """
    rows = [name for name in names if name in counts] or list(counts)
    if not rows:
        return ""
    head = f"{'steps':16}{'asked':>7}{'answer':>8}{'first':>8}{'valid':>8}{'again':>7}{'left out':>10}  broken rules"
    lines = [head]
    for name in rows:
        kinds = counts[name]
        faults = sorted((k for k in kinds if k not in KINDS), key=lambda k: -kinds[k])
        lines.append(
            f"{name:16}{kinds.get('asked', 0):7}{kinds.get('answered', 0):8}{valid_share(kinds, 'first'):8.0%}"
            f"{valid_share(kinds):8.0%}{kinds.get('retried', 0):7}{kinds.get('dropped', 0):10}  "
            + ", ".join(f"{k} {kinds[k]}" for k in faults)
        )
    return "\n".join(lines)
