"""When somebody who watches for the death of clients may believe their silence."""

from __future__ import annotations

from typing import Final

ROUND_S: Final = 0.1
_STALL_S: Final = 5 * ROUND_S
_GRACE_S: Final = 1.0


class Vigil:
    """Looks in rounds of `ROUND_S`; used by one thread.

    When a round comes late, this process stood still, and so did whoever takes the heartbeats: they are waiting to be
    read, and for a while silence says nothing.

    Args:
        now: when it begins.
    """

    def __init__(self, now: float) -> None:
        self._last = self._blind_until = now

    def sees(self, now: float) -> bool:
        """Note a round. Whether silence means anything in it."""
        if now - self._last > _STALL_S:
            self._blind_until = now + _GRACE_S
        self._last = now
        return now >= self._blind_until
