"""What memory each client, each call that waits, and each stream takes, at both ends."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Event, Thread

from benchmarks.contenders.contender import Client, Server
from benchmarks.credit import Credit
from benchmarks.process_use import memory_bytes
from benchmarks.workloads.workload import Metric, Report, Workload

CLIENTS = 50
STREAMS = 100
SETTLE_S = 0.3
HEARD_S = 0.1
METRICS = {"server_kb": Metric("server / kB", "lower"), "client_kb": Metric("client / kB", "lower")}


@dataclass(frozen=True, kw_only=True)
class ClientMemory(Workload):
    """The clients share a process; the server hears when there is one, when all are there, and when all call."""

    pending: bool

    def perform(self, server: Server, credit: Credit, stop: Event) -> Report:
        seen = [memory_bytes(server.helpers) for _ in credit.heard(stop)]
        server.instrument.release()
        if len(seen) != 2 + self.pending:
            raise RuntimeError(f"heard {len(seen)} times, which is not what was said")
        return {"server_kb": (seen[-1] - seen[-2]) / CLIENTS / 1e3}

    def measure(self, client: Client, prepared: None, credit: Credit, duration_s: float) -> Report:
        client.call("echo", 7)
        before = _settled(credit)
        clients = [type(client)(client.address) for _ in range(CLIENTS)]
        for each in clients:
            each.call("echo", 7)
        after = _settled(credit)
        if self.pending:
            for each in clients:
                Thread(target=each.call, args=("hold",), daemon=True).start()
            before, after = after, _settled(credit)
        return {"client_kb": (after - before) / CLIENTS / 1e3}


def _settled(credit: Credit) -> int:
    time.sleep(SETTLE_S)
    credit.give()
    memory = memory_bytes()
    time.sleep(HEARD_S)
    return memory


@dataclass(frozen=True, kw_only=True)
class StreamMemory(Workload):
    """Streams with one small sample each; their memory at the client is that of subscriptions."""

    def perform(self, server: Server, credit: Credit, stop: Event) -> Report:
        before = memory_bytes(server.helpers)
        for index in range(STREAMS):
            server.publisher(f"stream_{index}")(time.perf_counter(), 21.5)
        time.sleep(SETTLE_S)
        report = {"server_kb": (memory_bytes(server.helpers) - before) / STREAMS / 1e3}
        stop.wait()
        return report

    def measure(self, client: Client, prepared: None, credit: Credit, duration_s: float) -> Report:
        client.subscribe("another", "queue")
        before = memory_bytes()
        readers = [client.subscribe(f"stream_{index}", "queue") for index in range(STREAMS)]
        time.sleep(2 * SETTLE_S)
        return {"client_kb": (memory_bytes() - before) / len(readers) / 1e3}


WORKLOADS = (
    ClientMemory(
        name="memory_client",
        title=f"Memory of each of {CLIENTS} clients",
        needs="calls",
        metrics=METRICS,
        once=True,
        pending=False,
    ),
    ClientMemory(
        name="memory_pending",
        title=f"Memory of each of {CLIENTS} calls that wait (with their threads at the client)",
        needs="pending",
        metrics=METRICS,
        once=True,
        pending=True,
    ),
    StreamMemory(
        name="memory_stream",
        title=f"Memory of each of {STREAMS} streams",
        needs="streams",
        metrics=METRICS,
        once=True,
    ),
)
