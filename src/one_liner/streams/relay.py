"""Samples of other publishers, on our broadcast address.

`StreamRelay` carries one stream: of any PUB socket, whose frames it wraps and stamps on arrival, or of one of our
servers, whose samples it passes on under another name. `RouterRelay` carries all streams of another server under a
prefix, each only while somebody downstream is subscribed to it. Both rewrite the first frame and pass all others on by
reference, undecoded; each has one thread.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable
from threading import current_thread

import zmq

from one_liner.background import PAUSE_S, BackgroundThread
from one_liner.clock import Clock
from one_liner.errors import ConfigurationError, OneLinerError
from one_liner.limits import DEFAULT_LIMITS, Limits
from one_liner.rpc.link import Link, State
from one_liner.streams.intake import Intake
from one_liner.streams.registry import Stream
from one_liner.transport.fanout import Publisher
from one_liner.transport.security import ClientCurve
from one_liner.transport.sockets import Context, Doorbell
from one_liner.wire.extensions import Buffer
from one_liner.wire.messages import (
    ROUTE_SEPARATOR,
    TOPIC_END,
    Encoding,
    Kind,
    SampleMessage,
    Stamp,
    is_ballast,
    renamed,
    sample_fields,
)

_SHOWN_BYTES = 128
_log = logging.getLogger("one_liner.streams.relay")


class StreamRelay:
    """One stream of somebody else.

    Args:
        stream: what it is here.
        context: the context its sockets belong to.
        publisher: our way to the broadcast address, one that hears subscriptions; closed by `close`.
        address: the other's.
        topic: what to subscribe to there, a beginning as always in ZeroMQ; None for exactly the stream's name.
        origin: random number of our server.
        heartbeat_s: how often libzmq asks the other whether it lives.
        clock: our clock.
        log_chatter: whether to write every message into the log.
        curve: keys, if the other asks for them.
        limits: how large a message may be.
    """

    def __init__(
        self,
        stream: Stream,
        context: Context,
        publisher: Publisher,
        address: str,
        *,
        topic: bytes | None,
        origin: int,
        heartbeat_s: float,
        clock: Clock,
        log_chatter: bool,
        curve: ClientCurve | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.stream = stream
        self._publisher = publisher
        self._name = stream.name.encode() if topic is None else topic
        self._exact = topic is None
        self._origin = origin
        self._clock = clock
        self._log_chatter = log_chatter
        # A clock elsewhere cannot be compared without asking its server; on this machine it is ours.
        self._foreign_error_s = 0.0 if _is_here(address) else math.inf
        self._intake = Intake(context, address, heartbeat_s, curve=curve, limits=limits)
        self._doorbell = Doorbell(context, "relay")
        self._subscribed = False
        self._stopping = False
        self._thread = BackgroundThread(self._run, f"relay {stream.name}", pause_s=PAUSE_S)

    def start(self) -> None:
        """Begin, once the stream has the number that it goes on from."""
        self._thread.start()

    def wake(self) -> None:
        """The stream was enabled or disabled: look again."""
        self._doorbell.ring()

    def close(self) -> None:
        """Stop the thread and close its sockets."""
        self._stopping = True
        if not self._thread.is_alive():  # Not started, or so newly that it will find itself closed.
            self._release()
            return
        self._doorbell.ring()
        if self._thread is not current_thread():
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._turn()
        except zmq.ContextTerminated:
            _log.debug("context terminated under the relay of %s", self.stream.name)
        self._release()

    def _release(self) -> None:
        self._intake.close()
        self._publisher.close()
        self._doorbell.close()

    def _turn(self) -> None:
        """Pass on until the sockets are others."""
        poller = zmq.Poller()
        self._intake.register(poller)
        poller.register(self._doorbell.socket, zmq.POLLIN)
        poller.register(self._publisher.descriptor, zmq.POLLIN)
        while not self._stopping and not self._intake.tend():
            self._follow()
            if self._doorbell.socket in dict(poller.poll(self._intake.patience_ms)):
                self._doorbell.answer()
            self._publisher.hear()
            for head, buffers in self._intake.messages():
                if self.stream.enabled:
                    self._pass_on(head, buffers)

    def _follow(self) -> None:
        """Be subscribed exactly while the stream is enabled."""
        if self.stream.enabled != self._subscribed:
            self._subscribed = self.stream.enabled
            (self._intake.subscribe if self._subscribed else self._intake.unsubscribe)(self._name)

    def _pass_on(self, head: bytes, buffers: list[Buffer]) -> None:
        if self._log_chatter:
            size = len(head) + sum(memoryview(buffer).nbytes for buffer in buffers)
            _log.info("%s: %s", self.stream.name, head if size < _SHOWN_BYTES else f"{size} bytes")
        now, stream = self._clock.now(), self.stream
        length = head.find(TOPIC_END) + 1
        if length and is_ballast(head, length):
            return  # Our own publisher adds what belongs to a sample.
        if length and _is_ours(head, length, buffers):
            if not self._exact or head[: length - 1] == self._name:
                frames: list[Buffer] = [renamed(head, length, stream.topic, 0.0, self._foreign_error_s), *buffers]
                stream.pass_on(frames, self._publisher.send)
            return
        if self._exact and buffers and head not in (self._name, self._name + TOPIC_END):
            return  # `cam_2` begins with `cam`, too.
        stream.publish_frames(self._wrapped(head, buffers, now), self._publisher.send)

    def _wrapped(self, head: bytes, buffers: list[Buffer], now: float) -> SampleMessage:
        """A stranger's message as a sample: its frames without the topic, or its only frame."""
        body, *further = buffers or [head]
        encoding = Encoding.FRAMES if further else Encoding.RAW
        return SampleMessage(Kind.SAMPLE, 0, self._origin, encoding, Stamp(now), self._clock.wall(), body, further)


class RouterRelay:
    """The streams of another server, under a prefix; lazily.

    Args:
        prefix: the name of the router.
        context: the context its sockets belong to.
        publisher: our way to the broadcast address, one that hears subscriptions; closed by `close`.
        link: to the other server; tells where its streams are and how its clock differs.
        broadcast_port: where its streams are, on the same interface; None to be told by the server.
    """

    def __init__(
        self, prefix: str, context: Context, publisher: Publisher, link: Link, broadcast_port: int | str | None
    ) -> None:
        self._prefix = (prefix + ROUTE_SEPARATOR).encode()
        self._context = context
        self._publisher = publisher
        self._link = link
        self._broadcast_port = broadcast_port
        self._wanted: dict[bytes, None] = {}
        self._intake: Intake | None = None
        self._doorbell = Doorbell(context, "router")
        self._errands: deque[Callable[[], None]] = deque()
        self._stopping = False
        self._thread = BackgroundThread(self._run, f"router {prefix}", pause_s=PAUSE_S)
        link.listen(self._on_state)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and close its sockets."""
        self._stopping = True
        self._link.unlisten(self._on_state)
        self._doorbell.ring()
        if self._thread is not current_thread():
            self._thread.join()

    def _on_state(self, state: State) -> None:
        if state is State.CONNECTED:
            self._errands.append(self._connect)
            self._doorbell.ring()

    def _connect(self) -> None:
        """The server is there, or there again: be connected to its broadcast address."""
        hello = self._link.hello
        port = self._broadcast_port if self._broadcast_port is not None or hello is None else hello.broadcast_port
        if port is None:
            return
        address = str(self._link.endpoint.with_port(port))
        if self._intake is not None and (self._intake.address != address or address.startswith("inproc:")):
            self._intake.close()
            self._intake = None
        if self._intake is None:
            link = self._link
            try:
                self._intake = Intake(self._context, address, link.heartbeat_s, curve=link.curve, limits=link.limits)
            except ConfigurationError as error:
                _log.warning("%s says that its streams are where nothing can be: %s", link.endpoint, error)
                return
            for topic in self._wanted:
                self._intake.subscribe(topic)

    def _run(self) -> None:
        try:
            while not self._stopping:
                poller = zmq.Poller()
                poller.register(self._publisher.socket, zmq.POLLIN)
                poller.register(self._doorbell.socket, zmq.POLLIN)
                patience_ms = None
                if self._intake is not None:
                    self._intake.tend()
                    self._intake.register(poller)
                    patience_ms = self._intake.patience_ms
                ready = dict(poller.poll(patience_ms))
                if self._doorbell.socket in ready:
                    self._doorbell.answer()
                    while self._errands:
                        self._errands.popleft()()
                if self._publisher.socket in ready:
                    self._follow()
                if self._intake is not None:
                    self._pass_on(self._intake)
        except zmq.ContextTerminated:
            _log.debug("context terminated under router %s", self._prefix)
        if self._intake is not None:
            self._intake.close()
        self._publisher.close()
        self._doorbell.close()

    def _pass_on(self, intake: Intake) -> None:
        offset_s, error_s = self._link.offset
        for head, buffers in intake.messages():
            length = head.find(TOPIC_END) + 1
            # Ballast is left out: our own publisher adds what belongs to a sample.
            if length and _is_ours(head, length, buffers):
                self._publisher.send([renamed(head, length, self._prefix + head[:length], offset_s, error_s), *buffers])

    def _follow(self) -> None:
        """Be subscribed upstream to what somebody downstream is subscribed to."""
        # In the order they came: a marker proves that what was subscribed to before it has arrived.
        wanted: dict[bytes, None] = {}
        for topic in self._publisher.subscriptions():
            if topic.startswith(self._prefix):
                wanted[topic[len(self._prefix) :]] = None
            elif self._prefix.startswith(topic):
                wanted[b""] = None
        if self._intake is not None:
            for topic in self._wanted.keys() - wanted.keys():
                self._intake.unsubscribe(topic)
            for topic in wanted:
                self._intake.subscribe(topic)
        self._wanted = wanted


def _is_ours(head: bytes, topic_length: int, buffers: list[Buffer]) -> bool:
    """Whether this is a sample of one of our servers, of a version that we read."""
    try:
        return sample_fields(head, topic_length)[3] == len(buffers)
    except OneLinerError:
        return False


def _is_here(address: str) -> bool:
    """Whether an address is on this machine for certain."""
    return not address.startswith("tcp:") or any(
        f"//{host}:" in address for host in ("127.0.0.1", "localhost", "[::1]")
    )
