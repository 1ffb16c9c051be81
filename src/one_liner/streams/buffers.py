"""What waits for a reader: a queue that hands out every sample, or a cache that hands out the newest.

Both are bounded and count what they do not hand out. Whatever happens, puts = delivered + waiting + dropped +
conflated. They know nothing of samples but their size, and hold no lock: the owner guards put, take and clear.
"""

from __future__ import annotations

import sys
from collections import deque
from numbers import Integral
from typing import Final, Generic, Protocol, TypeVar

from one_liner.errors import ConfigurationError

T = TypeVar("T")

DEFAULT_MAX_SAMPLES: Final = 1000
DEFAULT_MAX_BYTES: Final = 256 * 1024 * 1024


class SampleBuffer(Protocol[T]):
    """Where one reader's samples wait.

    Attributes:
        delivered: samples that were taken.
        dropped: samples thrown away because the buffer was full, or by `clear`.
        conflated: samples replaced by a newer one before anybody took them.
        waiting_bytes: size of what waits.
    """

    delivered: int
    dropped: int
    conflated: int
    waiting_bytes: int

    def put(self, item: T, size_bytes: int) -> None:
        """Add the newest sample; never fails and never waits, what does not fit is counted."""

    def take(self) -> T:
        """Hand out the next sample, once.

        Raises:
            IndexError: nothing waits.
        """

    def take_many(self, most: int) -> list[tuple[T, int]]:
        """Hand out up to so many samples with their sizes, in order; fewer, or none, when no more wait."""

    def put_back(self, taken: list[tuple[T, int]]) -> None:
        """Undo `take_many` for its last samples: they wait again, before all others."""

    def newest(self) -> T | None:
        """The last sample that was put, taken, dropped or not; None before the first one and after `clear`."""

    def __len__(self) -> int:
        """How many samples wait."""

    def clear(self) -> int:
        """Throw away what waits, the `newest` too; returns how many samples that were, and counts them as dropped."""


class QueueBuffer(Generic[T]):
    """Keeps samples in order, up to a number and a size in bytes, whichever is reached first.

    A single sample larger than `max_bytes` is still kept, alone, so that a stream of such samples is not silent. One
    more sample than these bounds say may be alive, because `newest` keeps it.

    Args:
        max_samples: how many samples may wait.
        max_bytes: how many bytes they may have together.
        drop: which sample goes when there is no room, "oldest" or "newest". With "newest" a sample that is too large
            gets in only while nothing else waits.

    Raises:
        ConfigurationError: a bound is not a positive whole number, or `drop` is another word.
    """

    __slots__ = (
        "_drop_newest",
        "_max_bytes",
        "_max_samples",
        "_newest",
        "_waiting",
        "conflated",
        "delivered",
        "dropped",
        "waiting_bytes",
    )

    def __init__(
        self, max_samples: int = DEFAULT_MAX_SAMPLES, max_bytes: int = DEFAULT_MAX_BYTES, drop: str = "oldest"
    ) -> None:
        self._max_samples = _positive("max_samples", max_samples)
        self._max_bytes = _positive("max_bytes", max_bytes)
        self._drop_newest = _one_of("drop", drop, ("oldest", "newest")) == "newest"
        self._waiting: deque[tuple[T, int]] = deque()
        self._newest: T | None = None
        self.delivered = 0
        self.dropped = 0
        self.conflated = 0
        self.waiting_bytes = 0

    def put(self, item: T, size_bytes: int) -> None:
        """Add a sample; when there is no room, one or more are dropped: it, or the oldest."""
        self._newest = item
        waiting = self._waiting
        total = self.waiting_bytes + size_bytes
        if waiting and (total > self._max_bytes or len(waiting) >= self._max_samples):
            if self._drop_newest:
                self.dropped += 1
                return
            total = self._make_room(size_bytes)
        self.waiting_bytes = total
        waiting.append((item, size_bytes))

    def _make_room(self, size_bytes: int) -> int:
        """Drop from the old end until `size_bytes` fit or nothing is left; the total with them."""
        waiting = self._waiting
        total = self.waiting_bytes + size_bytes
        while waiting and (total > self._max_bytes or len(waiting) >= self._max_samples):
            total -= waiting.popleft()[1]
            self.dropped += 1
        return total

    def take(self) -> T:
        """Hand out the oldest sample that waits; IndexError when there is none."""
        item, size_bytes = self._waiting.popleft()
        self.waiting_bytes -= size_bytes
        self.delivered += 1
        return item

    def take_many(self, most: int) -> list[tuple[T, int]]:
        """Hand out the oldest samples that wait, up to so many."""
        waiting = self._waiting
        if most < len(waiting):
            taken = [waiting.popleft() for _ in range(most)]
            self.waiting_bytes -= sum(size_bytes for _, size_bytes in taken)
        else:
            taken = list(waiting)
            waiting.clear()
            self.waiting_bytes = 0
        self.delivered += len(taken)
        return taken

    def put_back(self, taken: list[tuple[T, int]]) -> None:
        """Have samples wait again that were taken last; what does not fit beside newer ones is dropped."""
        waiting = self._waiting
        waiting.extendleft(reversed(taken))
        self.waiting_bytes += sum(size_bytes for _, size_bytes in taken)
        self.delivered -= len(taken)
        while len(waiting) > 1 and (self.waiting_bytes > self._max_bytes or len(waiting) > self._max_samples):
            self.waiting_bytes -= (waiting.pop() if self._drop_newest else waiting.popleft())[1]
            self.dropped += 1

    def newest(self) -> T | None:
        """The last sample that was put, even if it was taken or dropped."""
        return self._newest

    def __len__(self) -> int:
        """How many samples wait."""
        return len(self._waiting)

    def clear(self) -> int:
        """Throw away what waits, counted as dropped; returns how many."""
        thrown = len(self._waiting)
        self._waiting.clear()
        self._newest = None
        self.waiting_bytes = 0
        self.dropped += thrown
        return thrown


class CacheBuffer(Generic[T]):
    """Keeps the newest sample only; each is handed out at most once, and one replaced before that is conflated."""

    __slots__ = ("_fresh", "_newest", "conflated", "delivered", "dropped", "waiting_bytes")

    def __init__(self) -> None:
        self._newest: T | None = None
        self._fresh = False
        self.delivered = 0
        self.dropped = 0
        self.conflated = 0
        self.waiting_bytes = 0

    def put(self, item: T, size_bytes: int) -> None:
        """Put a sample in the place of the one before; if nobody took that one, it is conflated."""
        if self._fresh:
            self.conflated += 1
        self._newest = item
        self._fresh = True
        self.waiting_bytes = size_bytes

    def take(self) -> T:
        """Hand out the newest sample if it was not yet taken; IndexError when there is none."""
        if not self._fresh:
            raise IndexError("take from an empty cache")
        self._fresh = False
        self.waiting_bytes = 0
        self.delivered += 1
        return self._newest  # type: ignore[return-value]  # fresh: put has stored a T

    def take_many(self, most: int) -> list[tuple[T, int]]:
        """Hand out the newest sample, if it was not yet taken and any are wanted."""
        size_bytes = self.waiting_bytes
        return [(self.take(), size_bytes)] if self._fresh and most > 0 else []

    def put_back(self, taken: list[tuple[T, int]]) -> None:
        """Have the newest sample wait again, unless a newer one has come."""
        for item, size_bytes in taken:
            self.delivered -= 1
            if self._fresh:
                self.conflated += 1
            else:
                self._newest, self._fresh, self.waiting_bytes = item, True, size_bytes

    def newest(self) -> T | None:
        """The last sample that was put, even if it was taken."""
        return self._newest

    def __len__(self) -> int:
        """1 while a sample waits, else 0."""
        return int(self._fresh)

    def clear(self) -> int:
        """Throw away what waits, counted as dropped; returns how many."""
        thrown = int(self._fresh)
        self._newest = None
        self._fresh = False
        self.waiting_bytes = 0
        self.dropped += thrown
        return thrown


def make_buffer(
    storage_type: str,
    max_samples: int = DEFAULT_MAX_SAMPLES,
    max_bytes: int = DEFAULT_MAX_BYTES,
    drop: str = "oldest",
) -> SampleBuffer[T]:
    """An empty buffer of the kind that was asked for.

    Args:
        storage_type: "queue" or "cache".
        max_samples: bound of a queue; a cache always keeps one.
        max_bytes: bound of a queue.
        drop: what a full queue drops, "oldest" or "newest".

    Raises:
        ConfigurationError: a word that is none of these, or a bound that is not a positive whole number, also where
            a cache would not use it.
    """
    _one_of("storage_type", storage_type, ("queue", "cache"))
    queue: QueueBuffer[T] = QueueBuffer(max_samples, max_bytes, drop)
    return queue if storage_type == "queue" else CacheBuffer()


def check_most(max_samples: object) -> int:
    """How many samples a reader takes at once; without end if None.

    Raises:
        ConfigurationError: it is no positive whole number.
    """
    return sys.maxsize if max_samples is None else _positive("max_samples", max_samples)


def _one_of(name: str, word: object, allowed: tuple[str, ...]) -> str:
    if isinstance(word, str) and word in allowed:
        return word
    raise ConfigurationError(f"{name} must be {' or '.join(map(repr, allowed))}, not {word!r}")


def _positive(name: str, number: object) -> int:
    # Numpy's integers pass, and so does a convenient 1e6; True is no size.
    whole = 0
    if isinstance(number, Integral) or (isinstance(number, float) and number.is_integer()):
        whole = int(number)
    if isinstance(number, bool) or whole < 1:
        raise ConfigurationError(f"{name} must be a positive whole number, not {number!r}")
    return whole
