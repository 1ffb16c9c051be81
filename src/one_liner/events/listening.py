"""The two ways to listen to events: a function that is called, and a loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from one_liner.callbacks import Callback
from one_liner.closing import Closing
from one_liner.errors import ClosedError
from one_liner.events.event import Event
from one_liner.events.inbox import Inbox

Unlisten = Callable[[Inbox], None]


def calling(callback: Callable[[Event], Any], inbox: Inbox, unlisten: Unlisten) -> Callback[Event]:
    """Call a function with every event of an inbox, on a thread of its own, until what is returned is closed."""

    def next_item() -> Event:
        try:
            return inbox.take()
        except ClosedError:
            raise StopIteration from None

    def stop() -> None:
        unlisten(inbox)
        inbox.close()

    return Callback("events", callback, next_item, stop)


class EventStream(Closing):
    """Events, one after the other: `for event in client.iter_events(): …`. Ends when it, or its client, is closed.

    From any thread, though each event is handed out once.
    """

    def __init__(self, inbox: Inbox, unlisten: Unlisten, timeout_s: float | None) -> None:
        self._inbox, self._unlisten, self._timeout_s = inbox, unlisten, timeout_s

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        try:
            return self._inbox.take(self._timeout_s)
        except ClosedError:
            raise StopIteration from None

    @property
    def dropped(self) -> int:
        """How many events were lost here because they were not taken in time."""
        return self._inbox.dropped

    def take_or_none(self) -> Event | None:
        """The next one if there is one, for who waits elsewhere. Raises `ClosedError` after the last one."""
        return self._inbox.take_or_none()

    def listen(self, listener: Callable[[], None]) -> None:
        """Have a function called whenever there may be something new, from any thread; it has to be quick."""
        self._inbox.listen(listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        """Undo `listen`."""
        self._inbox.unlisten(listener)

    def close(self) -> None:
        """Listen no longer; a waiting loop ends."""
        self._unlisten(self._inbox)
        self._inbox.close()
