"""NATS: a broker of its own, `nats-server`, and asyncio at both ends. Not thread-safe, so each end has a loop's thread.

A client that only calls runs its loop on the caller's thread, which is faster.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Coroutine
from importlib.metadata import version
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any, Final, Literal, TypeVar

import nats
from nats.aio.client import Client as Connection
from nats.aio.msg import Msg

from benchmarks.contenders import contender
from benchmarks.contenders.contender import Address, Contender, Publish, Sample
from benchmarks.contenders.draining import Drained
from benchmarks.contenders.packing import pack, unpack
from benchmarks.instrument import Instrument

PROGRAM: Final = "nats-server"
if shutil.which(PROGRAM) is None:
    raise ImportError(f"there is no {PROGRAM} on the path")
_SAYS = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]

CONTENDER = Contender(
    "NATS",
    f"nats-py {version('nats-py')}, server {_SAYS}",
    frozenset({"calls", "arrays", "streams", "frames"}),
    "import nats, msgpack",
)
START_S: Final = 10.0
CALL_S: Final = 20.0
WAITING: Final = 1000
PENDING_BYTES: Final = 256 * 1024 * 1024
T = TypeVar("T")


class _Loop:
    """An event loop: run by the caller until `start`, and on its own thread from then on."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._runs = False

    def start(self) -> None:
        """Run from now on."""
        if not self._runs:
            self._runs = True
            Thread(target=self._loop.run_forever, daemon=True).start()

    def do(self, what: Coroutine[Any, Any, T]) -> T:
        """Do this, and wait for it."""
        if self._runs:
            return asyncio.run_coroutine_threadsafe(what, self._loop).result()
        return self._loop.run_until_complete(what)

    def soon(self, what: Any, *arguments: Any) -> None:
        """Call this on the loop's thread, and do not wait."""
        self._loop.call_soon_threadsafe(what, *arguments)


async def _connect(port: int) -> Connection:
    return await nats.connect(f"nats://127.0.0.1:{port}", pending_size=PENDING_BYTES)


class Server(contender.Server):
    def __init__(self, instrument: Instrument, switch_interval_s: float | None) -> None:
        super().__init__(instrument, switch_interval_s)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = {"port": port}
        with tempfile.NamedTemporaryFile("w", suffix=".conf", delete=False) as settings:
            settings.write(f"max_payload: 64MB\nmax_pending: {PENDING_BYTES}\n")
        self._broker = subprocess.Popen(
            [PROGRAM, "-a", "127.0.0.1", "-p", str(port), "-c", settings.name],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.helpers = (self._broker.pid,)
        self._await_broker(port)
        Path(settings.name).unlink()
        self._loop = _Loop()
        self._connection = self._loop.do(_connect(port))
        self._loop.do(self._connection.subscribe("calls", cb=self._answer))
        self._loop.start()

    def _await_broker(self, port: int) -> None:
        deadline = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    async def _answer(self, message: Msg) -> None:
        method, arguments = unpack(message.data)
        await message.respond(pack(getattr(self.instrument, method)(*arguments)))

    def publisher(self, topic: str) -> Publish:
        outbox: deque[bytes] = deque()
        number = 0

        async def empty() -> None:
            while outbox:
                await self._connection.publish(topic, outbox.popleft())

        def publish(instant: float, value: Any) -> None:
            nonlocal number
            outbox.append(pack([number, instant, value]))
            number += 1
            if len(outbox) == 1:
                self._loop.soon(lambda: asyncio.ensure_future(empty()))
            while len(outbox) > WAITING:
                time.sleep(0.0001)

        return publish

    def close(self) -> None:
        super().close()
        self._broker.kill()
        self._broker.wait()


class Reader(contender.Reader):
    def __init__(self) -> None:
        self._samples: Queue[bytes] = Queue()

    async def put(self, message: Msg) -> None:
        """One has come."""
        self._samples.put(message.data)

    def take(self, timeout_s: float) -> Sample:
        try:
            return Sample(*unpack(self._samples.get(timeout=timeout_s)))
        except Empty:
            raise TimeoutError from None


class Client(contender.Client):
    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._loop = _Loop()
        self._connection = self._loop.do(_connect(address["port"]))

    def call(self, method: str, *arguments: Any) -> Any:
        return unpack(self._loop.do(self._connection.request("calls", pack([method, arguments]), CALL_S)).data)

    def subscribe(self, topic: str, storage: Literal["queue", "cache"]) -> contender.Reader:
        reader = Reader()
        self._loop.do(self._connection.subscribe(topic, cb=reader.put))
        self._loop.do(self._connection.flush())
        self._loop.start()
        return reader if storage == "queue" else Drained(reader)

    def close(self) -> None:
        self._loop.do(self._connection.close())
