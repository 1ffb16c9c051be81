"""One end of one measurement, in a process of its own, started by `session`:

    python -m benchmarks.worker ROLE CONTENDER [WORKLOAD]

It says JSON objects, one in a line, on stdout: one when it is ready, one when it is done. It is told on stdin where the
others are, when to go and when to stop; when stdin ends, so does it.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event
from types import ModuleType
from typing import Any

from benchmarks.contenders import load
from benchmarks.credit import Credit
from benchmarks.instrument import Instrument
from benchmarks.process_use import Use
from benchmarks.workloads import WORKLOADS
from benchmarks.workloads.workload import Report, Workload


def introduce(contender: str) -> None:
    """Say what there is to know of a contender, or why it cannot take part."""
    try:
        told = load(contender).CONTENDER
        _say({"title": told.title, "version": told.version, "can": sorted(told.can)})
    except ImportError as error:
        _say({"absent": str(error)})


def serve(module: ModuleType, workload: Workload) -> None:
    """Be the server."""
    began = time.perf_counter()
    with closing(module.Server(Instrument(), workload.switch_interval_s)) as server:
        start_ms = 1e3 * (time.perf_counter() - began)
        credit = Credit()
        _say({"address": server.address, "credit": credit.port})
        _hear("go")
        stop, before = Event(), Use.now(server.helpers)
        with ThreadPoolExecutor(1) as pool:
            performance = pool.submit(_told, workload.perform, server, credit, stop)
            try:
                _hear("stop")
                use = Use.now(server.helpers).since(before)
            finally:
                stop.set()
            _say({"report": {"start_ms": start_ms} | performance.result() | use})


def _told(perform: Callable[..., Report], *arguments: Any) -> Report:
    """Say at once what went wrong; those who wait for samples fail, too, and do not know why."""
    try:
        return perform(*arguments)
    except BaseException:
        traceback.print_exc()
        raise


def route(module: ModuleType, _: Workload) -> None:
    """Be a router."""
    router = module.Router(_hear_place()["address"])
    _say({"address": router.address})
    _hear("stop")


def visit(module: ModuleType, workload: Workload) -> None:
    """Be a client."""
    place = _hear_place()
    client = module.Client(place["address"])
    prepared, credit = workload.prepare(client), Credit(place["credit"])
    _say({})
    _hear("go")
    _say({"report": workload.measure(client, prepared, credit, place["duration_s"])})


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


def _hear(word: str) -> None:
    if sys.stdin.readline().strip() != word:
        sys.exit("nobody is there any more")


def _hear_place() -> dict[str, Any]:
    line = sys.stdin.readline()
    if not line:
        sys.exit("nobody is there any more")
    place: dict[str, Any] = json.loads(line)
    return place


def _do(role: str, contender: str, workload: str = "") -> None:
    if role == "introduce":
        introduce(contender)
        return
    if WORKLOADS[workload].pinned:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    {"serve": serve, "route": route, "visit": visit}[role](load(contender), WORKLOADS[workload])


def main() -> None:
    """Do what the arguments say, and end at once then, whatever threads of a contender are still at work."""
    code = 0
    try:
        _do(*sys.argv[1:])
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
