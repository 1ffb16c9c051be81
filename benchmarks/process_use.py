"""What a process takes of its machine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Self

import psutil


@dataclass(frozen=True)
class Use:
    """What this process took, until an instant."""

    instant: float
    cpu_s: float
    memory_bytes: int
    waits: int

    @classmethod
    def now(cls) -> Self:
        """Of this process, all of its threads."""
        process = psutil.Process()
        return cls(
            time.perf_counter(), time.process_time(), process.memory_info().rss, process.num_ctx_switches().voluntary
        )

    def since(self, before: Use) -> dict[str, float]:
        """What it took in between, as it is reported by every server."""
        duration_s = self.instant - before.instant
        return {
            "cpu_percent": 100 * (self.cpu_s - before.cpu_s) / duration_s,
            "memory_mb": self.memory_bytes / 1e6,
            "grown_mb": (self.memory_bytes - before.memory_bytes) / 1e6,
            "wakeups_per_s": (self.waits - before.waits) / duration_s,
        }
