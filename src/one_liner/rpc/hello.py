"""What a server tells a client about itself, in answer to every heartbeat."""

from __future__ import annotations

import os
import sys
import time
from functools import cache
from typing import Any, Final

from one_liner.errors import MalformedError
from one_liner.frozen import Frozen

_LONGEST_PORT = 200
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


_LATER: Final[dict[str, Any]] = {"down": {}, "reports": False}  # Servers of before do not say these.


class Hello(Frozen):
    """Who answers.

    Attributes:
        server: random number of this server object; another one after a restart.
        name: what its owner called it.
        version: of the library it runs.
        machine: equal on two processes that share `time.perf_counter()`.
        broadcast_port: where its streams are, on the same interface.
        revision: grows when what is served changes.
        down: the routers behind it that cannot be reached, by path, and why: `{"north/attic": "router 'attic' of …"}`.
        reports: whether clients are asked to report what became of their samples.
    """

    server: int
    name: str
    version: str
    machine: str
    broadcast_port: int | str
    revision: int
    down: dict[str, str]
    reports: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for the wire."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, data: Any) -> Hello:
        """Read it back.

        Raises:
            MalformedError: it is something else. Fields that a later version adds are passed over.
        """
        if type(data) is not dict or not data.keys() >= set(cls.field_names()) - _LATER.keys():
            raise MalformedError("the answer to a heartbeat cannot be read")
        hello = cls(**{name: data[name] if name in data else _LATER[name] for name in cls.field_names()})
        types: tuple[Any, ...] = (int, str, str, str, int | str, int, dict, bool)
        if (
            not all(isinstance(getattr(hello, name), kind) for name, kind in zip(cls.field_names(), types, strict=True))
            or not all(isinstance(word, str) for pair in hello.down.items() for word in pair)
            or not 0 <= hello.server < 1 << 64
            or not _is_port(hello.broadcast_port)
        ):
            raise MalformedError("the answer to a heartbeat says what cannot be")
        return hello


def _is_port(port: int | str) -> bool:
    """Whether something can be the end of an address; whether it is that of a publisher, connecting will tell."""
    return 0 < port <= 0xFFFF if isinstance(port, int) else port.isprintable() and 0 < len(port) <= _LONGEST_PORT


@cache
def this_machine() -> str:
    """Text that two processes share when, and only when, they share a monotonic clock.

    Linux numbers each boot. Elsewhere the host's name, its network address and the instant it was started have to do.
    """
    try:
        with open(_BOOT_ID) as file:
            return file.read().strip()
    except OSError:
        import uuid  # Costs a millisecond, and Linux does not need it.

        boot = round((time.time() - time.perf_counter()) / 10)
        return f"{this_host()}-{uuid.getnode():x}-{boot}"


def this_host() -> str:
    """The name of this machine in its network."""
    if sys.platform != "win32":
        return os.uname().nodename
    import socket  # Costs two milliseconds, and only Windows needs it for this.

    return socket.gethostname()


def random_id() -> int:
    """A number that no other client or server has: 63 random bits."""
    return int.from_bytes(os.urandom(8)) >> 1
