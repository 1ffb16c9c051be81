"""Eclipse zenoh: calls are queries of a key, streams its publishers and subscribers, with a cache of its own."""

from __future__ import annotations

import json
import socket
from importlib.metadata import version
from typing import Any, Final, Literal

import zenoh

from benchmarks.contenders import contender
from benchmarks.contenders.contender import Address, Contender, Publish, Sample
from benchmarks.contenders.packing import pack, unpack
from benchmarks.instrument import Instrument

CONTENDER = Contender(
    "zenoh", version("eclipse-zenoh"), frozenset({"calls", "arrays", "streams", "frames"}), "import zenoh, msgpack"
)
WAITING: Final = 1000


def _open(**settings: Any) -> zenoh.Session:
    config = zenoh.Config()
    config.insert_json5("scouting/multicast/enabled", "false")
    for name, value in settings.items():
        config.insert_json5(name.replace("__", "/"), json.dumps(value))
    return zenoh.open(config)


class Server(contender.Server):
    def __init__(self, instrument: Instrument, switch_interval_s: float | None) -> None:
        super().__init__(instrument, switch_interval_s)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = {"endpoint": f"tcp/127.0.0.1:{probe.getsockname()[1]}"}
        self._session = _open(mode="peer", listen__endpoints=[self.address["endpoint"]])
        self._queryable = self._session.declare_queryable("calls", self._answer)

    def _answer(self, query: zenoh.Query) -> None:
        assert query.payload is not None
        method, arguments = unpack(query.payload.to_bytes())
        query.reply("calls", pack(getattr(self.instrument, method)(*arguments)))

    def publisher(self, topic: str) -> Publish:
        publisher = self._session.declare_publisher(topic)
        number = 0

        def publish(time: float, value: Any) -> None:
            nonlocal number
            publisher.put(pack([number, time, value]))
            number += 1

        return publish

    def close(self) -> None:
        super().close()
        self._session.close()


class Reader(contender.Reader):
    def __init__(self, subscriber: Any) -> None:
        self._subscriber = subscriber

    def take(self, timeout_s: float) -> Sample:
        # It waits without end; who measures has patience of its own.
        return Sample(*unpack(self._subscriber.recv().payload.to_bytes()))


class Client(contender.Client):
    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._session = _open(mode="client", connect__endpoints=[address["endpoint"]])

    def call(self, method: str, *arguments: Any) -> Any:
        for reply in self._session.get("calls", payload=pack([method, arguments])):
            if reply.ok is None:
                raise RuntimeError(str(reply.err))
            return unpack(reply.ok.payload.to_bytes())
        raise TimeoutError("no reply")

    def subscribe(self, topic: str, storage: Literal["queue", "cache"]) -> Reader:
        handler: Any = zenoh.handlers.FifoChannel(WAITING) if storage == "queue" else zenoh.handlers.RingChannel(1)
        return Reader(self._session.declare_subscriber(topic, handler))

    def close(self) -> None:
        self._session.close()
