"""one_liner itself, as it comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from benchmarks.contenders import contender
from benchmarks.contenders.contender import Address, Contender, Publish, Sample
from benchmarks.instrument import Instrument
from one_liner.client import RouterClient
from one_liner.errors import NoDataError
from one_liner.server import RouterServer
from one_liner.version import __version__

CONTENDER = Contender(
    "one_liner",
    __version__,
    frozenset({"calls", "arrays", "streams", "frames", "hops", "pending"}),
    "from one_liner import RouterClient, RouterServer; RouterClient, RouterServer",
)


class Server(contender.Server):
    def __init__(self, instrument: Instrument, switch_interval_s: float | None) -> None:
        super().__init__(instrument, None)
        self._server = RouterServer(rpc_port=0, broadcast_port=0, switch_interval_s=switch_interval_s)
        self._server.add_instance("instrument", instrument)
        self._server.run()
        self.address = {"rpc_port": self._server.rpc_port, "prefix": ""}

    def publisher(self, topic: str) -> Publish:
        return self._server.get_stream_fn(topic, set_timestamp=True)

    def tick(self, topic: str, frequency_hz: float, function: Callable[[], Any]) -> None:
        self._server.add_stream_from_callable(topic, frequency_hz, function)

    def close(self) -> None:
        super().close()
        self._server.close()


class Router(contender.Router):
    def __init__(self, address: Address) -> None:
        self._server = RouterServer(rpc_port=0, broadcast_port=0)
        self._server.add_router("hop", rpc_port=address["rpc_port"])
        self._server.run()
        self.address = {"rpc_port": self._server.rpc_port, "prefix": "hop/" + address["prefix"]}


class Reader(contender.Reader):
    def __init__(self, client: RouterClient, stream: str) -> None:
        self._client, self._stream = client, stream

    def take(self, timeout_s: float) -> Sample:
        try:
            sample = self._client.get_stream(self._stream, timeout_s=timeout_s)
        except NoDataError as error:
            raise TimeoutError(str(error)) from None
        timestamp, data = sample
        return Sample(sample.sequence, timestamp, data)

    def take_many(self, timeout_s: float) -> list[Sample]:
        try:
            samples = self._client.get_samples(self._stream, timeout_s=timeout_s)
        except NoDataError as error:
            raise TimeoutError(str(error)) from None
        return [Sample(sample.sequence, *sample) for sample in samples]

    def losses_known(self) -> bool:
        return self._client.stream_statistics(self._stream).accounted


class Client(contender.Client):
    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._client = RouterClient(rpc_port=address["rpc_port"], broadcast_port=None)
        self._instrument = address["prefix"] + "instrument"
        self._client.wait_until_connected(10.0)

    def call(self, method: str, *arguments: Any) -> Any:
        return self._client.call(self._instrument, method, arguments)

    def subscribe(self, topic: str, storage: Literal["queue", "cache"]) -> Reader:
        stream = self.address["prefix"] + topic
        self._client.configure_stream(stream, storage, wait=True)
        return Reader(self._client, stream)

    def close(self) -> None:
        self._client.close()
