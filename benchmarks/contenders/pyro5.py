"""Pyro5, with the fastest of its serializers, which carries bytes and no arrays."""

from __future__ import annotations

from threading import Thread
from typing import Any

import Pyro5
import Pyro5.api

from benchmarks.contenders import contender
from benchmarks.contenders.contender import Address, Contender
from benchmarks.instrument import Instrument

CONTENDER = Contender("Pyro5", Pyro5.__version__, frozenset({"calls", "arrays", "pending"}), "import Pyro5.api")


class Server(contender.Server):
    def __init__(self, instrument: Instrument, switch_interval_s: float | None) -> None:
        super().__init__(instrument, switch_interval_s)
        self._daemon = Pyro5.api.Daemon(host="127.0.0.1", port=0)
        Pyro5.api.expose(Instrument)
        self.address = {"uri": str(self._daemon.register(instrument))}
        Thread(target=self._daemon.requestLoop, daemon=True).start()

    def close(self) -> None:
        super().close()
        self._daemon.shutdown()


class Client(contender.Client):
    def __init__(self, address: Address) -> None:
        super().__init__(address)
        Pyro5.api.config.SERIALIZER = "msgpack"
        self._proxy = Pyro5.api.Proxy(address["uri"])

    def call(self, method: str, *arguments: Any) -> Any:
        return getattr(self._proxy, method)(*arguments)

    def array(self, size_bytes: int) -> Any:
        import numpy as np

        return np.frombuffer(self._proxy.content(size_bytes), np.uint8)

    def close(self) -> None:
        self._proxy._pyroRelease()
