"""What the gateway costs: an HTTP call of a method, beside a bare FastAPI route that does nothing.

`python -m benchmarks.gateway` starts three processes (a `RouterServer`, the gateway before it, and a bare application),
and asks both applications in turn, in blocks, so that whatever else the machine does falls on both: from one
connection, which waits for each answer, and from twelve at once. It prints the medians, and the ratio of each load.
Both applications run in the same way: uvicorn with the same loop and the same parser.
"""

from __future__ import annotations

import argparse
import http.client
import selectors
import socket
import statistics
import time
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.children import Children

BLOCK = 100
AT_ONCE = 12
PATHS = {"gateway": "/instrument/nothing/ping", "bare": "/nothing"}


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


def run_app(kind: str, rpc_port: int, port: int, options: dict[str, Any], _: Connection) -> None:
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

    uvicorn.run(app, port=port, log_level="warning", access_log=False, timeout_keep_alive=600, **options)


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

    def is_there(self) -> bool:
        """Whether somebody listens."""
        try:
            self._connection.connect()
        except ConnectionRefusedError:
            return False
        return True

    def close(self) -> None:
        self._connection.close()


class AskedByMany:
    """One application, and how long it took for each of many requests, so many of them at once.

    Written by hand, because a client of the library's would take as long as the application.
    """

    def __init__(self, port: int, path: str) -> None:
        self._selector = selectors.DefaultSelector()
        self._request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        for _ in range(AT_ONCE):
            connection = socket.create_connection(("127.0.0.1", port))
            self._selector.register(connection, selectors.EVENT_READ, bytearray())
        self.took_s: list[float] = []

    def ask(self, count: int) -> None:
        """So many times; what one takes is its share of the time."""
        connections = [key.fileobj for key in self._selector.get_map().values()]
        began = time.perf_counter()
        left, awaited = count, 0
        for connection in connections:
            connection.sendall(self._request)  # type: ignore[union-attr]
            left, awaited = left - 1, awaited + 1
        while awaited:
            for key, _ in self._selector.select():
                key.data.extend(key.fileobj.recv(65536))  # type: ignore[union-attr]
                if not key.data.endswith(b"}"):
                    continue  # The head came alone.
                if not key.data.startswith(b"HTTP/1.1 200"):
                    raise SystemExit(key.data.decode())
                key.data.clear()
                awaited -= 1
                if left:
                    key.fileobj.sendall(self._request)  # type: ignore[union-attr]
                    left, awaited = left - 1, awaited + 1
        self.took_s.append((time.perf_counter() - began) / count)

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()


def report_many(asked: dict[str, AskedByMany]) -> None:
    medians = {kind: statistics.median(one.took_s) * 1e6 for kind, one in asked.items()}
    for kind, median in medians.items():
        print(f"{kind:8} {median:6.0f} us for each of {AT_ONCE} at once, or {1e6 / median:.0f} per second")
    print(f"ratio with {AT_ONCE} at once {medians['gateway'] / medians['bare']:.2f}")


def report(asked: dict[str, Asked]) -> None:
    medians = {kind: statistics.median(one.took_s) * 1e6 for kind, one in asked.items()}
    for kind, one in asked.items():
        percentiles = [part * 1e6 for part in statistics.quantiles(one.took_s, n=100)]
        print(
            f"{kind:8} p10 {percentiles[9]:6.0f} us   median {medians[kind]:6.0f} us   p99 {percentiles[98]:6.0f} us"
            f"   of {len(one.took_s)}"
        )
    print(f"ratio with one at a time {medians['gateway'] / medians['bare']:.2f}")


def measure(ports: dict[str, int], blocks: int, children: Children) -> None:
    asked = {kind: Asked(port, PATHS[kind]) for kind, port in ports.items()}
    for one in asked.values():
        children.wait_for(one.is_there)
    for _ in range(3):
        for one in asked.values():
            one.ask()
    for one in asked.values():
        one.took_s.clear()
    by_many = {kind: AskedByMany(port, PATHS[kind]) for kind, port in ports.items()}
    for _ in range(blocks):
        for one in asked.values():
            for _ in range(BLOCK):
                one.ask()
        for many in by_many.values():
            many.ask(5 * BLOCK)
    report(asked)
    report_many(by_many)
    for one in asked.values():
        one.close()
    for many in by_many.values():
        many.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=30, help=f"of {BLOCK} requests each")
    parser.add_argument("--loop", default="auto", help="uvicorn's event loop, for both: auto, asyncio or uvloop")
    parser.add_argument("--http", default="auto", help="uvicorn's parser, for both: auto, h11 or httptools")
    given = parser.parse_args()
    options = {"loop": given.loop, "http": given.http}
    with Children() as children:
        rpc_port = children.start(serve).hear()
        ports = {kind: free_port() for kind in PATHS}
        for kind, port in ports.items():
            children.start(run_app, kind, rpc_port, port, options)
        measure(ports, given.blocks, children)


if __name__ == "__main__":
    main()
