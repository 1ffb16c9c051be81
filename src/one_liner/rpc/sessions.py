"""The clients that a server hears from: what they call themselves, and whether they still live.

A session lives as long as its heartbeats come, its own or those of a router that vouches for it. It knows nothing of
sockets but the connection on which the heartbeats come.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from threading import Lock
from typing import Final, NamedTuple

from one_liner.errors import LimitError
from one_liner.limits import DEFAULT_LIMITS

HEARTBEATS_TO_DEATH: Final = 3
_MAX_NAME: Final = 200
_MAX_HEARTBEAT_S: Final = 60.0  # Nobody keeps a place for ever by saying that the next heartbeat comes in a year.


class Session(NamedTuple):
    """One client.

    Attributes:
        name: what it calls itself.
        heart: the connection its heartbeats come on.
        seen: when the last one came.
        heartbeat_s: how often they are due.
        vouched: the clients that it vouched for last, if it is a router.
    """

    name: str
    heart: bytes
    seen: float
    heartbeat_s: float
    vouched: frozenset[int] = frozenset()

    def lives(self, now: float, at_least_s: float = 0.0) -> bool:
        """Whether its heartbeats still come, given that they are not looked for more often than `at_least_s`."""
        return now - self.seen <= HEARTBEATS_TO_DEATH * max(self.heartbeat_s, at_least_s)


class Sessions:
    """All clients of a server, by their random numbers. May be used from any thread.

    Args:
        most: how many there may be. One that is dead makes room for a new one.
    """

    def __init__(self, most: int = DEFAULT_LIMITS.clients) -> None:
        self._most = most
        self._lock = Lock()
        self._sessions: dict[int, Session] = {}

    def heard(self, client: int, name: str, heart: bytes, heartbeat_s: float, now: float) -> None:
        """A heartbeat came.

        Raises:
            LimitError: it is a new client, and as many live as there may be.
        """
        with self._lock:
            before = self._sessions.pop(client, None)
            if len(self._sessions) >= self._most:
                self._make_room(now)
            vouched = frozenset[int]() if before is None else before.vouched
            self._sessions[client] = Session(name[:_MAX_NAME], heart, now, min(heartbeat_s, _MAX_HEARTBEAT_S), vouched)

    def vouches(self, router: int, clients: Iterable[int]) -> None:
        """A router's heartbeat named these clients. Those that it named before and names no longer are dead: it knows.

        They need not be waited for here, too, or a death would take longer to be noticed with every hop.
        """
        with self._lock:
            session = self._sessions.get(router)
            if session is None:
                return  # It beats so fast that it has had to make room already.
            named = frozenset(clients)
            for client in session.vouched - named:
                other = self._sessions.get(client)
                if other is not None and other.heart == session.heart:
                    self._sessions[client] = other._replace(seen=-math.inf)
            if named or session.vouched:
                self._sessions[router] = session._replace(vouched=named)

    def _make_room(self, now: float) -> None:
        for client, session in self._sessions.items():
            if not session.lives(now):
                del self._sessions[client]
                return
        raise LimitError(f"this server has {len(self._sessions)} clients that live, and takes no more")

    def expect(self, client: int, name: str, heartbeat_s: float, now: float) -> None:
        """A client was heard of by other means; its first heartbeat may still be on its way, through routers."""
        if not self.lives(client, now):
            self.heard(client, name, b"", heartbeat_s, now)

    def name_of(self, client: int) -> str:
        """What a client calls itself; its number, if it has not said so yet."""
        session = self._sessions.get(client)
        return f"client {client:x}" if session is None else session.name

    def lives(self, client: int, now: float) -> bool:
        """Whether the heartbeats of a client still come."""
        session = self._sessions.get(client)
        return session is not None and session.lives(now)

    def living(self, now: float, at_least_s: float = 0.0) -> dict[int, Session]:
        """Those whose heartbeats still come, given that they are not looked for more often than `at_least_s`."""
        with self._lock:
            return {client: session for client, session in self._sessions.items() if session.lives(now, at_least_s)}

    def hearts(self) -> set[bytes]:
        """The connections that heartbeats come on."""
        with self._lock:
            return {session.heart for session in self._sessions.values()}
