"""Time: the clock everybody is handed, and how far the clock of another machine is from ours.

All of one_liner takes time as an argument or from a `Clock`; this is the only file that reads the real one. Instants
are seconds on the `time.perf_counter` timeline of this process unless a name says `wall`.
"""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Final, NamedTuple, Protocol

from one_liner.errors import ConfigurationError


class Clock(Protocol):
    """Where an object reads the time; tests hand in one that they move by hand."""

    def now(self) -> float:
        """Seconds on the monotonic `time.perf_counter` timeline."""

    def wall(self) -> float:
        """Seconds since the epoch, as `time.time`; may jump when the machine's clock is set."""


class SystemClock:
    """The real clock; safe from any thread."""

    __slots__ = ()

    # The functions themselves: they are asked several times per call and sample.
    now = staticmethod(time.perf_counter)
    wall = staticmethod(time.time)


SYSTEM_CLOCK: Final = SystemClock()


class _Exchange(NamedTuple):
    """One question and its answer; the server read its clock somewhere between `sent` and `received`."""

    offset: float
    half_round_trip: float
    sent: float
    received: float

    def error(self, now: float, drift: float) -> float:
        """How far `offset` can be from the truth at the instant `now`."""
        # The reading happened at an unknown instant of the round trip, so its age is taken from the farther end.
        return self.half_round_trip + drift * max(now - self.sent, self.received - now)


class OffsetEstimator:
    """How far a server's timeline is from ours, measured from the heartbeats, with a bound on the error.

    An answer that took the round trip r tells the server's clock to within r/2, whatever the way there and the way
    back had in common. Of the last `window` exchanges the one with the smallest bound counts. This is the clock filter
    of NTP (RFC 5905, section 10: the sample of minimum delay is the best one, and its dispersion grows with its age),
    with one server reading in place of two, so that the time the server took to answer counts as round trip.

    An exchange that contradicts earlier ones by more than both bounds means that one of the clocks jumped (a machine
    slept, the server's machine was booted again): the earlier ones are forgotten.

    Fed by one thread; `offset` and `error` may be read from any.

    Args:
        window: how many exchanges are remembered, at least 1.
        drift_ppm: how much faster one clock may run than the other, in parts per million.

    Raises:
        ConfigurationError: the window is empty or the drift negative.
    """

    __slots__ = ("_chosen", "_drift", "_offset", "_pinned", "_recent")

    def __init__(self, window: int = 16, drift_ppm: float = 50.0) -> None:
        if window < 1 or not drift_ppm >= 0.0:
            raise ConfigurationError(
                f"window must be at least 1 and drift_ppm not negative, not {window!r} and {drift_ppm!r}"
            )
        self._drift = drift_ppm * 1e-6
        self._recent: deque[_Exchange] = deque(maxlen=window)
        self._chosen: _Exchange | None = None
        self._offset = 0.0
        self._pinned = False

    def update(self, sent: float, server: float, received: float) -> None:
        """Take in one exchange.

        One that cannot be (received before sent, not finite) is ignored, and so is every one while pinned.

        Args:
            sent: local instant just before the question left.
            server: the server's instant when it answered, on its timeline.
            received: local instant just after the answer came.
        """
        round_trip = received - sent
        # Written so that a NaN fails it, too; `server` was read from the wire.
        if self._pinned or not (0.0 <= round_trip < math.inf and math.isfinite(server)):
            return
        newest = _Exchange(sent + round_trip / 2 - server, round_trip / 2, sent, received)
        drift = self._drift
        doubt = newest.error(received, drift)
        self._recent = deque(
            (old for old in self._recent if abs(old.offset - newest.offset) <= old.error(received, drift) + doubt),
            self._recent.maxlen,
        )
        self._recent.append(newest)
        # All bounds grow at the same rate: the smallest one stays the smallest until the next exchange.
        self._chosen = min(self._recent, key=lambda exchange: exchange.error(received, drift))
        self._offset = self._chosen.offset

    def offset(self) -> float:
        """Seconds to add to a server's instant to have it on the local timeline; 0.0 while nothing is known."""
        return self._offset

    def error(self, now: float) -> float:
        """Bound in seconds on the error of `offset` at the local instant `now`.

        Half the round trip of the exchange that counts, plus the drift since. `math.inf` while nothing is known,
        0.0 while pinned.
        """
        chosen = self._chosen
        if chosen is not None:
            return chosen.error(now, self._drift)
        return 0.0 if self._pinned else math.inf

    def pin(self) -> None:
        """Both ends are on one machine and share the clock: offset and error are exactly 0 until `reset`."""
        self.reset()
        self._pinned = True

    def reset(self) -> None:
        """Forget everything, the pin included: another server answers now."""
        self._pinned = False
        self._recent.clear()
        self._chosen = None
        self._offset = 0.0
