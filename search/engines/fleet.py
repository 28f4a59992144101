"""Several servers of one model: which of them gets a request, which are set aside, and when all are gone.

Requests of one tree go to one server, whose prefix cache then holds their common beginning. Rendezvous hashing picks it:
every live server draws a number for the tree, the highest wins, so a server that dies moves only its own trees.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from search.engines.engine import EngineGone
from search.together import cancel_all

Probe = Callable[[str], Awaitable[str | None]]
log = logging.getLogger(__name__)
LONGEST_PAUSE = 5.0  # seconds; between probes of a server that stays away
LAST_MOMENT = 0.1  # seconds; for probes when no request is left
POLL = 0.05  # seconds; between looks at a fleet of which no server is live


@dataclass(eq=False)
class Server:
    """One server.

    Args:
        url: without a path.
        load: requests that it has or that wait for it.
        failures: failures in a row.
        probe_at: None while it is live; else it is set aside and probed when a request comes after this time.
        reason: why it was last set aside.
    """

    url: str
    load: int = 0
    failures: int = 0
    probe_at: float | None = None
    reason: str = ""

    @property
    def live(self) -> bool:
        return self.probe_at is None


class Fleet:
    """Hands out servers.

    Args:
        urls: URLs of the servers.
        max_in_flight: requests of one server at once; the others wait in order.
        backoff: seconds until a failed server is probed, doubled with every failure in a row.
        give_up: seconds without a live server after which `slot` raises.
    """

    def __init__(self, urls: Sequence[str], *, max_in_flight: int, backoff: float, give_up: float) -> None:
        self.servers = [Server(url) for url in urls]
        self._max_in_flight = max_in_flight
        self._backoff = backoff
        self._give_up = give_up
        self._lost_at = 0.0
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._probes: dict[str, asyncio.Task[None]] = {}
        self._probe: Probe

    def begin(self, probe: Probe) -> None:
        """Start a period with requests in flight; what belongs to an event loop is made anew.

        Args:
            probe: says of a URL why its server cannot be used, or None if it can; must not take long.
        """
        self._probe = probe
        self._slots = {server.url: asyncio.Semaphore(self._max_in_flight) for server in self.servers}
        self._probes = {}
        self._lost_at = time.monotonic()

    async def end(self) -> None:
        """End it. Probes under way get a moment, since requests that come one by one would never leave them any."""
        if self._probes:
            _, late = await asyncio.wait(self._probes.values(), timeout=LAST_MOMENT)
            await cancel_all(late)

    @asynccontextmanager
    async def slot(self, tree: str, avoid: Collection[Server] = ()) -> AsyncIterator[Server]:
        """A live server with room for one request.

        Args:
            tree: tree that asks; may be empty.
            avoid: servers that failed this request; they get it again only where no other is live.

        Raises:
            EngineGone: there was no live server for `give_up` seconds.
        """
        while True:
            server = await self._wait_for_server(tree, avoid)
            server.load += 1
            try:
                async with self._slots[server.url]:
                    if server.live:  # it may have failed while this request waited for its turn
                        yield server
                        return
            finally:
                server.load -= 1

    def set_aside(self, server: Server, reason: str) -> None:
        """Send nothing more to a server until a probe finds it well."""
        server.reason = reason
        if server.live:  # of many requests that fail together, the first one counts
            server.failures += 1
            self._postpone(server)
            log.warning("%s is set aside: %s", server.url, reason)
            if not any(s.live for s in self.servers):
                self._lost_at = time.monotonic()

    def choose(self, tree: str, avoid: Collection[Server] = ()) -> Server | None:
        """The live server of a tree; without a tree the one with the least to do."""
        live = [server for server in self.servers if server.live]
        live = [server for server in live if server not in avoid] or live
        if not live:
            return None
        return max(live, key=lambda s: _draw(tree, s.url)) if tree else min(live, key=lambda s: s.load)

    async def _wait_for_server(self, tree: str, avoid: Collection[Server]) -> Server:
        while True:
            self._start_probes()
            server = self.choose(tree, avoid)
            if server is not None:
                return server
            if time.monotonic() - self._lost_at > self._give_up:
                reasons = "; ".join(f"{s.url}: {s.reason}" for s in self.servers)
                raise EngineGone(
                    f"no server has answered for {self._give_up:g} s ({reasons}): start them again "
                    "(launch/servers.sh) or correct engine.servers"
                )
            await asyncio.sleep(min(POLL, self._give_up))

    def _start_probes(self) -> None:
        now = time.monotonic()
        for server in self.servers:
            if server.probe_at is not None and server.probe_at <= now and server.url not in self._probes:
                self._probes[server.url] = asyncio.ensure_future(self._probe_one(server, self._probes))

    async def _probe_one(self, server: Server, probes: dict[str, asyncio.Task[None]]) -> None:
        self._postpone(server)  # what holds if the probe is cancelled
        try:
            reason = await self._probe(server.url)
            if reason is None:
                server.probe_at = None
                log.warning("%s is back", server.url)
            else:
                server.failures += 1
                server.reason = reason
                self._postpone(server)
        finally:
            del probes[server.url]

    def _postpone(self, server: Server) -> None:
        pause = min(self._backoff * 2 ** min(server.failures - 1, 10), LONGEST_PAUSE)
        server.probe_at = time.monotonic() + pause


def _draw(tree: str, url: str) -> bytes:
    return hashlib.blake2b(f"{tree}\x1f{url}".encode(), digest_size=8).digest()
