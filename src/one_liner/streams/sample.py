"""What a reader gets: a pair of time and value that carries more by name."""

from __future__ import annotations

from typing import Any


class Sample(tuple[float, Any]):
    """One sample of a stream: `timestamp, data = sample`.

    Attributes:
        timestamp: when the value was there, in s on this process' `time.perf_counter()`.
        data: the value.
        stream: name of the stream.
        sequence: its number, from 0, one more for each sample made.
        wall_time: the same instant as `time.time()` of the machine that made it.
        timestamp_error_s: how far off `timestamp` may be; 0 on one machine, infinite where nobody could measure.
        origin: random number of the server that made it; another one after a restart.
    """

    stream: str
    sequence: int
    wall_time: float
    timestamp_error_s: float
    origin: int

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
        sample = super().__new__(cls, (timestamp, data))
        sample.stream = stream
        sample.sequence = sequence
        sample.wall_time = wall_time
        sample.timestamp_error_s = timestamp_error_s
        sample.origin = origin
        return sample

    @property
    def timestamp(self) -> float:
        """When the value was there, in s on this process' `time.perf_counter()`."""
        return self[0]

    @property
    def data(self) -> Any:
        """The value."""
        return self[1]

    def __repr__(self) -> str:
        return f"Sample({self.stream!r} #{self.sequence} at {self[0]:.6f}: {self[1]!r})"
