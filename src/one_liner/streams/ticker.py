"""Periodic streams: one thread per frequency, absolute deadlines.

A ticker calls the functions of its frequency one after the other at each deadline. It never waits for an object: if a
call has the lane, the tick of that stream is skipped and counted; if a tick of another frequency has it, somebody else
carries ours out right behind it; in any case the neighbours keep their time. A function that takes
longer than its period costs ticks, which are counted, and never moves the grid.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Event, Lock, current_thread
from typing import Any, Final, Protocol

from one_liner.background import PAUSE_S, BackgroundThread
from one_liner.clock import Clock
from one_liner.rpc.lanes import Lane, Occupant, TickInLine
from one_liner.streams.headstart import HeadStart
from one_liner.streams.registry import Stream, StreamRegistry
from one_liner.streams.schedule import Schedule
from one_liner.streams.slack import sleep_exactly
from one_liner.streams.suffering import Suffering
from one_liner.transport.fanout import Fanout, Publisher
from one_liner.uninterrupted import uninterrupted

_LONG_WAIT_S: Final = 0.05
_SHORT_SLEEP_S: Final = 0.02
_log = logging.getLogger("one_liner.streams.ticker")


class Hands(Protocol):
    """Threads that act on objects."""

    def resume(self, lane: Lane, occupant: Occupant) -> None:
        """Carry out what waited in a lane while a tick had it."""

    def at_home(self, lane: Lane, duty: Callable[[], None]) -> None:
        """Do something on the one thread that an object has to be used on."""


class Tickers:
    """The tickers of a server, one per frequency that is asked for. May be used from any thread.

    Args:
        registry: which streams there are.
        fanout: where samples go.
        hands: carry out what a ticker has no time for.
        clock: the server's clock.
    """

    def __init__(self, registry: StreamRegistry, fanout: Fanout, hands: Hands, clock: Clock) -> None:
        self._registry = registry
        self._fanout = fanout
        self._hands = hands
        self._clock = clock
        self._lock = Lock()
        self._tickers: dict[float, Ticker] = {}
        self._running = False

    def run(self) -> None:
        """Start ticking."""
        with self._lock:
            self._running = True
        self.tend()

    @uninterrupted
    def tend(self) -> None:
        """Have as many tickers as there are frequencies, and wake those that sleep: something has changed."""
        with self._lock:
            if not self._running:
                return
            for frequency_hz in self._registry.frequencies():
                if frequency_hz not in self._tickers:
                    publisher = self._fanout.publisher(hears_subscriptions=True)
                    self._tickers[frequency_hz] = Ticker(
                        frequency_hz, self._registry, publisher, self._hands, self._clock, self._retire
                    )
            for ticker in self._tickers.values():
                ticker.wake()

    def close(self, timeout_s: float) -> None:
        """Stop all. A ticker stuck in somebody's function ends when that returns; its socket is closed already."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            self._running = False
            tickers = list(self._tickers.values())
        for ticker in tickers:
            ticker.stop()
        for ticker in tickers:
            ticker.join(max(0.0, deadline - time.monotonic()))

    def _retire(self, ticker: Ticker) -> bool:
        """A ticker that has no streams asks whether it may go."""
        with self._lock:
            if self._running and self._registry.at(ticker.frequency_hz):
                return False
            if self._tickers.get(ticker.frequency_hz) is ticker:
                del self._tickers[ticker.frequency_hz]
            return True


class Ticker:
    """The thread of one frequency."""

    def __init__(
        self,
        frequency_hz: float,
        registry: StreamRegistry,
        publisher: Publisher,
        hands: Hands,
        clock: Clock,
        retire: Callable[[Ticker], bool],
    ) -> None:
        self.frequency_hz = frequency_hz
        self._registry = registry
        self._publisher = publisher
        self._hands = hands
        self._clock = clock
        self._retire = retire
        self._head_start = HeadStart(1 / frequency_hz)
        self._changed = Event()
        self._stopping = False
        self._thread = BackgroundThread(self._run, f"ticker {frequency_hz:g} Hz", pause_s=PAUSE_S)
        self._thread.start()

    def wake(self) -> None:
        """Something has changed: look again."""
        self._changed.set()

    def stop(self) -> None:
        """End soon; nothing is published any more."""
        self._stopping = True
        self._publisher.close()
        self._changed.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the end."""
        if self._thread is current_thread():
            return
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            _log.warning("a function at %g Hz still runs while the server closes", self.frequency_hz)

    def _run(self) -> None:
        sleep_exactly()
        schedule: Schedule | None = None
        while not self._stopping:
            streams = self._registry.at(self.frequency_hz)
            if not streams and self._retire(self):
                break
            if not any(stream.enabled for stream in streams):
                schedule = None
                self._changed.wait()
                self._changed.clear()
                continue
            if schedule is None:
                schedule = Schedule(self.frequency_hz, self._clock.now())
                suffering = Suffering(1 / self.frequency_hz, self._clock.now())
            tick = schedule.next(self._clock.now())
            if not self._sleep_until(tick.deadline):
                break
            began = self._clock.now()
            for stream in self._registry.at(self.frequency_hz):
                if stream.active and not (stream.on_demand and not self._publisher.listens(stream.topic)):
                    if tick.skipped:
                        stream.ledger.skipped_late(tick.skipped)
                    self._serve(stream, tick.deadline)
            now = self._clock.now()
            self._publisher.hear()
            complaint = suffering.ticked(tick.skipped, now - began, now)
            if complaint is not None:
                _log.warning("%g Hz: %s", self.frequency_hz, complaint)
        self._publisher.close()

    def _sleep_until(self, deadline: float) -> bool:
        """Sleep. False when there is no point any more."""
        while not self._stopping:
            remaining = deadline - self._clock.now()
            if remaining > _LONG_WAIT_S:
                # Interruptible, so that a stream of one tick per hour does not keep `close` waiting.
                self._changed.wait(remaining - _SHORT_SLEEP_S)
                self._changed.clear()
                if not self._registry.at(self.frequency_hz) and self._retire(self):
                    return False
                continue
            self._head_start.sleep(remaining)
            return True
        return False

    def _serve(self, stream: Stream, deadline: float) -> None:
        """One tick of one stream."""
        if stream.source is None:
            return
        lane, act = stream.source.turn()
        if lane is None:
            self._sample(stream, deadline, None, act)
            return
        if not lane.try_enter(stream, self._clock.now()) and not self._enter_behind_tick(stream, deadline, lane, act):
            return
        if lane.own_thread:
            self._hands.at_home(lane, lambda: self._sample(stream, deadline, lane, act))
        else:
            self._sample(stream, deadline, lane, act)

    def _enter_behind_tick(self, stream: Stream, deadline: float, lane: Lane, act: Callable[[], Any]) -> bool:
        """Get in line if it is a tick that has the lane, otherwise skip. True when the lane came free meanwhile."""
        holder = lane.holder
        if holder is not None and (stream.in_line or not holder.occupant.is_tick):
            stream.ledger.skipped_busy(str(holder))
            return False

        def act_later() -> None:
            stream.in_line = False
            self._sample(stream, deadline, lane, act)

        stream.in_line = True
        if lane.enter(TickInLine(stream.where, stream.who, act_later), self._clock.now()):
            stream.in_line = False
            return True
        return False

    def _sample(self, stream: Stream, deadline: float, lane: Lane | None, act: Callable[[], Any]) -> None:
        """Call the function in the lane that was taken, and broadcast what it gives."""
        started = self._clock.now()
        try:
            try:
                value = act()
            except BaseException as error:
                # Not only Exception: a driver that calls sys.exit must not take the neighbours' thread with it.
                value = error
            ended = self._clock.now()
            # Written and sent before the lane is given up: the next call may change what this one returned.
            if not stream.publish(value, ended, self._clock, self._publisher.send):
                _log.debug("stream %s failed: %s", stream.name, value)
        finally:
            following = None if lane is None else lane.leave(self._clock.now())
            if lane is not None and following is not None:
                self._hands.resume(lane, following)
        took = ended - started
        stream.timing.ticked(started, deadline, took)
        if took * self.frequency_hz > 1.0:
            stream.overruns += 1
