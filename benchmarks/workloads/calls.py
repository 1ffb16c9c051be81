"""A small call, one after the other, of one client: echo, and a method that returns a dict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.contenders.contender import Client
from benchmarks.credit import Credit
from benchmarks.workloads.workload import Report, Workload, call_figures, call_metrics, durations_of


@dataclass(frozen=True, kw_only=True)
class SmallCall(Workload):
    """Half of the time one, half of the time the other."""

    def measure(self, client: Client, prepared: Any, credit: Credit, duration_s: float) -> Report:
        echo = durations_of(lambda: client.call("echo", 7), duration_s / 2)
        state = durations_of(lambda: client.call("state"), duration_s / 2)
        return call_figures(echo, "echo_") | call_figures(state, "dict_")


METRICS = call_metrics("echo", "echo_") | call_metrics("dict", "dict_")
WORKLOADS = (
    SmallCall(name="small_call", title="A small call", needs="calls", metrics=METRICS, duration_s=1.0),
    SmallCall(
        name="small_call_pinned",
        title="A small call, all on one core",
        needs="calls",
        metrics=METRICS,
        duration_s=1.0,
        pinned=True,
        peers=False,
    ),
)
