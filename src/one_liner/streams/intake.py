"""A SUB socket that knows when its connection was broken.

Used by whoever receives samples: a client's receiver and the relays of a server. Belongs to one thread.
"""

from __future__ import annotations

from collections.abc import Iterator

import zmq

from one_liner.errors import ConfigurationError
from one_liner.transport.fanout import MAX_WAITING_MESSAGES
from one_liner.transport.sockets import Context, Socket, close_monitored, monitored_event, open_socket, receive_rest
from one_liner.wire.codec import Buffer

_BATCH = 1000  # Messages taken before other business gets a turn.


class Intake:
    """Receives what was subscribed to.

    Args:
        context: the context its sockets belong to.
        address: the publisher's.
        heartbeat_s: how often libzmq asks it whether it lives.

    Attributes:
        connections: how often a connection was made so far.
    """

    def __init__(self, context: Context, address: str, heartbeat_s: float) -> None:
        self._context = context
        self.address = address
        self._heartbeat_s = heartbeat_s
        self._topics: set[bytes] = set()
        self.connections = 0
        self._open()

    def _open(self) -> None:
        local = self.address.startswith("inproc:")
        self.socket: Socket = open_socket(
            self._context,
            zmq.SUB,
            heartbeat_s=None if local else self._heartbeat_s,
            queued=MAX_WAITING_MESSAGES,
            ipv6="[" in self.address,
        )
        events = zmq.Event.HANDSHAKE_SUCCEEDED
        self._monitor: Socket | None = None if local else self.socket.get_monitor_socket(events)
        for topic in self._topics:
            self.socket.subscribe(topic)
        try:
            self.socket.connect(self.address)
        except zmq.ZMQError as error:
            self.close()
            raise ConfigurationError(f"{self.address!r} is no address to connect to: {error.strerror}") from None

    def register(self, poller: zmq.Poller) -> None:
        """Have a poller wake its owner when something came."""
        poller.register(self.socket, zmq.POLLIN)
        if self._monitor is not None:
            poller.register(self._monitor, zmq.POLLIN)

    def reopen(self) -> None:
        """Connect anew: inside one process libzmq does not do so by itself when a server comes back."""
        self.close()
        self.connections += 1
        self._open()

    def subscribe(self, topic: bytes) -> None:
        """Receive what begins with these bytes."""
        if topic not in self._topics:
            self._topics.add(topic)
            self.socket.subscribe(topic)

    def unsubscribe(self, topic: bytes) -> None:
        """Receive it no longer."""
        if topic in self._topics:
            self._topics.discard(topic)
            self.socket.unsubscribe(topic)

    def messages(self) -> Iterator[tuple[bytes, list[Buffer]]]:
        """First frame and further ones of every message that waits, up to a batch."""
        self._hear()
        for _ in range(_BATCH):
            try:
                head = self.socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            yield head, receive_rest(self.socket)

    def close(self) -> None:
        """Close the sockets."""
        close_monitored(self.socket, self._monitor)

    def _hear(self) -> None:
        monitor = self._monitor
        while monitor is not None and monitor.poll(0):
            if monitored_event(monitor) == zmq.Event.HANDSHAKE_SUCCEEDED:
                self.connections += 1
