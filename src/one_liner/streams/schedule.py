"""The grid of a periodic stream: which tick comes next, when it is due, and how many were skipped.

Deadlines are absolute, start + n / frequency, and computed afresh from n each time: nothing accumulates, so the grid
does not drift however long it runs. Being late never moves it; it only skips ticks, which are counted.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Final, NamedTuple, SupportsFloat, TypeGuard

from one_liner.errors import ConfigurationError

# Slower than once in 30 years is beyond what `time.sleep` takes on every system; faster than this, neighbouring
# deadlines fall on the same float.
MIN_FREQUENCY_HZ: Final = 1e-9
MAX_FREQUENCY_HZ: Final = 1e9


def check_frequency(frequency_hz: object) -> float:
    """The frequency as a float, if it is one that a stream can have.

    Args:
        frequency_hz: any real number; numpy scalars, fractions and decimals too.

    Returns:
        The same in Hz.

    Raises:
        ConfigurationError: not a real number (a bool or a text is none), not finite, not positive, or outside of
            `MIN_FREQUENCY_HZ` to `MAX_FREQUENCY_HZ`.
    """
    if isinstance(frequency_hz, bool) or not (isinstance(frequency_hz, Real) or _is_decimal(frequency_hz)):
        raise ConfigurationError(
            f"frequency_hz must be a number, not {frequency_hz!r} of type {type(frequency_hz).__name__}"
        )
    try:
        hz = float(frequency_hz)
    except (OverflowError, ValueError):
        hz = math.nan
    # Written so that a NaN fails it, too.
    if not MIN_FREQUENCY_HZ <= hz <= MAX_FREQUENCY_HZ:
        raise ConfigurationError(
            f"frequency_hz must be positive and from {MIN_FREQUENCY_HZ:g} to {MAX_FREQUENCY_HZ:g}, not {hz!r}"
        )
    return hz


def _is_decimal(value: object) -> TypeGuard[SupportsFloat]:
    from decimal import Decimal  # A number, but no `Real`; rarely needed, and a millisecond for everybody else.

    return isinstance(value, Decimal)


class Tick(NamedTuple):
    """One deadline of a schedule.

    Attributes:
        index: its number on the grid, from 0.
        deadline: the instant it is due, in s on the timeline of `start`.
        skipped: how many ticks before it were missed and will never come.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs on a tick
    deadline: float
    skipped: int


class Schedule:
    """An absolute grid of deadlines; tick n is due at start + n / frequency.

    Used by one thread.

    Args:
        frequency_hz: ticks per second, as `check_frequency` takes it.
        start: the instant of tick 0, in s.

    Raises:
        ConfigurationError: the frequency cannot be.
    """

    __slots__ = ("_upcoming", "frequency_hz", "start")

    def __init__(self, frequency_hz: float, start: float) -> None:
        self.frequency_hz = check_frequency(frequency_hz)
        self.start = start
        self._upcoming = 0

    def deadline(self, index: int) -> float:
        """The instant at which tick `index` is due, in s."""
        return self.start + index / self.frequency_hz

    def next(self, now: float) -> Tick:
        """Hand out the next tick; each is handed out at most once.

        Args:
            now: the present instant, in s.

        Returns:
            The tick after the last one, to sleep towards, when its deadline is still ahead. When it has passed, the
            latest tick that is due, to run at once; those passed over before it are its `skipped`.
        """
        upcoming = self._upcoming
        deadline = self.deadline(upcoming)
        if deadline > now:
            self._upcoming = upcoming + 1
            return Tick(upcoming, deadline, 0)
        index = self._latest_due(now, upcoming)
        self._upcoming = index + 1
        return Tick(index, self.deadline(index), index - upcoming)

    def _latest_due(self, now: float, due: int) -> int:
        """The last tick with a deadline not after `now`; tick `due` has one."""
        index = max(int((now - self.start) * self.frequency_hz), due)
        # The product rounds otherwise than the quotient that makes the deadlines, and these are the authority.
        while self.deadline(index) > now:
            index -= 1
        while self.deadline(index + 1) <= now:
            index += 1
        return index
