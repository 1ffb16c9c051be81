"""What waits for one listener: emergencies first, everything else in the order it came."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from threading import Condition
from typing import Final

from one_liner.clock import Clock
from one_liner.errors import ClosedError, ConfigurationError, StreamTimeoutError
from one_liner.events.event import Event, Topic
from one_liner.events.selection import Selection

MOST_WAITING: Final = 10_000
ALARM: Final = "emergencies_lost"
_log = logging.getLogger("one_liner.events.inbox")


class Inbox:
    """The events of one listener. May be used from any thread.

    A listener that is too slow loses the oldest of its events, which are counted. Of emergencies none is thrown away
    without an alarm, which is itself an emergency.

    Args:
        selection: which events it wants.
        clock: of its process.
        most: how many may wait, emergencies apart.
        last: how many of the last events it begins with; they come by `begin_with`.

    Attributes:
        dropped: how many it has lost by being slow.
    """

    def __init__(self, selection: Selection, clock: Clock, most: int = MOST_WAITING, last: int = 0) -> None:
        self.selection = selection
        self.last = last
        self.dropped = 0
        self._clock, self._most = clock, most
        self._changed = Condition()
        self._listeners: tuple[Callable[[], None], ...] = ()
        self._urgent: deque[Event] = deque()
        self._waiting: deque[Event] = deque()
        self._early: set[tuple[int, Topic, int]] | None = set() if last else None
        self._given: set[tuple[int, Topic, int]] = set()  # of the last events: those that may still come live
        self._shut_out = 0
        self._closed = False

    @property
    def begins_late(self) -> bool:
        """Whether it still has to be given the last events."""
        return self._early is not None and not self._closed

    def put(self, event: Event) -> None:
        """Something happened."""
        if not self.selection.wants(event):
            return
        with self._changed:
            if self._given and _name(event) in self._given:
                return
            if event.topic is Topic.EMERGENCY:
                self._put_urgent(event)
            else:
                self._put(event)
            self._ring()

    def begin_with(self, events: Iterable[Event]) -> None:
        """Put the last events in front of those that came meanwhile."""
        with self._changed:
            if self._early is None:
                return
            handed_out, self._early = self._early, None
            first = [one for one in events if self.selection.wants(one) and _name(one) not in handed_out]
            known = self._given = {_name(one) for one in first}
            for waiting, urgent in ((self._urgent, True), (self._waiting, False)):
                later = [one for one in waiting if _name(one) not in known]
                waiting.clear()
                waiting.extend(one for one in first if (one.topic is Topic.EMERGENCY) is urgent)
                waiting.extend(later)
            self._ring()

    def take(self, timeout_s: float | None = None) -> Event:
        """Wait for the next one.

        Raises:
            StreamTimeoutError: none came in time; also a `TimeoutError`.
            ClosedError: none will come any more.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed or self._ready, timeout_s):
                raise StreamTimeoutError(f"no event within {timeout_s:g} s")
            return self._next()

    def take_or_none(self) -> Event | None:
        """The next one if there is one, for who waits elsewhere.

        Raises:
            ClosedError: none will come any more.
        """
        with self._changed:
            return self._next() if self._closed or self._ready else None

    def listen(self, listener: Callable[[], None]) -> None:
        """Have a function called whenever there may be something new, from any thread; it has to be quick."""
        with self._changed:
            self._listeners = (*self._listeners, listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        """Undo `listen`."""
        with self._changed:
            self._listeners = tuple(other for other in self._listeners if other != listener)

    def close(self) -> None:
        """Wake whoever waits. What is here can still be taken."""
        with self._changed:
            self._closed = True
            self._early = None
            self._ring()

    @property
    def _ready(self) -> bool:
        # While the last events are still on their way, what came meanwhile waits for them; emergencies do not.
        return bool(self._urgent or (self._waiting and self._early is None))

    def _ring(self) -> None:
        self._changed.notify_all()
        for listener in self._listeners:
            listener()

    def _next(self) -> Event:
        if self._urgent:
            event = self._urgent.popleft()
        elif self._waiting and self._early is None:
            event = self._waiting.popleft()
        else:
            raise ClosedError("nobody listens here any more")
        if self._early is not None:
            self._early.add(_name(event))
        return event

    def _put(self, event: Event) -> None:
        if len(self._waiting) >= self._most:
            self._waiting.popleft()
            self.dropped += 1
            if self.dropped == 1:
                _log.warning("a listener of events is too slow: more than %d wait, and the oldest are lost", self._most)
        self._waiting.append(event)

    def _put_urgent(self, event: Event) -> None:
        if len(self._urgent) < self._most:
            self._urgent.append(event)
            return
        self._shut_out += 1
        self.dropped += 1
        _log.error("emergency %s from %r is lost: %d wait already", event.kind, event.source, len(self._urgent))
        raised = alarm(event.source, self._shut_out, "the listener is too slow", self._clock)
        if self._shut_out == 1:
            self._urgent.append(raised)
        else:
            self._urgent[-1] = raised


def alarm(source: str, lost: int, why: str, clock: Clock) -> Event:
    """The emergency that tells of emergencies which were lost; made where that was noticed."""
    return Event(
        topic=Topic.EMERGENCY,
        kind=ALARM,
        context={"lost": lost, "why": why},
        when=clock.wall(),
        index=int(clock.now() * 1e9),
        number=-1,
        origin=0,
        source=source,
    )


def check_last(last: object) -> int:
    """How many of the last events.

    Raises:
        ConfigurationError: it is no whole number from 0 on.
    """
    if isinstance(last, bool) or not isinstance(last, int) or last < 0:
        raise ConfigurationError(f"last is how many events to begin with, from 0 on, not {last!r}")
    return last


def _name(event: Event) -> tuple[int, Topic, int]:
    return event.origin, event.topic, event.number
