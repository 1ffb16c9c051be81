"""gRPC, with bytes made by msgpack in place of generated messages. A stream is a call whose answers do not end."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, Full, Queue
from threading import Thread
from typing import Any, Final, Literal

import grpc

from benchmarks.contenders import contender
from benchmarks.contenders.contender import Address, Contender, Publish, Sample
from benchmarks.contenders.draining import Drained
from benchmarks.contenders.packing import pack, unpack
from benchmarks.instrument import Instrument

CONTENDER = Contender(
    "gRPC",
    grpc.__version__,
    frozenset({"calls", "arrays", "streams", "frames", "pending"}),
    "import grpc, msgpack",
)
THREADS: Final = 128
WAITING: Final = 1000
"""Samples that may wait for one subscriber, and for its reader: libzmq's number."""
OPTIONS: Final = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


def _offer(queue: Queue[Any], item: Any) -> None:
    try:
        queue.put_nowait(item)
    except Full:
        pass  # Numbered, so that its reader can tell.


class Server(contender.Server):
    def __init__(self, instrument: Instrument, switch_interval_s: float | None) -> None:
        super().__init__(instrument, switch_interval_s)
        self._subscribers: dict[str, list[Queue[bytes]]] = {}
        handlers = {
            "call": grpc.unary_unary_rpc_method_handler(self._call),
            "subscribe": grpc.unary_stream_rpc_method_handler(self._subscribe),
        }
        self._server = grpc.server(ThreadPoolExecutor(THREADS), options=OPTIONS)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Instrument", handlers),))
        self.address = {"target": f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"}
        self._server.start()

    def _call(self, request: bytes, _: grpc.ServicerContext) -> bytes:
        method, arguments = unpack(request)
        return pack(getattr(self.instrument, method)(*arguments))

    def _subscribe(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        samples: Queue[bytes] = Queue(WAITING)
        self._subscribers.setdefault(request.decode(), []).append(samples)
        while context.is_active():
            yield samples.get()

    def publisher(self, topic: str) -> Publish:
        subscribers = self._subscribers.setdefault(topic, [])
        number = 0

        def publish(time: float, value: Any) -> None:
            nonlocal number
            sample = pack([number, time, value])
            number += 1
            for subscriber in subscribers:
                _offer(subscriber, sample)

        return publish

    def close(self) -> None:
        super().close()
        self._server.stop(None)


class Reader(contender.Reader):
    def __init__(self, answers: Iterator[bytes]) -> None:
        self._samples: Queue[bytes] = Queue(WAITING)
        Thread(target=self._receive, args=(answers,), daemon=True).start()

    def _receive(self, answers: Iterator[bytes]) -> None:
        for answer in answers:
            _offer(self._samples, answer)

    def take(self, timeout_s: float) -> Sample:
        try:
            return Sample(*unpack(self._samples.get(timeout=timeout_s)))
        except Empty:
            raise TimeoutError from None


class Client(contender.Client):
    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._channel = grpc.insecure_channel(address["target"], options=OPTIONS)
        self._call = self._channel.unary_unary("/Instrument/call")

    def call(self, method: str, *arguments: Any) -> Any:
        return unpack(self._call(pack([method, arguments])))

    def subscribe(self, topic: str, storage: Literal["queue", "cache"]) -> contender.Reader:
        reader = Reader(iter(self._channel.unary_stream("/Instrument/subscribe")(topic.encode())))
        return reader if storage == "queue" else Drained(reader)

    def close(self) -> None:
        self._channel.close()
