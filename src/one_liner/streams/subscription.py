"""One stream as one client receives it: what waits, what was lost, and who waits for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Condition, Event, RLock
from typing import TypeAlias

from one_liner.clock import Clock
from one_liner.errors import ClosedError, NoDataError, OneLinerError, StreamTimeoutError
from one_liner.frozen import Frozen
from one_liner.streams.buffers import SampleBuffer, make_buffer
from one_liner.streams.intake import Arrival
from one_liner.streams.ledger import ReaderLedger, ReaderStatistics
from one_liner.streams.sample import Sample, made
from one_liner.wire.codec import Codec
from one_liner.wire.extensions import Buffer
from one_liner.wire.faults import error_of
from one_liner.wire.messages import Encoding, Kind, SampleFields, topic_of
from one_liner.wire.serializers import Loads, value_of

_SLICE_S = 0.05
_FAILURE = int(Kind.FAILURE)
_MSGPACK = int(Encoding.MSGPACK)

_Waiting: TypeAlias = tuple[SampleFields, Buffer, Sequence[Buffer], tuple[float, float]]


class Storage(Frozen):
    """How samples are kept for the reader.

    Attributes:
        storage_type: "queue" hands out every sample, "cache" the newest.
        max_samples: how many wait in a queue.
        max_bytes: and how large they may be together.
        drop: what a full queue drops, the "oldest" or the "newest".
        deserializer: the reader's own function for bytes.
        last_sample: whether to ask for the last sample made before this client came.
    """

    storage_type: str
    max_samples: int
    max_bytes: int
    drop: str
    deserializer: Loads | None
    last_sample: bool


class Subscription:
    """What one client holds of one stream.

    The receiver's thread puts samples in as they came off the wire; readers, from any thread, take them out and pay for
    the decoding.

    Args:
        name: the stream.
        storage: how to keep its samples.
        codec: for what they carry.
        allow_pickle: whether pickled ones may be read.
        clock: the reader's clock.
        trouble: why nothing more will come; None while something may.
        why_nothing: why nothing has come, as far as anybody knows; empty text if nobody does.

    Attributes:
        remark: what the server said when it was told of this subscription: that it has no such stream.
        warned: whether that was said in the log.
        unsure_since: when it was first asked to prove that this subscription has arrived; None once it has.
    """

    def __init__(
        self,
        name: str,
        storage: Storage,
        codec: Codec,
        *,
        allow_pickle: bool,
        clock: Clock,
        trouble: Callable[[], OneLinerError | None],
        why_nothing: Callable[[Subscription], str] = lambda _: "",
    ) -> None:
        self.name = name
        self.topic = topic_of(name)
        self.storage = storage
        self.synchronised = Event()
        """Set once the publisher is known to send us every sample from now on."""
        self._codec, self._allow_pickle = codec, allow_pickle
        self.remark: str | None = None
        self.warned = False
        self.unsure_since: float | None = None
        self._clock, self._trouble, self._why_nothing = clock, trouble, why_nothing
        self._lock = RLock()
        self._changed = Condition(self._lock)
        self._waiters = 0
        self._listeners: tuple[Callable[[], None], ...] = ()
        self._closed = False
        self._connections = 0
        self._start_afresh()

    def _start_afresh(self) -> None:
        storage = self.storage
        self._buffer: SampleBuffer[_Waiting] = make_buffer(
            storage.storage_type, storage.max_samples, storage.max_bytes, storage.drop
        )
        self._ledger = ReaderLedger()

    def reconfigure(self, storage: Storage) -> bool:
        """Keep samples in another way from now on; what waits is forgotten and the count begins anew.

        Returns:
            False when it is the same way, and nothing was forgotten.
        """
        with self._changed:
            if storage == self.storage:
                return False
            self.storage = storage
            self._start_afresh()
            self.synchronised.clear()
            return True

    # --- the receiver's side -----------------------------------------------------------------------------------------

    def arrived(self, arrivals: list[Arrival], connections: int, offset: tuple[float, float]) -> None:
        """Take samples in.

        Args:
            arrivals: as they came, in their order.
            connections: how often the connection was made so far; it tells a gap from a lost sample.
            offset: from their timeline to ours, and how far off that may be.
        """
        with self._lock:
            ledger, buffer = self._ledger, self._buffer
            reconnected = connections != self._connections
            self._connections = connections
            for fields, body, rest in arrivals:
                if ledger.arrived(fields[4], fields[2], reconnected):
                    size = len(body)
                    if rest:
                        size += sum(memoryview(part).nbytes for part in rest)
                    buffer.put((fields, body, rest, offset), size)
                reconnected = False

    def ring(self) -> None:
        """Wake who waits for what arrived. Once for all that came at once: each time, the interpreter changes hands."""
        if self._waiters:
            with self._lock:
                self._changed.notify_all()
        for listener in self._listeners:
            listener()

    def came_late(self, arrival: Arrival, connections: int, offset: tuple[float, float]) -> None:
        """Take in the last sample that was made before we were subscribed, unless something newer is here."""
        with self._changed:
            if self.storage.last_sample and not self._ledger.hears(arrival[0][4]):
                self.arrived([arrival], connections, offset)

    def close(self) -> None:
        """Wake whoever waits; they get a `ClosedError`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            for listener in self._listeners:
                listener()
        self.synchronised.set()

    def listen(self, listener: Callable[[], None]) -> None:
        """Have a function called whenever there may be something new, on the receiver's thread; it has to be quick."""
        with self._changed:
            self._listeners = (*self._listeners, listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        """Undo `listen`."""
        with self._changed:
            # Equal, not the same: each mention of a bound method makes another one.
            self._listeners = tuple(other for other in self._listeners if other != listener)

    # --- the reader's side -------------------------------------------------------------------------------------------

    def take(self, patience_s: float) -> Sample:
        """Hand out the next sample.

        Args:
            patience_s: how long to wait for one; 0 does not wait, infinity waits as long as the server lives.

        Raises:
            NoDataError: nothing new has come (`StreamTimeoutError` after waiting).
            SourceFailedError: this sample is an error.
            ServerLostError, ClosedError: nothing more will come.
        """
        try:
            with self._lock:
                message = self._buffer.take()
        except IndexError:
            message = self._wait(patience_s)
        return self._sample(message)

    def take_many(self, most: int, patience_s: float) -> list[Sample]:
        """Hand out all samples that wait, up to so many; waits, and raises, as `take` where there is none.

        A sample that is an error ends what is handed out, and is raised when it is the first.
        """
        return self._take_waiting(most) or [self.take(patience_s)]

    def take_many_if_any(self, most: int, began: float, deadline: float) -> list[Sample]:
        """The same for a reader that waits elsewhere since `began`; nothing where nothing waits."""
        samples = self._take_waiting(most)
        if not samples:
            with self._lock:
                self._check_hope(began, deadline)
        return samples

    def _take_waiting(self, most: int) -> list[Sample]:
        with self._lock:
            buffer = self._buffer
            taken = buffer.take_many(most)
        samples: list[Sample] = []
        try:
            for waiting, _ in taken:
                samples.append(self._sample(waiting))
        except OneLinerError:
            self._put_back(buffer, taken[max(1, len(samples)) :])
            if not samples:
                raise
        except BaseException:  # Ctrl-C, say: nobody gets any of them.
            self._put_back(buffer, taken)
            raise
        return samples

    def _put_back(self, buffer: SampleBuffer[_Waiting], taken: list[tuple[_Waiting, int]]) -> None:
        """Into the buffer that they are from: where the stream was configured anew meanwhile, that is forgotten."""
        with self._lock:
            buffer.put_back(taken)

    def _wait(self, patience_s: float) -> _Waiting:
        began = self._clock.now()
        deadline = began + patience_s
        with self._changed:
            while not len(self._buffer):
                now = self._check_hope(began, deadline)
                self._waiters += 1
                try:
                    self._changed.wait(min(_SLICE_S, deadline - now))
                finally:
                    self._waiters -= 1
            return self._buffer.take()

    def take_or_none(self, began: float, deadline: float) -> Sample | None:
        """The next sample if there is one, for a reader that waits elsewhere since `began`; raises as `take`."""
        with self._changed:
            if not len(self._buffer):
                self._check_hope(began, deadline)
                return None
            message = self._buffer.take()
        return self._sample(message)

    def newest(self) -> Sample:
        """Show the last sample that came, without taking it.

        Raises:
            NoDataError: there has been none.
            SourceFailedError: it is an error.
        """
        with self._changed:
            message = self._buffer.newest()
        if message is None:
            raise NoDataError(f"stream {self.name!r} has had no sample yet{self._because()}")
        return self._sample(message)

    def statistics(self) -> ReaderStatistics:
        """Where this stream's samples went."""
        with self._changed:
            return self._ledger.summary(self._buffer)

    def _check_hope(self, began: float, deadline: float) -> float:
        """Raise if nothing will come, or not in time; gives the present instant."""
        if self._closed:
            raise ClosedError(f"the client was closed while stream {self.name!r} was read")
        now = self._clock.now()
        if now >= deadline:
            raise self._nothing(began, deadline, now)
        trouble = self._trouble()
        if trouble is not None:
            raise trouble
        return now

    def _nothing(self, began: float, deadline: float, now: float) -> NoDataError:
        if deadline <= began:  # Nobody waited.
            return NoDataError(f"nothing new from stream {self.name!r}{self._because()}")
        return StreamTimeoutError(f"nothing new from stream {self.name!r} within {now - began:.3g} s{self._because()}")

    def _because(self) -> str:
        reason = self._why_nothing(self)
        return f": {reason}" if reason else ""

    def _sample(self, waiting: _Waiting) -> Sample:
        fields, body, rest, (offset_s, doubt_s) = waiting
        _, kind, sequence, _, origin, encoding, time, error_s, wall_time = fields
        if kind == _FAILURE:
            raise error_of(self._codec.decode(body, rest), of_sample=True)
        if encoding == _MSGPACK:
            data = self._codec.decode(body, rest)
        else:
            data = value_of(
                encoding, body, rest, self._codec, allow_pickle=self._allow_pickle, loads=self.storage.deserializer
            )
        return made(time + offset_s, data, (self.name, sequence, wall_time, error_s + doubt_s, origin))
