"""Persistent worker processes that can be killed, shared by all threads of a process.

Starting them never forks the caller's memory (`subprocess` executes a fresh interpreter), which keeps CUDA contexts,
threads and locks out of them. A request is sent only to an idle worker, and its deadline runs from the worker's own
word that it has begun.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from typing import Any

STARTUP_SECONDS = 120.0  # importing sympy on a loaded machine
CLOSE_SECONDS = 2.0


class WorkerDied(Exception):
    """A worker ended before it answered, and not by our hand."""


class Worker:
    """The caller's end of one `rewards.worker` process; used by one thread at a time.

    Args:
        depth: how deep it decides, see `rewards.equivalence`.
    """

    def __init__(self, depth: str) -> None:
        request_read, self._requests = os.pipe()
        self._replies, reply_write = os.pipe()
        self._depth = depth
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        path = os.pathsep.join([root, *(os.path.abspath(entry) for entry in sys.path if entry)])
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "rewards.worker", depth],
            stdin=request_read,
            stdout=reply_write,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )
        os.close(request_read)
        os.close(reply_write)
        self._poller = select.poll()
        self._poller.register(self._replies, select.POLLIN)
        self._pending = b""
        self._messages: list[dict[str, Any]] = []
        self._ready = False
        self._sent = 0
        self.server: int | None = None  # process id of the server, for tests and diagnostics

    def decide(self, gold: str, answer: str, timeout: float) -> tuple[str, float]:
        """(status, seconds) of one pair; the server is killed when it has no answer `timeout` seconds after it took
        the pair up.

        Raises:
            WorkerDied: the server ended by itself; the worker may be asked again unless it is `gone`.
        """
        self._await_server()
        self._sent += 1
        self._ready = False
        try:
            return self._exchange(gold, answer, timeout)
        except WorkerDied:
            raise
        except BaseException:  # an interrupt of the caller: the server is still at work on a pair nobody waits for
            self._kill_server()
            raise

    def _await_server(self) -> None:
        deadline = time.monotonic() + STARTUP_SECONDS
        while not self._ready:
            message = self._receive(deadline)
            if message is None or "failed" in message:
                self.close()
                raise RuntimeError(
                    f"the grader's worker process did not start: {(message or {}).get('failed', 'no word from it')}; "
                    f"try `{sys.executable} -m rewards.worker {self._depth}`"
                )
            self._hear_hello(message)

    def _exchange(self, gold: str, answer: str, timeout: float) -> tuple[str, float]:
        request = json.dumps({"id": self._sent, "gold": gold, "answer": answer}).encode()
        try:
            os.write(self._requests, b"\n" + request + b"\n")
        except OSError as error:
            raise WorkerDied from error
        started = time.monotonic()
        deadline = started + STARTUP_SECONDS
        while True:
            message = self._receive(deadline)
            if message is None:
                self._kill_server()
                return "timeout", time.monotonic() - started
            if self._hear_hello(message):
                raise WorkerDied
            if message.get("start") == self._sent:
                started = time.monotonic()
                deadline = started + timeout
            elif message.get("id") == self._sent:
                self._ready = not message["last"]
                return message["status"], message["seconds"]

    def _hear_hello(self, message: dict[str, Any]) -> bool:
        if "hello" not in message:
            return False
        self._ready = True
        self.server = message["hello"]
        return True

    def _receive(self, deadline: float) -> dict[str, Any] | None:
        """The next message, or None at the deadline (time.monotonic()).

        Raises:
            WorkerDied: the pipe ended.
        """
        while not self._messages:
            left = deadline - time.monotonic()
            if left <= 0 or not self._poller.poll(left * 1000):
                return None
            chunk = os.read(self._replies, 65536)
            if not chunk:
                raise WorkerDied
            *lines, self._pending = (self._pending + chunk).split(b"\n")
            for line in lines:
                try:
                    self._messages.append(json.loads(line))
                except ValueError:  # the torn last words of a killed server
                    continue
        return self._messages.pop(0)

    def _kill_server(self) -> None:
        # Through the supervisor, which has not reaped it: its process id cannot have gone to anybody else.
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGUSR1)

    @property
    def gone(self) -> bool:
        return self._process.poll() is not None

    @property
    def supervisor(self) -> int:
        return self._process.pid

    def close(self) -> None:
        """End the process and wait for it."""
        self.disown()
        try:
            self._process.terminate()
            self._process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def disown(self) -> None:
        """Close this process's ends of the pipes."""
        for end in (self._requests, self._replies):
            if end >= 0:
                os.close(end)
        self._requests = self._replies = -1

    def disown_after_fork(self) -> None:
        """In a forked child: the process is the parent's to reap."""
        self.disown()
        self._process.returncode = 0


class Pool:
    """Up to `size` workers, started when needed.

    Args:
        depth: how deep its workers decide.
        size: most workers at once; default: RFTT_GRADER_WORKERS, or the cores this process may use, at most 4.
    """

    def __init__(self, depth: str, size: int | None = None) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.size = size or int(os.environ.get("RFTT_GRADER_WORKERS", "0")) or min(cores, 4)
        self._depth = depth
        self._free = threading.Semaphore(self.size)
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._workers: list[Worker] = []
        self._closed = False

    def decide(self, gold: str, answer: str, timeout: float) -> tuple[str, float]:
        """(status, seconds) of one pair; "undecided" where the workers' depth cannot tell. A pair whose worker dies is
        tried once more; killed twice by something else than its deadline (the system's memory killer), it is a
        "timeout"."""
        for _ in range(2):
            with self._free:
                worker = self._take()
                try:
                    return worker.decide(gold, answer, timeout)
                except WorkerDied:
                    continue
                finally:
                    self._give_back(worker)
        return "timeout", 0.0

    def workers(self) -> list[Worker]:
        with self._lock:
            return self._workers.copy()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            workers = self._workers.copy()
            self._workers.clear()
            self._idle.clear()
        for worker in workers:
            worker.close()

    def disown(self) -> None:
        for worker in self._workers:
            worker.disown_after_fork()

    def _take(self) -> Worker:
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if not worker.gone:
                    return worker
                self._workers.remove(worker)
                worker.close()
        worker = Worker(self._depth)
        with self._lock:
            self._workers.append(worker)
        return worker

    def _give_back(self, worker: Worker) -> None:
        with self._lock:
            if worker in self._workers and not self._closed:
                self._idle.append(worker)


class StatusCache:
    """The statuses of the pairs that went to a worker last; group sampling repeats answers. Thread-safe."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._statuses: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, pair: tuple[str, str], timeout: float) -> str | None:
        """The known status; a "timeout" counts only when it had at least as much time as is offered this time."""
        with self._lock:
            status, tried = self._statuses.get(pair, (None, 0.0))
            if status is None or (status == "timeout" and tried < timeout):
                return None
            self._statuses.move_to_end(pair)
            return status

    def put(self, pair: tuple[str, str], status: str, timeout: float) -> None:
        with self._lock:
            self._statuses[pair] = (status, timeout)
            self._statuses.move_to_end(pair)
            if len(self._statuses) > self._entries:
                self._statuses.popitem(last=False)
