"""How exactly a thread is woken from its sleep, where the system lets us choose.

Linux lets every sleep end up to 50 µs late, so that several sleepers can be woken at once (`man 2 prctl`,
PR_SET_TIMERSLACK). At 1 kHz that is a twentieth of a period.
"""

from __future__ import annotations

import logging
import sys
from typing import Final

_SET_TIMER_SLACK: Final = 29
_SLACK_NS: Final = 1
_log = logging.getLogger("one_liner.streams.slack")


def sleep_exactly() -> None:
    """Have the sleeps of this thread end as soon after their deadline as the system can. Only Linux can be told."""
    if sys.platform != "linux":
        return
    import ctypes  # Only where a stream runs: importing it takes longer than all the rest of starting one.

    if ctypes.CDLL(None, use_errno=True).prctl(_SET_TIMER_SLACK, _SLACK_NS, 0, 0, 0) != 0:
        _log.debug("the timer slack of this thread stays what it was: error %d", ctypes.get_errno())
