"""The last things of a kind, bounded in number, size and age."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class _Entry(NamedTuple, Generic[T]):
    item: T
    size_bytes: int
    at: float


class History(Generic[K, T]):
    """What happened last, the oldest first. Holds no lock: its owner guards it.

    The newest is kept whatever its size, so that something large is not silently missing.

    Args:
        max_entries: how many are kept.
        max_bytes: how large they may be together.
        max_age_s: for how long.

    Attributes:
        dropped: how many have fallen out.
    """

    def __init__(self, max_entries: int, max_bytes: int, max_age_s: float) -> None:
        self._max_entries, self._max_bytes, self._max_age_s = max_entries, max_bytes, max_age_s
        self._entries: OrderedDict[K, _Entry[T]] = OrderedDict()
        self._bytes = 0
        self.dropped = 0

    def add(self, key: K, item: T, size_bytes: int, now: float) -> None:
        """Keep one more; one of the same key is replaced."""
        before = self._entries.pop(key, None)
        if before is not None:
            self._bytes -= before.size_bytes
        self._entries[key] = _Entry(item, size_bytes, now)
        self._bytes += size_bytes
        self.forget(now)

    def get(self, key: K) -> T | None:
        """Look one up; None when it is not here (any more)."""
        entry = self._entries.get(key)
        return None if entry is None else entry.item

    def forget(self, now: float) -> None:
        """Let go of what is too much, or too old."""
        while self._entries:
            oldest = next(iter(self._entries.values()))
            too_much = len(self._entries) > 1 and (
                len(self._entries) > self._max_entries or self._bytes > self._max_bytes
            )
            if not too_much and now - oldest.at <= self._max_age_s:
                return
            self._bytes -= self._entries.popitem(last=False)[1].size_bytes
            self.dropped += 1

    @property
    def size_bytes(self) -> int:
        """How large they are together."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[T]:
        return (entry.item for entry in self._entries.values())
