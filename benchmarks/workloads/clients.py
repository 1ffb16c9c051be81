"""Small calls of many clients at once, each a process of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.contenders.contender import Client
from benchmarks.credit import Credit
from benchmarks.figures import percentile
from benchmarks.workloads.workload import Metric, Report, Workload, call_figures, durations_of


@dataclass(frozen=True, kw_only=True)
class ManyClients(Workload):
    """Echo, as fast as each of them can."""

    def measure(self, client: Client, prepared: Any, credit: Credit, duration_s: float) -> Report:
        return call_figures(durations_of(lambda: client.call("echo", 7), duration_s))

    def combine(self, clients: list[Report], server: Report) -> Report:
        return {
            "calls_per_s": sum(report["calls_per_s"] for report in clients),
            "p99_us": percentile([report["p99_us"] for report in clients], 50),
        }


WORKLOADS = tuple(
    ManyClients(
        name=f"clients_{count}",
        title=f"{count} clients at once" if count > 1 else "One client",
        needs="calls",
        metrics={
            "calls_per_s": Metric("calls/s together", "higher"),
            "p99_us": Metric("p99 of the median client / µs", "lower"),
        },
        clients=count,
        duration_s=0.8,
        curve=("clients", count),
        peers=count == 8,
    )
    for count in (1, 2, 4, 8, 16)
)
