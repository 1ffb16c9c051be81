"""What a reader gets: a pair of time and value that carries more by name."""

from __future__ import annotations

from typing import Any

_new = tuple.__new__


class Sample(tuple[float, Any]):
    """One sample of a stream: `timestamp, data = sample`. What else is known of it, it says by name."""

    # One attribute, not five: samples are made at some 100 kHz.
    _facts: tuple[str, int, float, float, int]

    @property
    def timestamp(self) -> float:
        """When the value was there, in s on this process' `time.perf_counter()`."""
        return self[0]

    @property
    def data(self) -> Any:
        """The value."""
        return self[1]

    @property
    def stream(self) -> str:
        """Name of the stream."""
        return self._facts[0]

    @property
    def sequence(self) -> int:
        """Its number, from 0, one more for each sample made."""
        return self._facts[1]

    @property
    def wall_time(self) -> float:
        """The same instant as `time.time()` of the machine that made it."""
        return self._facts[2]

    @property
    def timestamp_error_s(self) -> float:
        """How far off `timestamp` may be; 0 on one machine, infinite where nobody could measure."""
        return self._facts[3]

    @property
    def origin(self) -> int:
        """Random number of the server that made it; another one after a restart."""
        return self._facts[4]

    def __repr__(self) -> str:
        return f"Sample({self.stream!r} #{self.sequence} at {self[0]:.6f}: {self[1]!r})"


def made(timestamp: float, data: Any, facts: tuple[str, int, float, float, int]) -> Sample:
    """A sample; only readers of streams make them.

    Args:
        timestamp: when the value was there.
        data: the value.
        facts: name of the stream, sequence, wall time, error of the timestamp, origin.
    """
    sample = _new(Sample, (timestamp, data))
    sample._facts = facts
    return sample
