"""The common face of all contenders. Each of the three ends lives in a process of its own."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any, Final, Literal, NamedTuple

from benchmarks.instrument import Instrument

Address = dict[str, Any]
Publish = Callable[[float, Any], object]
"""Sends one sample: when it was made, on `time.perf_counter()`, and its value."""

TICKS_END_S: Final = 2.0


class Sample(NamedTuple):
    """What a reader gets."""

    number: int
    time: float
    value: Any


@dataclass(frozen=True)
class Contender:
    """What there is to know of one before it is started.

    Attributes:
        title: what the tables call it.
        version: its own, and that of a program that it needs.
        can: what it can do, as `Workload.needs` names it.
        imports: what its user writes first, for the time that takes.
    """

    title: str
    version: str
    can: frozenset[str]
    imports: str


class Server(ABC):
    """The end with the instrument. Answers as soon as it is made, on threads of its own."""

    address: Address
    """What the other ends need to know; plain data."""

    helpers: tuple[int, ...] = ()
    """Other processes that do a part of its work, by their number; what they take counts, too."""

    def __init__(self, instrument: Instrument, switch_interval_s: float | None) -> None:
        self.instrument = instrument
        self._ends = Event()
        self._tickers: list[Thread] = []
        if switch_interval_s is not None:
            sys.setswitchinterval(switch_interval_s)

    def publisher(self, topic: str) -> Publish:
        """A function that broadcasts, for one thread."""
        raise NotImplementedError(f"{type(self).__module__} has no streams")

    def tick(self, topic: str, frequency_hz: float, function: Callable[[], Any]) -> None:
        """Broadcast what a function gives, at absolute deadlines, from now on; who has no tickers gets this loop."""
        ticker = Thread(target=self._tick, args=(self.publisher(topic), 1.0 / frequency_hz, function), daemon=True)
        self._tickers.append(ticker)
        ticker.start()

    def _tick(self, publish: Publish, period_s: float, function: Callable[[], Any]) -> None:
        start, number = time.perf_counter(), 0
        while not self._ends.is_set():
            now = time.perf_counter()
            number = max(number + 1, int((now - start) / period_s))
            time.sleep(max(0.0, start + number * period_s - now))
            publish(time.perf_counter(), function())

    def close(self) -> None:
        """End the ticks."""
        self._ends.set()
        for ticker in self._tickers:
            ticker.join(TICKS_END_S)


class Router(ABC):
    """A node between server and clients, with an address of its own. Passes on until its process ends."""

    address: Address


class Reader(ABC):
    """One subscription of a client."""

    @abstractmethod
    def take(self, timeout_s: float) -> Sample:
        """The next sample of a queue; of a cache the newest that was not yet taken.

        Raises:
            TimeoutError: none came.
        """

    def take_many(self, timeout_s: float) -> list[Sample]:
        """All that wait, at least one, in the way that is fastest for whoever wants them all.

        Raises:
            TimeoutError: none came.
        """
        return [self.take(timeout_s)]

    def losses_known(self) -> bool:
        """Whether the library itself can say how many samples were lost, and that adds up."""
        return False


class Client(ABC):
    """The end that calls and subscribes."""

    def __init__(self, address: Address) -> None:
        self.address = address

    @abstractmethod
    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the instrument and wait for the result."""

    def array(self, size_bytes: int) -> Any:
        """A numpy array of so many bytes from the instrument."""
        return self.call("array", size_bytes)

    def subscribe(self, topic: str, storage: Literal["queue", "cache"]) -> Reader:
        """Begin to receive."""
        raise NotImplementedError(f"{type(self).__module__} has no streams")

    @abstractmethod
    def close(self) -> None:
        """End it."""
