"""The clients that a server hears from: what they call themselves, and whether they still live.

A session lives as long as its heartbeats come, its own or those of a router that vouches for it. It knows nothing of
sockets but the connection on which the heartbeats come.
"""

from __future__ import annotations

from threading import Lock
from typing import Final, NamedTuple

HEARTBEATS_TO_DEATH: Final = 3
MAX_SESSIONS: Final = 10_000
_MAX_NAME: Final = 200


class Session(NamedTuple):
    """One client.

    Attributes:
        name: what it calls itself.
        heart: the connection its heartbeats come on.
        seen: when the last one came.
        heartbeat_s: how often they are due.
    """

    name: str
    heart: bytes
    seen: float
    heartbeat_s: float

    def lives(self, now: float) -> bool:
        """Whether its heartbeats still come."""
        return now - self.seen <= HEARTBEATS_TO_DEATH * self.heartbeat_s


class Sessions:
    """All clients of a server, by their random numbers. May be used from any thread.

    Args:
        most: how many are remembered; the one that has been silent for longest is forgotten first.
    """

    def __init__(self, most: int = MAX_SESSIONS) -> None:
        self._most = most
        self._lock = Lock()
        self._sessions: dict[int, Session] = {}

    def heard(self, client: int, name: str, heart: bytes, heartbeat_s: float, now: float) -> None:
        """A heartbeat came."""
        with self._lock:
            self._sessions.pop(client, None)
            if len(self._sessions) >= self._most:
                del self._sessions[next(iter(self._sessions))]
            self._sessions[client] = Session(name[:_MAX_NAME], heart, now, heartbeat_s)

    def name_of(self, client: int) -> str:
        """What a client calls itself; its number, if it has not said so yet."""
        session = self._sessions.get(client)
        return f"client {client:x}" if session is None else session.name

    def lives(self, client: int, now: float) -> bool:
        """Whether the heartbeats of a client still come."""
        session = self._sessions.get(client)
        return session is not None and session.lives(now)

    def living(self, now: float) -> dict[int, Session]:
        """Those whose heartbeats still come."""
        with self._lock:
            return {client: session for client, session in self._sessions.items() if session.lives(now)}

    def hearts(self) -> set[bytes]:
        """The connections that heartbeats come on."""
        with self._lock:
            return {session.heart for session in self._sessions.values()}
