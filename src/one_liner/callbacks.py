"""User functions that are called when something happens, each on a thread of its own.

So that a callback that is slow, or stuck, delays nothing but itself: not the heartbeats, not the receiving, not the
other callbacks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from queue import SimpleQueue
from threading import Event, current_thread
from typing import Any, Generic, Self, TypeVar

from one_liner.background import BackgroundThread
from one_liner.closing import Closing

T = TypeVar("T")
_log = logging.getLogger("one_liner.callbacks")
_CLOSE_TIMEOUT_S = 0.5


class Callback(Closing, Generic[T]):
    """A function that is called with one item after the other, until it is closed.

    An exception that it raises is logged with its traceback, and the next item comes nevertheless.

    Args:
        name: of the thread.
        function: the user's.
        next_item: waits for an item; raises `StopIteration` when there will be no more.
        wake: makes a waiting `next_item` return soon.
    """

    def __init__(
        self, name: str, function: Callable[[T], Any], next_item: Callable[[], T], wake: Callable[[], None]
    ) -> None:
        self._function = function
        self._next_item = next_item
        self._wake = wake
        self._closed = Event()
        self._thread = BackgroundThread(self._run, f"callback {name}", failed=self._failed)

    def start(self) -> Self:
        """Begin, now that it is known to whoever has to close it: Ctrl-C may come as soon as the thread runs."""
        self._thread.start()
        return self

    @property
    def closed(self) -> bool:
        """Whether it is called no longer."""
        return self._closed.is_set()

    def close(self) -> None:
        """Call it no longer. A call that is under way comes to its end, which is waited for half a second."""
        self._closed.set()
        self._wake()
        if self._thread.is_alive() and self._thread is not current_thread():
            self._thread.join(_CLOSE_TIMEOUT_S)

    def _failed(self, _: BaseException) -> None:
        self._closed.set()
        self._wake()  # Nothing is to be kept for it any more.

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                item = self._next_item()
            except StopIteration:
                break
            if self._closed.is_set():
                break
            try:
                self._function(item)
            except Exception:
                _log.exception("a callback raised; it will be called again")
        self._closed.set()


class Changes(Generic[T]):
    """A queue of what happened, for a `Callback`; `put` may be called from any thread."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[T | None] = SimpleQueue()

    def put(self, item: T) -> None:
        """Something happened."""
        self._queue.put(item)

    def close(self) -> None:
        """Nothing more will."""
        self._queue.put(None)

    def get(self) -> T:
        """Wait for the next; StopIteration after the last."""
        item = self._queue.get()
        if item is None:
            raise StopIteration
        return item
