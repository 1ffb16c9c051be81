"""How fast `one-liner bridge` is, beside a bare nats-py publisher: `python -m benchmarks.bridge`.

Both write the same samples as JSON and publish them to a real nats-server, in a process of their own, and a subscriber
in another counts what arrives per second. The bridge has a third process in front, an instrument's server that pushes
samples as fast as the bridge takes them. Rounds alternate, because absolute figures move with the machine; the medians
are compared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg

from one_liner.aio import AsyncRouterClient
from one_liner.gateway.bridge import Bridge
from one_liner.server import RouterServer

SIZES = (10, 1_000, 100_000, 1_000_000)
SUBJECT = "one_liner.stream.text"
AHEAD = 800
"""How many messages may be on the way: enough to keep everybody busy, too few for any buffer to overflow."""


@contextmanager
def broker() -> Iterator[str]:
    """A nats-server that takes large messages."""
    program = shutil.which("nats-server", path=os.environ["PATH"] + os.pathsep + "/usr/sbin")
    if program is None:
        raise SystemExit("there is no nats-server: apt-get install nats-server")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "nats.conf"
        config.write_text("max_payload: 8MB\nmax_pending: 256MB\n")
        process = subprocess.Popen([program, "-a", "127.0.0.1", "-p", str(port), "-c", config, "-l", f"{folder}/log"])
        try:
            yield f"nats://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


class Gauge:
    """How many messages the subscriber has had, told to the one who makes them, so that nothing overflows."""

    def __init__(self) -> None:
        self.seen: Any = multiprocessing.Value("q", 0, lock=False)

    def wait(self, sent: int, allowed: int) -> None:
        """Until not more than so many are on the way."""
        while sent - self.seen.value > allowed:
            time.sleep(0.0001)


def subscribe(url: str, count: int, gauge: Gauge, out: Connection) -> None:
    """Count messages, and tell how many came per second."""

    async def main() -> None:
        client = Client()
        await client.connect(url)
        got, began, ended = 0, 0.0, 0.0
        finished = asyncio.Event()

        async def on_message(_: Msg) -> None:
            nonlocal got, began, ended
            got += 1
            gauge.seen.value = got
            ended = time.perf_counter()
            began = began or ended
            if got == count:
                finished.set()

        await client.subscribe(SUBJECT, cb=on_message, pending_msgs_limit=-1, pending_bytes_limit=-1)
        await client.flush()
        out.send("ready")
        try:
            async with asyncio.timeout(60):
                await finished.wait()
        except TimeoutError:
            pass
        out.send((got, (got - 1) / (ended - began)))
        await client.close()

    asyncio.run(main())


def publish_bare(url: str, size: int, count: int, gauge: Gauge, go: Connection) -> None:
    """What the bridge publishes, without a bridge."""

    async def main() -> None:
        client = Client()
        await client.connect(url)
        text = "x" * size
        go.recv()
        for number in range(count):
            if number - gauge.seen.value > AHEAD:
                await client.flush()
                gauge.wait(number, AHEAD // 2)
            sample = {"timestamp": time.time(), "sequence": number, "data": text}
            await client.publish(SUBJECT, json.dumps(sample).encode())
        await client.flush(60)
        go.recv()
        await client.close()

    asyncio.run(main())


def serve(size: int, count: int, gauge: Gauge, go: Connection) -> None:
    """An instrument that pushes texts."""
    with RouterServer(rpc_port=0, broadcast_port=0) as server:
        push = server.get_stream_fn("text")
        server.run()
        go.send(server.rpc_port)
        go.recv()
        for number in range(count):
            if number - gauge.seen.value > AHEAD:
                gauge.wait(number, AHEAD // 2)
            push("x" * size)
        go.recv()


def bridge(url: str, port: int, go: Connection) -> None:
    """The bridge, as the command runs it."""

    async def main() -> None:
        async with AsyncRouterClient(rpc_port=port, broadcast_port=None) as client:
            await client.configure_stream("text", "queue", last_sample=False, wait=True)
            async with Bridge(url, client, streams=["text"]) as one:
                await one.wait_connected()
                go.send("ready")
                await asyncio.to_thread(go.recv)

    asyncio.run(main())


@contextmanager
def process(target: Any, *arguments: Any) -> Iterator[Connection]:
    """A function in a process of its own, and the line to it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=target, args=(*arguments, there))
    child.start()
    try:
        yield here
    finally:
        here.send("end")
        child.join()


def measure(url: str, size: int, count: int, bridged: bool) -> float:
    """Messages per second at the subscriber."""
    gauge = Gauge()
    with process(subscribe, url, count, gauge) as subscriber:
        subscriber.recv()
        if bridged:
            with process(serve, size, count, gauge) as server, process(bridge, url, server.recv()) as middle:
                middle.recv()
                server.send("go")
                got, rate = subscriber.recv()
        else:
            with process(publish_bare, url, size, count, gauge) as publisher:
                publisher.send("go")
                got, rate = subscriber.recv()
    if got < count:
        print(f"  only {got} of {count} arrived")
    return float(rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    options = parser.parse_args()
    with broker() as url:
        print(f"{'bytes':>9} {'bare /s':>9} {'bridge /s':>9} {'ratio':>6}")
        for size in options.sizes:
            count = max(300, min(3_000, 80_000_000 // (size + 1000)))
            pairs = [(measure(url, size, count, False), measure(url, size, count, True)) for _ in range(options.rounds)]
            bare, bridged = (statistics.median(one) for one in zip(*pairs, strict=True))
            ratios = ", ".join(f"{b / a:.2f}" for a, b in pairs)
            print(f"{size:>9} {bare:>9.0f} {bridged:>9.0f} {bridged / bare:>6.2f}   rounds: {ratios}", flush=True)


if __name__ == "__main__":
    main()
