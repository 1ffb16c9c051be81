"""RPyC. A dict comes as a reference, and each look inside is another call; so it is fetched, which needs pickle."""

from __future__ import annotations

from importlib.metadata import version
from threading import Thread
from typing import Any

import rpyc
from rpyc.utils.classic import obtain
from rpyc.utils.server import ThreadedServer

from benchmarks.contenders import contender
from benchmarks.contenders.contender import Address, Contender
from benchmarks.instrument import Instrument

CONTENDER = Contender("RPyC", version("rpyc"), frozenset({"calls", "arrays", "pending"}), "import rpyc")


class Service(rpyc.Service):  # type: ignore[misc]  # untyped
    def __init__(self, instrument: Instrument) -> None:
        self.exposed_echo = instrument.echo
        self.exposed_state = instrument.state
        self.exposed_content = instrument.content
        self.exposed_hold = instrument.hold


class Server(contender.Server):
    def __init__(self, instrument: Instrument, switch_interval_s: float | None) -> None:
        super().__init__(instrument, switch_interval_s)
        self._server = ThreadedServer(
            Service(instrument), hostname="127.0.0.1", port=0, protocol_config={"allow_pickle": True}
        )
        self.address = {"port": self._server.port}
        Thread(target=self._server.start, daemon=True).start()

    def close(self) -> None:
        super().close()
        self._server.close()


class Client(contender.Client):
    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._connection = rpyc.connect("127.0.0.1", address["port"])
        self._instrument = self._connection.root

    def call(self, method: str, *arguments: Any) -> Any:
        result = getattr(self._instrument, method)(*arguments)
        return obtain(result) if isinstance(result, rpyc.BaseNetref) else result

    def array(self, size_bytes: int) -> Any:
        import numpy as np

        return np.frombuffer(self._instrument.content(size_bytes), np.uint8)

    def close(self) -> None:
        self._connection.close()
