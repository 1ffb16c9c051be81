"""Memory that one large frame leaves to the next.

The C library of Linux gives a large block back to the system as soon as it is free, and gets another one for the next
frame, of which the system has to clear every page: for a camera frame that takes longer than all the rest of receiving
it. How much it keeps follows from the largest block that was ever freed (`man 3 mallopt`, the dynamic threshold of
M_MMAP_THRESHOLD), so freeing one of the largest kind is enough. Who has set these thresholds themselves keeps them.
"""

from __future__ import annotations

import sys
from typing import Final

LARGE_BYTES: Final = 1024 * 1024
# The largest that the C library learns from is 32 MiB, with what it adds. Nobody writes to it: it takes no memory.
_LARGEST_BYTES: Final = 32 * 1024 * 1024 - 64 * 1024

_kept = False


def keep_freed_memory() -> None:
    """Have each heap of this process keep up to 64 MiB of freed memory from now on.

    Once and for all, from any thread. Only the C library of Linux can be told.
    """
    global _kept
    if not _kept:
        _kept = True
        if sys.platform == "linux":
            bytearray(_LARGEST_BYTES)
