"""Whether to look out for an answer for a moment before going to sleep until it comes.

To wake a sleeping thread takes longer than all the rest of a small call. Looking out costs a core for as long, which is
a waste where the answer takes longer anyway, and worse where the server needs that core. So every miss doubles the
number of calls that go to sleep at once, and every answer that came in time halves it. Who sleeps, and is answered so
soon that looking out may have caught it, waits for fewer calls.

Between two looks the core is offered to whoever else wants it: the other clients, and on a single core the very threads
that make the answer.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

SPIN_S: Final = 500e-6  # A small call takes 60 to 200 µs, one through a router 150 to 350.
_SOON_S: Final = 600e-6
_MAX_PAUSE: Final = 1023


def _keep_on() -> None:
    """Windows has no such offer."""


offer_core: Final[Callable[[], None]] = getattr(os, "sched_yield", _keep_on)
"""Let another thread run if one wants to; takes a third of a microsecond if none does."""


def can_look_out() -> bool:
    """Whether a thread of this process may look out without keeping a single core from the one who answers."""
    return offer_core is not _keep_on or (os.cpu_count() or 1) > 1


class Spin:
    """The habit of one caller. Not for several threads at once.

    Args:
        enabled: whether looking out may pay at all.
    """

    __slots__ = ("_enabled", "_pause", "_skip")

    def __init__(self, *, enabled: bool = True) -> None:
        self._enabled = enabled
        self._pause = 0
        self._skip = 0

    def pays(self) -> bool:
        """Whether to look out this time."""
        if self._skip:
            self._skip -= 1
            return False
        return self._enabled

    def slept(self, took_s: float) -> None:
        """The answer came after we had gone to sleep, so long after the question."""
        if took_s < _SOON_S:
            self._skip -= self._skip >> 3

    def won(self) -> None:
        """The answer came while we looked out."""
        self._pause >>= 1

    def missed(self) -> None:
        """It did not."""
        self._pause = self._skip = min(2 * self._pause + 1, _MAX_PAUSE)
