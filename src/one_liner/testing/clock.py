"""Clocks for tests: one that is moved by hand, and one that goes wrong on purpose."""

from __future__ import annotations

import math
from threading import Lock

from one_liner.clock import SYSTEM_CLOCK, Clock
from one_liner.errors import ConfigurationError


class FakeClock:
    """A clock that stands still until it is moved; a `one_liner.clock.Clock`. Safe from any thread.

    Args:
        now: the first instant, in s.
        wall: the first wall-clock time, in s since the epoch.
    """

    def __init__(self, now: float = 1000.0, wall: float = 1_700_000_000.0) -> None:
        self._now, self._wall = now, wall
        self._lock = Lock()

    def now(self) -> float:
        """Seconds on the monotonic timeline."""
        return self._now

    def wall(self) -> float:
        """Seconds since the epoch."""
        return self._wall

    def advance(self, seconds: float) -> None:
        """Let time pass, on both timelines.

        Raises:
            ConfigurationError: it would go backwards, which `now` never does.
        """
        if not 0.0 <= seconds < math.inf:
            raise ConfigurationError(f"time passes forwards by a number of seconds, not by {seconds!r}")
        with self._lock:
            self._now += seconds
            self._wall += seconds

    def set_wall(self, wall: float) -> None:
        """Set the wall clock, forwards or backwards, as an operator or NTP does; `now` is not touched."""
        with self._lock:
            self._wall = wall


class ShiftedClock:
    """The clock of a machine that differs from ours; a `one_liner.clock.Clock`. Safe from any thread.

    Args:
        offset_s: how far it is ahead of `base` when it is made, on both timelines, in s; negative when behind.
        rate: how many of its seconds pass in one of `base`: 1.00005 is a quartz that is 50 ppm too fast.
        base: the clock it is measured against.

    Raises:
        ConfigurationError: the rate is not above 0, or a number is not finite.
    """

    def __init__(self, offset_s: float, rate: float = 1.0, base: Clock = SYSTEM_CLOCK) -> None:
        if not (math.isfinite(offset_s) and 0.0 < rate < math.inf):
            raise ConfigurationError(f"a clock has a finite offset and a rate above 0, not {offset_s!r} and {rate!r}")
        self._base, self._offset_s, self._rate = base, offset_s, rate
        self._began, self._wall_began = base.now(), base.wall()

    def now(self) -> float:
        """Seconds on its own monotonic timeline."""
        return self._began + self._offset_s + self._rate * (self._base.now() - self._began)

    def wall(self) -> float:
        """Seconds since the epoch, as this machine believes."""
        return self._wall_began + self._offset_s + self._rate * (self._base.wall() - self._wall_began)
