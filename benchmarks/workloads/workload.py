"""The common face of all workloads."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Any, Literal

from benchmarks.contenders.contender import Client, Server
from benchmarks.credit import Credit
from benchmarks.figures import percentile

Report = dict[str, float]
WARM_UP_SHARE = 0.1


@dataclass(frozen=True)
class Metric:
    """One figure that a workload gives.

    Attributes:
        title: what the tables call it, with its unit.
        better: which way is good; "" for a figure that only tells what happened.
        digits: behind the point.
    """

    title: str
    better: Literal["lower", "higher", ""]
    digits: int = 0


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One thing that contenders do, and how it is looked at.

    First `prepare` is called in every client, then, at the same moment, `perform` in the server and `measure` in the
    clients; at last `combine` here makes figures of what all of them report.

    Attributes:
        name: for `--only`, and in files.
        title: what the page calls it.
        needs: what a contender has to be able to.
        metrics: by name, what `combine` gives.
        clients: how many client processes.
        hops: how many routers are in between, each in a process of its own.
        pinned: whether all processes share one core, where the system can do that.
        switch_interval_s: the interpreter's switch interval in the server; None for Python's own.
        duration_s: how long is measured.
        peers: whether all take part, or only we and bare pyzmq.
        once: whether one round tells as much as several.
        curve: with which other workloads this is a curve, and at which load: `("call size / B", 1000.0)`.
    """

    name: str
    title: str
    needs: str
    metrics: dict[str, Metric]
    clients: int = 1
    hops: int = 0
    pinned: bool = False
    switch_interval_s: float | None = None
    duration_s: float = 1.0
    peers: bool = True
    once: bool = False
    curve: tuple[str, float] | None = None

    def prepare(self, client: Client) -> Any:
        """Whatever has to be there before it begins, such as subscriptions; `measure` gets it."""

    def perform(self, server: Server, credit: Credit, stop: Event) -> Report:
        """What the server does until `stop`, beside answering calls; and what it has to report."""
        stop.wait()
        return {}

    def measure(self, client: Client, prepared: Any, credit: Credit, duration_s: float) -> Report:
        """Do it for so long; what came out."""
        raise NotImplementedError

    def combine(self, clients: list[Report], server: Report) -> Report:
        """The figures by name, of what the clients and the server reported."""
        reported = {name: figure for report in (server, *clients) for name, figure in report.items()}
        return {name: reported[name] for name in self.metrics}


def durations_of(call: Callable[[], object], duration_s: float) -> list[float]:
    """How long each call took, in s, calling for so long, after a warm-up."""
    warm = time.perf_counter() + WARM_UP_SHARE * duration_s
    while time.perf_counter() < warm:
        call()
    durations = []
    now = time.perf_counter()
    end = now + duration_s
    while now < end:
        call()
        before, now = now, time.perf_counter()
        durations.append(now - before)
    return durations


def call_figures(durations: list[float], prefix: str = "") -> Report:
    """What is told of calls."""
    return {
        f"{prefix}calls_per_s": len(durations) / sum(durations),
        f"{prefix}p50_us": percentile(durations, 50) * 1e6,
        f"{prefix}p99_us": percentile(durations, 99) * 1e6,
    }


def call_metrics(what: str, prefix: str = "") -> dict[str, Metric]:
    """The metrics of `call_figures`."""
    return {
        f"{prefix}p50_us": Metric(f"{what}: p50 / µs", "lower"),
        f"{prefix}p99_us": Metric(f"{what}: p99 / µs", "lower"),
        f"{prefix}calls_per_s": Metric(f"{what}: calls/s", "higher"),
    }
