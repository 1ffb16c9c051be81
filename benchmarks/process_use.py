"""What a process takes of its machine."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import Self

import psutil


def memory_bytes(helpers: tuple[int, ...] = ()) -> int:
    """The memory that this process has now, with its helpers."""
    return sum(psutil.Process(number).memory_info().rss for number in (os.getpid(), *helpers))


def _cpu_s(helpers: tuple[int, ...]) -> float:
    return time.process_time() + sum(sum(psutil.Process(number).cpu_times()[:2]) for number in helpers)


def _waits() -> int:
    """How often a thread of this process went to sleep."""
    if sys.platform == "win32":
        return int(psutil.Process().num_ctx_switches().voluntary)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


@dataclass(frozen=True)
class Use:
    """What this process took, until an instant."""

    instant: float
    cpu_s: float
    memory_bytes: int
    waits: int

    @classmethod
    def now(cls, helpers: tuple[int, ...] = ()) -> Self:
        """Of this process, all of its threads, and its helpers, of which how often they wait is not known."""
        return cls(time.perf_counter(), _cpu_s(helpers), memory_bytes(helpers), _waits())

    def since(self, before: Use) -> dict[str, float]:
        """What it took in between, as it is reported by every server."""
        duration_s = self.instant - before.instant
        return {
            "cpu_percent": 100 * (self.cpu_s - before.cpu_s) / duration_s,
            "memory_mb": self.memory_bytes / 1e6,
            "grown_mb": (self.memory_bytes - before.memory_bytes) / 1e6,
            "wakeups_per_s": (self.waits - before.waits) / duration_s,
        }
