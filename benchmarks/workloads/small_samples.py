"""Small samples as fast as they go: how many arrive, and whether those that do not are known."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Event

from benchmarks.contenders.contender import Client, Reader, Server
from benchmarks.credit import Credit
from benchmarks.workloads.workload import Metric, Report, Workload

PATIENCE_S = 10.0
BATCH = 100


@dataclass(frozen=True, kw_only=True)
class SmallSamples(Workload):
    """Numbers, pushed by one thread without a pause, and read one by one or all that wait at once."""

    many: bool = False

    def prepare(self, client: Client) -> Reader:
        return client.subscribe("numbers", "queue")

    def perform(self, server: Server, credit: Credit, stop: Event) -> Report:
        publish, now = server.publisher("numbers"), time.perf_counter
        while not stop.is_set():
            for _ in range(BATCH):
                publish(now(), 21.5)
        return {}

    def measure(self, client: Client, prepared: Reader, credit: Credit, duration_s: float) -> Report:
        for _ in range(1000):
            first = last = prepared.take(PATIENCE_S)
        now = start = time.perf_counter()
        count = 0
        while now < start + duration_s:
            if self.many:
                samples = prepared.take_many(PATIENCE_S)
                last, count = samples[-1], count + len(samples)
            else:
                for _ in range(BATCH):
                    last = prepared.take(PATIENCE_S)
                count += BATCH
            now = time.perf_counter()
        return {
            "received_per_s": count / (now - start),
            "lost_percent": 100 * (1 - count / (last.number - first.number)),
            "losses_known": float(prepared.losses_known()),
        }


METRICS = {
    "received_per_s": Metric("received/s", "higher"),
    "lost_percent": Metric("lost / %", "", 1),
    "losses_known": Metric("losses known to the library (1: yes)", "higher"),
}
WORKLOADS = (
    SmallSamples(
        name="small_samples",
        title="Small samples, as fast as they go",
        needs="streams",
        metrics=METRICS,
        duration_s=1.0,
    ),
    SmallSamples(
        name="small_samples_many",
        title="Small samples, as fast as they go, read in batches by those who can",
        needs="streams",
        metrics=METRICS,
        duration_s=1.0,
        many=True,
    ),
)
