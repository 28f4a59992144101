"""Ports for servers that tests start: none that the kernel gives away, and another one if it is taken after all."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
FIRST = 15_000
RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")  # what the kernel gives to whoever asks for any port
IN_USE = "Address already in use"


class PortTaken(Exception):
    """Another program has taken a port between its choice and its use."""


def free_port(count: int = 1) -> int:
    """The first of `count` neighbouring ports that nobody has, outside of the kernel's own range."""
    last = int(RANGE.read_text().split()[0]) if RANGE.exists() else 32_768
    dice = random.SystemRandom()  # several test runs on a machine must not draw alike
    for _ in range(1000):
        port = dice.randrange(FIRST, max(last, FIRST + 1000) - count)
        if all(_is_free(port + i) for i in range(count)):
            return port
    raise OSError("no port is free")


def on_free_port(start: Callable[[int], T], count: int = 1, attempts: int = 5) -> T:
    """What `start` returns, called with the first of `count` free ports; with others when it raises `PortTaken`."""
    for attempt in range(attempts):
        try:
            return start(free_port(count))
        except PortTaken:
            if attempt == attempts - 1:
                raise
    raise AssertionError("attempts: expected 1 or more")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
