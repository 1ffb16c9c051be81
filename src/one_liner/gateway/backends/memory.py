"""The carrier `memory://name`: joins the applications of one process that say the same name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from threading import Lock

_MOST_WAITING = 10_000
_lock = Lock()
_members: dict[str, set[_Member]] = {}


class MemoryCarrier:
    """Within one process, also between event loops of several threads.

    Args:
        room: those with the same one are joined.
    """

    def __init__(self, room: str) -> None:
        self._room = room

    @property
    def name(self) -> str:
        """For people."""
        return f"memory://{self._room}"

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[_Member]:
        """Enter the room."""
        member = _Member(self._room)
        with _lock:
            _members.setdefault(self._room, set()).add(member)
        try:
            yield member
        finally:
            with _lock:
                _members[self._room].discard(member)
                if not _members[self._room]:
                    del _members[self._room]


class _Member:
    def __init__(self, room: str) -> None:
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._came: asyncio.Queue[bytes] = asyncio.Queue(_MOST_WAITING)

    async def send(self, messages: Sequence[bytes]) -> None:
        with _lock:
            others = [member for member in _members[self._room] if member is not self]
        for member in others:
            member._take(messages)

    def _take(self, messages: Sequence[bytes]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._put, messages)
        except RuntimeError:
            pass  # Its loop has just ended, and so has it.

    def _put(self, messages: Sequence[bytes]) -> None:
        for message in messages:
            if self._came.full():
                self._came.get_nowait()  # Its numbers tell the reader.
            self._came.put_nowait(message)

    async def messages(self) -> AsyncIterator[bytes]:
        while True:
            yield await self._came.get()
