"""pyzmq used directly for the same work: what everything else is a ratio to.

Calls: a ROUTER with a poller, msgpack on both sides. Streams: PUB → inproc XSUB/XPUB proxy → tcp → SUB, one frame for a
small sample. Arrays from `OUT_OF_BAND_BYTES` on are a frame of their own, not copied on either side. Nothing is
checked, counted, timed out, or ordered. One difference in its favour: the thread that asks for a sample receives it.
"""

from __future__ import annotations

from threading import Thread
from typing import Any, Final, Literal

import msgpack  # type: ignore[import-untyped]
import zmq

from benchmarks.contenders import contender
from benchmarks.contenders.contender import Address, Contender, Publish, Sample
from benchmarks.contenders.draining import Drained
from benchmarks.instrument import Instrument

CONTENDER = Contender(
    "bare pyzmq",
    f"{zmq.__version__}, libzmq {zmq.zmq_version()}",
    frozenset({"calls", "arrays", "streams", "frames", "hops", "pending"}),
    "import zmq, msgpack",
)
ADDRESS: Final = "tcp://127.0.0.1:*"
OUT_OF_BAND_BYTES: Final = 64 * 1024
POLL_MS: Final = 1000

Socket = zmq.Socket[bytes]


def _context() -> zmq.Context[Socket]:
    return zmq.Context.instance()


def _split(value: Any) -> tuple[Any, list[Any]]:
    """What msgpack can carry, and the memory behind it."""
    if not hasattr(value, "nbytes"):
        return [None, value], []
    if value.nbytes < OUT_OF_BAND_BYTES:
        return [[value.dtype.str, value.shape], value.tobytes()], []
    return [[value.dtype.str, value.shape], None], [value]


def _join(description: Any, content: Any, frames: list[zmq.Frame]) -> Any:
    if description is None:
        return content
    import numpy as np

    return np.frombuffer(frames[0].buffer if frames else content, description[0]).reshape(description[1])


def _send(socket: Socket, head: list[Any], memory: list[Any]) -> None:
    """All small frames at once and copied, the large one not."""
    for index, frame in enumerate(head):
        socket.send(frame, zmq.SNDMORE if memory or index < len(head) - 1 else 0)
    for array in memory:
        socket.send(array, copy=False)


def _bound(kind: int) -> Socket:
    socket = _context().socket(kind)
    socket.bind(ADDRESS)
    return socket


def _endpoint(socket: Socket) -> str:
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)


def _pass_on(front: Socket, back: Socket) -> None:
    Thread(target=zmq.proxy, args=(front, back), daemon=True).start()


class Server(contender.Server):
    def __init__(self, instrument: Instrument, switch_interval_s: float | None) -> None:
        super().__init__(instrument, switch_interval_s)
        router, xpub, xsub = _bound(zmq.ROUTER), _bound(zmq.XPUB), _context().socket(zmq.XSUB)
        xsub.bind("inproc://samples")
        self.address = {"calls": _endpoint(router), "samples": _endpoint(xpub)}
        Thread(target=self._answer, args=(router,), daemon=True).start()
        _pass_on(xsub, xpub)

    def _answer(self, router: Socket) -> None:
        poller = zmq.Poller()
        poller.register(router, zmq.POLLIN)
        while True:
            if not poller.poll(POLL_MS):
                continue
            *route, request = router.recv_multipart()
            number, method, arguments = msgpack.unpackb(request)
            if method == "hold":  # One thread answers, so these can only lie there.
                continue
            (description, content), memory = _split(getattr(self.instrument, method)(*arguments))
            _send(router, [*route, msgpack.packb([number, description, content])], memory)

    def publisher(self, topic: str) -> Publish:
        socket = _context().socket(zmq.PUB)
        socket.connect("inproc://samples")
        head, number = topic.encode() + b"\0", 0

        def publish(time: float, value: Any) -> None:
            nonlocal number
            content, memory = _split(value)
            _send(socket, [head + msgpack.packb([number, time, *content])], memory)
            number += 1

        return publish


class Router(contender.Router):
    """libzmq's own proxies, one for calls and one for samples."""

    def __init__(self, address: Address) -> None:
        front, xpub = _bound(zmq.ROUTER), _bound(zmq.XPUB)
        back, xsub = _context().socket(zmq.DEALER), _context().socket(zmq.XSUB)
        back.connect(address["calls"])
        xsub.connect(address["samples"])
        _pass_on(front, back)
        _pass_on(xsub, xpub)
        self.address = {"calls": _endpoint(front), "samples": _endpoint(xpub)}


class Reader(contender.Reader):
    def __init__(self, address: str, topic: str) -> None:
        self._socket = _context().socket(zmq.SUB)
        self._socket.connect(address)
        self._skip, self._timeout_s = len(topic) + 1, -1.0
        self._socket.subscribe(topic + "\0")

    def take(self, timeout_s: float) -> Sample:
        if timeout_s != self._timeout_s:
            self._timeout_s, self._socket.rcvtimeo = timeout_s, int(timeout_s * 1000)
        try:
            head = self._socket.recv()
        except zmq.Again:
            raise TimeoutError from None
        number, time, description, content = msgpack.unpackb(memoryview(head)[self._skip :])
        frames = [self._socket.recv(copy=False)] if description is not None and content is None else []
        return Sample(number, time, _join(description, content, frames))


class Client(contender.Client):
    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._number = 0
        self._socket = _context().socket(zmq.DEALER)
        self._socket.connect(address["calls"])

    def call(self, method: str, *arguments: Any) -> Any:
        self._number += 1
        socket = self._socket
        socket.send(msgpack.packb([self._number, method, arguments]))
        number, description, content = msgpack.unpackb(socket.recv())
        if number != self._number:
            raise RuntimeError("the answer to another call")
        frames = [socket.recv(copy=False)] if description is not None and content is None else []
        return _join(description, content, frames)

    def subscribe(self, topic: str, storage: Literal["queue", "cache"]) -> contender.Reader:
        reader = Reader(self.address["samples"], topic)
        return reader if storage == "queue" else Drained(reader)

    def close(self) -> None:
        _context().destroy(linger=0)
