"""Notices when ticks are skipped though their functions are quick: then something else keeps the interpreter busy."""

from __future__ import annotations

from typing import Final

WINDOW_S: Final = 10.0
PAUSE_S: Final = 60.0
_TOLERATED: Final = 0.01


class Suffering:
    """Looks at the ticks of one frequency in windows of `WINDOW_S`, and complains at most once per `PAUSE_S`.

    Args:
        period_s: between two ticks.
        now: when it begins to look.
    """

    __slots__ = ("_busy_s", "_period_s", "_quiet_until", "_since", "_skipped", "_ticks")

    def __init__(self, period_s: float, now: float) -> None:
        self._period_s = period_s
        self._quiet_until = now
        self._begin(now)

    def _begin(self, now: float) -> None:
        self._since = now
        self._ticks = 0
        self._skipped = 0
        self._busy_s = 0.0

    def ticked(self, skipped: int, took_s: float, now: float) -> str | None:
        """Take note of a tick.

        Args:
            skipped: how many were skipped before it.
            took_s: how long all functions of this tick took together.
            now: when they were done.

        Returns:
            What to tell the owner of the server, if there is something.
        """
        self._ticks += 1 + skipped
        self._skipped += skipped
        self._busy_s = max(self._busy_s, took_s)
        if now - self._since < WINDOW_S:
            return None
        ticks, skipped_share, busy_s = self._ticks, self._skipped / self._ticks, self._busy_s
        self._begin(now)
        if skipped_share <= _TOLERATED or busy_s > self._period_s / 2 or now < self._quiet_until:
            return None
        self._quiet_until = now + PAUSE_S
        return (
            f"{skipped_share:.0%} of {ticks} ticks were skipped, though their functions took {busy_s * 1e3:.2g} ms at "
            "most: something else keeps the interpreter busy; RouterServer(switch_interval_s=0.0005) may help"
        )
