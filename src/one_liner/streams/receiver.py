"""The reader's side of streams: one thread per client that takes everything off the wire, at all times.

Because it never waits for a reader, a reader that stalls costs counted samples and no memory beyond its buffer, and a
cache is always fresh. The thread also makes sure of new subscriptions: a subscription travels to the publisher without
any acknowledgement, so it subscribes to a marker behind it and has the server publish that, on the way that the samples
of this stream take; when the marker comes back, so does every sample from then on, through any number of routers. The
marker carries the last sample made before it: so a late reader has that too, without a gap to the first live one.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable
from functools import partial
from threading import current_thread

import zmq

from one_liner.background import PAUSE_S, BackgroundThread
from one_liner.clock import Clock
from one_liner.errors import ConfigurationError, OneLinerError
from one_liner.rpc.link import Link, State
from one_liner.streams.intake import Arrival, Intake
from one_liner.streams.names import is_own
from one_liner.streams.subscription import Subscription
from one_liner.transport.sockets import Context, Doorbell
from one_liner.wire.codec import Codec
from one_liner.wire.faults import error_of
from one_liner.wire.messages import (
    MARKER,
    Kind,
    Reply,
    topic_of,
)

_RETRY_S = 0.02
_RETRY_MAX_S = 1.0
_UNKNOWN_RETRY_S = 2.0
_CONNECT_S = 1.0  # So long it is no news that there is no connection yet.
_UNSURE_S = 2.0  # Nor that a subscription has not come back.
_log = logging.getLogger("one_liner.streams.receiver")


class Receiver:
    """Receives the streams of one client. `add`, `close` and `statistics` may be called from any thread.

    Args:
        context: the context its sockets belong to.
        link: to the server.
        broadcast_port: where the streams are, on the server's interface; None to be told by the server.
        codec: for what control messages carry.
        clock: the reader's clock.
    """

    def __init__(
        self, context: Context, link: Link, broadcast_port: int | str | None, codec: Codec, clock: Clock
    ) -> None:
        self._context = context
        self._link = link
        self._broadcast_port = broadcast_port
        self._codec, self._clock = codec, clock
        self._by_topic: dict[bytes, Subscription] = {}
        self._markers: dict[bytes, _Marker] = {}
        self._fed: set[Subscription] = set()
        self._session: int | None = None
        self._opened = clock.now()
        self._intake: Intake | None = None
        self._errands: deque[Callable[[], None]] = deque()
        self._doorbell = Doorbell(context, "receiver")
        self._stopping = False
        self._thread = BackgroundThread(self._run, f"receiver {link.endpoint}", pause_s=PAUSE_S)
        link.listen(self._on_state)
        self._thread.start()
        self._leave_errand(self._connect)

    def add(self, subscription: Subscription) -> None:
        """Receive a stream from now on; one of the same name is replaced."""
        self._leave_errand(lambda: self._subscribe(subscription))

    def remove(self, subscription: Subscription) -> None:
        """Receive it no longer."""
        self._leave_errand(lambda: self._unsubscribe(subscription))

    def why_nothing(self, subscription: Subscription) -> str:
        """Why nothing comes of a stream, as far as is known here; empty text where nothing is. From any thread."""
        intake, hello = self._intake, self._link.hello
        if hello is None:
            return f"the server at {self._link.endpoint} has not answered yet"
        if not self._link.ready:
            return f"the server is {self._link.state}"
        if intake is None:
            return ""
        place = f"{intake.address}; is that its broadcast port? It says {hello.broadcast_port}"
        local = intake.address.startswith("inproc:")
        if not intake.attached and not local and self._clock.now() - self._opened > _CONNECT_S:
            return f"the server answers, but there is no connection to its streams: {intake.refusal or place}"
        if subscription.remark is not None:
            return f"the server has {subscription.remark}"
        unsure_since = subscription.unsure_since
        if unsure_since is not None and self._clock.now() - unsure_since > _UNSURE_S:
            return f"what the server publishes does not come from {place}. Is every router on the way up?"
        return ""

    def close(self) -> None:
        """Stop the thread and close its sockets."""
        self._stopping = True
        self._link.unlisten(self._on_state)
        self._doorbell.ring()
        if self._thread is not current_thread():
            self._thread.join()

    # --- other threads -----------------------------------------------------------------------------------------------

    def _on_state(self, state: State) -> None:
        if state is State.CONNECTED:
            self._leave_errand(self._connect)

    def _leave_errand(self, errand: Callable[[], None]) -> None:
        self._errands.append(errand)
        self._doorbell.ring()

    # --- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._turn()
        except zmq.ContextTerminated:
            _log.debug("context terminated under the receiver of %s", self._link.endpoint)
        if self._intake is not None:
            self._intake.close()
        self._doorbell.close()

    def _turn(self) -> None:
        poller = zmq.Poller()
        poller.register(self._doorbell.socket, zmq.POLLIN)
        if self._intake is not None:
            self._intake.register(poller)
        while not self._stopping:
            ready = dict(poller.poll(self._patience_ms()))
            if self._intake is not None:
                if self._intake.tend():
                    return
                self._receive_all(self._intake)
            self._ask_for_markers()
            if self._doorbell.socket in ready:
                self._doorbell.answer()
                while self._errands:
                    self._errands.popleft()()
                return  # What is polled may have changed.

    def _patience_ms(self) -> int | None:
        patience_ms = None if self._intake is None else self._intake.patience_ms
        if not self._markers or not self._link.ready:
            return patience_ms  # Nobody can be asked; that it is back will be told.
        due = min(marker.due for marker in self._markers.values())
        due_ms = max(1, int((due - self._clock.now()) * 1000))
        return due_ms if patience_ms is None else min(due_ms, patience_ms)

    def _receive_all(self, intake: Intake) -> None:
        """Take in everything that waits, then wake the readers."""
        offset = self._link.offset
        current, subscription = b"", None
        arrived: list[Arrival] = []
        for topic, arrival in intake.samples():
            if topic != current:
                if subscription is not None:
                    subscription.arrived(arrived, intake.connections, offset)
                    arrived = []
                current, subscription = topic, self._by_topic.get(topic)
                if subscription is not None:
                    self._fed.add(subscription)
            if subscription is not None:
                arrived.append(arrival)
            elif topic in self._markers:
                self._receive_marker(topic, arrival, intake.connections, offset)
        if subscription is not None:
            subscription.arrived(arrived, intake.connections, offset)
        for subscription in self._fed:
            subscription.ring()
        self._fed.clear()

    def _receive_marker(self, topic: bytes, arrival: Arrival, connections: int, offset: tuple[float, float]) -> None:
        subscription = self._markers[topic].subscription
        self._fed.add(subscription)
        self._drop(topic)
        if arrival[0][1] != Kind.MARKER:
            subscription.came_late(arrival, connections, offset)
        subscription.unsure_since = None
        subscription.synchronised.set()
        self._ask_again(subscription)

    # --- connecting --------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        """Be connected to where the streams are now, and be sure of all subscriptions again."""
        hello = self._link.hello
        port = self._broadcast_port
        if port is None:
            if hello is None:
                return
            port = hello.broadcast_port
        address = str(self._link.endpoint.with_port(port))
        restarted = hello is not None and self._session is not None and hello.server != self._session
        self._session = None if hello is None else hello.server
        if self._intake is not None and self._intake.address != address:
            self._intake.close()
            self._intake = None
        if self._intake is None:
            link = self._link
            self._opened = self._clock.now()
            try:
                self._intake = Intake(
                    self._context, address, link.heartbeat_s, curve=link.curve, limits=link.limits, ours=True
                )
            except ConfigurationError as error:
                _log.warning("%s says that its streams are where nothing can be: %s", link.endpoint, error)
                return
            for topic in self._by_topic:
                self._intake.subscribe(topic)
        elif address.startswith("inproc:") and (restarted or not self._intake.connected):
            self._intake.reopen()
        if restarted:
            for subscription in self._by_topic.values():
                subscription.synchronised.clear()
                self._make_sure(subscription)

    # --- subscribing -------------------------------------------------------------------------------------------------

    def _subscribe(self, subscription: Subscription) -> None:
        self._by_topic[subscription.topic] = subscription
        if self._intake is not None:
            self._intake.subscribe(subscription.topic)
        self._make_sure(subscription)

    def _unsubscribe(self, subscription: Subscription) -> None:
        if self._by_topic.get(subscription.topic) is subscription:
            del self._by_topic[subscription.topic]
            if self._intake is not None:
                self._intake.unsubscribe(subscription.topic)
        for topic in [topic for topic, marker in self._markers.items() if marker.subscription is subscription]:
            self._drop(topic)

    def _make_sure(self, subscription: Subscription, pause_s: float = 0.0) -> None:
        """Subscribe, now or soon, to a marker behind the stream's topic; it comes from wherever the stream does."""
        for topic in [topic for topic, marker in self._markers.items() if marker.subscription is subscription]:
            self._drop(topic)
        path = f"{subscription.name}{MARKER}{os.urandom(8).hex()}"
        self._markers[topic_of(path)] = _Marker(path, subscription, self._clock.now() + pause_s)

    def _ask_for_markers(self) -> None:
        """Have the server publish what has not come yet; again and again, because the first may come too early."""
        if not self._markers or self._intake is None or not self._link.ready:
            return
        now = self._clock.now()
        body = bytes(self._codec.encode(["publish_marker", {}])[0])
        for topic, marker in self._markers.items():
            if now >= marker.due:
                self._intake.subscribe(topic)
                marker.wait(now)
                if marker.subscription.unsure_since is None:
                    marker.subscription.unsure_since = now
                self._link.submit(Kind.CONTROL, marker.path, body, partial(self._answered, marker.subscription))

    def _answered(self, subscription: Subscription, reply: Reply | OneLinerError) -> None:
        """The server was asked to publish a marker; on the link's thread."""
        if isinstance(reply, OneLinerError):
            return  # The connection broke, which is said elsewhere.
        try:
            remark = self._codec.decode(reply.body, reply.buffers)
            if reply.kind == Kind.ERROR:
                remark = f"not published it: {error_of(remark)}"
        except OneLinerError as error:
            _log.warning("stream %s: the answer to a subscription cannot be read: %s", subscription.name, error)
            return
        self._leave_errand(lambda: self._note(subscription, remark if isinstance(remark, str) else None))

    def _note(self, subscription: Subscription, remark: str | None) -> None:
        """Keep what the server said of a subscription, and ask again after a while if there was no such stream."""
        expected = subscription.warned or is_own(subscription.name)
        if remark is not None and remark == subscription.remark and not expected:
            # Only now, because a stream may be configured before it exists; one of events does with its first event.
            subscription.warned = True
            _log.warning("stream %s: the server has %s", subscription.name, remark)
        subscription.remark = remark
        self._ask_again(subscription)

    def _ask_again(self, subscription: Subscription) -> None:
        """After a while, where the server has no such stream yet. Its answer and the marker come in either order."""
        pending = any(marker.subscription is subscription for marker in self._markers.values())
        if subscription.remark is not None and not pending and self._by_topic.get(subscription.topic) is subscription:
            self._make_sure(subscription, _UNKNOWN_RETRY_S)

    def _drop(self, topic: bytes) -> None:
        del self._markers[topic]
        if self._intake is not None:
            self._intake.unsubscribe(topic)


class _Marker:
    """A topic of our own behind a stream's, that the server is asked to publish."""

    __slots__ = ("_pause_s", "due", "path", "subscription")

    def __init__(self, path: str, subscription: Subscription, now: float) -> None:
        self.path = path
        self.subscription = subscription
        self.due = now
        self._pause_s = _RETRY_S / 2

    def wait(self, now: float) -> None:
        """It was asked for: give it time, and more each time."""
        self._pause_s = min(_RETRY_MAX_S, 2 * self._pause_s)
        self.due = now + self._pause_s
