"""Where a job and those who watch it meet: one lock, under which everything is told in the order it happens."""

from __future__ import annotations

import math
from collections.abc import Callable
from threading import Condition
from typing import Any, Final

from one_liner.clock import Clock
from one_liner.commands.info import JobInfo
from one_liner.commands.record import JobRecord, Result
from one_liner.errors import ConfigurationError

TELLING_PERIOD_S: Final = 0.05
"""Progress is told at most so often; the last one always, and every change of the state at once."""


class JobCancelled(BaseException):
    """Ends the function of a job that was cancelled; raised at its check points.

    No `Exception`, so that a driver's `except Exception` does not swallow it. `finally` and `with` work as always.
    """


class Steering:
    """One job, for any number of threads.

    Args:
        record: what is known of it.
        clock: the server's clock.
        tell: is told of every change, with the lock held; must not wait.
    """

    def __init__(self, record: JobRecord, clock: Clock, tell: Callable[[JobRecord], None]) -> None:
        self._record = record
        self._clock = clock
        self._tell = tell
        self._changed = Condition()
        self._told_at = -math.inf
        self._untold = False

    # --- the function's side -----------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Its name."""
        return self._record.id

    @property
    def command(self) -> str:
        """What it does."""
        return self._record.command

    @property
    def who(self) -> str:
        """For whom."""
        return self._record.who

    @property
    def cancelling(self) -> bool:
        """Whether its function should come to its end."""
        return self._record.cancelling

    def move(self, fraction: Any, message: Any, data: Any) -> None:
        """It has come further; also a check point."""
        with self._changed:
            self._record.move(fraction, message, data)
            self._untold = True
            self._tell_rest()
            self._check_point()

    def check(self) -> None:
        """Wait while it is paused; raise `JobCancelled` when it is to end."""
        with self._changed:
            self._check_point()

    def sleep(self, seconds: float) -> None:
        """Wait so long, or until it is to end. Ends no earlier for having been paused meanwhile."""
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
            raise ConfigurationError(f"a job sleeps for a number of seconds from 0 on, not {seconds!r}")
        deadline = self._clock.now() + seconds
        with self._changed:
            self._check_point()
            while (remaining := deadline - self._clock.now()) > 0:
                self._changed.wait(min(remaining, _LONGEST_WAIT_S))
                self._check_point()

    def log(self, line: str) -> None:
        """Keep a line."""
        with self._changed:
            self._record.log(line)
            self._untold = True
            self._tell_rest()

    def _check_point(self) -> None:
        record = self._record
        while record.has_to_wait:
            if record.halt():
                self._tell_now()
            self._changed.wait(_LONGEST_WAIT_S)
        if record.go_on():
            self._tell_now()
        if record.cancelling or record.state.ended:
            raise JobCancelled(record.reason)

    # --- the other side ----------------------------------------------------------------------------------------------

    def cancel(self, reason: str, *, overdue: bool = False) -> bool:
        """Ask it to end. False when it has ended before."""
        with self._changed:
            if self._record.ask_to_end(reason, overdue=overdue):
                self._changed.notify_all()
                self._tell_now()
            return not self._record.state.ended

    def pause(self) -> None:
        """Ask it to wait at its next check point. Raises `JobStateError` where that cannot be."""
        with self._changed:
            self._record.ask_to_pause()
            self._tell_now()

    def resume(self) -> None:
        """Have it go on. Raises `JobStateError` where that cannot be."""
        with self._changed:
            self._record.ask_to_resume()
            self._changed.notify_all()
            self._tell_now()

    def announce(self) -> None:
        """It was accepted."""
        with self._changed:
            self._tell_now()

    def begin(self) -> bool:
        """Its turn has come. False when it was asked to end before."""
        with self._changed:
            if self._record.cancelling or self._record.state.ended:
                return False
            self._record.begin(self._clock.wall())
            self._tell_now()
            return True

    def succeed(self, result: Result) -> None:
        """Its function returned."""
        with self._changed:
            self._record.go_on()
            self._record.succeed(result, self._clock.wall())
            self._tell_now()

    def fail(self, fault: dict[str, Any]) -> None:
        """Its function raised, or its time was up."""
        with self._changed:
            self._record.go_on()
            self._record.fail(fault, self._clock.wall())
            self._tell_now()

    def cancelled(self, reason: str) -> None:
        """It did not run, or its function heeded that it should end."""
        with self._changed:
            self._record.go_on()
            self._record.cancel(self._clock.wall(), reason)
            self._tell_now()

    def tell_rest(self) -> None:
        """Tell what was held back because it came too fast, if it is time."""
        with self._changed:
            self._tell_rest()

    def info(self) -> JobInfo:
        """What can be said of it now."""
        with self._changed:
            return self._record.info()

    def lines(self) -> list[str]:
        """What it has logged, the last lines of it."""
        with self._changed:
            return list(self._record.lines)

    @property
    def record(self) -> JobRecord:
        """What is known of it; for reading, and only what does not change any more."""
        return self._record

    def _tell_rest(self) -> None:
        if self._untold and self._clock.now() - self._told_at >= TELLING_PERIOD_S:
            self._tell_now()

    def _tell_now(self) -> None:
        self._told_at, self._untold = self._clock.now(), False
        self._record.revision += 1
        self._tell(self._record)


_LONGEST_WAIT_S: Final = 3600.0
"""Longer ones are several: the system has a limit."""
