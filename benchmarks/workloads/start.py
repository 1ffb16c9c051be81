"""What it costs before anything happens: import, start, first call; and when nothing happens: idle."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.contenders.contender import Client
from benchmarks.credit import Credit
from benchmarks.figures import median
from benchmarks.workloads.workload import Metric, Report, Workload

TIMES = 9
SETTLE_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Start(Workload):
    """The imports of a user, in new interpreters, against interpreters that import nothing; then new clients.

    Of imports the shortest counts: whatever made the others longer was not the import.
    """

    def measure(self, client: Client, prepared: Any, credit: Credit, duration_s: float) -> Report:
        imports = sys.modules[type(client).__module__].CONTENDER.imports
        with TemporaryDirectory() as bytecode:
            # Compiled once, as for whoever has installed it, whatever the environment says of bytecode here.
            environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode}
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            _interpreter_s(imports, environment)
            pairs = [(_interpreter_s("pass", environment), _interpreter_s(imports, environment)) for _ in range(TIMES)]
        return {
            "import_ms": 1e3 * (min(with_imports for _, with_imports in pairs) - min(without for without, _ in pairs)),
            "connect_ms": 1e3 * median([_first_call_s(client) for _ in range(TIMES)]),
        }


def _interpreter_s(code: str, environment: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    return time.perf_counter() - start


def _first_call_s(client: Client) -> float:
    start = time.perf_counter()
    another = type(client)(client.address)
    another.call("echo", 7)
    duration_s = time.perf_counter() - start
    another.close()
    return duration_s


@dataclass(frozen=True, kw_only=True)
class Idle(Workload):
    """One client is there and does nothing."""

    def prepare(self, client: Client) -> None:
        client.call("echo", 7)
        time.sleep(SETTLE_S)

    def measure(self, client: Client, prepared: Any, credit: Credit, duration_s: float) -> Report:
        time.sleep(duration_s)
        return {}


WORKLOADS = (
    Start(
        name="start",
        title="Import and start",
        needs="calls",
        metrics={
            "import_ms": Metric("import, beyond the interpreter / ms", "lower"),
            "start_ms": Metric("start of a server / ms", "lower"),
            "connect_ms": Metric("a new client and its first call / ms", "lower", 1),
        },
        once=True,
    ),
    Idle(
        name="idle",
        title="An idle server, with one client",
        needs="calls",
        metrics={
            "cpu_percent": Metric("% of a core", "lower", 3),
            "wakeups_per_s": Metric("wake-ups/s", "lower", 1),
            "memory_mb": Metric("memory / MB", "lower", 1),
        },
        duration_s=3.0,
        once=True,
    ),
)
