"""The socket that a gateway listens at: known to be free, and its port known, before anything is started."""

from __future__ import annotations

import errno
import socket
import sys

from one_liner.errors import ConfigurationError, PortInUseError

_BACKLOG = 2048
_LAST_PORT = 65535


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Its protocol is named, as asyncio looks at that before it turns off Nagle's algorithm, which would hold each answer
    back for 40 ms.

    Args:
        host: an address or a name of this machine.
        port: 0 takes a free one.

    Raises:
        PortInUseError: somebody listens there already.
        ConfigurationError: this address is none of this machine's, or there is no such port.
    """
    if not 0 <= port <= _LAST_PORT:  # getaddrinfo would take 70000 for 4464.
        raise ConfigurationError(f"a port is a number from 0 to {_LAST_PORT}, not {port}")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = found[0]
        listener = socket.socket(family, kind, socket.IPPROTO_TCP)
    except OSError as error:
        raise ConfigurationError(f"{host}:{port} cannot be listened at: {error.strerror or error}") from None
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows, where the other option lets two listen at one port.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        # By number: Windows says it in other words, and says EACCES of a port that somebody has for himself.
        if port and error.errno in (errno.EADDRINUSE, *((errno.EACCES,) if sys.platform == "win32" else ())):
            raise PortInUseError(f"{host}:{port} is in use by another program") from None
        raise ConfigurationError(f"{host}:{port} cannot be listened at: {error.strerror or error}") from None
    return listener
