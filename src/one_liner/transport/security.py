"""CURVE on sockets: a secured socket encrypts everything and knows its peer by its public key.

Who may come in is decided at the other end, by `one_liner.transport.guard`. What a client sees of a refusal, as libzmq
4.3.5 reports it through the socket's monitor (the same on tcp and ipc, for a DEALER and for a SUB):

==================================== ================================== ============ ================================
what is wrong                        event, value                       first seen   libzmq then
==================================== ================================== ============ ================================
the server does not allow our key    HANDSHAKE_FAILED_AUTH, 400         within 2 ms  gives this socket up for good
no key, and the server asks for one  HANDSHAKE_FAILED_PROTOCOL,         within 1 ms  gives this socket up for good
                                     0x11000002 (mechanisms differ)
a key, and the server has none       the same                           within 1 ms  gives this socket up for good
not the server's key                 HANDSHAKE_FAILED_NO_DETAIL, EPIPE: within 2 ms  tries again without end, every
                                     the server just hangs up                        RECONNECT_IVL, never slower
a TCP port with nothing behind it    the same                           within 2 ms  the same
(a tunnel, a proxy)
==================================== ================================== ============ ================================

Three lessons. A socket that was given up has to be replaced, or a key that is allowed later never gets through. A wrong
server key can be told from a broken connection only by asking, with a plain socket, whether a secured server is there.
And a socket that is going to be refused must not be left to itself: it knocks twenty times a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import zmq

from one_liner.frozen import Frozen
from one_liner.transport.sockets import Socket

if TYPE_CHECKING:
    from one_liner.keys import KeyPair

MECHANISMS_DIFFER: Final = 0x11000002
REFUSALS: Final = (
    zmq.Event.HANDSHAKE_FAILED_AUTH | zmq.Event.HANDSHAKE_FAILED_PROTOCOL | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
)
"""The events of a monitor that say why nobody lets us in."""

KNOCK_S: Final = 2.0
"""How often somebody who was refused tries again, in s: a key may be allowed at any time."""

_HANG_UPS_TO_REFUSAL: Final = 3  # A connection may break in a handshake, by chance.
_GREETING_TIMEOUT_S: Final = 0.5
# ZMTP 3.1: signature, version, mechanism, not as a server, filler.
_GREETING: Final = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)


class ClientCurve(Frozen):
    """For sockets that connect to a secured server.

    Attributes:
        keys: who we are.
        server_key: whom we want to talk to, and to nobody else.
    """

    keys: KeyPair
    server_key: str

    @classmethod
    def of(cls, told: tuple[KeyPair, str] | None) -> ClientCurve | None:
        """From what `one_liner.credentials` found out; None for an open server."""
        return None if told is None else cls(*told)

    def apply(self, socket: Socket) -> None:
        """Set the options, before the socket is connected."""
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self.keys.public.encode())
        socket.setsockopt(zmq.CURVE_SECRETKEY, self.keys.secret.encode())
        socket.setsockopt(zmq.CURVE_SERVERKEY, self.server_key.encode())


class ServerCurve(Frozen):
    """For sockets that a secured server binds.

    Attributes:
        keys: who the server is.
        domain: under which the doorkeeper knows it.
    """

    keys: KeyPair
    domain: str

    def apply(self, socket: Socket) -> None:
        """Set the options, before the socket is bound. Without a doorkeeper nobody comes in."""
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self.keys.public.encode())
        socket.setsockopt(zmq.CURVE_SECRETKEY, self.keys.secret.encode())
        socket.setsockopt(zmq.ZAP_DOMAIN, self.domain.encode())
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def explain_refusal(event: int, value: int, endpoint: str, curve: ClientCurve | None) -> str | None:
    """What a handshake that failed means; None when it may as well be a connection that broke.

    Args:
        event: what the monitor said.
        value: what it added.
        endpoint: of the server.
        curve: what our socket was secured with.
    """
    if event == zmq.Event.HANDSHAKE_FAILED_AUTH:
        shown = "" if curve is None else f" ({curve.keys.public})"
        return f"refused: this client's key{shown} is not among those that {endpoint} allows"
    if event == zmq.Event.HANDSHAKE_FAILED_PROTOCOL and value == MECHANISMS_DIFFER:
        if curve is None:
            return f"refused: {endpoint} lets in clients with keys only; give this one keys=… and server_key=…"
        return f"refused: {endpoint} has no keys, and this client was told to talk to a server that has"
    if event == zmq.Event.HANDSHAKE_FAILED_PROTOCOL:
        return f"refused: what answers at {endpoint} is no server of one_liner (0x{value:x})"
    return None


class HangUps:
    """Counts the handshakes that ended without a word, and finds out what that means.

    Args:
        endpoint: of the server.
        curve: what our socket is secured with.
    """

    def __init__(self, endpoint: str, curve: ClientCurve | None) -> None:
        self._endpoint = endpoint
        self._curve = curve
        self._in_a_row = 0

    def reset(self) -> None:
        """A handshake succeeded, or a new socket tries."""
        self._in_a_row = 0

    def explain(self) -> str | None:
        """Take note of one; what they mean once there are enough of them. Takes up to half a second then."""
        self._in_a_row += 1
        if self._curve is None or self._in_a_row < _HANG_UPS_TO_REFUSAL or not speaks_curve(self._endpoint):
            return None
        return (
            f"refused: wrong server key: whoever answers at {self._endpoint} does not have the secret part of "
            f"{self._curve.server_key}"
        )


def speaks_curve(endpoint: str) -> bool:
    """Whether a secured ZeroMQ server listens there: asked with a plain socket, as far as the mechanism's name."""
    import socket as system_socket  # Costs two milliseconds, and is needed by those who are refused.

    protocol, _, place = endpoint.partition("://")
    try:
        if protocol == "ipc":
            asking = system_socket.socket(system_socket.AF_UNIX, system_socket.SOCK_STREAM)
        else:
            host, _, port = place.rpartition(":")
            asking = system_socket.create_connection((host.strip("[]"), int(port)), _GREETING_TIMEOUT_S)
        with asking:
            asking.settimeout(_GREETING_TIMEOUT_S)
            if protocol == "ipc":
                asking.connect(place)
            asking.sendall(_GREETING)
            greeting = b""
            while len(greeting) < len(_GREETING):
                part = asking.recv(len(_GREETING))
                if not part:
                    return False
                greeting += part
    except OSError:
        return False
    return greeting[12:32].rstrip(b"\0") == b"CURVE"
