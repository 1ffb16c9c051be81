"""Which requests were answered, so that one which comes twice is not done twice.

A peer that lost an answer asks again with the same command and nonce. It is told what was answered then. A nonce counts
for one connection, because peers count from one; 0 and negative ones count as none. The record is bounded: by age, by
number and by the size of the answers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Final

from one_liner.control.request import CommandRequest
from one_liner.control.response import Answer

MAX_AGE_S: Final = 60.0
MAX_ENTRIES: Final = 10_000
MAX_BYTES: Final = 64 * 1024 * 1024

Key = tuple[bytes, int, int, int]


@dataclass(slots=True, eq=False)
class Entry:
    """One request.

    Attributes:
        connection: who asked.
        request: what was asked for; without its data once it has ended.
        answer: the last one; None while there is none.
        ended: when that was, on the clock of the one who keeps the record; None while it goes on.
        waiting: where an answer has to be sent as soon as there is one.
    """

    connection: bytes
    request: CommandRequest
    answer: Answer | None = None
    ended: float | None = None
    waiting: list[list[bytes]] = field(default_factory=list)

    @property
    def key(self) -> Key:
        """What it is found by."""
        return key_of(self.connection, self.request)


def key_of(connection: bytes, request: CommandRequest) -> Key:
    """What tells one request from another: as much as a COMMAND_RESULT says, for one connection."""
    return connection, request.nonce, request.number, request.custom_command


class Record:
    """Requests by connection, nonce and command. Used by one thread."""

    def __init__(self) -> None:
        self._running: dict[Key, Entry] = {}
        self._ended: OrderedDict[Key, Entry] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._running) + len(self._ended)

    def __iter__(self) -> Iterator[Entry]:
        return chain(self._running.values(), self._ended.values())

    def find(self, connection: bytes, request: CommandRequest, now: float) -> Entry | None:
        """The request that came with this command and nonce before."""
        self._forget(now)
        key = key_of(connection, request)
        return self._running.get(key) or self._ended.get(key)

    def begin(self, entry: Entry) -> None:
        """A request is being carried out. What ended under its nonce is forgotten."""
        if entry.request.nonce > 0:
            self._remove(entry.key)
            self._running[entry.key] = entry

    def end(self, entry: Entry, now: float) -> None:
        """It has its last answer; its age counts from now."""
        entry.ended = now
        # A digest of them is enough to know it again, and what a stranger sends would be kept for a minute.
        entry.request = replace(entry.request, data=None)
        if self._running.get(entry.key) is entry:
            del self._running[entry.key]
            self._ended[entry.key] = entry
            self._bytes += _size(entry)

    def _forget(self, now: float) -> None:
        while self._ended:
            key, oldest = next(iter(self._ended.items()))
            assert oldest.ended is not None
            if now - oldest.ended <= MAX_AGE_S and len(self._ended) <= MAX_ENTRIES and self._bytes <= MAX_BYTES:
                return
            self._remove(key)

    def _remove(self, key: Key) -> None:
        entry = self._ended.pop(key, None)
        if entry is not None:
            self._bytes -= _size(entry)


def _size(entry: Entry) -> int:
    return 0 if entry.answer is None else len(entry.answer.body)
