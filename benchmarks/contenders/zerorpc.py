"""zerorpc. Its server lives in gevent, on a thread of its own here."""

from __future__ import annotations

import socket
from importlib.metadata import version
from threading import Event, Thread
from typing import Any

import zerorpc

from benchmarks.contenders import contender
from benchmarks.contenders.contender import Address, Contender
from benchmarks.instrument import Instrument

CONTENDER = Contender("zerorpc", version("zerorpc"), frozenset({"calls", "arrays"}), "import zerorpc")
START_S = 10.0


class Server(contender.Server):
    def __init__(self, instrument: Instrument, switch_interval_s: float | None) -> None:
        super().__init__(instrument, switch_interval_s)
        with socket.socket() as probe:  # It does not tell which port it took.
            probe.bind(("127.0.0.1", 0))
            self.address = {"endpoint": f"tcp://127.0.0.1:{probe.getsockname()[1]}"}
        self._bound = Event()
        Thread(target=self._serve, daemon=True).start()
        if not self._bound.wait(START_S):
            raise RuntimeError("zerorpc could not be started")

    def _serve(self) -> None:
        server = zerorpc.Server(self.instrument)
        server.bind(self.address["endpoint"])
        self._bound.set()
        server.run()


class Client(contender.Client):
    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._client = zerorpc.Client(address["endpoint"])

    def call(self, method: str, *arguments: Any) -> Any:
        return self._client(method, *arguments)

    def array(self, size_bytes: int) -> Any:
        import numpy as np

        return np.frombuffer(self._client("content", size_bytes), np.uint8)

    def close(self) -> None:
        self._client.close()
