"""An address as people write it: `lab-pc-3`, `lab-pc-3:5555`, `tcp://host:port`, `ipc://path:port`."""

from __future__ import annotations

import re
from typing import NamedTuple

from one_liner.errors import ConfigurationError

DEFAULT_PORT = "5555"
DEFAULT_HOST = "localhost"
_LAST_PORT = 65535


class Address(NamedTuple):
    """The three parts of an address, as `RouterClient` takes them."""

    protocol: str
    interface: str
    rpc_port: str

    @classmethod
    def read(cls, text: str) -> Address:
        """Read `host`, `host:port`, `:port`, `[::1]:port`, `tcp://host:port` or `ipc://path:port`.

        Raises:
            ConfigurationError: it is none of these.
        """
        protocol, separator, rest = text.rpartition("://")
        if not separator:
            protocol = "tcp"
        if protocol == "tcp":
            found = re.fullmatch(r"(\[[^\]]+\]|[^:\[\]/\s]*)(?::([0-9]{1,5}))?", rest)
            if found and rest and int(found[2] or DEFAULT_PORT) <= _LAST_PORT:
                return cls(protocol, found[1].strip("[]") or DEFAULT_HOST, found[2] or DEFAULT_PORT)
        elif protocol == "ipc":
            path, colon, port = rest.rpartition(":")
            if colon and path and port:
                return cls(protocol, path, port)
        raise ConfigurationError(
            f"a server is written host, host:port, tcp://host:port or ipc://path:port, not {text!r}"
        )

    def __str__(self) -> str:
        return f"{self.protocol}://{self.interface}:{self.rpc_port}"
