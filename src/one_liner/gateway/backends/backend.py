"""What a `PubSubEndpoint` asks of a backend, and the one that joins nobody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from one_liner.gateway.event import Event


@dataclass(frozen=True)
class BackendStatistics:
    """What a backend has done, in events.

    Attributes:
        connected: whether other gateways can be reached now.
        published: how many of ours were handed to it.
        sent: how many of these left for the others.
        unsent: how many of these were given up, because there was no connection and no room.
        waiting: how many of these wait for a connection.
        received: how many of others arrived.
        lost: how many of others are known to be missing: the gaps in their numbers.
        duplicates: how many arrived more than once; they were told once.
        reconnections: how often the connection was made again.
    """

    connected: bool
    published: int = 0
    sent: int = 0
    unsent: int = 0
    waiting: int = 0
    received: int = 0
    lost: int = 0
    duplicates: int = 0
    reconnections: int = 0


class Backend(Protocol):
    """Takes the events of one gateway to all others that are joined with it, each of them once. On one event loop."""

    @property
    def statistics(self) -> BackendStatistics:
        """What it has done, until now."""

    async def start(self, deliver: Callable[[Event], None]) -> None:
        """Join; `deliver` is called with the events of the others. Does not wait until anybody can be reached."""

    def publish(self, event: Event) -> None:
        """Have the others told. Never waits."""

    async def close(self) -> None:
        """Leave."""


class Alone:
    """The backend "memory": there is this gateway and no other."""

    def __init__(self) -> None:
        self._published = 0

    @property
    def statistics(self) -> BackendStatistics:
        """What was published."""
        return BackendStatistics(True, published=self._published)

    async def start(self, deliver: Callable[[Event], None]) -> None:
        """There is nobody to join."""

    def publish(self, event: Event) -> None:
        """There is nobody else to be told."""
        self._published += 1

    async def close(self) -> None:
        """There is nobody to leave."""
