"""What was answered, so that nothing has to be done twice for an answer that was lost.

Every request that acts is admitted once. When the same one comes again, because a connection broke and its client asks
what became of it, the answer is given from here. The journal is bounded in entries, bytes and age; what has fallen out
is still known to have been admitted, and is refused rather than done again.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from enum import Enum
from typing import Final

from one_liner.errors import MalformedError

MAX_ENTRIES: Final = 10_000
MAX_BYTES: Final = 64 * 1024 * 1024
MAX_AGE_S: Final = 300.0
MAX_PEERS: Final = 10_000
MAX_COPY_BYTES: Final = 1024 * 1024
_MAX_STEP: Final = 1 << 24
_MAX_FIRST: Final = 1 << 48
"""A connection that is new here may have counted for long, elsewhere; but nobody counts that far."""

Frames = Sequence[bytes | bytearray | memoryview]


class Verdict(Enum):
    """What is known of a request."""

    NEW = "new"
    """It has not been here; it is now."""
    ANSWERED = "answered"
    """It was answered, and the answer is here."""
    KNOWN = "known"
    """It was admitted before, and there is no answer here: not yet, or not any more."""


# Key, frames, size in bytes, and when. A plain tuple of plain things: the garbage collector need not look at it, and
# there may be ten thousand.
_Entry = tuple[tuple[bytes, int], Frames, int, float]


class Journal:
    """The answers of one server. Used by one thread, the one that leads.

    Args:
        max_entries: how many answers are kept.
        max_bytes: how large they may be together; one that is larger alone is not kept.
        max_age_s: for how long.
        max_peers: of how many connections it is known what they asked; the one silent for longest is forgotten first.
    """

    def __init__(
        self,
        max_entries: int = MAX_ENTRIES,
        max_bytes: int = MAX_BYTES,
        max_age_s: float = MAX_AGE_S,
        max_peers: int = MAX_PEERS,
    ) -> None:
        self._max_peers = max_peers
        self._max_entries, self._max_bytes, self._max_age_s = max_entries, max_bytes, max_age_s
        self._entries: dict[tuple[bytes, int], _Entry] = {}
        self._by_age: deque[_Entry] = deque()
        self._bytes = 0
        self._highest: OrderedDict[bytes, int] = OrderedDict()
        self._forgot_some = False
        self._lost: dict[bytes, int] = {}  # up to which request of a connection an answer may have been, and be gone

    def admit(self, peer: bytes, request_id: int) -> Verdict:
        """Ask whether a request may be carried out. Ids of one peer grow; one at or below the highest is an old one.

        Raises:
            MalformedError: the id cannot be one: it is 0, too large for a first one, or too far ahead of all before. It
                is not remembered: those that follow are measured by the last one that could be.
        """
        highest = self._highest.get(peer)
        if request_id == 0:
            raise MalformedError("0 is no id of a request; they begin with 1")
        if highest is None:
            if request_id > _MAX_FIRST:
                raise MalformedError(
                    f"the first request of a connection cannot have the id {request_id}: ids count requests, from 1 on"
                )
            if len(self._highest) >= self._max_peers:
                self._lost.pop(self._highest.popitem(last=False)[0], None)
                self._forgot_some = True
        elif request_id <= highest:
            return Verdict.ANSWERED if (peer, request_id) in self._entries else Verdict.KNOWN
        elif request_id - highest > _MAX_STEP:
            raise MalformedError(f"request {request_id} comes after request {highest}: its id was damaged on the way")
        self._highest[peer] = request_id
        self._highest.move_to_end(peer)
        return Verdict.NEW

    def asked(self, peer: bytes, request_id: int) -> Verdict:
        """The same for who asks what became of a request; if it is new, it is known from now on and will not be done.

        New is also what falls into a gap: a connection that carries many requests at once may break in between. What a
        connection asked that was silent for so long that it was forgotten is not called new.

        Raises:
            MalformedError: as `admit`.
        """
        forgotten = self._forgot_some and peer not in self._highest
        verdict = self.admit(peer, request_id)
        if forgotten:
            return Verdict.KNOWN
        never_here = verdict is Verdict.KNOWN and request_id > self._lost.get(peer, 0)
        return Verdict.NEW if never_here else verdict

    def record(self, peer: bytes, request_id: int, frames: Frames, now: float, *, shared: bool = False) -> None:
        """Keep an answer.

        Args:
            peer: whom it was given to.
            request_id: of the request.
            frames: the answer.
            now: on the server's timeline.
            shared: somebody else may change what is in the frames, as a camera does with the memory of its picture, or
                they may be a small part of something large. Then they are copied, and not kept where that costs much.
        """
        if len(frames) == 1 and type(frames[0]) is bytes:
            size = len(frames[0])
        else:
            size = sum(memoryview(frame).nbytes for frame in frames)
            if shared and any(type(frame) is not bytes for frame in frames):
                if size > MAX_COPY_BYTES:
                    self._lose(peer, request_id)
                    return
                frames = [bytes(frame) for frame in frames]
        if size > self._max_bytes:
            self._lose(peer, request_id)
            return
        key = (peer, request_id)
        entry = (key, tuple(frames), size, now)
        self._entries[key] = entry
        self._by_age.append(entry)
        self._bytes += size
        self._forget(now)

    def answer(self, peer: bytes, request_id: int) -> Frames | None:
        """The answer that was given, if it is still here."""
        entry = self._entries.get((peer, request_id))
        return None if entry is None else entry[1]

    def _forget(self, now: float) -> None:
        by_age, too_old = self._by_age, now - self._max_age_s
        while by_age and (by_age[0][3] < too_old or len(by_age) > self._max_entries or self._bytes > self._max_bytes):
            oldest = by_age.popleft()
            key, _, size, _ = oldest
            self._bytes -= size
            if self._entries.get(key) is oldest:  # Otherwise another answer to the same request has followed.
                del self._entries[key]
                self._lose(*key)

    def _lose(self, peer: bytes, request_id: int) -> None:
        if peer in self._highest and request_id > self._lost.get(peer, 0):
            self._lost[peer] = request_id
