"""Ten streams of ten frequencies, alone and beside a busy Python thread; and how it goes on with ever more streams."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

from benchmarks.contenders.contender import Client, Reader, Server
from benchmarks.credit import Credit
from benchmarks.figures import percentile
from benchmarks.workloads.busy import start_busy_thread
from benchmarks.workloads.grid import Grid
from benchmarks.workloads.workload import Metric, Report, Workload

PATIENCE_S = 10.0


@dataclass(frozen=True, kw_only=True)
class ManyStreams(Workload):
    """All of them read by one client, with a thread for each stream."""

    frequencies_hz: tuple[float, ...]
    busy: bool = False

    def prepare(self, client: Client) -> list[Reader]:
        return [client.subscribe(f"ticks_{index}", "queue") for index in range(len(self.frequencies_hz))]

    def perform(self, server: Server, credit: Credit, stop: Event) -> Report:
        if self.busy:
            start_busy_thread(stop)
        for index, frequency_hz in enumerate(self.frequencies_hz):
            server.tick(f"ticks_{index}", frequency_hz, time.perf_counter)
        stop.wait()
        return {}

    def measure(self, client: Client, prepared: list[Reader], credit: Credit, duration_s: float) -> Report:
        with ThreadPoolExecutor(len(prepared)) as pool:
            instants = list(pool.map(lambda reader: _read(reader, duration_s), prepared))
        grids = [Grid.of(*ticks) for ticks in zip(instants, self.frequencies_hz, strict=True)]
        due = sum(grid.due for grid in grids)
        fastest = max(zip(self.frequencies_hz, grids, strict=True), key=lambda pair: pair[0])[1]
        return {
            "came_percent": 100 * (1 - sum(grid.missed for grid in grids) / due),
            "fastest_came_percent": 100 * (1 - fastest.missed / fastest.due),
            "distance_p99_us": percentile([distance for grid in grids for distance in grid.distances_s], 99) * 1e6,
        }


def _read(reader: Reader, duration_s: float) -> list[float]:
    instants: list[float] = [reader.take(PATIENCE_S).value]
    while instants[-1] < instants[0] + duration_s:
        instants.append(reader.take(PATIENCE_S).value)
    return instants


METRICS = {
    "came_percent": Metric("ticks that came / %", "higher", 2),
    "fastest_came_percent": Metric("ticks of the fastest that came / %", "higher", 2),
    "distance_p99_us": Metric("from the grid: p99 / µs", "lower"),
    "cpu_percent": Metric("server / % of a core", "lower", 1),
}
TEN_HZ = (4.0, 5.0, 10.0, 20.0, 40.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
WORKLOADS = (
    ManyStreams(
        name="ten_streams",
        title="Ten streams of 4 Hz to 1 kHz",
        needs="streams",
        metrics=METRICS,
        frequencies_hz=TEN_HZ,
        duration_s=1.5,
        peers=False,
    ),
    ManyStreams(
        name="ten_streams_busy",
        title="Ten streams beside a busy Python thread",
        needs="streams",
        metrics=METRICS,
        frequencies_hz=TEN_HZ,
        busy=True,
        duration_s=1.5,
        peers=False,
    ),
    ManyStreams(
        name="ten_streams_busy_switched",
        title="Ten streams beside a busy Python thread, with a switch interval of 0.5 ms",
        needs="streams",
        metrics=METRICS,
        frequencies_hz=TEN_HZ,
        busy=True,
        switch_interval_s=0.0005,
        duration_s=1.5,
    ),
    *(
        ManyStreams(
            name=f"streams_{count}",
            title=f"{count} stream{'s' if count > 1 else ''} of 100 Hz",
            needs="streams",
            metrics=METRICS,
            frequencies_hz=(100.0,) * count,
            curve=("streams of 100 Hz", count),
            duration_s=0.6,
            peers=False,
        )
        for count in (1, 5, 20, 50)
    ),
)
