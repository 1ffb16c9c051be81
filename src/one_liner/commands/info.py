"""What can be said of a job, as data: the same at the server, on the wire and at every client."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, NamedTuple

from one_liner.commands.state import JobState
from one_liner.errors import ConfigurationError, JobCancelledError, MalformedError, OneLinerError
from one_liner.frozen import Frozen
from one_liner.wire.faults import error_of

MAX_MESSAGE = 1000


class Progress(NamedTuple):
    """How far a job has come.

    Attributes:
        fraction: from 0 to 1; None when that cannot be said.
        message: for people.
        data: anything that belongs to it, of at most 64 KiB.
    """

    fraction: float | None = None
    message: str = ""
    data: Any = None

    def moved(self, fraction: Any, message: Any, data: Any) -> Progress:
        """The next one; what is None stays as it was.

        Raises:
            ConfigurationError: the fraction is no number from 0 to 1, or the message no text.
        """
        return Progress(
            self.fraction if fraction is None else check_fraction(fraction),
            self.message if message is None else _check_message(message),
            self.data if data is None else data,
        )

    def __str__(self) -> str:
        share = "" if self.fraction is None else f"{100 * self.fraction:.0f} %"
        return " ".join(part for part in (share, self.message) if part)


def check_fraction(fraction: Any) -> float:
    """A number from 0 to 1.

    Raises:
        ConfigurationError: it is something else.
    """
    if isinstance(fraction, Real) and not isinstance(fraction, bool):
        number = float(fraction)
        if 0.0 <= number <= 1.0:  # Which a NaN is not.
            return number
        if math.isfinite(number):
            raise ConfigurationError(f"progress is a fraction from 0 to 1, not {number:g}; divide by what is all")
    raise ConfigurationError(f"progress is a fraction from 0 to 1, not {fraction!r:.60}")


def _check_message(message: Any) -> str:
    if not isinstance(message, str):
        raise ConfigurationError(f"the message of a progress is text, not {message!r:.60}")
    return message[:MAX_MESSAGE]


class JobInfo(Frozen):
    """One job, at the instant of asking.

    Attributes:
        id: its name, unique for all time; `north/5f3a9c01-12` for one behind the router `north`.
        command: what it does: `stage.scan`.
        who: for whom: the name of the client.
        state: where it stands.
        progress: how far it has come.
        submitted: when it was accepted, in s since 1970 on the server's clock.
        started: when its function began; None before.
        ended: when it ended; None before.
        cancelling: whether it was asked to end.
        pausing: whether it was asked to wait at its next check point.
        reason: why it failed or was cancelled, for people.
        error: what its function raised, as a fault is written on the wire; None if it did not.
        lines: how many lines it has logged.
        revision: grows with every change; of two, the greater one is the later.
    """

    id: str
    command: str
    who: str
    state: JobState
    progress: Progress
    submitted: float
    started: float | None = None
    ended: float | None = None
    cancelling: bool = False
    pausing: bool = False
    reason: str = ""
    error: dict[str, Any] | None = None
    lines: int = 0
    revision: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**vars(self), "state": self.state.value, "progress": self.progress._asdict()}

    @classmethod
    def from_dict(cls, data: Any, route: str = "") -> JobInfo:
        """Read it back; fields that a later version adds are passed over.

        Args:
            data: as `as_dict` gave it.
            route: the way to its server, which belongs in front of its id.

        Raises:
            MalformedError: it is something else.
        """
        try:
            known = {name: data[name] for name in cls.field_names()}
            progress = known["progress"]
            known["progress"] = Progress(progress["fraction"], str(progress["message"]), progress["data"])
            known["state"] = JobState(known["state"])
            known["id"] = route + known["id"]
            if not all(type(known[name]) is int for name in ("revision", "lines")):
                raise TypeError("they are compared, on a thread that all events need")
        except (TypeError, KeyError, ValueError):
            raise MalformedError("the description of a job cannot be read") from None
        return cls(**known)

    def __str__(self) -> str:
        parts = [self.id, self.command, self.state.value, str(self.progress), self.reason]
        return "  ".join(part for part in parts if part)


def error_of_job(info: JobInfo) -> OneLinerError:
    """Why a job that has ended gave no result."""
    if info.state is JobState.FAILED and info.error is not None:
        return error_of(info.error)
    return JobCancelledError(f"job {info.id} ({info.command}) was cancelled: {info.reason}", id=info.id)
