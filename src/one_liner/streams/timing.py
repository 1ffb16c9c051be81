"""How well a ticking source keeps its time: rate, lateness, jitter and how long the source takes.

Says nothing about ticks that did not run; those are counted in the ledger.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import pairwise
from typing import Final

from one_liner.frozen import Frozen

WINDOW_TICKS: Final = 256


class TimingSummary(Frozen):
    """The last ticks of a source, in numbers; None where too few have run to know.

    Attributes:
        achieved_hz: ticks per second that really ran; below the wanted frequency when ticks are skipped.
        jitter_s: standard deviation of the time between two ticks from what it should have been. A skipped tick is
            no jitter.
        lateness_s: how long after its deadline a tick starts, on average.
        duration_mean_s: how long the source takes, on average.
        duration_max_s: how long it took at worst.
    """

    achieved_hz: float | None
    jitter_s: float | None
    lateness_s: float | None
    duration_mean_s: float | None
    duration_max_s: float | None

    def as_dict(self) -> dict[str, float | None]:
        """The same as plain data."""
        return dict(vars(self))


class Timing:
    """Running statistics over the last `WINDOW_TICKS` ticks of one source.

    Fed by the thread that ticks, at the cost of one append; read from any thread, which pays for the arithmetic. It
    knows nothing of the present: when ticks stop coming the figures stay, until `reset`.
    """

    __slots__ = ("_ticks",)

    def __init__(self) -> None:
        self._ticks: deque[tuple[float, float, float]] = deque(maxlen=WINDOW_TICKS)

    def ticked(self, started: float, deadline: float, took: float) -> None:
        """Note one tick that ran.

        Args:
            started: the instant the source was called, in s.
            deadline: the instant it should have been called, in s, on the same timeline.
            took: how long it ran, in s.
        """
        self._ticks.append((started, started - deadline, took))

    def reset(self) -> None:
        """Forget all ticks: a pause is over, and it was no slow tick."""
        self._ticks.clear()

    def summary(self) -> TimingSummary:
        """The figures of the present window."""
        # One copy in C: the ticking thread goes on appending meanwhile.
        ticks = list(self._ticks)
        if not ticks:
            return TimingSummary(None, None, None, None, None)
        lateness = [late for _, late, _ in ticks]
        durations = [took for _, _, took in ticks]
        span = ticks[-1][0] - ticks[0][0]
        # How much longer an interval was than the deadlines at its ends are apart.
        interval_errors = [after - before for before, after in pairwise(lateness)]
        return TimingSummary(
            achieved_hz=(len(ticks) - 1) / span if span > 0.0 else None,
            jitter_s=_deviation(interval_errors) if len(interval_errors) > 1 else None,
            lateness_s=_mean(lateness),
            duration_mean_s=_mean(durations),
            duration_max_s=max(durations),
        )


def _mean(values: list[float]) -> float:
    # The one of `statistics` is exact to the last bit, and costs 3 ms of everybody's import.
    return math.fsum(values) / len(values)


def _deviation(values: list[float]) -> float:
    """Standard deviation of a population; that of `statistics` is exact and several times slower."""
    mean = _mean(values)
    return math.sqrt(_mean([(value - mean) ** 2 for value in values]))
