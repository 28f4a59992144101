"""What dependencies print, kept off the terminal: in RUN/log.txt, whoever printed it.

Weight-loading bars, warnings, the metric dictionaries of TRL and the log of vLLM come from Python, from C libraries and from
their worker processes. So it is the file descriptors 1 and 2 that lead into the log; what the program itself says goes to
copies of the old ones. Until the run folder is known the log is a temporary file.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TextIO

LONGEST = 1 << 16  # bytes of the log that are looked at for its tail
LINES, TRACEBACK = 20, 60  # lines of a tail; of one that holds a traceback
FOLLOW = 0.2  # seconds between looks at the log while it is followed


class Chatter:
    """Standard output and standard error of this process lead into a log until `restore`.

    Attributes:
        out: text stream to the standard output as it was.
        err: text stream to the standard error as it was.
        path: the log; None as long as it is a temporary file.
    """

    def __init__(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self._saved = os.dup(1), os.dup(2)
        self.out, self.err = (_stream(fd, of) for fd, of in zip(self._saved, (sys.stdout, sys.stderr), strict=True))
        self.path: Path | None = None
        self._file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as this object)
        self._begin = 0
        self._followed = 0
        self._follower: threading.Thread | None = None
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._lead()
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]

    @staticmethod
    def possible() -> bool:
        """Whether Python's streams are the process's own; in a notebook and under a test's capture they are not."""
        try:
            return sys.stdout.fileno() == 1 and sys.stderr.fileno() == 2
        except (OSError, ValueError, AttributeError):
            return False

    def move_to(self, path: Path) -> None:
        """Go on in the file `path`, behind what is there; what was logged so far is copied."""
        with self._lock:
            sys.stdout.flush()
            sys.stderr.flush()
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(path, "a+b", buffering=0)  # noqa: SIM115 (open as long as this object)
            begin = file.seek(0, os.SEEK_END)
            file.write(self._read(self._begin))
            self._followed += begin - self._begin
            self._file, before = file, self._file
            self._begin, self.path = begin, path
            self._lead()
            before.close()

    def follow(self, show: Callable[[str], None]) -> None:
        """Hand everything that is logged to `show` as well, from the beginning of this process on."""

        def watch() -> None:
            while not self._ended.wait(FOLLOW):
                self._show_new(show)
            self._show_new(show)

        self._follower = threading.Thread(target=watch, daemon=True)
        self._follower.start()

    def tail(self) -> list[str]:
        """The last lines of the log since this process began: the last traceback, if they hold one."""
        sys.stdout.flush()
        sys.stderr.flush()
        with self._lock:
            size = os.fstat(self._file.fileno()).st_size
            text = self._read(max(self._begin, size - LONGEST)).decode(errors="replace")
        return tail(text)

    def restore(self) -> None:
        """Give standard output and standard error back."""
        sys.stdout.flush()
        sys.stderr.flush()
        self._ended.set()
        if self._follower is not None:
            self._follower.join()
        for place, saved in enumerate(self._saved, 1):
            os.dup2(saved, place)
        self.out.close()
        self.err.close()
        self._file.close()

    def _lead(self) -> None:
        for place in (1, 2):
            os.dup2(self._file.fileno(), place)

    def _read(self, start: int) -> bytes:
        return os.pread(self._file.fileno(), max(0, os.fstat(self._file.fileno()).st_size - start), start)

    def _show_new(self, show: Callable[[str], None]) -> None:
        with self._lock:
            new = self._read(self._followed)
            whole = new[: new.rfind(b"\n") + 1] if not self._ended.is_set() else new
            self._followed += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            show(line)


def tail(text: str) -> list[str]:
    """The last lines of a text, with what a bar wrote over itself only once; whole from its last traceback on."""
    lines = [line.rstrip().rpartition("\r")[2] for line in text.split("\n")]
    while lines and not lines[-1].strip():
        lines.pop()
    last = lines[-TRACEBACK:]
    begin = next((i for i, line in enumerate(last) if line.startswith("Traceback (most recent call last)")), None)
    return lines[-LINES:] if begin is None else last[begin:]


def _stream(descriptor: int, like: TextIO) -> TextIO:
    return open(descriptor, "w", encoding=like.encoding, errors=like.errors, buffering=1, closefd=True)
