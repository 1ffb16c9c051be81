"""The queue of one object.

An instrument does one thing at a time. Whatever wants it, a call or the tick of a stream, enters its lane first. Calls
wait in the order they came. A tick that finds a call there is skipped; one that finds another tick there waits behind
it, without a thread, so that two streams of one object do not starve each other. Whoever leaves is told who comes next
and hands the lane over, so nobody can slip in between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Any, NamedTuple, Protocol

from one_liner.errors import BusyError
from one_liner.rpc.home import Home


class Occupant(Protocol):
    """Who may be in a lane, or wait for it."""

    @property
    def where(self) -> str:
        """What it does: `stage.move`."""

    @property
    def who(self) -> str:
        """For whom: the name of a client, or of a stream."""

    @property
    def is_tick(self) -> bool:
        """Whether it is a tick, which is over soon, and not a call."""


class TickInLine(NamedTuple):
    """A tick that waits behind another one.

    Attributes:
        where: what it does.
        who: for which stream.
        act: does it, and gives the lane up.
    """

    where: str
    who: str
    act: Callable[[], None]

    @property
    def is_tick(self) -> bool:
        """It is."""
        return True


class Holder(NamedTuple):
    """Who has a lane, and since when (`time.perf_counter()`)."""

    occupant: Occupant
    since: float

    def __str__(self) -> str:
        return f"{self.occupant.where} for {self.occupant.who}"

    def facts(self, now: float) -> dict[str, Any]:
        """The same as data, for the `details` of an error: `running`, `who`, `for_s`."""
        return {"running": self.occupant.where, "who": self.occupant.who, "for_s": now - self.since}


class Lane:
    """One object's queue. All methods may be called from any thread and return at once.

    Attributes:
        name: of the object.
        own_thread: whether the object always has to be used on the same thread.
        home: that thread, or the one it stays on for the time being; changed only by whoever has the lane.
    """

    __slots__ = ("_holder", "_lock", "_since", "_waiting", "home", "name", "own_thread")

    def __init__(self, name: str) -> None:
        self.name = name
        self.own_thread = False
        self.home: Home | None = None
        self._lock = Lock()
        self._holder: Occupant | None = None
        self._since = 0.0
        self._waiting: deque[Occupant] = deque()

    def try_enter(self, occupant: Occupant, now: float) -> bool:
        """Take the lane if it is free; otherwise leave it alone."""
        with self._lock:
            if self._holder is not None:
                return False
            self._holder = occupant
            self._since = now
            return True

    def enter(self, occupant: Occupant, now: float) -> bool:
        """Take the lane if it is free, otherwise wait in line; the one who leaves will name us then."""
        with self._lock:
            if self._holder is None:
                self._holder = occupant
                self._since = now
                return True
            self._waiting.append(occupant)
            return False

    def enter_unless_called(self, occupant: Occupant, now: float) -> bool:
        """As `enter`, for who waits for ticks, which are over soon, but not for a call.

        Raises:
            BusyError: a call has the lane, or waits for it already; `details` say which.
        """
        with self._lock:
            present = () if self._holder is None else (self._holder, *self._waiting)
            call = next((one for one in present if not one.is_tick), None)
            if call is None:
                if self._holder is None:
                    self._holder = occupant
                    self._since = now
                    return True
                self._waiting.append(occupant)
                return False
            holder = Holder(call, self._since if call is self._holder else now)
        raise BusyError(f"{occupant.where} did not run: {self.at_work(holder, now)}", **holder.facts(now))

    def at_work(self, holder: Holder, now: float) -> str:
        """What the object is doing, for people."""
        return f"{self.name!r} is at work with {holder} since {now - holder.since:.1f} s"

    def leave(self, now: float) -> Occupant | None:
        """Give the lane up. Returns who comes next: the lane is theirs already and they have to be run."""
        with self._lock:
            self._holder = self._waiting.popleft() if self._waiting else None
            self._since = now
            return self._holder

    def withdraw(self, occupant: Occupant) -> bool:
        """Step out of the line. False when it does not wait there (any more)."""
        with self._lock:
            try:
                self._waiting.remove(occupant)
            except ValueError:
                return False
            return True

    @property
    def holder(self) -> Holder | None:
        """Who has the lane now."""
        with self._lock:
            return None if self._holder is None else Holder(self._holder, self._since)

    @property
    def waiting(self) -> tuple[Occupant, ...]:
        """Who waits, first come first."""
        with self._lock:
            return tuple(self._waiting)
