"""The standard library's xmlrpc. One thread answers, and each call makes a connection."""

from __future__ import annotations

import platform
from threading import Thread
from typing import Any, cast
from xmlrpc.client import Binary, ServerProxy
from xmlrpc.server import SimpleXMLRPCServer

from benchmarks.contenders import contender
from benchmarks.contenders.contender import Address, Contender
from benchmarks.instrument import Instrument

CONTENDER = Contender(
    "xmlrpc",
    f"of Python {platform.python_version()}",
    frozenset({"calls", "arrays"}),
    "import xmlrpc.client, xmlrpc.server",
)


class Server(contender.Server):
    def __init__(self, instrument: Instrument, switch_interval_s: float | None) -> None:
        super().__init__(instrument, switch_interval_s)
        self._server = SimpleXMLRPCServer(("127.0.0.1", 0), logRequests=False, allow_none=True)
        self._server.register_instance(instrument)
        self.address = {"uri": f"http://127.0.0.1:{self._server.server_address[1]}"}
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        super().close()
        self._server.shutdown()
        self._server.server_close()


class Client(contender.Client):
    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._proxy = ServerProxy(address["uri"], allow_none=True)

    def call(self, method: str, *arguments: Any) -> Any:
        return getattr(self._proxy, method)(*arguments)

    def array(self, size_bytes: int) -> Any:
        import numpy as np

        return np.frombuffer(cast(Binary, self._proxy.content(size_bytes)).data, np.uint8)

    def close(self) -> None:
        self._proxy("close")()
