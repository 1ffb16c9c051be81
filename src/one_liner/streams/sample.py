"""What a reader gets: a pair of time and value that carries more by name."""

from __future__ import annotations

from typing import Any


class Sample(tuple[float, Any]):
    """One sample of a stream: `timestamp, data = sample`. What else is known of it, it says by name."""

    _facts: tuple[str, int, float, float, int]

    def __new__(
        cls,
        timestamp: float,
        data: Any,
        *,
        stream: str,
        sequence: int,
        wall_time: float,
        timestamp_error_s: float,
        origin: int,
    ) -> Sample:
        """Made by the reader's thread; users only get them."""
        sample = tuple.__new__(cls, (timestamp, data))
        # One attribute, not five: samples are made at some 100 kHz.
        sample._facts = (stream, sequence, wall_time, timestamp_error_s, origin)
        return sample

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
