"""The streams of a server: one object per stream, in one registry under one lock.

Replacing a stream replaces one object. What lives longer than the object is only the sequence number, so that readers
can account for every sample of a name over the whole life of the server.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from threading import Lock
from typing import Any, Final, Protocol

from one_liner.clock import Clock
from one_liner.errors import OneLinerError, UnknownStreamError
from one_liner.streams.configuration import StreamConfiguration, StreamConfigurations
from one_liner.streams.ledger import SourceLedger
from one_liner.streams.names import OWN, check_stream_name
from one_liner.streams.sources import Source
from one_liner.streams.timing import Timing
from one_liner.wire.codec import Codec
from one_liner.wire.extensions import Buffer
from one_liner.wire.faults import fault_of
from one_liner.wire.messages import Kind, SampleMessage, renamed, sample_frames, topic_of
from one_liner.wire.serializers import Serializer

_SAMPLE: Final = int(Kind.SAMPLE)
_FAILURE: Final = int(Kind.FAILURE)
_MAX_REMEMBERED: Final = 10_000  # names of removed streams; clients may make them up
Send = Callable[[list[Buffer]], bool]


class StreamKind(StrEnum):
    """Who makes the samples."""

    PERIODIC = "periodic"
    MANUAL = "manual"
    ZMQ = "zmq"


class Feeder(Protocol):
    """The thread behind a stream that is fed from elsewhere."""

    def wake(self) -> None:
        """The stream was enabled or disabled."""

    def close(self) -> None:
        """Stop feeding."""


class Stream:
    """One stream: what makes its samples, how they are written, and what became of them.

    `publish` may be called from any thread; samples are numbered and sent under one lock, so that the order on the wire
    is the order of the numbers.

    Args:
        name: as readers configure it.
        kind: who makes the samples.
        serializer: how values are written.
        codec: for the description of failures.
        origin: random number of the server.
        source: what makes the samples, for those that are called.
        source_text: the same, for people.
        frequency_hz: how often.
        enabled: whether it runs.
        on_demand: whether it runs only while somebody listens.
        return_type: of its function, as text.
    """

    def __init__(
        self,
        name: str,
        kind: StreamKind,
        serializer: Serializer,
        codec: Codec,
        origin: int,
        *,
        source: Source | None = None,
        source_text: str = "",
        frequency_hz: float | None = None,
        enabled: bool = True,
        on_demand: bool = False,
        return_type: str | None = None,
    ) -> None:
        self.name = check_stream_name(name)
        self.topic = topic_of(name)
        self.kind = kind
        self.source = source
        self.frequency_hz = frequency_hz
        self.enabled = enabled
        self.on_demand = on_demand
        self.timing = Timing()
        self.ledger = SourceLedger()
        self.overruns = 0
        self.feeder: Feeder | None = None
        self.in_line = False
        """Whether a tick of it waits for its lane; there is never more than one."""
        self.serializer = serializer
        self._codec = codec
        self._origin = origin
        self._source_text = source_text
        self._return_type = return_type
        self._lock = Lock()
        self._sequence = 0
        self._last: tuple[Send, list[Buffer]] | None = None
        self._removed = False

    is_tick = True

    @property
    def active(self) -> bool:
        """Whether it is enabled, and neither removed nor replaced."""
        return self.enabled and not self._removed

    @property
    def where(self) -> str:
        """What it does, for the one who finds the lane taken."""
        return self._source_text

    @property
    def who(self) -> str:
        """For whom."""
        return f"stream {self.name}"

    def publish(self, value: Any, time: float, clock: Clock, send: Send) -> bool:
        """Write a value, number it and send it.

        Args:
            value: what the source gave, or the exception that it raised.
            time: when, on the server's timeline.
            clock: tells the wall-clock time of the same instant.
            send: broadcasts frames.

        Returns:
            False when the sample is an error.
        """
        kind, body, buffers = self._written(value)
        wall_time = clock.wall() - (clock.now() - time)
        self._emit(send, kind, self._origin, self.serializer.encoding, time, 0.0, wall_time, body, buffers)
        return kind != _FAILURE

    def push(self, value: Any, time: float, clock: Clock, send: Send) -> bool:
        """The same, for whoever can be told that a value cannot travel.

        Returns:
            False when the stream was removed, or the server closed.

        Raises:
            NotCarriableError: the value cannot travel; nothing was sent.
        """
        kind, body, buffers = self._written(value, strict=True)
        wall_time = clock.wall() - (clock.now() - time)
        return self._emit(send, kind, self._origin, self.serializer.encoding, time, 0.0, wall_time, body, buffers)

    def publish_frames(self, message: SampleMessage, send: Send) -> None:
        """Number and send what a foreign publisher sent."""
        kind, _, origin, encoding, (time, error_s), wall_time, body, buffers = message
        self._emit(send, kind, origin, encoding, time, error_s, wall_time, body, buffers)

    def pass_on(self, frames: list[Buffer], send: Send) -> None:
        """Send a sample of another server as it is, with the number that it has."""
        with self._lock:
            if self._removed:
                return
            self._last = (send, frames)
            self.ledger.produced()
            if send(frames):
                self.ledger.published()

    def repeat(self, topic: bytes) -> bool:
        """Send the last sample once more, under another topic, on the way that the stream's samples take.

        Whoever receives it has received everything that was sent before, and will receive everything after.

        Returns:
            False when there has been no sample yet, or its way is closed.
        """
        with self._lock:
            if self._last is None or self._removed:
                return False
            send, (head, *buffers) = self._last
            return send([renamed(bytes(head), len(self.topic), topic, 0.0, 0.0), *buffers])

    def forget(self) -> None:
        """Repeat nothing before there is a new sample: the last one is out of date."""
        with self._lock:
            self._last = None

    def continue_from(self, sequence: int) -> None:
        """Go on counting where a stream of this name stopped."""
        with self._lock:
            self._sequence = sequence

    def retire(self) -> int:
        """Stop for good; nothing is published any more, even by a function that is under way. The next number."""
        with self._lock:
            self._removed = True
            return self._sequence

    def is_like(self, other: Stream) -> bool:
        """Whether another one would be of the same kind, and written alike."""
        return self.kind is other.kind and self.serializer == other.serializer

    @property
    def way(self) -> Send | None:
        """How its last sample was sent; None when there was none yet."""
        with self._lock:
            return self._last and self._last[0]

    def account(self) -> dict[str, Any]:
        """What became of its samples so far: all counters of one instant."""
        with self._lock:
            return {**self.ledger.summary(), "overruns": self.overruns}

    def configuration(self) -> StreamConfiguration:
        """What can be said of it now."""
        with self._lock:
            counted = self.ledger.summary()
        figures: dict[str, Any] = {**self.timing.summary().as_dict(), **counted}
        return StreamConfiguration(
            name=self.name,
            kind=str(self.kind),
            enabled=self.enabled,
            encoding=self.serializer.encoding.label,
            return_type=self._return_type,
            frequency_hz=self.frequency_hz,
            on_demand=self.on_demand,
            source=self._source_text,
            overruns=self.overruns,
            **figures,
        )

    def _written(self, value: Any, *, strict: bool = False) -> tuple[int, Buffer, Sequence[Buffer]]:
        """Kind, body and buffers of the sample that carries a value."""
        if not isinstance(value, BaseException):
            try:
                body, buffers = self.serializer.encode(value)
                return _SAMPLE, body, buffers
            except BaseException as error:
                if strict:
                    raise
                # The value cannot be written; that is this sample, and nobody else's trouble.
                value = error
        body, buffers = self._codec.encode(fault_of(value, self._codec, self._source_text or self.name))
        return _FAILURE, body, buffers

    def _emit(
        self,
        send: Send,
        kind: int,
        origin: int,
        encoding: int,
        time: float,
        error_s: float,
        wall_time: float,
        body: Buffer,
        buffers: Sequence[Buffer],
    ) -> bool:
        with self._lock:
            if self._removed:
                return False
            sequence = self._sequence
            frames = sample_frames(
                self.topic, kind, sequence, origin, encoding, time, error_s, wall_time, body, buffers
            )
            self._sequence = sequence + 1
            self._last = (send, frames)
            self.ledger.produced(kind == _FAILURE)
            sent = send(frames)
            if sent:
                self.ledger.published()
            return sent


class StreamRegistry:
    """All streams of a server. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._streams: dict[str, Stream] = {}
        self._by_frequency: dict[float, tuple[Stream, ...]] = {}
        self._next_sequence: dict[str, int] = {}  # of names that were removed: if they come back, the count goes on

    def add(self, stream: Stream) -> Stream | None:
        """Add a stream; one of the same name is replaced and publishes nothing any more. Returns that one."""
        with self._lock:
            return self._replace(stream)

    def remove(self, name: str) -> Stream:
        """Remove a stream; when this returns it publishes nothing any more.

        Raises:
            UnknownStreamError: there is none of this name.
        """
        with self._lock:
            stream = self._streams.pop(name, None)
            if stream is None:
                raise self._unknown(name)
            self._next_sequence[name] = stream.retire()
            if len(self._next_sequence) > _MAX_REMEMBERED:
                del self._next_sequence[next(iter(self._next_sequence))]
            self._sort()
            return stream

    def get(self, name: str) -> Stream:
        """Look one up.

        Raises:
            UnknownStreamError: there is none of this name.
        """
        stream = self._streams.get(name)
        if stream is None:
            raise self._unknown(name)
        return stream

    def find(self, name: str) -> Stream | None:
        """Look one up that need not exist."""
        return self._streams.get(name)

    def at(self, frequency_hz: float) -> tuple[Stream, ...]:
        """The periodic streams of one frequency, in the order they were added."""
        return self._by_frequency.get(frequency_hz, ())

    def frequencies(self) -> tuple[float, ...]:
        """All frequencies that are asked for."""
        return tuple(self._by_frequency)

    def configurations(self) -> StreamConfigurations:
        """What can be said now of all but the server's own."""
        shown = [stream for stream in self.all() if not stream.name.startswith(OWN)]
        return StreamConfigurations({stream.name: stream.configuration() for stream in shown})

    def all(self) -> list[Stream]:
        """All streams, in the order they were added."""
        with self._lock:
            return list(self._streams.values())

    def _replace(self, stream: Stream) -> Stream | None:
        previous = self._streams.pop(stream.name, None)
        if previous is not None:
            self._next_sequence[stream.name] = previous.retire()
        stream.continue_from(self._next_sequence.pop(stream.name, 0))
        self._streams[stream.name] = stream
        self._sort()
        return previous

    def _sort(self) -> None:
        grouped: dict[float, list[Stream]] = {}
        for stream in self._streams.values():
            if stream.frequency_hz is not None:
                grouped.setdefault(stream.frequency_hz, []).append(stream)
        self._by_frequency = {frequency: tuple(streams) for frequency, streams in grouped.items()}

    def missing(self, name: str) -> str:
        """That there is no stream of this name, and which one may be meant."""
        from difflib import get_close_matches  # For this message only.

        close = get_close_matches(name, list(self._streams), 1)
        known = ", ".join(sorted(self._streams)) or "none"
        return f"no stream {name!r}; " + (f"did you mean {close[0]!r}?" if close else f"there are: {known}")

    def _unknown(self, name: str) -> OneLinerError:
        if name.startswith(OWN):
            return UnknownStreamError(
                f"{name!r} is none that can be changed: a server's own runs while somebody listens"
            )
        return UnknownStreamError(self.missing(name))
