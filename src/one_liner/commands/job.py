"""What a command's function is given to be watched and cancelled with."""

from __future__ import annotations

import logging
from typing import Any, Final

from one_liner.clock import SYSTEM_CLOCK
from one_liner.commands.record import JobRecord
from one_liner.commands.steering import JobCancelled as JobCancelled
from one_liner.commands.steering import Steering
from one_liner.errors import ConfigurationError
from one_liner.wire.codec import Codec

MAX_DATA_BYTES: Final = 64 * 1024
_PLAIN = (type(None), bool, int, float, str)
_log = logging.getLogger("one_liner.commands.job")


class Job:
    """The job that a function is run as. A function asks for it with a parameter that is annotated `Job`.

        def scan(self, job: Job, points: int) -> list[float]:
            for index in range(points):
                job.progress(index / points, f"point {index}")
                ...

    Callers do not see that parameter. Where such a function is called and not submitted, it is given a job that nobody
    watches. `progress`, `check` and `sleep` are the *check points*: there a job that is paused waits, and one that is
    cancelled ends with `JobCancelled`. All methods may be called from any thread.
    """

    __slots__ = ("_codec", "_steering")

    def __init__(self, steering: Steering, codec: Codec) -> None:
        self._steering = steering
        self._codec = codec

    @property
    def id(self) -> str:
        """Its name."""
        return self._steering.id

    @property
    def who(self) -> str:
        """For whom: the name of the client that submitted it."""
        return self._steering.who

    @property
    def cancelled(self) -> bool:
        """Whether it should come to its end. For functions that want to end in their own way."""
        return self._steering.cancelling

    def progress(self, fraction: float | None = None, message: str | None = None, data: Any = None) -> None:
        """Tell how far it has come. As often as you like: clients are told up to 20 times per second, the last always.

        Args:
            fraction: from 0 to 1; None leaves it.
            message: for people; None leaves it, more than 1000 characters are cut.
            data: anything that can travel, of at most 64 KiB; None leaves it. Larger things belong into a stream.

        Raises:
            JobCancelled: it was cancelled.
            ConfigurationError: the fraction is beyond 0 or 1, or the data too large.
            NotCarriableError: the data cannot travel.
            JobStateError: it has ended.
        """
        self._steering.move(fraction, message, self._copied(data))

    def check(self) -> None:
        """Wait while it is paused.

        Raises:
            JobCancelled: it was cancelled.
        """
        self._steering.check()

    def sleep(self, seconds: float) -> None:
        """Wait, in s; in place of `time.sleep`.

        Raises:
            JobCancelled: it was cancelled; at once, also in the middle.
        """
        self._steering.sleep(seconds)

    def log(self, text: str, *args: Any, level: int = logging.INFO) -> None:
        """Log a line for whoever watches; it goes to the log `one_liner.commands.job` too.

        Args:
            text: with `args` put in, as `logging` does.
            args: what is put in.
            level: of the log.
        """
        line = text % args if args else text
        _log.log(level, "%s %s: %s", self._steering.command, self.id, line)
        self._steering.log(line)

    def __repr__(self) -> str:
        return f"<Job {self.id} {self._steering.command}>"

    def _copied(self, data: Any) -> Any:
        """Data as it is now: the function may change it afterwards."""
        if isinstance(data, _PLAIN):
            return data
        body, buffers = self._codec.encode(data, "data")
        size = len(body) + sum(memoryview(buffer).nbytes for buffer in buffers)
        if size > MAX_DATA_BYTES:
            raise ConfigurationError(
                f"the data of a progress has {size} bytes, and at most {MAX_DATA_BYTES}; send large things as a stream"
            )
        return self._codec.decode(bytes(body), [bytes(buffer) for buffer in buffers])


def unwatched_job(command: str) -> Job:
    """A job that nobody watches, for a function that asks for one and is simply called."""
    record = JobRecord("", command, "", 0, submitted=SYSTEM_CLOCK.wall())
    record.begin(SYSTEM_CLOCK.wall())
    return Job(Steering(record, SYSTEM_CLOCK, lambda _: None), Codec())
