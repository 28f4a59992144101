"""The line that shows how far the work is: what is done of what, at which rate, how long it will take.

Pure text: `terminal` writes it. Processes that share a phase report parts of one work; parts with the same label are added
up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

WINDOW = 60.0  # seconds over which a rate is taken
NAME, TIME = 7, 11  # columns of a phase's name and of its time

Note = dict[str, float | str]


@dataclass
class Part:
    """Work that one process does.

    Args:
        label: name of the work; parts with one label belong together.
        unit: plural name of what is counted, e.g. ``questions``.
        total: number of units.
        done: number of units that are done.
        note: further values to show; numbers of parts that belong together are added up.
    """

    label: str
    unit: str
    total: int
    done: int = 0
    note: Note = field(default_factory=dict)
    _marks: deque[tuple[float, int]] = field(default_factory=deque, repr=False)

    def advance(self, done: int, now: float) -> None:
        """Take down that `done` units are done at time `now`, in seconds."""
        self.done = done
        if not self._marks or self._marks[-1][1] != done:
            self._marks.append((now, done))
        while len(self._marks) > 3 and now - self._marks[1][0] > WINDOW:
            self._marks.popleft()

    def rate(self, now: float) -> float:
        """Units per second over the last minute, or over the last two units if they took longer; 0 until two are done."""
        if not self._marks:
            return 0.0
        since, before = self._marks[0]
        return (self.done - before) / (now - since) if self.done - before > 1 and now > since else 0.0


def status_line(phase: str, seconds: float, parts: Iterable[Part], now: float) -> str:
    """The state of a phase in one line.

    Args:
        phase: name of the phase; empty where there is none, as for `rftt solve`.
        seconds: time since the phase began.
        parts: work under way.
        now: current time in seconds, of the clock that `Part.advance` was given.
    """
    works: dict[str, list[Part]] = {}
    for part in parts:
        works.setdefault(part.label, []).append(part)
    several = len(works) > 1
    told = " | ".join(_work(label, together, phase, several, now) for label, together in works.items())
    return f"{head(phase, seconds)}{told or 'starting'}"


def head(phase: str, seconds: float) -> str:
    """The columns that every line of a phase begins with; nothing without a phase."""
    return f"{phase:<{NAME}}{duration(seconds):>{TIME}}   " if phase else ""


def duration(seconds: float) -> str:
    """A time span for people: ``40 s``, ``3 min 12 s``, ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def _work(label: str, parts: list[Part], phase: str, several: bool, now: float) -> str:
    done, total, rate = sum(p.done for p in parts), sum(p.total for p in parts), sum(p.rate(now) for p in parts)
    name = "" if label == phase else f"{label} "
    told = [f"{name}{done:,}/{total:,}" + ("" if several else f" {parts[0].unit}")]
    if rate:
        told.append(_rate(rate))
        if total > done:
            told.append(f"{duration((total - done) / rate)} left")
    if not several:
        told += [f"{value} {key}" if "/" in key else f"{key} {value}" for key, value in _note(parts).items()]
    return ", ".join(told)


def _rate(rate: float) -> str:
    if rate >= 1:
        return f"{rate:,.0f}/s" if rate >= 100 else f"{rate:.1f}/s"
    return f"{duration(1 / rate) if rate < 0.1 else f'{1 / rate:.1f} s'} each"


def _note(parts: list[Part]) -> dict[str, str]:
    added: Note = {}
    for part in parts:
        for key, value in part.note.items():
            before = added.get(key, 0.0)
            number = isinstance(value, (int, float)) and isinstance(before, (int, float))
            added[key] = before + value if number else value  # type: ignore[operator]
    return {key: value if isinstance(value, str) else _number(value) for key, value in added.items()}


def _number(value: float) -> str:
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 100 else f"{value:.3g}"
