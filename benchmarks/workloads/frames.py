"""1080p colour frames, 6.2 MB each: as fast as they go, 60 per second, through a cache, with a stalled reader."""

from __future__ import annotations

import time
from dataclasses import dataclass
from random import Random
from threading import Event
from typing import Any, Final, Literal

from benchmarks.contenders.contender import Client, Publish, Reader, Server
from benchmarks.credit import Credit
from benchmarks.figures import percentile
from benchmarks.process_use import Use
from benchmarks.workloads.workload import Metric, Report, Workload

SHAPE: Final = (1080, 1920, 3)
FRAME_MB: Final = 1080 * 1920 * 3 / 1e6
WINDOW: Final = 8
FRAMES_PER_S: Final = 60.0
READS_PER_S: Final = 20.0
PATIENCE_S: Final = 10.0


def a_frame() -> Any:
    """A picture."""
    import numpy as np

    return np.arange(SHAPE[0] * SHAPE[1] * SHAPE[2], dtype=np.uint32).astype(np.uint8).reshape(SHAPE)


@dataclass(frozen=True, kw_only=True)
class Frames(Workload):
    """What all of them have in common."""

    storage: Literal["queue", "cache"] = "queue"

    def prepare(self, client: Client) -> Reader:
        return client.subscribe("frames", self.storage)

    def perform(self, server: Server, credit: Credit, stop: Event) -> Report:
        publish, frame = server.publisher("frames"), a_frame()
        deadline = time.perf_counter()
        while not stop.is_set():
            deadline += 1 / FRAMES_PER_S
            time.sleep(max(0.0, deadline - time.perf_counter()))
            self.send(publish, frame)
        return {}

    def send(self, publish: Publish, frame: Any) -> None:
        publish(time.perf_counter(), frame)


@dataclass(frozen=True, kw_only=True)
class Burst(Frames):
    """As fast as they go, with at most `WINDOW` under way."""

    def perform(self, server: Server, credit: Credit, stop: Event) -> Report:
        publish, frame = server.publisher("frames"), a_frame()
        for _ in credit.turns(WINDOW, stop):
            self.send(publish, frame)
        return {}

    def measure(self, client: Client, prepared: Reader, credit: Credit, duration_s: float) -> Report:
        count = 0
        for _ in range(2 * WINDOW):
            prepared.take(PATIENCE_S)
            credit.give()
        now = start = time.perf_counter()
        while now < start + duration_s:
            frame = prepared.take(PATIENCE_S).value
            credit.give()
            count += 1
            now = time.perf_counter()
        if frame.shape != SHAPE:
            raise ValueError(f"this is no frame: {frame.shape}")
        return {"frames_per_s": count / (now - start), "mb_per_s": count * FRAME_MB / (now - start)}


@dataclass(frozen=True, kw_only=True)
class Queued(Frames):
    """At 60 per second, each of them read."""

    def measure(self, client: Client, prepared: Reader, credit: Credit, duration_s: float) -> Report:
        start, latencies, numbers = time.perf_counter(), [], []
        while time.perf_counter() < start + duration_s:
            sample = prepared.take(PATIENCE_S)
            latencies.append(time.perf_counter() - sample.time)
            numbers.append(sample.number)
        return {
            "latency_p50_ms": percentile(latencies, 50) * 1e3,
            "latency_p99_ms": percentile(latencies, 99) * 1e3,
            "lost_percent": 100 * (1 - len(numbers) / (numbers[-1] - numbers[0] + 1)),
        }


@dataclass(frozen=True, kw_only=True)
class Cached(Frames):
    """At 60 per second, the newest read at about 20, in no step with them: how old is what the reader gets?"""

    def measure(self, client: Client, prepared: Reader, credit: Credit, duration_s: float) -> Report:
        prepared.take(PATIENCE_S)
        ages, random = [], Random(1)
        for _ in range(max(2, int(duration_s * READS_PER_S))):
            time.sleep(random.uniform(0.5, 1.5) / READS_PER_S)
            sample = prepared.take(PATIENCE_S)
            ages.append(time.perf_counter() - sample.time)
        return {
            "age_p50_ms": percentile(ages, 50) * 1e3,
            "age_p99_ms": percentile(ages, 99) * 1e3,
            "age_max_ms": max(ages) * 1e3,
        }


@dataclass(frozen=True, kw_only=True)
class Stalled(Frames):
    """At 60 per second, a new array each as a camera makes them, and a reader that has stopped reading."""

    def send(self, publish: Publish, frame: Any) -> None:
        publish(time.perf_counter(), frame.copy())

    def measure(self, client: Client, prepared: Reader, credit: Credit, duration_s: float) -> Report:
        prepared.take(PATIENCE_S)
        before = Use.now()
        time.sleep(duration_s)
        return {"client_mb": Use.now().since(before)["grown_mb"]}

    def combine(self, clients: list[Report], server: Report) -> Report:
        return {"client_mb": clients[0]["client_mb"], "server_mb": server["grown_mb"]}


WORKLOADS = (
    Burst(
        name="frames_burst",
        title=f"1080p frames, as fast as they go with {WINDOW} under way",
        needs="frames",
        metrics={"frames_per_s": Metric("frames/s", "higher"), "mb_per_s": Metric("MB/s", "higher")},
        duration_s=1.0,
    ),
    Queued(
        name="frames_queue",
        title="1080p frames, 60 per second, as a queue",
        needs="frames",
        metrics={
            "latency_p50_ms": Metric("latency: p50 / ms", "lower", 1),
            "latency_p99_ms": Metric("latency: p99 / ms", "lower", 1),
            "lost_percent": Metric("lost / %", "lower", 1),
        },
        duration_s=1.5,
    ),
    Cached(
        name="frames_cache",
        title="1080p frames, 60 per second, as a cache that is read 20 times per second",
        needs="frames",
        metrics={
            "age_p50_ms": Metric("age: p50 / ms", "lower", 1),
            "age_p99_ms": Metric("age: p99 / ms", "lower", 1),
            "age_max_ms": Metric("age: oldest / ms", "lower", 1),
        },
        storage="cache",
        duration_s=1.5,
    ),
    Stalled(
        name="frames_stalled",
        title="1080p frames, 60 per second, with a reader that stopped reading 2 s ago",
        needs="frames",
        metrics={
            "server_mb": Metric("server grew by / MB", "lower"),
            "client_mb": Metric("client grew by / MB", "lower"),
        },
        duration_s=2.0,
    ),
)
