"""Whether to look out for an answer for a moment before going to sleep until it comes.

To wake a sleeping thread takes longer than all the rest of a small call. Looking out costs a core for as long, which is
a waste where the answer takes longer anyway, and worse where the server needs that core. So every miss doubles the
number of calls that go to sleep at once, and every answer that came in time halves it. Who sleeps, and is answered so
soon that looking out may have caught it, waits for fewer calls.

Between two looks the core is offered to whoever else wants it, and who was made to give it up for a while goes to
sleep: others have work for it. (Linux offers it only to threads of the same session; those of another one take it.)
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

SPIN_S: Final = 250e-6  # A small call to a server that sleeps takes up to 200 µs, one to a server that is awake 90.
AWAY_S: Final = 50e-6  # Libzmq's own thread takes the core for 20 µs at a time.
_SOON_S: Final = 300e-6
_MAX_PAUSE: Final = 1023


def _keep_on() -> None:
    """Windows has no such offer."""


offer_core: Final[Callable[[], None]] = getattr(os, "sched_yield", _keep_on)
"""Let another thread run if one wants to; takes a third of a microsecond if none does."""


def can_look_out() -> bool:
    """Whether this process has more than one core; on a single one, who looks out keeps the answer from being made."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) > 1
    return (os.cpu_count() or 1) > 1


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
