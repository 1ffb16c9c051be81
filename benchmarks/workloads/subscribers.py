"""80 kB at 200 Hz to one, ten and fifty subscribers: what that costs the publisher, and how long samples take."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

from benchmarks.contenders.contender import Client, Reader, Server
from benchmarks.credit import Credit
from benchmarks.figures import median, percentile
from benchmarks.workloads.workload import Metric, Report, Workload

SIZE_BYTES = 80_000
FREQUENCY_HZ = 200.0
PATIENCE_S = 10.0
PROCESSES = 5


@dataclass(frozen=True, kw_only=True)
class Subscribers(Workload):
    """Each subscriber is a client of its own with a thread; several of them share a process."""

    in_each: int

    def prepare(self, client: Client) -> list[tuple[Client, Reader]]:
        clients = [client, *(type(client)(client.address) for _ in range(self.in_each - 1))]
        return [(each, each.subscribe("spectra", "queue")) for each in clients]

    def perform(self, server: Server, credit: Credit, stop: Event) -> Report:
        publish, spectrum = server.publisher("spectra"), server.instrument.array(SIZE_BYTES)
        deadline = time.perf_counter()
        while not stop.is_set():
            deadline += 1 / FREQUENCY_HZ
            time.sleep(max(0.0, deadline - time.perf_counter()))
            publish(time.perf_counter(), spectrum)
        return {}

    def measure(
        self, client: Client, prepared: list[tuple[Client, Reader]], credit: Credit, duration_s: float
    ) -> Report:
        with ThreadPoolExecutor(len(prepared)) as pool:
            read = list(pool.map(lambda pair: _read(pair[1], duration_s), prepared))
        latencies = [latency for latencies, _ in read for latency in latencies]
        return {
            "latency_p99_ms": percentile(latencies, 99) * 1e3,
            "lost_percent": 100 * (1 - len(latencies) / sum(due for _, due in read)),
        }

    def combine(self, clients: list[Report], server: Report) -> Report:
        return {
            "cpu_percent": server["cpu_percent"],
            "latency_p99_ms": median([report["latency_p99_ms"] for report in clients]),
            "lost_percent": max(report["lost_percent"] for report in clients),
        }


def _read(reader: Reader, duration_s: float) -> tuple[list[float], int]:
    """How old each sample was, and how many there should have been."""
    reader.take(PATIENCE_S)
    latencies, numbers = [], []
    end = time.perf_counter() + duration_s
    while time.perf_counter() < end:
        sample = reader.take(PATIENCE_S)
        latencies.append(time.perf_counter() - sample.time)
        numbers.append(sample.number)
    return latencies, numbers[-1] - numbers[0] + 1


WORKLOADS = tuple(
    Subscribers(
        name=f"subscribers_{count}",
        title=f"80 kB at 200 Hz to {count} subscriber{'s' if count > 1 else ''}",
        needs="streams",
        metrics={
            "cpu_percent": Metric("server / % of a core", "lower"),
            "latency_p99_ms": Metric("latency: p99 / ms", "lower", 1),
            "lost_percent": Metric("lost / %", "lower", 1),
        },
        clients=min(count, PROCESSES),
        in_each=count // min(count, PROCESSES),
        duration_s=1.0,
        peers=count != 10,
        curve=("subscribers", count),
    )
    for count in (1, 10, 50)
)
