"""A stream of 1 kHz: whether it has its rate, how far its ticks are from the grid, how long its samples take."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Event

from benchmarks.contenders.contender import Client, Reader, Server
from benchmarks.credit import Credit
from benchmarks.figures import percentile
from benchmarks.workloads.busy import start_busy_thread
from benchmarks.workloads.grid import Grid
from benchmarks.workloads.workload import Metric, Report, Workload

FREQUENCY_HZ = 1000.0


@dataclass(frozen=True, kw_only=True)
class Kilohertz(Workload):
    """What is streamed is the instant at which the function was called."""

    busy: bool = False

    def prepare(self, client: Client) -> Reader:
        return client.subscribe("ticks", "queue")

    def perform(self, server: Server, credit: Credit, stop: Event) -> Report:
        if self.busy:
            start_busy_thread(stop)
        server.tick("ticks", FREQUENCY_HZ, time.perf_counter)
        stop.wait()
        return {}

    def measure(self, client: Client, prepared: Reader, credit: Credit, duration_s: float) -> Report:
        instants, latencies = [], []
        end = prepared.take(10.0).time + duration_s
        now = 0.0
        while now < end:
            instant = prepared.take(10.0).value
            now = time.perf_counter()
            instants.append(instant)
            latencies.append(now - instant)
        grid = Grid.of(instants, FREQUENCY_HZ)
        return {
            "rate_hz": grid.rate_hz,
            "skipped_percent": 100 * grid.missed / grid.due,
            "distance_p50_us": percentile(grid.distances_s, 50) * 1e6,
            "distance_p99_us": percentile(grid.distances_s, 99) * 1e6,
            "latency_p50_us": percentile(latencies, 50) * 1e6,
            "latency_p99_us": percentile(latencies, 99) * 1e6,
        }


METRICS = {
    "rate_hz": Metric("rate / Hz", "", 2),
    "skipped_percent": Metric("ticks skipped or lost / %", "lower", 2),
    "distance_p50_us": Metric("from the grid: p50 / µs", "lower"),
    "distance_p99_us": Metric("from the grid: p99 / µs", "lower"),
    "latency_p50_us": Metric("latency: p50 / µs", "lower"),
    "latency_p99_us": Metric("latency: p99 / µs", "lower"),
}
WORKLOADS = (
    Kilohertz(name="kilohertz", title="A 1 kHz stream", needs="streams", metrics=METRICS, duration_s=1.5),
    Kilohertz(
        name="kilohertz_busy",
        title="A 1 kHz stream beside a busy Python thread, with a switch interval of 0.5 ms",
        needs="streams",
        metrics=METRICS,
        busy=True,
        switch_interval_s=0.0005,
        duration_s=1.5,
        peers=False,
    ),
)
