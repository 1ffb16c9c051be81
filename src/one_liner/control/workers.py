"""Threads for handlers: as many as there are handlers under way, up to a bound."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from threading import Condition, Thread, current_thread
from typing import Final

from one_liner.background import BackgroundThread, done

Duty = Callable[[], None]
MOST: Final = 64
_IDLE_LIFE_S: Final = 10.0


class Workers:
    """Threads that come when there is work and go when there has been none for 10 s.

    Args:
        name: for the names of the threads.
        most: how many there may be; what is urgent gets one on top.
    """

    def __init__(self, name: str, most: int = MOST) -> None:
        self._name, self._most = name, most
        self._changed = Condition()
        self._duties: deque[Duty] = deque()
        self._idle = 0
        self._stopping = False
        self._threads: set[Thread] = set()

    def employ(self, duty: Duty, *, urgent: bool = False) -> None:
        """Do something on one of the threads; it must not raise. Nothing is done after `stop`."""
        with self._changed:
            if self._stopping:
                return
            if urgent:
                self._duties.appendleft(duty)
            else:
                self._duties.append(duty)
            if self._idle >= len(self._duties):
                self._changed.notify()
                return
            if not urgent and len(self._threads) >= self._most:
                return
            thread = BackgroundThread(self._work, self._name)
            thread.start()  # Before anybody knows of it: `stop` could not wait for one that has not begun.
            self._threads.add(thread)

    def stop(self, timeout_s: float) -> bool:
        """Send everybody home, at most so long; what was not begun is not done. False when some are stuck."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            self._stopping = True
            self._duties.clear()
            self._changed.notify_all()
            threads = [thread for thread in self._threads if thread is not current_thread()]
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _work(self) -> None:
        while (duty := self._next()) is not None:
            done(duty, current_thread().name)

    def _next(self) -> Duty | None:
        with self._changed:
            self._idle += 1
            found = self._changed.wait_for(lambda: self._duties or self._stopping, _IDLE_LIFE_S)
            self._idle -= 1
            if found and self._duties:
                return self._duties.popleft()
            self._threads.discard(current_thread())
            return None
