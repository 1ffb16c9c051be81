"""The server's side of events: numbers each, keeps the last ones, and sends them on the stream of their topic."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import islice
from threading import Lock
from typing import Any, Final

from one_liner.clock import Clock
from one_liner.errors import ClosedError, NotCarriableError
from one_liner.events.event import Event, Topic, kind_of
from one_liner.events.history import History
from one_liner.events.inbox import Inbox
from one_liner.events.selection import Selection
from one_liner.frozen import Frozen
from one_liner.wire.codec import Codec
from one_liner.wire.messages import Encoding, Kind, SampleMessage, Stamp

MAX_ENTRIES: Final = 1000
MAX_BYTES: Final = 8 * 1024 * 1024
MAX_AGE_S: Final = 86_400.0
_REPR_CHARACTERS: Final = 1000
_WITHOUT_HISTORY: Final = frozenset({Topic.HEARTBEAT, Topic.JOB_UPDATE})
_log = logging.getLogger("one_liner.events.emitter")


class _Written(Frozen):
    """An event as it travels: what was in its context may be changed by whoever emitted it."""

    number: int
    body: bytes
    buffers: tuple[bytes, ...]


class Emitter:
    """Emits the events of one server. May be used from any thread; never waits for anybody.

    Args:
        origin: random number of the server.
        codec: writes events.
        clock: the server's clock.
        send: sends a message on the stream of its topic.
    """

    def __init__(self, origin: int, codec: Codec, clock: Clock, send: Callable[[Topic, SampleMessage], None]) -> None:
        self._origin = origin
        self._codec, self._clock, self._send = codec, clock, send
        self._lock = Lock()
        self._index = 0
        self._numbers = dict.fromkeys(Topic, 0)
        self._history: dict[Topic, History[int, _Written]] = {
            topic: History(MAX_ENTRIES, MAX_BYTES, MAX_AGE_S) for topic in Topic if topic not in _WITHOUT_HISTORY
        }
        self._listeners: tuple[Inbox, ...] = ()
        self._closed = False

    def emit(self, topic: Topic, kind: Any, context: Any) -> Event:
        """Tell everybody who listens.

        An emergency goes out in any case: a context that cannot travel is replaced by its `repr`.

        Raises:
            NotCarriableError: the context cannot travel; nothing was sent.
            ConfigurationError: this is no kind.
            ClosedError: the server is closed.
        """
        kind = kind_of(kind)
        with self._lock:
            if self._closed:
                raise ClosedError(f"{topic} {kind} cannot be told any more: the server is closed")
            try:
                return self._emit(topic, kind, context)
            except NotCarriableError as error:
                if topic is not Topic.EMERGENCY:
                    raise
                _log.error("the context of emergency %s cannot travel and goes as text: %s", kind, error)
                return self._emit(topic, kind, in_words(context))

    def heartbeat(self, context: dict[str, Any]) -> Event:
        """The next heartbeat; its stream sends it."""
        with self._lock:
            event = self._event(Topic.HEARTBEAT, Topic.HEARTBEAT.value, context, self._clock.now())
            self._numbers[Topic.HEARTBEAT] += 1
            return event

    def listen(self, inbox: Inbox) -> None:
        """Tell a listener in this process, too; the last events first, if it wants them."""
        with self._lock:
            if self._closed:
                raise ClosedError("the server is closed, and tells of nothing any more")
            # Under the lock: none comes twice, and none is left out between the last ones and the live ones.
            if inbox.begins_late:
                inbox.begin_with(self._recent(inbox.selection, inbox.last))
            self._listeners = (*self._listeners, inbox)

    def unlisten(self, inbox: Inbox) -> None:
        """Undo `listen`."""
        with self._lock:
            self._listeners = tuple(one for one in self._listeners if one is not inbox)

    def recent(self, selection: Selection, last: int) -> list[Event]:
        """The last events, the oldest first."""
        with self._lock:
            return self._recent(selection, last)

    def missed_emergencies(self, origin: Any, since: Any) -> dict[str, Any]:
        """What somebody missed.

        Args:
            origin: of the life of this server that they know; of another one they missed everything.
            since: from which number on; None when they only want to know where to begin.

        Returns:
            `origin`, `next` (the number that comes next) and `events` (those that are still kept).
        """
        with self._lock:
            first = 0 if origin != self._origin else since
            kept = () if since is None else (one for one in self._history[Topic.EMERGENCY] if one.number >= first)
            return {
                "origin": self._origin,
                "next": self._numbers[Topic.EMERGENCY],
                "events": [self._codec.decode(one.body, one.buffers) for one in kept],
            }

    def close(self) -> None:
        """Emit nothing any more; who listens in this process is woken."""
        with self._lock:
            self._closed = True
            listeners, self._listeners = self._listeners, ()
        for inbox in listeners:
            inbox.close()

    def _emit(self, topic: Topic, kind: str | int, context: Any) -> Event:
        now = self._clock.now()
        event = self._event(topic, kind, context, now)
        encoded, buffers = self._codec.encode(event.as_dict(), "event")
        written = _Written(event.number, bytes(encoded), tuple(bytes(buffer) for buffer in buffers))
        self._numbers[topic] += 1
        message = SampleMessage(
            Kind.SAMPLE, 0, self._origin, Encoding.MSGPACK, Stamp(now), event.when, written.body, written.buffers
        )
        self._send(topic, message)
        history = self._history.get(topic)
        if history is not None:
            history.add(event.number, written, len(written.body) + sum(map(len, written.buffers)), now)
        for inbox in self._listeners:
            if inbox.selection.wants(event):
                inbox.put(self._read(written))
        return event

    def _event(self, topic: Topic, kind: str | int, context: Any, now: float) -> Event:
        self._index = max(self._index + 1, int(now * 1e9))
        return Event(topic, kind, context, self._clock.wall(), self._index, self._numbers[topic], self._origin)

    def _recent(self, selection: Selection, last: int) -> list[Event]:
        now = self._clock.now()
        found: list[Event] = []
        for topic in selection.topics - _WITHOUT_HISTORY:
            history = self._history[topic]
            history.forget(now)
            wanted = (event for event in map(self._read, reversed(list(history))) if selection.wants(event))
            found += islice(wanted, last)
        found.sort(key=lambda event: event.index)
        return found[-last:] if last else []

    def _read(self, written: _Written) -> Event:
        return Event.from_dict(self._codec.decode(written.body, written.buffers))


def in_words(context: Any) -> str:
    """What cannot travel, as text of up to 1000 characters; never raises."""
    try:
        return repr(context)[:_REPR_CHARACTERS]
    except Exception as error:
        return f"<{type(context).__name__} whose repr raised {type(error).__name__}>"
