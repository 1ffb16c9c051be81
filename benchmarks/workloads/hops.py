"""The same call and the same frames through routers, each in a process of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.contenders.contender import Client
from benchmarks.credit import Credit
from benchmarks.workloads.frames import Burst
from benchmarks.workloads.workload import Metric, Report, Workload, call_figures, call_metrics, durations_of


@dataclass(frozen=True, kw_only=True)
class HopCall(Workload):
    """Echo."""

    def measure(self, client: Client, prepared: Any, credit: Credit, duration_s: float) -> Report:
        return call_figures(durations_of(lambda: client.call("echo", 7), duration_s))


def _through(count: int) -> str:
    return f"through {count} router{'s' if count > 1 else ''}" if count else "without a router"


COUNTS = (0, 1, 2, 4)
WORKLOADS = (
    *(
        HopCall(
            name=f"hops_{count}_call",
            title=f"A small call {_through(count)}",
            needs="hops",
            metrics=call_metrics("echo"),
            hops=count,
            duration_s=0.5,
            curve=("routers", count),
            peers=False,
        )
        for count in COUNTS
    ),
    *(
        Burst(
            name=f"hops_{count}_frames",
            title=f"1080p frames {_through(count)}",
            needs="hops",
            metrics={"frames_per_s": Metric("frames/s", "higher")},
            hops=count,
            duration_s=0.5,
            curve=("routers", count),
            peers=False,
        )
        for count in COUNTS
    ),
)
