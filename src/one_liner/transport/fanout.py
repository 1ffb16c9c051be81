"""One broadcast address for any number of publishing threads.

Each publishing thread has a socket of its own, connected over inproc to an XSUB; libzmq's steerable proxy carries what
they say to the XPUB that is bound to the broadcast address, in C and without the interpreter lock:

    Publisher (one per ticker, relay, application) ---inproc---> XSUB >>> proxy >>> XPUB ===> subscribers

The XSUB takes from its publishers in turn: what two of them send keeps its order only where the second waits until the
first one's messages have passed (`Fanout.settle`).

What waits for a subscriber that does not read is bounded in bytes. libzmq bounds it in messages only, and a bound that
is changed while a connection stands can silence it for ever. So every message counts for `MAX_WAITING_BYTES` divided by
`MAX_WAITING_MESSAGES`, and a larger sample is followed by as much *ballast*, empty messages under the same topic, as it
is heavier. Subscriptions travel the other way, up to the publishers, which send nothing that nobody wants.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from threading import Lock, Thread
from typing import Final

import zmq

from one_liner.background import PAUSE_S, BackgroundThread
from one_liner.errors import ClosedError
from one_liner.limits import DEFAULT_LIMITS, Limits
from one_liner.transport.endpoints import Endpoint
from one_liner.transport.sockets import (
    BoundSocket,
    Context,
    Curve,
    Socket,
    closing_on_error,
    has_message,
    open_socket,
    pending,
    send_frames,
)
from one_liner.wire.extensions import Buffer
from one_liner.wire.messages import ballast

MAX_WAITING_BYTES: Final = 256 * 1024 * 1024
MAX_WAITING_MESSAGES: Final = 1_000
_UNIT_BYTES: Final = MAX_WAITING_BYTES // MAX_WAITING_MESSAGES
_EVERYBODY: Final = b"\0everybody"  # subscribed to at all times: who hears of it has heard of all other subscribers
_INTRODUCTION_MS: Final = 1000
_ECHO_MS: Final = 20
_MOST_ECHOES: Final = 50
_SUBSCRIPTION_BYTES: Final = 1024  # What ZeroMQ adds to a topic, and what its handshakes need.
_log = logging.getLogger("one_liner.transport.fanout")


class Fanout:
    """The broadcast address of a server.

    The address is bound by the constructor and free again when `close` returns. One thread owns both sockets and sits
    in the proxy.
    """

    def __init__(
        self,
        context: Context,
        endpoint: Endpoint,
        *,
        heartbeat_s: float,
        curve: Curve | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        """Bind.

        Args:
            context: shared by all sockets of the server.
            endpoint: where subscribers connect.
            heartbeat_s: how often libzmq asks a subscriber whether it lives.
            curve: keys, if not everybody who can reach the address may subscribe.
            limits: how many topics may be subscribed to, and how long they may be.

        Raises:
            PortInUseError: somebody has this address.
        """
        self._context = context
        self._limits = limits
        self._lock = Lock()
        self._thread: Thread | None = None
        self._closed = False
        self._settling = Lock()
        self._settled = 0
        name = os.urandom(6).hex()
        self._inside = f"inproc://one_liner-fanout-{name}"
        xpub = open_socket(
            context,
            zmq.XPUB,
            heartbeat_s=heartbeat_s,
            queued=MAX_WAITING_MESSAGES,
            max_message_bytes=limits.topic_bytes + _SUBSCRIPTION_BYTES,
            ipv6=endpoint.is_ipv6,
            curve=curve,
        )
        with closing_on_error(xpub):
            echo = f"inproc://one_liner-fanout-echo-{name}"
            xpub.bind(echo)
            self._echo = open_socket(context, zmq.SUB)
        with closing_on_error(xpub, self._echo):
            self._echo.connect(echo)
            self._echo.subscribe(_EVERYBODY)
            xpub.recv()  # It knows that now, and nobody else could have come.
            self._outer = BoundSocket(xpub, endpoint)
            self._inner = open_socket(context, zmq.XSUB, queued=MAX_WAITING_MESSAGES)
            self._inner.bind(self._inside)
            self._inner.send(b"\x01" + _EVERYBODY)
            control = f"inproc://one_liner-fanout-control-{name}"
            self._control = open_socket(context, zmq.PAIR)
            self._control.bind(control)
            self._steering = open_socket(context, zmq.PAIR)
            self._steering.connect(control)

    @property
    def endpoint(self) -> Endpoint:
        """Where subscribers connect, with the port that was taken."""
        return self._outer.endpoint

    def run(self) -> None:
        """Start passing samples on; until then they are dropped, and counted by their readers."""
        self._thread = BackgroundThread(self._serve, f"fanout {self.endpoint}", pause_s=PAUSE_S)
        self._thread.start()

    def publisher(self, *, hears_subscriptions: bool = False) -> Publisher:
        """A new way in, for one thread or for several that lock among themselves.

        Args:
            hears_subscriptions: whether it can tell who listens.
        """
        with self._lock:
            if self._closed:
                raise ClosedError("the server is closed")
            kind = zmq.XPUB if hears_subscriptions else zmq.PUB
            socket = open_socket(self._context, kind, queued=MAX_WAITING_MESSAGES)
            socket.connect(self._inside)
            running = self._thread is not None
        publisher = Publisher(socket, self._limits.topics)
        if hears_subscriptions and running:
            # Otherwise its first sample is lost: it would know of no subscriber yet.
            publisher.introduce()
        return publisher

    def settle(self, send: Callable[[list[Buffer]], bool]) -> None:
        """Wait until what a publisher has sent so far has passed, so that what another one sends cannot overtake it.

        That takes some 100 µs. It is bounded by a second, after which the order is left to chance, and to the ledger.

        Args:
            send: of the publisher.
        """
        with self._settling, contextlib.suppress(zmq.ContextTerminated):
            if self._echo.closed or self._thread is None:
                return
            self._settled += 1
            note = _EVERYBODY + self._settled.to_bytes(8, "big")
            # Again where it was dropped, by a publisher whose way is full or who has just been made.
            for _ in range(_MOST_ECHOES):
                if not send([note]) or (self._echo.poll(_ECHO_MS) and note in pending(self._echo)):
                    return

    def cut(self) -> None:
        """Break all connections; those who may come in connect again by themselves, and count what they missed.

        libzmq does not say which connection is whose, so it is all of them.
        """
        with self._lock:
            if not self._closed and self._thread is not None:
                self._steering.send(b"TERMINATE")

    def close(self) -> None:
        """Stop, release the address and close the sockets. Publishers are closed by their owners, before or after.

        By one thread; any number of times, also when it was interrupted.
        """
        with self._lock:
            if self._steering.closed:
                return
            self._closed = True
            if self._thread is not None:
                with contextlib.suppress(zmq.ContextTerminated, zmq.Again):  # Then the owner knows already.
                    self._steering.send(b"TERMINATE", zmq.NOBLOCK)
        if self._thread is not None and self._thread.ident is not None:
            self._thread.join()
        else:  # Not run, or interrupted by Ctrl-C in that very moment.
            self._release()
        with self._settling:
            self._echo.close()
        self._steering.close()

    def _serve(self) -> None:
        try:
            self._carry()
            while not self._closed:
                self._cut()
                self._carry()
        except zmq.ContextTerminated:
            _log.debug("context terminated under the broadcast of %s", self.endpoint)
        self._release()

    def _carry(self) -> None:
        """Sit in libzmq's proxy until it is told to end.

        It also ends by itself, with "try again", where a message that a subscriber sent up has come to an end too
        early: libzmq takes out subscriptions that it knows already, also from the middle of a message.
        """
        while True:
            try:
                zmq.proxy_steerable(self._inner, self._outer.socket, None, self._control)
                return
            except zmq.Again:
                # The parts before are on their way to the publishers, and wait there for the last one.
                self._inner.send(b"", zmq.NOBLOCK)
                _log.debug("a subscriber of %s sent something in parts, which none does", self.endpoint)

    def _cut(self) -> None:
        try:
            self._outer.cut()
        except zmq.ZMQError as error:
            _log.error("%s could not be opened again: %s", self.endpoint, error)

    def _release(self) -> None:
        self._outer.release()
        self._inner.close()
        self._control.close()


class Publisher:
    """A way into the fan-out.

    `send` may be called from any thread, one at a time; the lock also makes `close` safe while the thread that usually
    sends is stuck in somebody's driver.
    """

    __slots__ = ("_listened", "_lock", "_most_topics", "_socket")

    def __init__(self, socket: Socket, most_topics: int) -> None:
        self._socket = socket
        self._most_topics = most_topics
        self._lock = Lock()
        self._listened: dict[bytes, None] = {}

    def send(self, frames: list[Buffer], *, weighed: bool = True) -> bool:
        """Broadcast one message; never waits. False when this publisher is closed.

        Args:
            frames: of the message.
            weighed: whether a large one is followed by its ballast; not where the topic is of another protocol.
        """
        size = len(frames[0]) if len(frames) == 1 else sum(memoryview(frame).nbytes for frame in frames)
        with self._lock:
            if self._socket.closed:
                return False
            try:
                send_frames(self._socket, frames)
                if weighed and size > _UNIT_BYTES:
                    weight = ballast(frames[0])
                    for _ in range(size // _UNIT_BYTES):
                        self._socket.send(weight)
            except zmq.ContextTerminated:
                return False
        return True

    def listens(self, topic: bytes) -> bool:
        """Whether anybody is subscribed to this topic. Only where `hears_subscriptions` was asked for."""
        with self._lock:
            self._hear()
            listened = self._listened
            return any(topic[:end] in listened for end in range(len(topic) + 1))

    def hear(self) -> None:
        """Take note of new subscriptions. Whoever can hear them has to, now and then: they wait here without bound."""
        with self._lock:
            self._hear()

    def introduce(self) -> None:
        """Wait until it has been told who listens, which takes the fan-out some microseconds."""
        with self._lock:
            while _EVERYBODY not in self._listened and self._socket.poll(_INTRODUCTION_MS):
                self._hear()

    def subscriptions(self) -> list[bytes]:
        """All topics, and beginnings of topics, that somebody is subscribed to, in the order they came."""
        with self._lock:
            self._hear()
            return [topic for topic in self._listened if topic != _EVERYBODY]

    @property
    def socket(self) -> Socket:
        """For an owner to poll who alone sends: readable when subscriptions have changed."""
        return self._socket

    @property
    def descriptor(self) -> int:
        """For an owner to poll beside whom others send; to be followed by `hear`, since it tells of each change once.

        To poll the socket itself is to use it, without the lock: libzmq ends the process when another thread sends
        meanwhile. What a sender takes notice of is not told here any more.
        """
        with self._lock:
            return int(self._socket.getsockopt(zmq.FD))

    def close(self) -> None:
        """Close; from any thread, any number of times."""
        with self._lock:
            self._socket.close()

    def _hear(self) -> None:
        if self._socket.closed:
            return
        with contextlib.suppress(zmq.ContextTerminated):
            self._take_subscriptions()

    def _take_subscriptions(self) -> None:
        if not has_message(self._socket):
            return
        for message in pending(self._socket):
            if message[:1] == b"\x01":
                if len(self._listened) <= self._most_topics:  # One of them is our own.
                    self._listened[bytes(message[1:])] = None
            elif message[:1] == b"\x00":
                self._listened.pop(bytes(message[1:]), None)
