"""CURVE on sockets, and the one who is asked at the door of a secured server.

A secured socket encrypts everything and knows its peer by its public key. libzmq asks whether a key may come in at one
fixed address inside each context (ZAP, `inproc://zeromq.zap.01`). So there is one doorkeeper per context, for all
secured servers in it: it starts with the first, ends with the last, and tells them apart by their ZAP domain.

What a client sees of a refusal, as libzmq 4.3.5 reports it through the socket's monitor (the same on tcp and ipc, for a
DEALER and for a SUB):

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

import contextlib
import logging
import socket as system_socket
from collections.abc import Callable, Mapping
from threading import Lock, Thread
from typing import Final

import zmq
from zmq.utils import z85

from one_liner.errors import ConfigurationError
from one_liner.frozen import Frozen
from one_liner.keys import KeyPair
from one_liner.rpc.permission import AllowList, Permission
from one_liner.transport.sockets import Context, Doorbell, Socket, open_socket

MECHANISMS_DIFFER: Final = 0x11000002
REFUSALS: Final = (
    zmq.Event.HANDSHAKE_FAILED_AUTH | zmq.Event.HANDSHAKE_FAILED_PROTOCOL | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
)
"""The events of a monitor that say why nobody lets us in."""

KNOCK_S: Final = 2.0
"""How often somebody who was refused tries again, in s: a key may be allowed at any time."""

_ADDRESS: Final = "inproc://zeromq.zap.01"
_DOMAIN_PREFIX: Final = "one_liner:"
_QUESTION_PARTS: Final = 8
_HANG_UPS_TO_REFUSAL: Final = 3  # A connection may break in a handshake, by chance.
_GREETING_TIMEOUT_S: Final = 0.5
# ZMTP 3.1: signature, version, mechanism, not as a server, filler.
_GREETING: Final = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)
_MAX_TOLD: Final = 1000
_log = logging.getLogger("one_liner.transport.security")


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
        """From what `one_liner.keys` found out; None for an open server."""
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


# --- the doorkeeper --------------------------------------------------------------------------------------------------


class Guard:
    """What secures a server: its keys, who may come in, and its entry with the doorkeeper of its context.

    Made before the server's sockets, which it would keep everybody out of otherwise.

    Args:
        context: the server's.
        server: random number of the server.
        keys: the server's.
        clients: who may come in, by public key.

    Attributes:
        curve: for the server's sockets.
        clients: who may come in; changes hold at once.

    Raises:
        ConfigurationError: somebody else authenticates in this context.
    """

    def __init__(self, context: Context, server: int, keys: KeyPair, clients: Mapping[str, Permission]) -> None:
        self.curve = ServerCurve(keys, f"{_DOMAIN_PREFIX}{server:x}")
        self.clients = AllowList(clients)
        self._domain = self.curve.domain.encode()
        self._number = context.underlying
        with _doorkeepers_lock:
            self._doorkeeper = _doorkeepers.get(self._number)
            if self._doorkeeper is None or not self._doorkeeper.alive:
                self._doorkeeper = _doorkeepers[self._number] = _Doorkeeper(context)
            self._doorkeeper.servers[self._domain] = self.clients.admits

    def close(self) -> None:
        """Let nobody in any more. After the server's sockets were closed; any number of times."""
        with _doorkeepers_lock:
            doorkeeper, self._doorkeeper = self._doorkeeper, None
            if doorkeeper is None:
                return
            del doorkeeper.servers[self._domain]
            if not doorkeeper.servers:
                if _doorkeepers.get(self._number) is doorkeeper:
                    del _doorkeepers[self._number]
                doorkeeper.close()


class _Doorkeeper:
    """Answers libzmq's questions whether a key may come in, on a thread of its own."""

    def __init__(self, context: Context) -> None:
        self.servers: dict[bytes, Callable[[str], bool]] = {}
        self._told: set[bytes] = set()
        self._socket = open_socket(context, zmq.ROUTER)
        try:
            self._socket.bind(_ADDRESS)
        except zmq.ZMQError as error:
            self._socket.close()
            if error.errno != zmq.EADDRINUSE:
                raise
            raise ConfigurationError(
                "another authenticator (such as zmq.auth's) runs in this ZeroMQ context, and there can be one only; "
                "give the server a context of its own: RouterServer(…, context=zmq.Context())"
            ) from None
        self._doorbell = Doorbell(context, "doorkeeper")
        self._stopping = False
        self._thread = Thread(target=self._run, name="one_liner doorkeeper", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it still answers: not when its context was terminated."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End the thread, which closes its sockets."""
        self._stopping = True
        self._doorbell.ring()
        self._thread.join()

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._doorbell.socket, zmq.POLLIN)
        try:
            while not self._stopping:
                if self._socket in dict(poller.poll()):
                    self._answer(self._socket.recv_multipart())
        except zmq.ContextTerminated:
            _log.debug("context terminated under the doorkeeper")
        with contextlib.suppress(zmq.ZMQError):
            # `close` frees an inproc address some time later, and the next doorkeeper may come at once.
            self._socket.unbind(_ADDRESS)
        self._socket.close()
        self._doorbell.close()

    def _answer(self, question: list[bytes]) -> None:
        if len(question) < _QUESTION_PARTS:
            return  # Somebody in this process plays with the address; libzmq always sends all parts.
        asker, _, version, number, domain, address, _, mechanism, *credentials = question
        key = z85.encode(credentials[0]) if mechanism == b"CURVE" and len(credentials) == 1 else b""
        admitted = bool(key) and self._admits(domain, key.decode())
        if not admitted:
            self._tell(address, key)
        code, text, user = (b"200", b"OK", key) if admitted else (b"400", b"not allowed", b"")
        self._socket.send_multipart([asker, b"", version, number, code, text, user, b""])

    def _admits(self, domain: bytes, key: str) -> bool:
        admits = self.servers.get(domain)
        if admits is not None:
            return admits(key)
        # A secured socket of somebody else in this context, who has no authenticator: without us it would let
        # everybody in, so with us it does. One that asks for an authenticator, or was ours, lets nobody in.
        return not domain

    def _tell(self, address: bytes, key: bytes) -> None:
        """Say once who was refused: they knock again and again."""
        if key not in self._told:
            if len(self._told) >= _MAX_TOLD:
                self._told.clear()
            self._told.add(key)
            _log.warning("refused a client at %s: its key %s is not allowed", address.decode(), key.decode() or "none")


_doorkeepers: dict[int, _Doorkeeper] = {}
_doorkeepers_lock = Lock()
