"""Locks on a run folder: what two commands would both write is written by one of them.

The kernel holds a lock (flock) for the process that took it and for its children, and drops it with the last of them,
however they end. What is locked is a small file beside the results, which also says who has it. Commands that write
different files go side by side: `LOCKS` says which.

On a file system without locks a command says so and goes on.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from rftt.errors import UsageError
from rftt.runtime.distributed import is_first

INHERITED = "RFTT_LOCKS"  # path → file descriptor, as JSON: what a parent has locked for its children too
PATIENCE = 10.0  # seconds for the children of a killed command to end
WITHOUT_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}

# A command takes the first lock alone. With a part of its work named, it takes the first together with others that do other
# parts, and that part alone.
LOCKS = {
    "run": "run",
    **dict.fromkeys(("tokens", "search", "shad", "sft", "rl"), "phases"),
    "eval": "eval",
}

_held: dict[int, str] = {}  # file descriptor → path
_inherited: dict[str, int] | None = None


@contextmanager
def holding(folder: Path, command: str, part: str | None = None) -> Iterator[None]:
    """Hold the locks of a command on a run folder.

    Of processes that train together, the first one holds them for all.

    Args:
        folder: run folder; it is made if it is not there, and removed again if it is still empty at the end.
        command: name of the command, a key of `LOCKS`.
        part: name of a part of the work, such as a share of a search, beside which others may do other parts.

    Raises:
        UsageError: another process holds one of them, or the folder cannot be written to.
    """
    if not is_first():
        yield
        return
    with ExitStack() as stack:
        stack.enter_context(_in(folder))
        stack.enter_context(locked(folder / f".{LOCKS[command]}.lock", shared=part is not None))
        if part is not None:
            stack.enter_context(locked(folder / f".{command}-{part}.lock"))
        yield


@contextmanager
def beside(file: Path) -> Iterator[None]:
    """Hold the lock on a single file of results.

    Raises:
        UsageError: as `holding`.
    """
    with _in(file.parent), locked(file.with_name(f".{file.name}.lock")):
        yield


@contextmanager
def _in(folder: Path) -> Iterator[None]:
    """A folder that is there, and that is removed at the end if it is new and empty."""
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UsageError(f"{folder} is no folder; give another one with run=FOLDER") from error
    except OSError as error:
        raise UsageError(f"{folder}: cannot be made ({error.strerror}); give another folder with run=FOLDER") from error
    try:
        yield
    finally:
        if new:
            with suppress(OSError):  # not empty
                folder.rmdir()


@contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock on one file, unless the process that started this one holds it for it.

    Args:
        path: file to lock; it is made, and removed at the end when nobody else has it.
        shared: whether others may hold it too who want it shared.

    Raises:
        UsageError: another process holds it; the line names that process.
    """
    name = str(path.resolve())
    if name in _from_parent():
        yield
        return
    descriptor = _take(path, shared)
    if descriptor is None:
        yield
        return
    _held[descriptor] = name
    try:
        yield
    finally:
        del _held[descriptor]
        _give_back(path, descriptor)


def for_children() -> tuple[dict[str, str], tuple[int, ...]]:
    """Environment and file descriptors with which a child holds the locks of this process too."""
    both = _from_parent() | {name: descriptor for descriptor, name in _held.items()}
    return ({INHERITED: json.dumps(both)} if both else {}), tuple(both.values())


def _from_parent() -> dict[str, int]:
    global _inherited
    if _inherited is None:
        _inherited = {}
        for name, descriptor in json.loads(os.environ.pop(INHERITED, "{}")).items():
            with suppress(OSError):
                os.set_inheritable(descriptor, False)
                _inherited[name] = descriptor
    return _inherited


def _take(path: Path, shared: bool) -> int | None:
    """The locked file; None where the file system has no locks."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise UsageError(
                f"{path.parent}: cannot be written to ({error.strerror}); give a folder of your own with run=FOLDER"
            ) from error
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            if _is(path, descriptor):  # not removed by whoever had it before
                _sign(descriptor, keep=shared)
                return descriptor
            os.close(descriptor)
        except OSError as error:
            holders = _holders(descriptor)
            os.close(descriptor)
            if error.errno in WITHOUT_LOCKS:
                print(
                    f"rftt: {path.parent}: this file system has no locks ({error.strerror}); start no second command there",
                    file=sys.stderr,
                )
                return None
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EINTR):
                raise
            holder = next((h for h in holders if _may_live(h)), None)
            if holder is not None or time.monotonic() > deadline:
                raise UsageError(_told(path, holder)) from None
            time.sleep(0.05)


def _give_back(path: Path, descriptor: int) -> None:
    with suppress(OSError):  # others share it
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    os.close(descriptor)


def _is(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except OSError:
        return False


def _sign(descriptor: int, keep: bool) -> None:
    """Write down who holds it, behind those that share it."""
    if not keep:
        os.ftruncate(descriptor, 0)
    record = {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "command": _command(),
        "since": datetime.now().astimezone().isoformat(" ", "seconds"),
    }
    os.write(descriptor, json.dumps(record).encode() + b"\n")


def _command() -> str:
    program, *arguments = sys.argv or [""]
    name = Path(program).name
    return shlex.join(["rftt" if name == "cli.py" else name, *arguments])[:200]


def _holders(descriptor: int) -> list[dict[str, Any]]:
    """Those who signed it, the last one first."""
    found = []
    for line in reversed(os.pread(descriptor, 1 << 16, 0).splitlines()):
        with suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict):
                found.append(record)
    return found


def _may_live(holder: dict[str, Any]) -> bool:
    """Whether a holder may be at work; of those on other machines nothing is known."""
    process = holder.get("process")
    if holder.get("host") != socket.gethostname() or not isinstance(process, int):
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _told(path: Path, holder: dict[str, Any] | None) -> str:
    remedy = "wait until it is done or end it"
    if holder is None:
        return f"{path.parent}: another process has {path.name} locked; {remedy}"
    who = f"process {holder.get('process')} on {holder.get('host')}, since {holder.get('since')}"
    return f"{path.parent}: `{holder.get('command')}` is at work there ({who}); {remedy}"
