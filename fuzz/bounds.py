"""What one input may cost: memory, seen from the outside."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 64 * 1024 * 1024
"""What reading a few kB may take: claims that go unchecked in small messages cost some megabytes."""


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Fail when the process came to need much more memory inside than it ever had before.

    Looks at the high-water mark, so what was given back meanwhile counts, too. Windows has no such mark: nothing is
    looked at there.
    """
    before = _high_water_bytes()
    yield
    grown = _high_water_bytes() - before
    assert grown <= MOST_BYTES, f"one input took {grown >> 20} MiB of memory"


def _high_water_bytes() -> int:
    if sys.platform == "win32":
        return 0
    if sys.platform == "linux":
        # What `resource` tells is never less than what the process that started this one ever had.
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
