"""The one place where sockets are born, bound and released.

Every socket of the library gets its options here, so that no two of them differ by accident: nothing lingers after
`close`, dead peers are noticed by heartbeats, of TCP or of libzmq, and no peer can make us hold a message of any size.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Protocol

import zmq

from one_liner.errors import ConfigurationError
from one_liner.limits import DEFAULT_LIMITS
from one_liner.transport.endpoints import Endpoint, port_of
from one_liner.transport.heap import LARGE_BYTES, keep_freed_memory
from one_liner.wire.extensions import Buffer

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]

PATIENCE_S: Final = 30.0
"""A connection that carries data is given up when it has been silent for so long: a camera frame on a slow line takes
its time. That a server is gone is found out on a connection that carries nothing but heartbeats, within seconds."""

_RELEASE_TIMEOUT_MS = 500
_GOODBYE_LINGER_MS = 200
_RECONNECT_MS = 50
_RECONNECT_MAX_MS = 1000
_EVENT = struct.Struct("=hi")


class Curve(Protocol):
    """What makes a socket a secured one."""

    def apply(self, socket: Socket) -> None:
        """Set its options, before the socket is bound or connected."""


def default_context() -> Context:
    """The context of this process, shared so that `inproc` reaches from a server to a client."""
    return zmq.Context.instance()


def open_socket(
    context: Context,
    kind: int,
    *,
    heartbeat_s: float | None = None,
    patience_s: float | None = None,
    queued: int | None = None,
    max_message_bytes: int = DEFAULT_LIMITS.message_bytes,
    ipv6: bool = False,
    curve: Curve | None = None,
) -> Socket:
    """A new socket with the options of the house.

    Args:
        context: the context it belongs to.
        kind: a socket type of `zmq`.
        heartbeat_s: how often the peer is asked whether it lives; None for sockets inside one process.
        patience_s: how long libzmq itself waits for the answer, which a frozen process does not give. For sockets to
            which hardly anything is said, because what waits at them has no bound. If None, TCP asks in place of
            libzmq, and waits for `PATIENCE_S`.
        queued: high-water mark in messages, both ways; None keeps libzmq's 1000.
        max_message_bytes: the largest frame that is received; libzmq drops the connection that brings a larger one.
        ipv6: whether addresses are IPv6.
        curve: keys; None for sockets inside one process, and for those that trust everybody who can reach them.
    """
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, max_message_bytes)
    socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, _RECONNECT_MAX_MS)
    if ipv6:
        socket.setsockopt(zmq.IPV6, 1)
    if curve is not None:
        curve.apply(socket)
    if queued is not None:
        socket.set_hwm(queued)
    if heartbeat_s is not None and patience_s is not None:
        _have_pinged(socket, heartbeat_s, patience_s)
    elif heartbeat_s is not None:
        _have_tcp_ask(socket, heartbeat_s)
    return socket


def _have_pinged(socket: Socket, heartbeat_s: float, patience_s: float) -> None:
    # libzmq 4.3.5 ends the whole process when a ping is due on a connection that broke while its queue was full.
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.setsockopt(zmq.HEARTBEAT_IVL, max(1, int(heartbeat_s * 1000)))
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, max(1, int(patience_s * 1000)))


def _have_tcp_ask(socket: Socket, heartbeat_s: float) -> None:
    every_s = min(max(1, round(heartbeat_s)), int(PATIENCE_S) // 2)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, every_s)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, every_s)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, int(PATIENCE_S) // every_s - 1)
    # TCP asks only where nothing is under way; what is, may stay without an answer for as long.
    socket.setsockopt(zmq.TCP_MAXRT, int(PATIENCE_S * 1000))


_inside_endpoints: set[tuple[int, str]] = set()


def context_of(socket: Socket) -> int:
    """What two sockets share when, and only when, `inproc` reaches from one to the other."""
    return int(socket.context.underlying)


def is_there(socket: Socket, address: str) -> bool:
    """Whether connecting makes sense now: always, except inside one process before the server is there.

    A socket that connects to an inproc address nobody has bound cannot be closed for good: libzmq keeps it, with its
    descriptors, until somebody binds the address.
    """
    return not address.startswith("inproc:") or (context_of(socket), address) in _inside_endpoints


def is_watchable(loop: AbstractEventLoop) -> bool:
    """Whether an event loop can watch a socket of ours: Windows' Proactor watches none that it has not made."""
    import socket as system_socket  # For event loops only.

    one, other = system_socket.socketpair()
    try:
        loop.add_reader(one.fileno(), lambda: None)
        loop.remove_reader(one.fileno())
    except NotImplementedError:
        return False
    finally:
        one.close()
        other.close()
    return True


class BoundSocket:
    """A socket that is bound to one endpoint and gives its port back when it is closed.

    libzmq frees a port some time after `close` has returned. `release` therefore unbinds, waits until the monitor
    says that the listener is gone, and closes then; reopening at once succeeds.
    """

    def __init__(self, socket: Socket, endpoint: Endpoint) -> None:
        """Bind.

        Raises:
            PortInUseError: somebody has this address; the socket is closed and nothing stays bound.
            ConfigurationError: the address is none of this machine's.
        """
        self.socket = socket
        self._monitor: Socket | None = None
        try:
            text = endpoint.to_bind()
            if endpoint.protocol == "ipc":
                _refuse_living_ipc(endpoint, text)
            if endpoint.protocol != "inproc":
                self._monitor = socket.get_monitor_socket(zmq.Event.CLOSED)
            socket.bind(text)
        except zmq.ZMQError as error:
            self._close()
            raise _bind_error(endpoint, error) from None
        except ConfigurationError:
            self._close()
            raise
        self.bound = socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._inside = (context_of(socket), self.bound)
        if endpoint.protocol == "inproc":
            _inside_endpoints.add(self._inside)
        self.endpoint = endpoint.with_port(port_of(self.bound))

    def release(self) -> None:
        """Give the port back, then close. Only for the owner of the socket; harmless when it is closed already."""
        if self.socket.closed:
            return
        _inside_endpoints.discard(self._inside)
        with contextlib.suppress(zmq.ZMQError):  # Already unbound, or the context is being terminated.
            # What was just sent (the last replies) may leave; nothing waits longer than this.
            self.socket.setsockopt(zmq.LINGER, _GOODBYE_LINGER_MS)
            self.socket.unbind(self.bound)
            if self._monitor is not None:
                self._monitor.poll(_RELEASE_TIMEOUT_MS)
        self._close()

    def cut(self) -> None:
        """Break all connections, and listen again at the same address. Only for the owner of the socket.

        Raises:
            zmq.ZMQError: somebody took the address in between.
        """
        self.socket.unbind(self.bound)
        if self._monitor is not None and self._monitor.poll(_RELEASE_TIMEOUT_MS):
            monitored_event(self._monitor)
        self.socket.bind(self.bound)

    def _close(self) -> None:
        close_monitored(self.socket, self._monitor)


def receive_with_key(router: Socket, flags: int = 0) -> tuple[bytes, str | None]:
    """The first frame at a secured ROUTER: the connection, and the public key that its handshake was made with."""
    frame = router.recv(flags, copy=False)
    try:
        return frame.bytes, str(frame.get("User-Id"))
    except zmq.ZMQError:  # From inside this process.
        return frame.bytes, None


def receive(socket: Socket, flags: int = 0) -> tuple[bytes, list[Buffer]]:
    """The next message, or what is left of it: its first frame copied, those behind it not.

    Whether more follows is read off the frame: asking the socket for it takes longer than receiving the frame.

    Raises:
        zmq.Again: there is none (yet).
    """
    frame = socket.recv(flags, copy=False)
    return frame.bytes, receive_rest(socket) if frame.more else []


def receive_rest(socket: Socket) -> list[Buffer]:
    """The frames of a message behind the first one, not copied; there has to be one."""
    rest: list[Buffer] = []
    more = True
    while more:
        frame = socket.recv(copy=False)
        content = frame.buffer
        if content.nbytes >= LARGE_BYTES:
            keep_freed_memory()
        rest.append(content)
        more = frame.more
    return rest


def send_frames(socket: Socket, frames: list[Buffer], flags: int = 0) -> None:
    """Send one message: the first frame is copied, the large ones behind it are not."""
    last = len(frames) - 1
    if last == 0:
        socket.send(frames[0], flags)
        return
    socket.send(frames[0], flags | zmq.SNDMORE)
    for index in range(1, last + 1):
        socket.send(frames[index], flags | (zmq.SNDMORE if index < last else 0), copy=False)


class Doorbell:
    """Wakes the owner of sockets from any other thread.

    The owner polls `socket` beside its own; `ring` may be called by anyone, also after `close`, when it does nothing.
    """

    def __init__(self, context: Context, name: str) -> None:
        address = f"inproc://one_liner-doorbell-{name}-{id(self):x}-{os.urandom(4).hex()}"
        self.socket = open_socket(context, zmq.PULL)
        self.socket.bind(address)
        self._lock = Lock()
        self._ringer = open_socket(context, zmq.PUSH)
        self._ringer.connect(address)

    def ring(self) -> None:
        """Wake the owner."""
        with self._lock, contextlib.suppress(zmq.Again, zmq.ContextTerminated):
            # A full pipe means that it has been rung a thousand times and not been answered: once is enough.
            if not self._ringer.closed:
                self._ringer.send(b"", zmq.NOBLOCK)

    def answer(self) -> None:
        """Take all rings that have come. Only for the owner."""
        for _ in pending(self.socket):
            pass

    def close(self) -> None:
        """Close both ends. Only for the owner."""
        with self._lock:
            self._ringer.close()
        self.socket.close()


def close_monitored(socket: Socket, monitor: Socket | None) -> None:
    """Close a socket, and the one that its monitor speaks to; pyzmq leaves the latter to the garbage collector."""
    if monitor is not None and not socket.closed:
        with contextlib.suppress(zmq.ZMQError):  # The context is being terminated.
            socket.disable_monitor()
        monitor.close()
    socket.close()


def monitored_event(monitor: Socket) -> tuple[int, int]:
    """The next event that a monitor tells of, one of `zmq.Event`, and its value."""
    # What zmq.utils.monitor does, which would import asyncio: a 16-bit event, a 32-bit value, and a second frame.
    event, value = _EVENT.unpack(monitor.recv_multipart()[0])
    return int(event), int(value)


def stop_trying(socket: Socket, endpoint: str) -> None:
    """Have a socket that was refused connect no more; it has to be replaced to try again."""
    with contextlib.suppress(zmq.ZMQError):  # libzmq may have given it up already.
        socket.disconnect(endpoint)


def has_message(socket: Socket) -> bool:
    """Whether anything waits at a socket.

    Receiving nothing tells that too, but raises, and lets a busy Python thread have the interpreter meanwhile.
    """
    return bool(int(socket.get(zmq.EVENTS)) & zmq.POLLIN)


def pending(socket: Socket) -> Iterator[bytes]:
    """Every single-frame message that waits at a socket, without waiting for more."""
    while True:
        try:
            yield socket.recv(zmq.NOBLOCK)
        except zmq.Again:
            return


@contextmanager
def closing_on_error(*closable: Any) -> Iterator[None]:
    """Close what was opened so far when the rest of a constructor fails."""
    try:
        yield
    except BaseException:
        for item in closable:
            item.close()
        raise


def _in_use(endpoint: Endpoint) -> ConfigurationError:
    from one_liner.transport.tenant import port_in_use  # To find out by whom takes modules that are not needed else.

    return port_in_use(endpoint)


def _bind_error(endpoint: Endpoint, error: zmq.ZMQError) -> ConfigurationError:
    if error.errno in (errno.EADDRINUSE, zmq.EADDRINUSE):
        return _in_use(endpoint)
    if error.errno in (errno.ENODEV, errno.EADDRNOTAVAIL, zmq.EADDRNOTAVAIL, errno.EINVAL):
        return ConfigurationError(f"{endpoint} cannot be bound: {endpoint.interface!r} is no interface of this machine")
    return ConfigurationError(f"{endpoint} cannot be bound: {error.strerror}")


def _refuse_living_ipc(endpoint: Endpoint, text: str) -> None:
    """libzmq silently takes the path of a living server over; find out first whether one listens there."""
    path = text.removeprefix("ipc://")
    if path.startswith("@"):
        path = "\0" + path[1:]
    import socket as system_socket  # Costs two milliseconds, and only ipc needs it.

    probe = system_socket.socket(system_socket.AF_UNIX, system_socket.SOCK_STREAM)
    try:
        probe.connect(path)
    except OSError:
        return
    finally:
        probe.close()
    raise _in_use(endpoint)
