"""Child processes that end with the process that started them, however that one ends.

A killed parent cannot tell its children. So each child holds the reading end of a pipe whose writing end only the parent
has: when it closes, the parent is gone, and the child goes too. Until then it shares the parent's locks: the same command,
given again, never works on the same files as what is left of the first. What children have to say goes through the terminal
of their parent (`terminal`).
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from rftt.runtime import terminal
from rftt.runtime.folder_lock import for_children

LIFELINE = "RFTT_LIFELINE"  # file descriptor of the pipe's reading end
PATIENCE = 10.0  # seconds that a child has to end by itself


def run_children(commands: Sequence[Sequence[str]], at_once: int = 1) -> list[int]:
    """Run commands of this project, at most `at_once` at a time, which share the cores.

    Returns:
        Exit codes in order. Once one has failed the others are ended, and no further one is started: their code is 0,
        since they have not failed.

    Raises:
        KeyboardInterrupt: this process was interrupted; the children are ended.
    """
    running: dict[int, subprocess.Popen[bytes]] = {}
    failed = threading.Event()
    lock = threading.Lock()

    def kill() -> None:
        with lock:
            for child in running.values():
                child.kill()

    killer = threading.Timer(PATIENCE, kill)
    killer.daemon = True

    def end() -> None:
        """End what runs, by force if need be; the lock is held."""
        if not failed.is_set():
            killer.start()
        failed.set()
        for child in running.values():
            child.terminate()

    def run(place: int) -> int:
        reading, writing = os.pipe()
        locks, descriptors = for_children()
        environment, handed = {**os.environ, **locks, LIFELINE: str(reading)}, [reading, *descriptors]
        if at_once > 1:
            environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // at_once)))
        if events is not None:
            environment[terminal.EVENTS] = str(events)
            handed.append(events)
        try:
            with lock:
                if failed.is_set():
                    return 0
                running[place] = subprocess.Popen(
                    commands[place], env=environment, pass_fds=handed, stdout=output, stderr=output
                )
            code = running[place].wait()
        finally:
            os.close(reading)
            os.close(writing)
        with lock:
            del running[place]
            if code == 0 or failed.is_set():
                return 0
            end()
        return code

    try:
        with terminal.listening() as (events, output), ThreadPoolExecutor(at_once) as threads:
            try:
                return list(threads.map(run, range(len(commands))))
            except BaseException:  # an interrupt, of which the children may not have heard
                with lock:
                    end()
                raise
    finally:
        killer.cancel()


def end_with_parent() -> None:
    """End this process when the one that started it with `run_children` is gone; does nothing in any other process."""
    lifeline = os.environ.pop(LIFELINE, None)
    if lifeline is not None:
        threading.Thread(target=_wait_for_end, args=(int(lifeline),), daemon=True).start()


def _wait_for_end(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(1)
