"""Results that are numpy arrays, from the size of a small call to that of a stack of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.contenders.contender import Client
from benchmarks.credit import Credit
from benchmarks.figures import percentile
from benchmarks.workloads.workload import Metric, Report, Workload, durations_of


@dataclass(frozen=True, kw_only=True)
class ArrayResult(Workload):
    """One after the other; that it is the array that was asked for is looked at before."""

    size_bytes: int

    def prepare(self, client: Client) -> None:
        array = client.array(self.size_bytes)
        if array.nbytes != self.size_bytes or array[-1] != (self.size_bytes - 1) % 256:
            raise ValueError(f"this is not the array that was asked for: {array}")

    def measure(self, client: Client, prepared: Any, credit: Credit, duration_s: float) -> Report:
        durations = durations_of(lambda: client.array(self.size_bytes), duration_s)
        return {
            "p50_us": percentile(durations, 50) * 1e6,
            "p99_us": percentile(durations, 99) * 1e6,
            "mb_per_s": self.size_bytes * len(durations) / sum(durations) / 1e6,
        }


WORKLOADS = tuple(
    ArrayResult(
        name=f"array_{name}",
        title=f"A numpy result of {size_bytes / 1000:g} kB",
        needs="arrays",
        metrics={
            "p50_us": Metric("p50 / µs", "lower"),
            "p99_us": Metric("p99 / µs", "lower"),
            "mb_per_s": Metric("MB/s", "higher"),
        },
        size_bytes=size_bytes,
        duration_s=0.6,
        curve=("result / B", size_bytes),
        peers=name in ("80kb", "8mb"),
    )
    for name, size_bytes in (
        ("800b", 800),
        ("8kb", 8_000),
        ("80kb", 80_000),
        ("800kb", 800_000),
        ("8mb", 8_000_000),
    )
)
