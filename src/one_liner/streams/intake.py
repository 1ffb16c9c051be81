"""A SUB socket that knows when its connection was broken or refused.

Used by whoever receives samples: a client's receiver and the relays of a server. Belongs to one thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import zmq

from one_liner.errors import ConfigurationError, OneLinerError
from one_liner.limits import DEFAULT_LIMITS, Limits
from one_liner.transport.fanout import MAX_WAITING_MESSAGES
from one_liner.transport.security import KNOCK_S, REFUSALS, ClientCurve, HangUps, explain_refusal
from one_liner.transport.sockets import (
    Context,
    Socket,
    close_monitored,
    is_there,
    monitored_event,
    open_socket,
    receive,
    receive_rest,
    stop_trying,
)
from one_liner.wire.extensions import Buffer
from one_liner.wire.messages import (
    COPIED_BYTES,
    SAMPLE_HEAD_BYTES,
    TOPIC_END,
    SampleFields,
    is_ballast,
    sample_body,
    sample_fields,
)

_BATCH = 100  # Messages taken before other business, and the readers of the first of them, get a turn.
_EVENTS = zmq.Event.HANDSHAKE_SUCCEEDED | zmq.Event.DISCONNECTED | REFUSALS

# A plain tuple, read by the one who takes the sample: to make a record of each takes longer than all the rest.
Arrival: TypeAlias = tuple[SampleFields, Buffer, Sequence[Buffer]]
"""A sample as it came off the wire: its head, its body, and the buffers that belong to it."""
_log = logging.getLogger("one_liner.streams.intake")


class Intake:
    """Receives what was subscribed to.

    Its owner polls for `patience_ms` at most, then takes `messages`; when `tend` says so, the sockets are new ones and
    have to be registered again.

    Args:
        context: the context its sockets belong to.
        address: the publisher's.
        heartbeat_s: how often libzmq asks it whether it lives.
        curve: keys, if the publisher asks for them.
        limits: how large a message may be.
        ours: whether it is a server of ours, which may be found out within this process; `reopen` once it is there.

    Attributes:
        connections: how often a connection was made so far.
        attached: whether there is one now, as far as libzmq tells; inside one process it does not.
        refusal: why the publisher does not want us, as far as it said so.
    """

    def __init__(
        self,
        context: Context,
        address: str,
        heartbeat_s: float,
        *,
        curve: ClientCurve | None = None,
        limits: Limits = DEFAULT_LIMITS,
        ours: bool = False,
    ) -> None:
        self._ours = ours
        self._context = context
        self.address = address
        self._heartbeat_s = heartbeat_s
        self._curve, self._limits = curve, limits
        self._topics: set[bytes] = set()
        self._knock_at: float | None = None
        self.connections = 0
        self.attached = False
        self.refusal: str | None = None
        self._hang_ups = HangUps(address, curve)
        self._open()

    def _open(self) -> None:
        local = self.address.startswith("inproc:")
        self.socket: Socket = open_socket(
            self._context,
            zmq.SUB,
            heartbeat_s=None if local else self._heartbeat_s,
            queued=MAX_WAITING_MESSAGES,
            max_message_bytes=self._limits.message_bytes,
            ipv6="[" in self.address,
            curve=self._curve,
        )
        self._monitor: Socket | None = None if local else self.socket.get_monitor_socket(_EVENTS)
        for topic in self._topics:
            self.socket.subscribe(topic)
        self.connected = is_there(self.socket, self.address) or not self._ours
        if not self.connected:
            return
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

    @property
    def patience_ms(self) -> int | None:
        """How long its owner may wait for something to come; None without end."""
        return None if self._knock_at is None else max(1, int((self._knock_at - time.monotonic()) * 1000) + 1)

    def tend(self) -> bool:
        """Try again where we were refused or cut off, once it is time. True: the sockets are new, register them."""
        if self._knock_at is None or time.monotonic() < self._knock_at:
            return False
        self._knock_at = None
        self.close()
        self._open()
        return True

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
                message = receive(self.socket, zmq.NOBLOCK)
            except zmq.Again:
                return
            yield message

    def samples(self) -> Iterator[tuple[bytes, Arrival]]:
        """Topic and content of every sample that waits, up to a batch; ballast and what is no sample are left out.

        For those who believe the publisher how many frames follow: to receive a frame that can be asked takes three
        times as long. Whatever follows a head that says otherwise is a message of this publisher, too.
        """
        self._hear()
        socket = self.socket
        receive_one = socket.recv
        for _ in range(_BATCH):
            try:
                head = receive_one(zmq.NOBLOCK)
            except zmq.Again:
                return
            length = head.find(TOPIC_END) + 1
            start = length + SAMPLE_HEAD_BYTES
            if len(head) < start and is_ballast(head, length):
                continue
            try:
                fields = sample_fields(head, length)
                if fields[3] or len(head) > start + COPIED_BYTES:
                    buffers = receive_rest(socket) if socket.get(zmq.RCVMORE) else ()
                    body, rest = sample_body(head, length, fields, buffers)
                else:
                    body, rest = head[start:], ()
            except OneLinerError as error:
                _log.warning("stream %s: %s", head[: max(0, length - 1)].decode(errors="replace"), error)
                continue
            yield head[:length], (fields, body, rest)

    def close(self) -> None:
        """Close the sockets."""
        close_monitored(self.socket, self._monitor)

    def _hear(self) -> None:
        monitor = self._monitor
        while monitor is not None and monitor.poll(0):
            event, value = monitored_event(monitor)
            if event == zmq.Event.HANDSHAKE_SUCCEEDED:
                self.connections += 1
                self.attached = True
                self.refusal = self._knock_at = None
                self._hang_ups.reset()
            elif event == zmq.Event.DISCONNECTED:
                self.attached = False
                # libzmq connects again by itself, but not after a protocol error: then a new socket has to.
                self._knock_at = time.monotonic() + KNOCK_S
            else:
                self._refused(event, value)

    def _refused(self, event: int, value: int) -> None:
        """libzmq gives up, or knocks too fast; both ends with a new socket after a while."""
        reason = explain_refusal(event, value, self.address, self._curve) or self._hang_ups.explain()
        if reason is None:
            return
        if self.refusal is None:
            _log.warning("no streams come from %s: %s", self.address, reason)
        self.refusal = reason
        self._hang_ups.reset()
        stop_trying(self.socket, self.address)
        self._knock_at = time.monotonic() + KNOCK_S
