"""What a command says to the one who started it: a line for each phase while it runs, one when it is done, errors.

The process that was started by hand owns the terminal. Processes that it starts send what they have to say through a pipe,
so that no two write at once, and all that dependencies print goes into the log (`chatter`). Where nobody watches a terminal,
the lines are plain and come seldom. ``say`` may be called anywhere; without `attached` it is ``print``.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TextIO

from rftt.runtime.chatter import Chatter
from rftt.runtime.status import Part, head, status_line

EVENTS = "RFTT_EVENTS"  # file descriptor that a child writes to
LOG = "log.txt"
REDRAW = 0.25  # seconds between two looks of the line on a terminal
SELDOM, SELDOMEST = 10.0, 300.0  # seconds between two plain lines: at the beginning, and after hours
LONGEST = 4096  # bytes of a line in the pipe: as many as Linux writes whole at once (PIPE_BUF)

Event = dict[str, Any]


class Reporter(Protocol):
    """Takes what is to be said.

    Events are ``{"say": text, "error": bool}``, ``{"outcome": text}`` for the last word of a phase, and
    ``{"part": key, "label", "unit", "total", "done", "note", "end": bool}`` for progress.
    """

    def tell(self, event: Event) -> None: ...


class Screen:
    """Shows events to a reader.

    Args:
        out: stream of results.
        err: stream of errors and of progress; a terminal gets a line that is drawn again and again.
        live: whether to draw on `err`; by default where it is a terminal.
        silent: whether to show errors only.
    """

    def __init__(self, out: TextIO, err: TextIO, *, live: bool | None = None, silent: bool = False) -> None:
        self.out, self.err, self.silent = out, err, silent
        self.live = not silent and (_is_terminal(err) if live is None else live)
        self._parts: dict[str, Part] = {}
        self._phase, self._begun = "", time.monotonic()
        self._words: list[str] = []
        self._drawn = False
        self._plain = self._begun
        self._lock = threading.RLock()

    def tell(self, event: Event) -> None:
        """Show an event, from any thread."""
        with self._lock:
            if "say" in event:
                self._write(event["say"], self.err if event.get("error") else self.out, bool(event.get("error")))
            elif "outcome" in event:
                self._words.append(event["outcome"])
            elif "part" in event:
                self._progress(event)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """A phase: its progress in one line while it runs; then its time, and the last word that it was given."""
        self._phase, self._begun, self._words = name, time.monotonic(), []
        self._plain = self._begun
        self._parts.clear()
        ended = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(ended,), daemon=True)
        ticker.start()
        try:
            yield
        except BaseException:
            self._words = []
            raise
        else:
            with self._lock:
                text = "; ".join(self._words) or "done"
                self._write(head(name, time.monotonic() - self._begun) + text, self.out, False)
        finally:
            ended.set()
            ticker.join()
            with self._lock:
                self._clear()
                self._phase, self._parts = "", {}

    def _progress(self, event: Event) -> None:
        now = time.monotonic()
        part = self._parts.get(event["part"])
        if part is None:
            part = self._parts[event["part"]] = Part(event["label"], event["unit"], event["total"])
            self._plain = max(self._plain, now - SELDOM / 2)  # the first line soon, but with a rate
        part.advance(event["done"], now)
        part.note = event.get("note", {})
        if event.get("end"):
            del self._parts[event["part"]]
        if not self._phase:  # else the ticker shows it
            self._show_line() if self._parts else self._clear()

    def _tick(self, ended: threading.Event) -> None:
        while not ended.wait(REDRAW):
            with self._lock:
                self._show_line()

    def _show_line(self) -> None:
        now = time.monotonic()
        if self.live:
            self._draw()
        elif now - self._plain >= min(SELDOMEST, max(SELDOM, (now - self._begun) / 10)):
            self._plain = now
            self._write(self._line(now), self.err, False)

    def _line(self, now: float) -> str:
        return status_line(self._phase, now - self._begun, self._parts.values(), now)

    def _draw(self) -> None:
        self._put(f"\r{self._line(time.monotonic())[: columns(self.err) - 1]}\x1b[K", self.err)
        self._drawn = True

    def _clear(self) -> None:
        if self._drawn:
            self._put("\r\x1b[K", self.err)
            self._drawn = False

    def _write(self, text: str, stream: TextIO, error: bool) -> None:
        if not self.silent or error:
            self._clear()
            self._put(text + "\n", stream)

    @staticmethod
    def _put(text: str, stream: TextIO) -> None:
        try:
            stream.write(text)
            stream.flush()
        except UnicodeEncodeError:
            known = stream.encoding or "ascii"
            stream.write(text.encode(known, "replace").decode(known))
            stream.flush()


class EventPipe:
    """Sends events to the process that owns the terminal.

    Args:
        descriptor: writing end of its pipe.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def tell(self, event: Event) -> None:
        """Send an event; long texts go line by line, since only short writes are whole."""
        events = [{**event, "say": line} for line in event["say"].split("\n")] if "say" in event else [event]
        for one in events:
            try:
                os.write(self.descriptor, _packed(one))
            except OSError:  # the owner is gone, and this process goes soon
                return


def _packed(event: Event) -> bytes:
    """An event as a line of at most `LONGEST` bytes; a text that is too long for it is cut."""
    key = next(key for key in ("say", "outcome", "label") if key in event)
    while len(data := json.dumps(event, ensure_ascii=False).encode(errors="replace") + b"\n") > LONGEST and event[key]:
        event = {**event, key: event[key][: min(LONGEST, len(event[key]) * 3 // 4)]}
    return data


class _State:
    """What this process has: one terminal, or a pipe to the process that has it."""

    reporter: Reporter | None = None
    chatter: Chatter | None = None
    log: Path | None = None


def say(text: str, *, error: bool = False) -> None:
    """Show text to the one who started the command.

    Args:
        text: one or more lines.
        error: whether it is for standard error.
    """
    if _State.reporter is None:
        print(text, file=sys.stderr if error else sys.stdout, flush=True)
    else:
        _State.reporter.tell({"say": text, "error": error})


def conclude(text: str) -> None:
    """The last word of a phase: what has come out of it, in less than a line."""
    if _State.reporter is None:
        print(text, flush=True)
    else:
        _State.reporter.tell({"outcome": text})


def reporter() -> Reporter:
    """Takes the events of this process; plain streams where no command is attached."""
    return _State.reporter or Screen(sys.stdout, sys.stderr)


def is_child() -> bool:
    """Whether another process shows what this one says."""
    return isinstance(_State.reporter, EventPipe)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """A phase of the run, on the terminal of this process; in a child its parent has it."""
    if isinstance(_State.reporter, Screen):
        with _State.reporter.phase(name):
            yield
    else:
        yield


@contextmanager
def attached(*, verbose: bool = False) -> Iterator[None]:
    """Say things in the manner of this module, and keep dependencies off the terminal.

    Args:
        verbose: whether to show what dependencies print as well.
    """
    if _State.reporter is not None:
        yield
        return
    handler = _Warnings(logging.WARNING)
    faulthandler.enable(2)  # a crash in a C library leaves its place in the log
    descriptor = os.environ.pop(EVENTS, None)
    if descriptor is not None:
        _State.reporter = EventPipe(int(descriptor))
    elif Chatter.possible():
        chatter = _State.chatter = Chatter()
        _State.reporter = Screen(chatter.out, chatter.err, live=False if verbose else None)
        if verbose:
            chatter.follow(lambda line: say(line, error=True))
    else:
        _State.reporter = Screen(sys.stdout, sys.stderr, live=False)
    loggers = [logging.getLogger(name) for name in ("rftt", "search", "rewards")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        if _State.chatter is not None:
            _State.chatter.restore()
        _State.reporter = _State.chatter = _State.log = None


def keep_log(folder: Path) -> None:
    """From here on, what dependencies print goes into ``log.txt`` of a run folder, in this process and in its children."""
    if is_child():
        return
    _State.log = folder / LOG
    if _State.chatter is not None:
        _State.chatter.move_to(_State.log)
        print(time.strftime(f"== %Y-%m-%d %H:%M:%S {' '.join(sys.argv)}"))


def log_path() -> Path | None:
    """The log of the run, if there is one yet."""
    return _State.log


def show_failure() -> None:
    """Show the end of the log, where there is one, and say where the rest is."""
    if _State.chatter is None:
        return
    lines = _State.chatter.tail()
    if lines:
        say("\n".join(f"  | {line}" for line in lines), error=True)
    if _State.log is not None:
        say(f"rftt: the log is {_State.log}", error=True)


def mute() -> None:
    """Say nothing but errors: for processes whose sisters say the same."""
    if isinstance(_State.reporter, Screen):
        _State.reporter.silent, _State.reporter.live = True, False


@contextmanager
def listening() -> Iterator[tuple[int | None, Any]]:
    """Show what children tell.

    Yields:
        The file descriptor that they write events to, or None where they have terminals of their own; and the file that
        their output goes to, or None where that of this process goes.
    """
    if isinstance(_State.reporter, EventPipe):
        yield _State.reporter.descriptor, None
        return
    if not isinstance(_State.reporter, Screen):
        yield None, None
        return
    screen = _State.reporter
    reading, writing = os.pipe()
    stop = json.dumps({"stop": os.getpid()}).encode() + b"\n"

    def listen() -> None:
        with open(reading, "rb") as lines:
            for line in lines:
                if line.endswith(stop):
                    return
                with suppress(ValueError, KeyError, TypeError):  # a torn line: its sender was killed
                    screen.tell(json.loads(line))

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    output = None
    try:
        if _State.chatter is None and _State.log is not None:
            output = open(_State.log, "ab")  # noqa: SIM115 (closed below)
        yield writing, output
    finally:
        with suppress(OSError):  # the listener has ended, since the screen is gone
            os.write(writing, stop)
        listener.join()
        os.close(writing)
        if output is not None:
            output.close()


class _Warnings(logging.Handler):
    """Shows the warnings of our own modules."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage(), error=True)


def columns(stream: TextIO | None = None) -> int:
    """Width of the terminal behind a stream, by default behind that of results; 100 where there is none."""
    if stream is None:
        stream = _State.reporter.out if isinstance(_State.reporter, Screen) else sys.stdout
    try:
        return os.get_terminal_size(stream.fileno()).columns or 100
    except (OSError, ValueError):
        return 100


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"
