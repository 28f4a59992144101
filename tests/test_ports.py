"""Servers under test find a port although another program takes theirs."""

import socket

import pytest

from tests import ports
from tests.ports import PortTaken, free_port, on_free_port


def test_a_free_port_is_none_that_the_kernel_gives_away():
    low = int(ports.RANGE.read_text().split()[0]) if ports.RANGE.exists() else 32_768
    for _ in range(50):
        assert ports.FIRST <= free_port(3) < low - 2


def test_neighbours_are_free_too():
    first = free_port(3)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first + 1))
        assert not ports._is_free(first + 1) and ports._is_free(first)


def test_a_port_that_is_taken_in_between_is_changed_for_another():
    tried = []

    def start(port):
        tried.append(port)
        if len(tried) < 3:
            raise PortTaken
        return port

    assert on_free_port(start) == tried[2] and len(set(tried)) == 3
    with pytest.raises(PortTaken):
        on_free_port(lambda port: (_ for _ in ()).throw(PortTaken()), attempts=2)
