"""How fast `one-liner bridge` is, beside a bare nats-py publisher: `python -m benchmarks.bridge`.

Both write the same samples as JSON and publish them to a real nats-server, in a process of their own, and a subscriber
in another counts what arrives per second. The bridge has a third process in front, an instrument's server that pushes
samples as fast as the bridge takes them. Rounds alternate, because absolute figures move with the machine; the medians
are compared. What a sample costs is the processor's time of the one who publishes: the script, or the bridge.
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
from typing import Any, NamedTuple

from nats.aio.client import Client
from nats.aio.msg import Msg

from benchmarks.children import Children
from one_liner.aio import AsyncRouterClient
from one_liner.gateway.bridge import Bridge
from one_liner.server import RouterServer

SIZES = (10, 1_000, 100_000, 1_000_000)
SUBJECT = "one_liner.stream.text"
AHEAD = 450
"""How many messages may be on the way: enough to keep everybody busy, too few for any buffer to overflow.

libzmq's hold 1000, and tell their writers of room only when half of them was read.
"""


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


class Measured(NamedTuple):
    """One round.

    Attributes:
        rate_hz: messages per second at the subscriber.
        cost_us: what one took of the processor at who published it.
    """

    rate_hz: float
    cost_us: float


class Gauge:
    """How many messages the subscriber has had, told to the one who makes them, so that nothing overflows."""

    def __init__(self) -> None:
        self.seen: Any = multiprocessing.Value("q", 0, lock=False)
        self.before: Any = multiprocessing.Value("q", 0, lock=False)

    def begin(self) -> None:
        """The way is known to be open, and nothing is on it: what comes from now on counts."""
        time.sleep(0.3)
        self.before.value = self.seen.value

    def on_the_way(self, sent: int) -> int:
        """How many of so many have not arrived."""
        return sent - int(self.seen.value) + int(self.before.value)

    def wait(self, sent: int, allowed: int) -> None:
        """Until not more than so many are on the way."""
        while self.on_the_way(sent) > allowed:
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
            if got == gauge.before.value + 1:
                began = ended
            elif got == gauge.before.value + count:
                finished.set()

        await client.subscribe(SUBJECT, cb=on_message, pending_msgs_limit=-1, pending_bytes_limit=-1)
        await client.flush()
        out.send("ready")
        try:
            async with asyncio.timeout(60):
                await finished.wait()
        except TimeoutError:
            pass
        got -= gauge.before.value
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
        gauge.begin()
        began_s = time.process_time()
        for number in range(count):
            if gauge.on_the_way(number) > AHEAD:
                await client.flush()
                gauge.wait(number, AHEAD // 2)
            sample = {"timestamp": time.time(), "sequence": number, "data": text}
            await client.publish(SUBJECT, json.dumps(sample).encode())
        await client.flush(60)
        go.send(time.process_time() - began_s)
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
        while not gauge.seen.value:  # Until the bridge has subscribed.
            push("x" * size)
            time.sleep(0.01)
        gauge.begin()
        go.send("begun")
        for number in range(count):
            if gauge.on_the_way(number) > AHEAD:
                gauge.wait(number, AHEAD // 2)
            push("x" * size)
        go.recv()


def bridge(url: str, port: int, go: Connection) -> None:
    """The bridge, as the command runs it."""

    async def main() -> None:
        async with (
            AsyncRouterClient(rpc_port=port, broadcast_port=None) as client,
            Bridge(url, client, streams=["text"]) as one,
        ):
            await one.wait_connected()
            go.send("ready")
            while await asyncio.to_thread(go.recv) != "end":
                go.send(time.process_time())

    asyncio.run(main())


def measure(url: str, size: int, count: int, bridged: bool) -> Measured:
    """One round, with or without the bridge."""
    gauge = Gauge()
    with Children() as children:
        subscriber = children.start(subscribe, url, count, gauge)
        subscriber.hear()
        if bridged:
            server = children.start(serve, size, count, gauge)
            middle = children.start(bridge, url, server.hear())
            middle.hear()
            server.ask("go")
            began_s = middle.ask("now")
            got, rate_hz = subscriber.hear()
            cost_s = middle.ask("now") - began_s
        else:
            publisher = children.start(publish_bare, url, size, count, gauge)
            publisher.tell("go")
            got, rate_hz = subscriber.hear()
            cost_s = publisher.hear()
    if got < count:
        print(f"  only {got} of {count} arrived")
    return Measured(rate_hz, cost_s / count * 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    options = parser.parse_args()
    with broker() as url:
        print(f"{'bytes':>9} {'bare /s':>9} {'bridge /s':>9} {'ratio':>6} {'bare us':>9} {'bridge us':>9}")
        for size in options.sizes:
            count = max(300, min(100_000, 200_000_000 // (size + 1000)))
            pairs = [(measure(url, size, count, False), measure(url, size, count, True)) for _ in range(options.rounds)]
            bare, bridged = (
                Measured(*(statistics.median(values) for values in zip(*each, strict=True)))
                for each in zip(*pairs, strict=True)
            )
            ratios = ", ".join(f"{b.rate_hz / a.rate_hz:.2f}" for a, b in pairs)
            print(
                f"{size:>9} {bare.rate_hz:>9.0f} {bridged.rate_hz:>9.0f} {bridged.rate_hz / bare.rate_hz:>6.2f}"
                f" {bare.cost_us:>9.1f} {bridged.cost_us:>9.1f}   rounds: {ratios}",
                flush=True,
            )


if __name__ == "__main__":
    main()
