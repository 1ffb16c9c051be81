"""How much earlier than its deadline a thread wakes up where the interpreter lets it wait.

A thread that sleeps gives the interpreter away. Beside a busy Python thread it gets it back only after a switch
interval: always, and always so much later. Whoever wakes up that much earlier has it in time.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Final

WINDOW_TICKS: Final = 8
_SHORT_S: Final = 0.2e-3
"""To be late by less is the system's way to wake a thread; to be early by less is not worth another sleep."""


class HeadStart:
    """The head start of one thread: what all of its last sleeps had in common, so that it hardly ever is too early.

    Args:
        period_s: between two deadlines; the head start is half of it at most.

    Attributes:
        seconds: how much earlier to wake up now.
    """

    __slots__ = ("_late_s", "_most_s", "seconds")

    def __init__(self, period_s: float) -> None:
        self._most_s = period_s / 2
        self._late_s: deque[float] = deque(maxlen=WINDOW_TICKS)
        self.seconds = 0.0

    def sleep(self, duration_s: float) -> None:
        """Sleep, and have the interpreter at the end of that; never shorter."""
        now = time.perf_counter()
        end = now + duration_s
        wake = end - self.seconds
        if wake > now:
            time.sleep(wake - now)
            now = time.perf_counter()
            self.woke(now - wake)
        if end - now > _SHORT_S:
            time.sleep(end - now)
        while time.perf_counter() < end:
            pass

    def woke(self, late_s: float) -> None:
        """Take note of a sleep that ended so much later than it was to."""
        self._late_s.append(late_s)
        least_s = min(self._late_s)
        wanted = least_s > _SHORT_S and len(self._late_s) == WINDOW_TICKS
        self.seconds = min(least_s, self._most_s) if wanted else 0.0
