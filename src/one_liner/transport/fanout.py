"""One broadcast address for any number of publishing threads.

Each publishing thread has a socket of its own, connected over inproc to an XSUB; libzmq's steerable proxy carries what
they say to the XPUB that is bound to the broadcast address, in C and without the interpreter lock:

    Publisher (one per ticker, relay, application) ---inproc---> XSUB >>> proxy >>> XPUB ===> subscribers

What waits for a subscriber that does not read is bounded in bytes. libzmq bounds it in messages only, so the number of
messages follows the largest sample seen: `MAX_WAITING_BYTES` divided by its size. Subscriptions travel the other way,
up to the publishers, which send nothing that nobody wants.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable
from threading import Lock, Thread
from typing import Final

import zmq

from one_liner.errors import ClosedError
from one_liner.limits import DEFAULT_LIMITS, Limits
from one_liner.transport.endpoints import Endpoint
from one_liner.transport.sockets import (
    BoundSocket,
    Context,
    Curve,
    Socket,
    closing_on_error,
    open_socket,
    pending,
    send_frames,
)
from one_liner.wire.codec import Buffer

MAX_WAITING_BYTES: Final = 256 * 1024 * 1024
MAX_WAITING_MESSAGES: Final = 10_000
_SUBSCRIPTION_BYTES: Final = 1024  # What ZeroMQ adds to a topic, and what its handshakes need.
_log = logging.getLogger("one_liner.transport.fanout")


class Fanout:
    """The broadcast address of a server.

    The address is bound by the constructor and free again when `close` returns. One thread owns both sockets and sits
    in the proxy; what has to be changed about them is done between two runs of the proxy.
    """

    def __init__(
        self,
        context: Context,
        endpoint: Endpoint,
        *,
        heartbeat_s: float,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        curve: Curve | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        """Bind.

        Args:
            context: shared by all sockets of the server.
            endpoint: where subscribers connect.
            heartbeat_s: how often libzmq asks a subscriber whether it lives.
            max_waiting_bytes: what may wait for one subscriber.
            curve: keys, if not everybody who can reach the address may subscribe.
            limits: how many topics may be subscribed to, and how long they may be.

        Raises:
            PortInUseError: somebody has this address.
        """
        self._context = context
        self._max_waiting_bytes = max_waiting_bytes
        self._limits = limits
        self._largest = 0
        self._lock = Lock()
        self._errands: deque[Callable[[], None]] = deque()
        self._thread: Thread | None = None
        self._closed = False
        name = os.urandom(6).hex()
        self._inside = f"inproc://one_liner-fanout-{name}"
        queued = self.waiting_messages
        xpub = open_socket(
            context,
            zmq.XPUB,
            heartbeat_s=heartbeat_s,
            queued=queued,
            max_message_bytes=limits.topic_bytes + _SUBSCRIPTION_BYTES,
            ipv6=endpoint.is_ipv6,
            curve=curve,
        )
        self._outer = BoundSocket(xpub, endpoint)
        with closing_on_error(xpub):
            self._inner = open_socket(context, zmq.XSUB, queued=queued)
            self._inner.bind(self._inside)
            control = f"inproc://one_liner-fanout-control-{name}"
            self._control = open_socket(context, zmq.PAIR)
            self._control.bind(control)
            self._steering = open_socket(context, zmq.PAIR)
            self._steering.connect(control)

    @property
    def endpoint(self) -> Endpoint:
        """Where subscribers connect, with the port that was taken."""
        return self._outer.endpoint

    @property
    def waiting_messages(self) -> int:
        """How many messages may wait for one subscriber, given the largest sample seen so far."""
        return max(1, min(MAX_WAITING_MESSAGES, self._max_waiting_bytes // max(1, self._largest)))

    def run(self) -> None:
        """Start passing samples on; until then they are dropped, and counted by their readers."""
        self._thread = Thread(target=self._serve, name=f"one_liner fanout {self.endpoint}", daemon=True)
        self._thread.start()

    def publisher(self, *, hears_subscriptions: bool = False) -> Publisher:
        """A new way in, for one thread or for several that lock among themselves.

        Args:
            hears_subscriptions: whether it can tell who listens.
        """
        with self._lock:
            if self._closed:
                raise ClosedError("the server is closed")
            socket = open_socket(
                self._context, zmq.XPUB if hears_subscriptions else zmq.PUB, queued=self.waiting_messages
            )
            socket.connect(self._inside)
        return Publisher(socket, self, self._limits.topics)

    def cut(self) -> None:
        """Break all connections; those who may come in connect again by themselves, and count what they missed.

        libzmq does not say which connection is whose, so it is all of them.
        """
        with self._lock:
            if not self._closed and self._thread is not None:
                self._interrupt(self._cut)

    def make_room(self, largest: int) -> None:
        """Take note of a sample larger than all before, so that the bound in bytes holds for it."""
        with self._lock:
            if largest <= self._largest or self._closed:
                return
            # Rounded up to a power of two: the proxy is interrupted a few times in its life, not for every sample.
            before = self.waiting_messages
            self._largest = 1 << (largest - 1).bit_length()
            if self.waiting_messages != before:
                self._interrupt(self._retune)

    def close(self) -> None:
        """Stop, release the address and close the sockets. Publishers are closed by their owners, before or after."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._thread is not None:
                self._interrupt(self._release)
        if self._thread is not None:
            self._thread.join()
        else:
            self._release()
        self._steering.close()

    def _interrupt(self, errand: Callable[[], None]) -> None:
        """Have the owner do something. Call with the lock held: the steering socket is shared."""
        self._errands.append(errand)
        if self._thread is not None:
            self._steering.send(b"TERMINATE")

    def _serve(self) -> None:
        try:
            while not self._outer.socket.closed:
                zmq.proxy_steerable(self._inner, self._outer.socket, None, self._control)
                while self._errands:
                    self._errands.popleft()()
        except zmq.ContextTerminated:
            _log.debug("context terminated under the broadcast of %s", self.endpoint)
            self._release()

    def _retune(self) -> None:
        queued = self.waiting_messages
        _log.debug("%s: %d messages may wait for a subscriber", self.endpoint, queued)
        # libzmq applies a changed high-water mark to the connections that stand, too.
        self._outer.socket.setsockopt(zmq.SNDHWM, queued)
        self._inner.setsockopt(zmq.RCVHWM, queued)

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

    __slots__ = ("_fanout", "_largest", "_listened", "_lock", "_most_topics", "_socket")

    def __init__(self, socket: Socket, fanout: Fanout, most_topics: int) -> None:
        self._socket = socket
        self._fanout = fanout
        self._most_topics = most_topics
        self._lock = Lock()
        self._largest = 0
        self._listened: set[bytes] = set()

    def send(self, frames: list[Buffer]) -> bool:
        """Broadcast one message; never waits. False when this publisher is closed."""
        size = len(frames[0])
        for index in range(1, len(frames)):
            size += memoryview(frames[index]).nbytes
        with self._lock:
            if self._socket.closed:
                return False
            if size > self._largest:
                self._largest = size
                self._fanout.make_room(size)
                self._socket.setsockopt(zmq.SNDHWM, self._fanout.waiting_messages)
            send_frames(self._socket, frames)
        return True

    def listens(self, topic: bytes) -> bool:
        """Whether anybody is subscribed to this topic. Only where `hears_subscriptions` was asked for."""
        with self._lock:
            self._hear()
            return any(topic.startswith(wanted) for wanted in self._listened)

    def subscriptions(self) -> set[bytes]:
        """All topics, and beginnings of topics, that somebody is subscribed to."""
        with self._lock:
            self._hear()
            return set(self._listened)

    @property
    def socket(self) -> Socket:
        """For the owner to poll: readable when subscriptions have changed."""
        return self._socket

    def close(self) -> None:
        """Close; from any thread, any number of times."""
        with self._lock:
            self._socket.close()

    def _hear(self) -> None:
        if self._socket.closed:
            return
        for message in pending(self._socket):
            if message[:1] == b"\x01":
                if len(self._listened) < self._most_topics:
                    self._listened.add(message[1:])
            elif message[:1] == b"\x00":
                self._listened.discard(message[1:])
