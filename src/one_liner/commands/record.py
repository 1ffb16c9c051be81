"""What a server knows of one job: its state, and what may become of it. Time is an argument."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Any, Final

from one_liner.commands.info import JobInfo, Progress
from one_liner.commands.state import FOLLOWING, JobState
from one_liner.errors import JobStateError
from one_liner.frozen import Frozen

MAX_LINES: Final = 200


class Result(Frozen):
    """What a job gave, written at once: the object may change it afterwards.

    Attributes:
        body: as the codec writes it.
        buffers: its large parts.
    """

    body: bytes
    buffers: tuple[bytes, ...] = ()

    @property
    def size_bytes(self) -> int:
        """All of it."""
        return len(self.body) + sum(map(len, self.buffers))


class JobRecord:
    """One job. Holds no lock: its owner guards it.

    Args:
        job_id: its name.
        command: what it does: `stage.scan`.
        who: for whom, for people.
        client: random number of the client that submitted it; 0 for the application itself.
        submitted: when, in s since 1970.
        deadline: when it has to be over, on the server's timeline.
        dies_with_client: whether it is cancelled when that client dies.
    """

    def __init__(
        self,
        job_id: str,
        command: str,
        who: str,
        client: int,
        *,
        submitted: float,
        deadline: float = inf,
        dies_with_client: bool = False,
    ) -> None:
        self.id = job_id
        self.command = command
        self.who = who
        self.client = client
        self.deadline = deadline
        self.dies_with_client = dies_with_client
        self.state = JobState.PENDING
        self.progress = Progress()
        self.cancelling = False
        self.pausing = False
        self.overdue = False
        self.reason = ""
        self.result: Result | None = None
        self.fault: dict[str, Any] | None = None
        self.lines: deque[str] = deque(maxlen=MAX_LINES)
        self.revision = 0
        """Grows whenever it is told what has become of it."""
        self._logged = 0
        self._submitted = submitted
        self._started: float | None = None
        self._ended: float | None = None

    def begin(self, wall: float) -> None:
        """Its function is about to run."""
        self._enter(JobState.RUNNING)
        self._started = wall

    def move(self, fraction: Any = None, message: Any = None, data: Any = None) -> None:
        """It has come further.

        Raises:
            ConfigurationError: this is no progress.
            JobStateError: it has ended.
        """
        if self.state.ended:
            raise self._too_late("cannot progress")
        self.progress = self.progress.moved(fraction, message, data)

    def log(self, line: str) -> None:
        """Keep a line that it has logged; of many, the last."""
        self.lines.append(line)
        self._logged += 1

    def ask_to_end(self, reason: str, *, overdue: bool = False) -> bool:
        """Somebody wants it to end. False when it has ended, or was asked before."""
        if self.state.ended or self.cancelling:
            return False
        self.cancelling, self.overdue, self.reason = True, overdue, reason
        return True

    def ask_to_pause(self) -> None:
        """Somebody wants it to wait: at its next check point, or before it begins.

        Raises:
            JobStateError: it has ended, or is about to.
        """
        if self.state.ended or self.cancelling:
            raise self._too_late("cannot be paused")
        self.pausing = True

    def ask_to_resume(self) -> None:
        """Somebody wants it to go on.

        Raises:
            JobStateError: it has ended.
        """
        if self.state.ended:
            raise self._too_late("cannot be resumed")
        self.pausing = False

    @property
    def has_to_wait(self) -> bool:
        """Whether its function should not go on from a check point."""
        return self.pausing and not self.cancelling

    def halt(self) -> bool:
        """Its function waits now. False when that was known."""
        if self.state is JobState.PAUSED:
            return False
        self._enter(JobState.PAUSED)
        return True

    def go_on(self) -> bool:
        """Its function goes on. False when it did not wait."""
        if self.state is not JobState.PAUSED:
            return False
        self._enter(JobState.RUNNING)
        return True

    def succeed(self, result: Result, wall: float) -> None:
        """Its function returned."""
        self._enter(JobState.SUCCEEDED)
        self.result, self._ended = result, wall
        self.cancelling = self.pausing = False
        self.reason = ""
        if self.progress.fraction is not None:
            self.progress = self.progress._replace(fraction=1.0)

    def fail(self, fault: dict[str, Any], wall: float) -> None:
        """Its function raised, or its time was up."""
        self._enter(JobState.FAILED)
        self.fault, self._ended = fault, wall
        self.pausing = False
        if not self.overdue:
            self.reason = f"{fault['type']}: {fault['message']}"

    def cancel(self, wall: float, reason: str = "") -> None:
        """It was cancelled before it ran, or its function heeded that."""
        self._enter(JobState.CANCELLED)
        self._ended = wall
        self.pausing = False
        self.reason = self.reason or reason

    def info(self) -> JobInfo:
        """What can be said of it now."""
        return JobInfo(
            id=self.id,
            command=self.command,
            who=self.who,
            state=self.state,
            progress=self.progress,
            submitted=self._submitted,
            started=self._started,
            ended=self._ended,
            cancelling=self.cancelling and not self.state.ended,
            pausing=self.pausing,
            reason=self.reason,
            error=self.fault,
            lines=self._logged,
            revision=self.revision,
        )

    def _enter(self, state: JobState) -> None:
        if state not in FOLLOWING[self.state]:
            raise self._too_late(f"cannot become {state}")
        self.state = state

    def _too_late(self, what: str) -> JobStateError:
        state = "asked to end" if self.cancelling and not self.state.ended else self.state
        return JobStateError(f"job {self.id} ({self.command}) {what}: it is {state}", id=self.id, state=str(self.state))
