"""One end of one measurement, in a process of its own: `python -m benchmarks.worker TASK`, started by `session`.

It says one JSON object in a line when it is ready and one when it is done, on stdout, and is told on stdin to go and to
stop. When stdin ends, so does it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from threading import Event, Thread
from typing import Any

from benchmarks.contenders import load
from benchmarks.credit import Credit
from benchmarks.instrument import Instrument
from benchmarks.process_use import Use
from benchmarks.workloads import WORKLOADS
from benchmarks.workloads.workload import Workload


def introduce(task: dict[str, Any]) -> None:
    """Say what there is to know of a contender, or why it cannot take part."""
    try:
        contender = load(task["contender"]).CONTENDER
        _say({"title": contender.title, "version": contender.version, "can": sorted(contender.can)})
    except ImportError as error:
        _say({"absent": str(error)})


def serve(task: dict[str, Any], workload: Workload) -> None:
    """Be the server."""
    module = load(task["contender"])
    began = time.perf_counter()
    server = module.Server(Instrument(), workload.switch_interval_s)
    start_ms = 1e3 * (time.perf_counter() - began)
    credit, stop = Credit(), Event()
    _say({"address": server.address, "credit": credit.port})
    _hear("go")
    report = {"start_ms": start_ms}
    failures: list[BaseException] = []

    def perform() -> None:
        try:
            report.update(workload.perform(server, credit, stop))
        except BaseException as error:
            failures.append(error)

    before = Use.now()
    performer = Thread(target=perform)
    performer.start()
    _hear("stop")
    use = Use.now().since(before)
    stop.set()
    performer.join()
    if failures:
        raise failures[0]
    _say({"report": report | use})
    server.close()


def route(task: dict[str, Any]) -> None:
    """Be a router."""
    router = load(task["contender"]).Router(task["address"])
    _say({"address": router.address})
    _hear("stop")


def visit(task: dict[str, Any], workload: Workload) -> None:
    """Be a client."""
    client = load(task["contender"]).Client(task["address"])
    credit = Credit(task["credit"])
    prepared = workload.prepare(client)
    _say({})
    _hear("go")
    _say({"report": workload.measure(client, prepared, credit, task["duration_s"])})
    client.close()


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


def _hear(word: str) -> None:
    if sys.stdin.readline().strip() != word:
        _end()


def _end() -> None:
    """At once, whatever threads of a contender are still at work."""
    sys.stdout.flush()
    os._exit(0)


def main() -> None:
    """Do what the first argument says."""
    task = json.loads(sys.argv[1])
    if task["role"] == "introduce":
        introduce(task)
        return
    workload = WORKLOADS[task["workload"]]
    if workload.pinned:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if task["role"] == "serve":
        serve(task, workload)
    elif task["role"] == "route":
        route(task)
    else:
        visit(task, workload)
    _end()


if __name__ == "__main__":
    main()
