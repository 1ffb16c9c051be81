"""What the gateway costs: an HTTP call of a method, beside a bare FastAPI route that does nothing.

`python -m benchmarks.gateway` starts three processes (a `RouterServer`, the gateway before it, and a bare application),
and asks both applications in turn, in blocks, from one connection each, so that whatever else the machine does falls on
both. It prints the medians and their ratio.
"""

from __future__ import annotations

import argparse
import http.client
import multiprocessing
import socket
import statistics
import time
from multiprocessing.connection import Connection
from typing import Any

BLOCK = 100


class Nothing:
    """Answers at once."""

    def ping(self) -> int:
        return 1


def serve(pipe: Connection) -> None:
    """The instrument's process."""
    from one_liner import RouterServer

    with RouterServer(rpc_port=0, broadcast_port=0, instances={"nothing": Nothing()}) as server:
        server.run()
        pipe.send(server.rpc_port)
        pipe.recv()


def run_app(kind: str, rpc_port: int, port: int) -> None:
    """The process of an application."""
    import uvicorn
    from fastapi import FastAPI

    from one_liner.gateway import create_app

    app: Any = FastAPI()
    if kind == "gateway":
        app = create_app(f"127.0.0.1:{rpc_port}")
    else:

        async def nothing() -> dict[str, Any]:
            return {"message": "ping", "value": 1}

        app.add_api_route("/nothing", nothing)

    uvicorn.run(app, port=port, log_level="warning", access_log=False, timeout_keep_alive=600)


def free_port() -> int:
    # Not a socket that is handed on: asyncio would leave Nagle's algorithm on in it, and that costs 40 ms.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Asked:
    """One application, and how long it took."""

    def __init__(self, port: int, path: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._path = path
        self.took_s: list[float] = []

    def ask(self) -> None:
        began = time.perf_counter()
        self._connection.request("GET", self._path)
        answer = self._connection.getresponse()
        body = answer.read()
        self.took_s.append(time.perf_counter() - began)
        if answer.status != 200:
            raise SystemExit(f"{self._path}: {answer.status} {body!r}")

    def wait(self) -> None:
        """Until somebody listens."""
        while True:
            try:
                self._connection.connect()
                return
            except ConnectionRefusedError:
                time.sleep(0.1)

    def close(self) -> None:
        self._connection.close()


def report(asked: dict[str, Asked]) -> None:
    medians = {kind: statistics.median(one.took_s) * 1e6 for kind, one in asked.items()}
    for kind, one in asked.items():
        percentiles = [part * 1e6 for part in statistics.quantiles(one.took_s, n=100)]
        print(
            f"{kind:8} p10 {percentiles[9]:6.0f} us   median {medians[kind]:6.0f} us   p99 {percentiles[98]:6.0f} us"
            f"   of {len(one.took_s)}"
        )
    print(f"ratio of the medians {medians['gateway'] / medians['bare']:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=30, help=f"of {BLOCK} requests each")
    blocks = parser.parse_args().blocks
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    processes = [spawn.Process(target=serve, args=(theirs,), daemon=True)]
    processes[0].start()
    rpc_port = ours.recv()
    asked = {}
    for kind, path in {"gateway": "/instrument/nothing/ping", "bare": "/nothing"}.items():
        port = free_port()
        process = spawn.Process(target=run_app, args=(kind, rpc_port, port), daemon=True)
        process.start()
        processes.append(process)
        asked[kind] = Asked(port, path)
    for one in asked.values():
        one.wait()
    for _ in range(3):
        for one in asked.values():
            one.ask()
    for one in asked.values():
        one.took_s.clear()
    for _ in range(blocks):
        for one in asked.values():
            for _ in range(BLOCK):
                one.ask()
    report(asked)
    for one in asked.values():
        one.close()
    ours.send(None)
    for process in processes[1:]:
        process.terminate()
    for process in processes:
        process.join()


if __name__ == "__main__":
    main()
