"""Peers that send what cannot be read, again and again.

ZeroMQ cannot be told to cut one connection of many. So a peer that has sent too much garbage is not listened to for a
while: what it sends is thrown away unread, which costs next to nothing, and everybody else is served in turn with it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

from one_liner.limits import DEFAULT_LIMITS, Limits

T = TypeVar("T")
_MOST_PEERS = 1000


class Nuisances:
    """Who sends garbage. For one thread.

    Args:
        limits: how much is too much, and for how long nobody listens then.

    Attributes:
        ignored: until when each peer that sent too much is ignored. Empty for nearly everybody, so that nearly
            everybody need only look whether it is.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._counts: OrderedDict[bytes, tuple[int, float]] = OrderedDict()
        self.ignored: OrderedDict[bytes, float] = OrderedDict()

    def note(self, peer: bytes, now: float) -> int:
        """A peer sent garbage. How often it did lately; it is ignored from now on when that is the limit."""
        count, since = self._counts.pop(peer, (0, now))
        if now - since > self._limits.ignored_s:
            count, since = 0, now
        count += 1
        if count >= self._limits.malformed:
            _add(self.ignored, peer, now + self._limits.ignored_s)
        else:
            _add(self._counts, peer, (count, since))
        return count

    def ignores(self, peer: bytes, now: float) -> bool:
        """Whether what this peer sends is thrown away."""
        until = self.ignored.get(peer)
        if until is None:
            return False
        if now < until:
            return True
        del self.ignored[peer]
        return False


def _add(known: OrderedDict[bytes, T], peer: bytes, value: T) -> None:
    """Remember a peer, and forget the oldest when there are too many."""
    known[peer] = value
    if len(known) > _MOST_PEERS:
        known.popitem(last=False)
