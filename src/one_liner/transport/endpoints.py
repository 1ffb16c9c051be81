"""Where a server is: from protocol, interface and port to a ZeroMQ endpoint, and back.

`tcp://127.0.0.1:5555`, `ipc:///tmp/rig:5555`, `inproc://rig:5555`: always protocol, interface, port.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from one_liner.errors import ConfigurationError
from one_liner.frozen import Frozen

PROTOCOLS: Final = ("tcp", "ipc", "inproc")
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "*", "::1", "")
_MAX_IPC_PATH_BYTES = 107  # sun_path of Linux, less its NUL; macOS has four bytes fewer and says so itself.


class Endpoint(Frozen):
    """An address that ZeroMQ can bind or connect.

    Attributes:
        protocol: `tcp`, `ipc` or `inproc`.
        interface: for tcp a host name, a numeric address, or (to bind) the name of a network interface or `*`; for
            ipc a path; for inproc any text.
        port: for tcp a number, 0 for a free one; otherwise any text that tells two sockets of one server apart.
    """

    protocol: str
    interface: str
    port: int | str

    @classmethod
    def of(cls, protocol: str, interface: str, port: int | str) -> Endpoint:
        """Check the three parts.

        Raises:
            ConfigurationError: an unknown protocol, a port out of range, a path that is too long.
        """
        if protocol not in PROTOCOLS:
            raise ConfigurationError(f"unknown protocol {protocol!r}; there are {', '.join(PROTOCOLS)}")
        if protocol == "ipc" and sys.platform == "win32":
            raise ConfigurationError("ipc is not available on Windows; use tcp")
        if not isinstance(interface, str):
            raise ConfigurationError(f"the interface is text such as '127.0.0.1', not {interface!r}")
        if isinstance(port, bool) or not isinstance(port, int | str):
            raise ConfigurationError(f"a port is a number or text, not {port!r}")
        if protocol == "tcp":
            return cls(protocol, interface, _tcp_port(port))
        if interface in _LOOPBACK_NAMES:
            # The defaults of server and client differ in words ("127.0.0.1", "localhost") and mean the same place.
            interface = "one_liner"
            if protocol == "ipc":
                import tempfile  # Costs several milliseconds, and is rarely needed.

                interface = os.path.join(tempfile.gettempdir(), interface)
        endpoint = cls(protocol, interface, int(port) if str(port).isdecimal() else port)
        if protocol == "ipc" and len(str(endpoint)) - len("ipc://") > _MAX_IPC_PATH_BYTES:
            raise ConfigurationError(
                f"the path of {endpoint} is longer than the {_MAX_IPC_PATH_BYTES} bytes of the system"
            )
        return endpoint

    def with_port(self, port: int | str) -> Endpoint:
        """The same place, another port."""
        return Endpoint(self.protocol, self.interface, port)

    def to_bind(self) -> str:
        """The text for `bind`, which knows numeric addresses and interfaces but no host names."""
        if self.protocol != "tcp":
            if self.port == 0:
                # With a letter in front: digits alone would be taken for a number, and lose their leading zeros.
                return str(self.with_port("p" + os.urandom(6).hex()))
            return str(self)
        host = self.interface
        if host == "localhost":
            host = "127.0.0.1"
        elif "." in host and not host.replace(".", "").isdecimal():
            import socket  # Costs two milliseconds; most hosts are given by number.

            try:
                host = socket.gethostbyname(host)
            except OSError as error:
                raise ConfigurationError(f"{host!r} is no address of this machine: {error}") from None
        return f"tcp://{_bracketed(host)}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.protocol != "tcp" or self.interface in _LOOPBACK_NAMES[:2] or self.interface == "::1"

    @property
    def is_ipv6(self) -> bool:
        """Whether the interface is written as an IPv6 address."""
        return self.protocol == "tcp" and ":" in self.interface

    def __str__(self) -> str:
        return (
            f"{self.protocol}://{_bracketed(self.interface)}:{self.port}"
            if self.protocol == "tcp"
            else (f"{self.protocol}://{self.interface}:{self.port}")
        )


def port_of(bound: str) -> int | str:
    """The port in the text of a bound endpoint."""
    port = bound.rpartition(":")[2]
    return int(port) if port.isdecimal() else port


def _tcp_port(port: int | str) -> int:
    try:
        number = int(port)
    except ValueError:
        raise ConfigurationError(f"a tcp port is a number, not {port!r}") from None
    if not 0 <= number <= 65535:
        raise ConfigurationError(f"a tcp port is between 0 (a free one) and 65535, not {number}")
    return number


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
