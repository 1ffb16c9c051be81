"""What waits for one WebSocket: bounded, so that a browser that stalls costs counted messages and no memory.

Nobody who has something to say waits for a browser: `put` returns at once. One task for each connection sends.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Self

from fastapi import status
from starlette.websockets import WebSocket, WebSocketDisconnect

from one_liner.aio import in_background
from one_liner.gateway.settings import MIB

Content = str | bytes

_CLOSE_S = 1.0
_MOST_ANSWERS = 10_000


@dataclass(slots=True)
class Counts:
    """What became of messages, of one connection or of many: put = sent + dropped + left + those that wait.

    Attributes:
        put: how many there were.
        sent: how many were sent.
        dropped: how many were thrown away, or replaced by a newer one of the same key.
        left: how many still waited when the connection ended, or came later. One that is being sent counts as left
            until it is sent.
    """

    put: int = 0
    sent: int = 0
    dropped: int = 0
    left: int = 0

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return self.put - self.sent - self.dropped - self.left


class Outbox:
    """The messages for one connection, in order.

    Made, filled and closed in the event loop of its connection.

    Args:
        websocket: accepted already. Nobody else may send to it.
        most: how many messages may wait. Those that may not be dropped are bounded by their size, and by 10 000.
        most_bytes: how large they may be together. A message that is larger alone waits alone.
        total: the counts of all connections, where this one adds its own.

    Attributes:
        counts: what became of them.
        closed: set when nothing can be sent any more.
    """

    def __init__(
        self, websocket: WebSocket, *, most: int = 200, most_bytes: int = 64 * MIB, total: Counts | None = None
    ) -> None:
        self._websocket = websocket
        self._total = total if total is not None else Counts()
        self._most, self._most_bytes = most, most_bytes
        self._waiting: OrderedDict[Hashable, tuple[Content, bool]] = OrderedDict()
        self._bytes = 0
        self._number = 0
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._task: asyncio.Task[None] | None = None
        self._too_much = False
        self.counts = Counts()
        self.closed = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many messages wait."""
        return len(self._waiting)

    @property
    def waiting_bytes(self) -> int:
        """How large they are together."""
        return self._bytes

    def put(self, content: Content, *, key: Hashable = None, droppable: bool = False) -> bool:
        """Have a message sent.

        Args:
            content: a text or a binary frame.
            key: a message that still waits under the same key is replaced, and counted as dropped.
            droppable: whether the oldest such messages may be thrown away for others, or itself if there is no room.

        Returns:
            Whether it will be sent. One that may not be dropped and finds no room closes the connection, with 1013.
        """
        self._count(put=1)
        if self.closed.is_set():
            self._count(left=1)
            return False
        if key is not None and (key, 0) in self._waiting:
            self._replace((key, 0), content)
            return True
        if not self._make_room(len(content), droppable or key is not None):
            if droppable or key is not None:
                self._count(dropped=1)
            else:
                self._give_up()
            return False
        self._number += 1
        # A key of the caller's and a number of ours are never taken for each other.
        self._waiting[(None, self._number) if key is None else (key, 0)] = (content, droppable or key is not None)
        self._bytes += len(content)
        self._drained.clear()
        self._filled.set()
        return True

    def pass_over(self) -> None:
        """Count a message as dropped that was not even written, because a newer one replaces it."""
        self._count(put=1, dropped=1)

    async def __aenter__(self) -> Self:
        self._task = in_background(self._send_all(), "one_liner outbox", failed=lambda _: self._end())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._end()

    async def drained(self, timeout_s: float) -> None:
        """Wait until everything that waits has been sent, or the connection has ended.

        Raises:
            TimeoutError: that takes longer.
        """
        async with asyncio.timeout(timeout_s):
            await self._drained.wait()

    def _replace(self, key: Hashable, content: Content) -> None:
        """In its place: what is replaced over and over is sent nevertheless."""
        old, droppable = self._waiting[key]
        self._waiting[key] = (content, droppable)
        self._bytes += len(content) - len(old)
        self._count(dropped=1)

    def _make_room(self, size: int, droppable: bool) -> bool:
        while self._waiting and self._is_full(size, self._most):
            victim = next((key for key, (_, droppable) in self._waiting.items() if droppable), None)
            if victim is None:
                return not droppable and not self._is_full(size, _MOST_ANSWERS)
            self._remove(victim)
            self._count(dropped=1)
        return True

    def _is_full(self, size: int, most: int) -> bool:
        return len(self._waiting) >= most or self._bytes + size > self._most_bytes

    def _count(self, put: int = 0, sent: int = 0, dropped: int = 0, left: int = 0) -> None:
        for counts in (self.counts, self._total):
            counts.put += put
            counts.sent += sent
            counts.dropped += dropped
            counts.left += left

    def _remove(self, key: Hashable) -> Content:
        content, _ = self._waiting.pop(key)
        self._bytes -= len(content)
        return content

    def _give_up(self) -> None:
        self._too_much = True
        self._count(left=1)
        self._end()
        if self._task is not None:
            self._task.cancel()  # It may be in the middle of sending to somebody who never reads.

    def _end(self) -> None:
        self.closed.set()
        self._drained.set()
        self._count(left=len(self._waiting))
        self._waiting.clear()
        self._bytes = 0

    async def _send_all(self) -> None:
        try:
            while True:
                await self._send_waiting()
                self._drained.set()
                await self._filled.wait()
        except (WebSocketDisconnect, RuntimeError, OSError):
            self._end()  # It is gone; whoever reads from it hears of that.
        except asyncio.CancelledError:
            if not self._too_much:
                raise
            await self._close()

    async def _send_waiting(self) -> None:
        self._filled.clear()
        while self._waiting:
            content = self._remove(next(iter(self._waiting)))
            self._count(left=1)  # Unless it gets through.
            if isinstance(content, str):
                await self._websocket.send_text(content)
            else:
                await self._websocket.send_bytes(content)
            self._count(left=-1, sent=1)

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._websocket.close(status.WS_1013_TRY_AGAIN_LATER, "too much waits for this connection")
        except (WebSocketDisconnect, RuntimeError, OSError):
            return  # It does not even take that; the server's pings will find out.


async def wait_for_end(
    websocket: WebSocket,
    outbox: Outbox,
    work: Coroutine[Any, Any, None] | None = None,
    on_message: Callable[[str | bytes], Awaitable[None]] | None = None,
) -> None:
    """Serve a connection until it is closed, by the other side or because nothing can be sent any more.

    Args:
        websocket: what is read from.
        outbox: of it.
        work: what is done meanwhile; the connection is closed when it ends.
        on_message: what is done with each message that comes; nothing if None.
    """

    async def read() -> None:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            content = message.get("text")
            if on_message is not None:
                await on_message(content if content is not None else message.get("bytes") or b"")

    tasks = [asyncio.create_task(read()), asyncio.create_task(outbox.closed.wait())]
    if work is not None:
        tasks.append(asyncio.create_task(work))
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
