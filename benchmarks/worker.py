"""One end of one measurement, in a process of its own: `python -m benchmarks.worker TASK`, started by `session`.

It says one JSON object in a line when it is ready and one when it is done, on stdout, and is told on stdin to go and to
stop. When stdin ends, so does it.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event
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
    with closing(module.Server(Instrument(), workload.switch_interval_s)) as server:
        start_ms = 1e3 * (time.perf_counter() - began)
        credit = Credit()
        _say({"address": server.address, "credit": credit.port})
        _hear("go")
        stop, before = Event(), Use.now()
        with ThreadPoolExecutor(1) as pool:
            performance = pool.submit(workload.perform, server, credit, stop)
            try:
                _hear("stop")
                use = Use.now().since(before)
            finally:
                stop.set()
            _say({"report": {"start_ms": start_ms} | performance.result() | use})


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
        sys.exit("nobody is there any more")


def _do(task: dict[str, Any]) -> None:
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


def main() -> None:
    """Do what the first argument says, and end at once then, whatever threads of a contender are still at work."""
    code = 0
    try:
        _do(json.loads(sys.argv[1]))
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
