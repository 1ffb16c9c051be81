"""What one gateway is told: which servers, who may come in, and how much of anything it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from one_liner.address import Address
from one_liner.config import check_timeout
from one_liner.credentials import for_client
from one_liner.errors import ConfigurationError
from one_liner.gateway.access import Token

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Server:
    """One `RouterServer` to be a client of.

    Attributes:
        address: as in `one_liner.address.Address.read`.
        name: what stands in front of its objects and streams, `rig2/laser`; "" for nothing.
        keys: for a secured server: the file with our keys.
        server_key: the server's public key, or its file.
    """

    address: str = "localhost"
    name: str = ""
    keys: Any = None
    server_key: Any = None

    def __post_init__(self) -> None:
        """Check the address and the name.

        Raises:
            ConfigurationError: one of them cannot be.
        """
        Address.read(self.address)
        if "/" in self.name or self.name.startswith("_"):
            raise ConfigurationError(f"the name of a server has no '/' and no '_' in front, unlike {self.name!r}")

    def check_keys(self) -> None:
        """Read the keys, so that what is wrong with them is known before anything is started.

        Raises:
            ConfigurationError: something is.
        """
        for_client(Address.read(self.address).protocol, self.keys, self.server_key)

    @classmethod
    def read(cls, text: str, **options: Any) -> Server:
        """Read `lab-pc-3:5555`, or `rig2=lab-pc-4:5555`.

        Raises:
            ConfigurationError: it is neither.
        """
        name, equals, address = text.partition("=")
        return cls(address, name, **options) if equals else cls(text, **options)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a gateway is told. All have defaults that a lab on one network can live with.

    Attributes:
        instrument: the object, of those that are served, that is meant where none is named; found out if None.
        timeout_s: how long a call may take, the wait for a busy object included; None for as long as its server lives.
        stream: what `/ws/stream` shows; a noisy sine if None.
        stream_hz: how often it does.
        array_dir: the folder in which arrays are kept; in memory if None.
        array_bytes: how large one array may be.
        arrays_bytes: how large all of them may be together.
        arrays: how many there may be.
        body_bytes: how large the body of a request may be.
        connections: how many requests and WebSockets may be open at a time.
        rate_hz: how many requests and WebSockets one client may begin per second, on average; None for any number.
        outbox_messages: how many messages may wait for one WebSocket.
        outbox_bytes: and how large they may be together.
        backend: what joins this gateway with others: "memory" for nothing, `redis://…`, `nats://…` or `zmq://…`.
        tokens: who may do what; without any, everybody who can reach the port may do everything.
        cors_origins: whose pages may call us from a browser; over the loopback, by these names too.
        ui: whether the page is at `/ui`. One application in a process can have it.
    """

    instrument: str | None = None
    timeout_s: float | None = 30.0
    stream: str | None = None
    stream_hz: float = 20.0
    array_dir: Path | None = None
    array_bytes: int = 256 * MIB
    arrays_bytes: int = 1024 * MIB
    arrays: int = 10_000
    body_bytes: int = 260 * MIB
    connections: int = 2000
    rate_hz: float | None = None
    outbox_messages: int = 200
    outbox_bytes: int = 64 * MIB
    backend: str = "memory"
    tokens: Sequence[Token] = ()
    cors_origins: Sequence[str] = ()
    ui: bool = False

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigurationError: one is not above 0.
        """
        for name in (
            "stream_hz",
            "array_bytes",
            "arrays_bytes",
            "arrays",
            "body_bytes",
            "connections",
            "outbox_messages",
            "outbox_bytes",
        ):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigurationError(f"{name} is a number above 0, not {getattr(self, name)!r}")
        check_timeout(self.timeout_s)
        if self.rate_hz is not None and not self.rate_hz > 0:
            raise ConfigurationError(f"rate_hz is a number above 0, not {self.rate_hz!r}")


Servers = str | Server | Sequence[str | Server] | Mapping[str, str]
"""One or several, as `host:port` or `name=host:port`, as `Server`, or as a dict of addresses by name."""


def servers_of(servers: Servers) -> tuple[Server, ...]:
    """The servers, however they were written: one or several, as text, as `Server`, or as a dict by name.

    Raises:
        ConfigurationError: an address cannot be, or two have one name.
    """
    if isinstance(servers, Mapping):
        found = tuple(Server(address, name) for name, address in servers.items())
    else:
        several = (servers,) if isinstance(servers, str | Server) else tuple(servers)
        found = tuple(one if isinstance(one, Server) else Server.read(one) for one in several)
    names = [one.name for one in found if one.name]
    if len(set(names)) < len(names):
        raise ConfigurationError(f"two servers have one name: {sorted(names)}")
    return found
