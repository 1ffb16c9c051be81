"""The states of a job, and which follows which."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class JobState(StrEnum):
    """Where a job stands."""

    PENDING = "pending"
    """It was accepted, and waits for its object."""
    RUNNING = "running"
    """Its function runs."""
    PAUSED = "paused"
    """Its function waits at a check point until it is resumed."""
    SUCCEEDED = "succeeded"
    """Its function returned."""
    FAILED = "failed"
    """Its function raised, or its time was up."""
    CANCELLED = "cancelled"
    """It was cancelled before it ran, or its function heeded that."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will become of it."""
        return not FOLLOWING[self]


FOLLOWING: Final[dict[JobState, frozenset[JobState]]] = {
    JobState.PENDING: frozenset({JobState.RUNNING, JobState.FAILED, JobState.CANCELLED}),
    JobState.RUNNING: frozenset({JobState.PAUSED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}),
    JobState.PAUSED: frozenset({JobState.RUNNING}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}
"""What may become of each. One that is paused and is cancelled runs again, to come to its end."""
