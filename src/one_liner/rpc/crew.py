"""Threads that take turns at one socket: leader and followers.

The leader receives a request and runs it *in place*, on its own thread: handing it to another and the answer back
would cost as much again as the whole round trip. When a request is not done within `PATIENCE_S`, a follower takes the
lead and goes on receiving; the one that was overtaken finishes as a mere worker and hands its answer in. So a fast call
pays no hop, and a slow one delays nobody by more than those milliseconds.

Only the leader may touch the socket. The lead changes hands under a lock, which is also the fence that ZeroMQ asks for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread, current_thread
from typing import Final

from one_liner.background import PAUSE_S, BackgroundThread, done

Duty = Callable[[], None]

PATIENCE_S: Final = 0.005
_WATCH_PERIOD_S = 0.0025
_WATCH_LINGER_S = 0.5  # The watch stays awake this long after the last call: waking it costs more than its rounds.
_IDLE_LIFE_S = 10.0
_log = logging.getLogger("one_liner.rpc.crew")


class Crew:
    """The threads of one server: a leader, a watch, and workers that come and go.

    Args:
        name: for the names of the threads.
        lead: serves the socket until `may_lead(term)` is false; runs on one thread at a time.
    """

    def __init__(self, name: str, lead: Callable[[int], None]) -> None:
        self._name = name
        self._lead = lead
        self._lock = Lock()
        self._duties: SimpleQueue[Duty | None] = SimpleQueue()
        self._idle = 0
        self._threads: set[Thread] = set()
        self._stopping = False
        self._term = 0
        self._started: float | None = None  # when the leader began what it runs in place
        self._count = 0
        self._watching = False
        self._alarm = Event()

    def start(self) -> None:
        """Begin to serve."""
        self.employ(self._watch)
        self.employ(lambda: self._take_lead(self._term))

    def begin(self) -> None:
        """The leader is about to run something in place."""
        self._started = time.monotonic()
        self._count += 1
        if not self._watching:
            self._watching = True
            self._alarm.set()

    def end(self, term: int) -> bool:
        """It is done. True: still the leader; False: overtaken, hands off the socket."""
        with self._lock:
            if self._term != term:
                return False
            self._started = None
            return True

    def leads(self, term: int) -> bool:
        """Whether the lead is still that of this term."""
        return self._term == term

    def employ(self, duty: Duty) -> None:
        """Run something on a thread that has nothing else to do; a new one if there is none."""
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
                self._duties.put(duty)
                return
            thread = BackgroundThread(partial(self._work, duty), self._name)
            thread.start()  # Before anybody knows of it: `stop` could not wait for one that has not begun.
            self._threads.add(thread)

    def stop(self, timeout_s: float) -> bool:
        """Send everybody home. False when some are stuck in somebody's driver; they go when they return."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            self._stopping = True
            threads = [thread for thread in self._threads if thread is not current_thread()]
        self._alarm.set()
        for _ in threads:
            self._duties.put(None)
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        stuck = [thread.name for thread in threads if thread.is_alive()]
        if stuck:
            _log.warning("%s: %d calls still run while the server closes", self._name, len(stuck))
        return not stuck

    def _work(self, duty: Duty | None) -> None:
        while duty is not None:
            done(duty, current_thread().name)
            duty = self._next_duty()
        with self._lock:
            self._threads.discard(current_thread())

    def _next_duty(self) -> Duty | None:
        with self._lock:
            if self._stopping:
                return None
            self._idle += 1
        try:
            return self._duties.get(timeout=_IDLE_LIFE_S)
        except Empty:
            with self._lock:
                if self._idle > 0:
                    self._idle -= 1
                    return None
        # Somebody counted on this thread in the very moment it gave up waiting.
        return self._duties.get()

    def _watch(self) -> None:
        """Take the lead when the leader is stuck, and have somebody else watch."""
        while not self._stopping:
            self._alarm.wait()
            self._alarm.clear()
            while not self._quiet():
                term = self._overtake()
                if term is not None:
                    self._alarm.set()  # The next watch begins awake: `begin` rings only for one that sleeps.
                    self.employ(self._watch)
                    self._take_lead(term)
                    return

    def _take_lead(self, term: int) -> None:
        """Lead for a term; after an error, which nobody has thought of, for the rest of it: a server goes on."""
        while not done(lambda: self._lead(term), current_thread().name, again=True):
            if not self.end(term):
                return  # It was overtaken before.
            time.sleep(PAUSE_S)

    def _quiet(self) -> bool:
        """Wait one round. True when there has been nothing to watch for a while and `begin` will ring again."""
        seen = self._count
        rounds = int(_WATCH_LINGER_S / _WATCH_PERIOD_S)
        for _ in range(rounds):
            time.sleep(_WATCH_PERIOD_S)
            if self._stopping:
                return True
            if self._count != seen or self._started is not None:
                return False
        self._watching = False
        if self._started is not None or self._count != seen:  # Begun since, without seeing that we went to sleep.
            self._watching = True
            return False
        return True

    def _overtake(self) -> int | None:
        """The new term when the lead was taken over."""
        with self._lock:
            started = self._started
            if started is None or self._stopping or time.monotonic() - started < PATIENCE_S:
                return None
            self._term += 1
            self._started = None
            return self._term
