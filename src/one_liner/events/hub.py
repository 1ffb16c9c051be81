"""The client's side of events: one thread that takes them off their streams and hands each to everybody who listens.

Emergencies are taken first. When one is missing, because its number says so or because the server says what it told
last, it is asked for; what cannot be had any more is an alarm.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from threading import Condition, Lock, current_thread
from typing import Any, Final

from one_liner.background import PAUSE_S, BackgroundThread
from one_liner.clock import Clock
from one_liner.errors import ClosedError, MalformedError, NoDataError, OneLinerError
from one_liner.events.event import Event, Topic
from one_liner.events.inbox import Inbox, alarm
from one_liner.events.ledger import EmergencyLedger
from one_liner.events.selection import Selection
from one_liner.frozen import Frozen
from one_liner.rpc.link import HEARTBEATS_TO_LOSS, Link
from one_liner.streams.intake import Arrival
from one_liner.streams.subscription import Storage, Subscription
from one_liner.wire.codec import Codec
from one_liner.wire.faults import error_of
from one_liner.wire.messages import ROUTE_SEPARATOR, Kind, Reply

STORAGE: Final = Storage("queue", 10_000, 64 * 1024 * 1024, "oldest", None, False)
_LOOK_S: Final = 0.02
_PAST: Final = float("-inf")
_log = logging.getLogger("one_liner.events.hub")

Answer = Reply | OneLinerError


class Feed(Subscription):
    """One topic of one server, as this client receives it.

    Args:
        topic: what it brings.
        source: the route to the server; "" for our own.
        signal: called, on the receiver's thread, when something came.
        codec: reads events.
        clock: of this process.
    """

    def __init__(self, topic: Topic, source: str, signal: Callable[[], None], codec: Codec, clock: Clock) -> None:
        name = stream_of(topic, source)
        super().__init__(name, STORAGE, codec, allow_pickle=False, clock=clock, trouble=lambda: None)
        self.event_topic, self.source = topic, source
        self._signal = signal

    def arrived(self, arrivals: list[Arrival], connections: int, offset: tuple[float, float]) -> None:
        """Take events in."""
        super().arrived(arrivals, connections, offset)
        self._signal()

    def next_event(self) -> Event | None:
        """The next one; None when there is none."""
        try:
            return Event.from_dict(self.take(0.0).data, self.source)
        except (NoDataError, ClosedError):
            return None


class _Listener(Frozen):
    """Who listens to what.

    Attributes:
        source: to which server.
        selection: to which of its events.
        put: is given each.
        inbox: where they go, if it wants the last ones first.
    """

    source: str
    selection: Selection
    put: Callable[[Event], None]
    inbox: Inbox | None = None


class EventHub:
    """Receives the events of one client. May be used from any thread.

    Args:
        link: to the server.
        subscribe: receives a stream from now on.
        unsubscribe: receives it no longer.
        codec: for what is asked and answered.
        clock: of this process.
    """

    def __init__(
        self,
        link: Link,
        subscribe: Callable[[Feed], None],
        unsubscribe: Callable[[Feed], None],
        codec: Codec,
        clock: Clock,
    ) -> None:
        self._link, self._codec, self._clock = link, codec, clock
        self._subscribe, self._unsubscribe = subscribe, unsubscribe
        self._lock = Lock()
        self._signalled = Condition()
        self._signals = 0
        self._listeners: tuple[_Listener, ...] = ()
        self._feeds: dict[tuple[int, str], Feed] = {}
        self._ledgers: dict[str, EmergencyLedger] = {}
        self._ask_at: dict[str, float] = {}
        self._look_at: dict[tuple[Topic, str], tuple[float, Callable[[], None]]] = {}
        self._answers: deque[Callable[[], None]] = deque()
        self._asked_for_last: dict[Inbox, float] = {}
        self._closed = False
        self._thread = BackgroundThread(self._run, f"events {link.endpoint}", pause_s=PAUSE_S)
        self._thread.start()

    def listen(self, inbox: Inbox, source: str) -> None:
        """Give a listener what it selects of one server's events."""
        self._add(_Listener(source, inbox.selection, inbox.put, inbox))

    def follow(self, topic: Topic, source: str, put: Callable[[Event], None], look: Callable[[], None]) -> None:
        """The same for somebody who takes them on the hub's thread, and returns at once.

        Args:
            topic: what it wants.
            source: of which server.
            put: is given each.
            look: is called once every event arrives from now on, and now and then, in case one was lost.
        """
        with self._lock:
            self._look_at[topic, source] = (_PAST, look)
        self._add(_Listener(source, Selection(frozenset({topic})), put))

    def unlisten(self, inbox: Inbox) -> None:
        """Undo `listen`; a topic that nobody listens to any more is received no longer."""
        with self._lock:
            self._listeners = tuple(one for one in self._listeners if one.inbox is not inbox)
            wanted = {(topic, one.source) for one in self._listeners for topic in one.selection.topics}
            idle = [key for key, feed in self._feeds.items() if (feed.event_topic, feed.source) not in wanted]
            feeds = [self._feeds.pop(key) for key in idle]
            for feed in feeds:
                if feed.event_topic is Topic.EMERGENCY:
                    self._ledgers.pop(feed.source, None)
                    self._ask_at.pop(feed.source, None)
        for feed in feeds:
            self._unsubscribe(feed)

    def is_synchronised(self, topic: Topic, source: str) -> bool:
        """Whether every event of this topic arrives from now on."""
        feed = self._feeds.get((_PRIORITY[topic], source))
        return feed is not None and feed.synchronised.is_set()

    def close(self) -> None:
        """Stop the thread; who listens is woken."""
        with self._lock:
            self._closed = True
            listeners, self._listeners = self._listeners, ()
        for listener in listeners:
            if listener.inbox is not None:
                listener.inbox.close()
        self._signal()
        if self._thread is not current_thread():
            self._thread.join()

    def _add(self, listener: _Listener) -> None:
        feeds: list[Feed] = []
        with self._lock:
            self._listeners = (*self._listeners, listener)
            for topic in listener.selection.topics:
                key = (_PRIORITY[topic], listener.source)
                if key not in self._feeds:
                    feed = Feed(topic, listener.source, self._signal, self._codec, self._clock)
                    feeds.append(feed)
                    self._feeds = dict(sorted([*self._feeds.items(), (key, feed)]))
                    if topic is Topic.EMERGENCY:
                        self._ledgers[listener.source] = EmergencyLedger()
                        self._ask_at[listener.source] = _PAST
        for feed in feeds:
            self._subscribe(feed)
        self._signal()

    # --- the thread --------------------------------------------------------------------------------------------------

    def _signal(self) -> None:
        with self._signalled:
            self._signals += 1
            self._signalled.notify()

    def _run(self) -> None:
        seen = 0
        look_s = _LOOK_S
        while not self._closed:
            with self._signalled:
                came = self._signalled.wait_for(
                    lambda seen=seen: self._signals != seen,  # type: ignore[misc]
                    self._patience_s(look_s),
                )
                seen = self._signals
            look_s = _LOOK_S if came else min(2 * look_s, self._link.heartbeat_s)
            while not self._closed and (self._take_answer() or self._take_event()):
                pass
            self._ask()

    def _patience_s(self, look_s: float) -> float | None:
        """How long nothing has to be done, if nothing comes.

        Args:
            look_s: how soon to look again for what does not ring: a server that is there, a subscription that arrived.
        """
        with self._lock:
            due = [*self._ask_at.values(), *(at for at, _ in self._look_at.values())]
            waits = any(one.inbox is not None and one.inbox.begins_late for one in self._listeners)
        if waits:
            return look_s
        return None if not due else max(look_s, min(due) - self._clock.now())

    def _take_answer(self) -> bool:
        if not self._answers:
            return False
        self._answers.popleft()()
        return True

    def _take_event(self) -> bool:
        """Hand out the next event, of the topic that comes first. False when there is none."""
        with self._lock:
            feeds = list(self._feeds.values())
        for feed in feeds:
            try:
                event = feed.next_event()
            except OneLinerError as error:
                _log.warning("something on %s cannot be read: %s", feed.name, error)
                return True
            if event is not None:
                self._hand_out(event)
                return True
        return False

    def _hand_out(self, event: Event) -> None:
        if event.topic is Topic.EMERGENCY:
            ledger = self._ledgers.get(event.source)
            if ledger is not None:
                if not ledger.arrived(event.origin, event.number):
                    return
                if ledger.missing:
                    self._ask_at[event.source] = _PAST
        self._give(event)

    def _give(self, event: Event) -> None:
        for listener in self._listeners:
            if listener.source == event.source and listener.selection.wants(event):
                listener.put(event)

    # --- what is asked -----------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        now = self._clock.now()
        if not self._link.ready:
            return
        again = now + HEARTBEATS_TO_LOSS * self._link.heartbeat_s
        with self._lock:
            due = [source for source, at in self._ask_at.items() if now >= at]
            looks = [(key, look) for key, (at, look) in self._look_at.items() if now >= at]
            listeners = self._listeners
        for source in due:
            ledger = self._ledgers.get(source)
            if ledger is not None and (not ledger.begun or self.is_synchronised(Topic.EMERGENCY, source)):
                self._ask_at[source] = again
                self._ask_for_missing(source, ledger)
        for (topic, source), look in looks:
            if self.is_synchronised(topic, source):
                self._look_at[topic, source] = (again, look)
                look()
        for listener in listeners:
            if listener.inbox is not None and listener.inbox.begins_late:
                self._ask_for_last(listener, listener.inbox, now, again)

    def _ask_for_missing(self, source: str, ledger: EmergencyLedger) -> None:
        """Ask where we begin, as soon as anybody listens; and from then on for what is missing."""
        begins = not ledger.begun
        arguments = {"origin": ledger.origin, "since": None if begins else ledger.wanted}

        def take(data: Any) -> None:
            if begins:
                ledger.began(data["origin"], data["next"])
                self._ask_at[source] = _PAST  # Again, once we hear everything: what came meanwhile is ours.
            else:
                self._recover(source, ledger, data)

        self.ask(route_of(source), "missed_emergencies", arguments, take)

    def _recover(self, source: str, ledger: EmergencyLedger, data: Any) -> None:
        """The server has said what it told last."""
        origin, next_number = data["origin"], data["next"]
        missed = [Event.from_dict(one, source) for one in data["events"]]
        for event in sorted(missed, key=lambda one: one.number):
            if ledger.arrived(event.origin, event.number):
                self._give(event)
        lost = ledger.answered(origin, next_number)
        if lost:
            _log.error("%d emergencies of %r were lost on the way, and are not kept any more", lost, source)
            self._give(alarm(source, lost, "lost on the way, and not kept by the server any more", self._clock))

    def _ask_for_last(self, listener: _Listener, inbox: Inbox, now: float, again: float) -> None:
        if now < self._asked_for_last.get(inbox, _PAST):
            return
        if not all(self.is_synchronised(topic, listener.source) for topic in inbox.selection.topics):
            return  # What happens between the answer and the subscription would be missing.
        self._asked_for_last = {one: at for one, at in self._asked_for_last.items() if one.begins_late}
        self._asked_for_last[inbox] = again
        arguments = {**inbox.selection.as_arguments(), "last": inbox.last}

        def begin(data: Any) -> None:
            inbox.begin_with([Event.from_dict(one, listener.source) for one in data])

        self.ask(route_of(listener.source), "events", arguments, begin)

    def ask(self, path: str, word: str, arguments: dict[str, Any], take: Callable[[Any], None]) -> None:
        """Ask a server something without waiting; the answer is taken on the hub's thread. An error is not told."""

        def answered(answer: Answer) -> None:
            self._answers.append(lambda: self._read(path, word, answer, take))
            self._signal()

        body = bytes(self._codec.encode([word, arguments])[0])
        self._link.submit(Kind.CONTROL, path, body, answered)

    def _read(self, path: str, word: str, answer: Answer, take: Callable[[Any], None]) -> None:
        try:
            if isinstance(answer, OneLinerError):
                raise answer
            value = self._codec.decode(answer.body, answer.buffers)
            if answer.kind != Kind.RESULT:
                raise error_of(value)
            take(value)
        except (OneLinerError, TypeError, KeyError) as error:
            # Asked again soon; until then what is missing is known to be.
            reason = error if isinstance(error, OneLinerError) else MalformedError(f"an answer to {word}")
            _log.debug("%s %r could not be had: %s", word, path, reason)


_PRIORITY: Final = {topic: place for place, topic in enumerate(Topic)}


def stream_of(topic: Topic, source: str) -> str:
    """The stream of a topic, as it is called here."""
    return route_of(source) + topic.stream


def route_of(source: str) -> str:
    """What stands in front of the names of a server: nothing, or the way through its routers."""
    return source + ROUTE_SEPARATOR if source else ""
