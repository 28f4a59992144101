"""The process that decides hard pairs, started by `rewards.pool` as `python -m rewards.worker numeric|symbolic`.

Two processes stand behind one pipe. The *supervisor* imports the heavy libraries once and then only watches; its
forked *server* reads requests from the inherited stdin and may be killed at any moment. The supervisor forks the next
one within milliseconds, without importing anything again. Neither ever shared memory with the caller, so no CUDA
context, lock or thread of a trainer is copied.

Wire format: JSON lines. In: `{"id", "gold", "answer"}`. Out: `{"hello": pid}` once a server is ready, `{"start": id}`
when it takes up a request, `{"id", "status", "seconds", "last"}` when it is done (`last`: this server retires after
it). Lines that do not parse are the torn remains of a killed process and are skipped on both sides.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

MEMORY_LIMIT_BYTES = 2 * 1024**3
REQUESTS_PER_SERVER = int(os.environ.get("RFTT_GRADER_REQUESTS_PER_SERVER", "2000"))
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Supervise servers until the caller closes the pipe or dies."""
    caller = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    replies = _claim_stdout()
    try:
        from rewards import equivalence, symbolic

        depth = sys.argv[1]
        symbolic.load(depth)
        import ctypes

        prctl = getattr(ctypes.CDLL(None), "prctl", None)
    except Exception as error:  # the caller raises it; a worker that cannot import would otherwise look like a hang
        _send(replies, {"failed": f"{type(error).__name__}: {error}"})
        return
    gc.collect()
    gc.freeze()

    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    for number in (signal.SIGCHLD, signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)

    watching = True
    while watching:
        server = os.fork()
        if server == 0:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            os.close(wake_read)
            os.close(wake_write)
            if prctl is not None:
                prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            status = 1
            try:
                _serve(replies, partial(equivalence.decide, depth=depth), equivalence.Undecided)
                status = 0
            finally:
                os._exit(status)
        watching = _watch(server, wake_read, caller)


def _watch(server: int, wake_read: int, caller: int) -> bool:
    """Wait for one server to end; True when another one should follow, False when the caller is gone."""
    poller = select.poll()
    poller.register(wake_read, select.POLLIN)
    poller.register(0, 0)  # no events asked for: only the hang-up of the last writer is reported
    while True:
        ready = dict(poller.poll(1000))
        signals = os.read(wake_read, 512) if wake_read in ready else b""
        orphaned = 0 in ready or os.getppid() != caller or signal.SIGTERM in signals
        if orphaned or signal.SIGUSR1 in signals:
            with contextlib.suppress(ProcessLookupError):
                os.kill(server, signal.SIGKILL)
        if orphaned:
            os.waitpid(server, 0)
            return False
        if os.waitpid(server, os.WNOHANG)[0] == server:
            return True


def _serve(replies: int, decide: Callable[[str, str], str], undecided: type[Exception]) -> None:
    """Answer requests from stdin, one at a time, until it closes or this server has done its share."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _send(replies, {"hello": os.getpid()})
    for served, request in enumerate(_requests(), start=1):
        _send(replies, {"start": request["id"]})
        started = time.perf_counter()
        detail = None
        try:
            status = decide(request["gold"], request["answer"])
        except undecided:
            status = "undecided"
        except MemoryError:
            status = "timeout"  # out of its budget: of memory instead of time
        except Exception as error:  # a hostile answer can make any library raise anything
            status, detail = "unparseable", type(error).__name__
        last = served >= REQUESTS_PER_SERVER
        seconds = time.perf_counter() - started
        _send(replies, {"id": request["id"], "status": status, "seconds": seconds, "last": last, "detail": detail})
        if last:
            return


def _requests() -> Iterator[dict[str, str]]:
    """The requests on stdin; bytes are taken one line at a time so that a successor finds what was not taken."""
    pending = b""
    while True:
        chunk = os.read(0, 65536)
        if not chunk:
            return
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            try:
                request = json.loads(line)
            except ValueError:
                continue
            yield request


def _claim_stdout() -> int:
    """Keep the reply pipe for replies: whatever a library prints goes to the null device."""
    replies = os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
    return replies


def _send(replies: int, message: dict[str, object]) -> None:
    # The leading newline ends whatever half line a killed predecessor left in the pipe.
    os.write(replies, b"\n" + json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    sys.setrecursionlimit(2000)
    main()
