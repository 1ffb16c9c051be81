"""How many camera frames per second one watcher of the gateway gets: `python -m benchmarks.video`.

A `RouterServer` makes frames of 1080 × 1920 pixels at a fixed rate, in colour (6.2 MB) or grey (2.1 MB), and `one-liner
gateway` sends them as binary frames to one WebSocket of the library `websockets`. In turn with it a bare FastAPI
application sends as many bytes at the same rate from its own memory. All are processes of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import time
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
import psutil
import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from websockets.asyncio.client import connect

from benchmarks.browser import wait_for_stream
from benchmarks.children import Children
from benchmarks.figures import median, percentile
from benchmarks.gateway import free_port
from one_liner.gateway.frames import read_binary_frame
from tests.gateway_process import GatewayProcess

SHAPES = {"colour": (1080, 1920, 3), "grey": (1080, 1920)}
_WARM_S = 2.0


class Seen(NamedTuple):
    """What one watcher had.

    Attributes:
        rate_hz: frames per second.
        ages_ms: how old each was when it was there; none of the bare application.
        missed: how many were left out for newer ones.
    """

    rate_hz: float
    ages_ms: list[float]
    missed: int


def serve(kind: str, rate_hz: float, out: Connection) -> None:
    """An instrument with a camera. Its frames differ, and are made before."""
    from one_liner import RouterServer

    noise = np.random.default_rng(1)
    frames = [noise.integers(0, 255, SHAPES[kind], np.uint8) for _ in range(4)]
    number = 0

    def grab() -> Any:
        nonlocal number
        number += 1
        return frames[number % len(frames)]

    with RouterServer(rpc_port=0, broadcast_port=0) as server:
        server.add_stream_from_callable("camera", rate_hz, grab)
        server.run()
        out.send(server.rpc_port)
        out.recv()


def run_bare(kind: str, rate_hz: float, port: int, _: Connection) -> None:
    """An application that sends as many bytes."""
    content = np.random.default_rng(1).integers(0, 255, SHAPES[kind], np.uint8).tobytes()

    async def show(websocket: WebSocket) -> None:
        await websocket.accept()
        loop = asyncio.get_running_loop()
        due = loop.time()
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True:
                await websocket.send_bytes(content)
                due = max(due + 1 / rate_hz, loop.time())
                await asyncio.sleep(due - loop.time())

    app = FastAPI()
    app.add_api_websocket_route("/bare", show)
    uvicorn.run(app, port=port, log_level="warning", ws_per_message_deflate=False)


def watch(url: str, seconds: float, out: Connection) -> None:
    """A watcher, and what it had."""

    async def main() -> Seen:
        ages_ms: list[float] = []
        numbers: list[int] = []
        count = 0
        async with connect(url, proxy=None, compression=None, max_size=None) as websocket:
            warm = time.perf_counter() + _WARM_S
            while time.perf_counter() < warm:
                await websocket.recv()
            began = now = time.perf_counter()
            while now < began + seconds:
                frame = await websocket.recv()
                now = time.perf_counter()
                count += 1
                if not url.endswith("/bare"):
                    assert isinstance(frame, bytes)
                    head, image = read_binary_frame(frame)
                    assert image.nbytes > 10**6
                    ages_ms.append(1000 * (time.time() - head["timestamp"]))
                    numbers.append(head["sequence"])
        missed = numbers[-1] - numbers[0] + 1 - len(numbers) if numbers else 0
        return Seen(count / (now - began), ages_ms, missed)

    out.send(asyncio.run(main()))


def seen_by_one(children: Children, url: str, seconds: float) -> Seen:
    """What one watcher had, in a process of its own."""
    with children.start(watch, url, seconds) as watcher:
        seen: Seen = watcher.hear()
    return seen


def listens(port: int) -> bool:
    """Whether somebody does."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def measure(kind: str, rate_hz: float, seconds: float, rounds: int) -> None:
    """One kind of frame at one rate."""
    with Children() as children, contextlib.ExitStack() as stack:
        rpc_port, port = children.start(serve, kind, rate_hz).hear(), free_port()
        children.start(run_bare, kind, rate_hz, port)
        gateway = stack.enter_context(GatewayProcess("--server", f"127.0.0.1:{rpc_port}", "--no-ui"))
        wait_for_stream(gateway, "camera")
        children.wait_for(lambda: listens(port))
        process = psutil.Process(gateway.pid)
        ours, theirs, cost_ms = [], [], []
        for _ in range(rounds):
            before = sum(process.cpu_times()[:2])
            one = seen_by_one(children, f"ws://127.0.0.1:{gateway.port}/api/streams/camera/ws?format=binary", seconds)
            cost_ms.append(1000 * (sum(process.cpu_times()[:2]) - before) / (one.rate_hz * (seconds + _WARM_S)))
            ours.append(one)
            theirs.append(seen_by_one(children, f"ws://127.0.0.1:{port}/bare", seconds))
        memory = process.memory_info().rss / 2**20
    ages_ms = [age for one in ours for age in one.ages_ms]
    rates = ", ".join(f"{one.rate_hz:.0f}" for one in ours)
    print(
        f"{kind:7} {rate_hz:5.0f} {median([one.rate_hz for one in ours]):8.1f} {sum(one.missed for one in ours):7}"
        f" {percentile(ages_ms, 50):8.1f} {percentile(ages_ms, 99):8.1f} {median(cost_ms):8.1f} {memory:8.0f}"
        f" {median([one.rate_hz for one in theirs]):8.1f}   rounds: {rates}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rates", type=float, nargs="*", default=(60, 120))
    parser.add_argument("--kinds", choices=list(SHAPES), nargs="*", default=list(SHAPES))
    options = parser.parse_args()
    print(
        f"{'frames':7} {'made':>5} {'seen /s':>8} {'missed':>7} {'age p50':>8} {'p99 ms':>8} {'cpu ms':>8} {'MiB':>8}"
        f" {'bare /s':>8}"
    )
    for kind in options.kinds:
        for rate_hz in options.rates:
            measure(kind, rate_hz, options.seconds, options.rounds)


if __name__ == "__main__":
    main()
