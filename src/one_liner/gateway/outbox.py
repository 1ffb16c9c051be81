"""What waits for one WebSocket: bounded, so that a browser that stalls costs counted messages and no memory.

Nobody who has something to say waits for a browser: `put` returns at once. One task for each connection sends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Self

from fastapi import status
from starlette.websockets import WebSocket, WebSocketDisconnect

from one_liner.gateway.settings import MIB

Content = str | bytes


@dataclass(slots=True)
class Counts:
    """What became of messages, of one connection or of many."""

    sent: int = 0
    dropped: int = 0


class Outbox:
    """The messages for one connection, in order.

    Made, filled and closed in the event loop of its connection.

    Args:
        websocket: accepted already. Nobody else may send to it.
        most: how many messages may wait.
        most_bytes: how large they may be together. A message that is larger alone waits alone.
        total: the counts of all connections, where this one adds its own.

    Attributes:
        counts: how many were sent, and how many thrown away or replaced by a newer one of the same key.
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
        self._task: asyncio.Task[None] | None = None
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
        if self.closed.is_set():
            return False
        if key is not None and key in self._waiting:
            self._remove(key)
            self._count_dropped()
        if not self._make_room(len(content)):
            if droppable or key is not None:
                self._count_dropped()
            else:
                self._give_up()
            return False
        self._number += 1
        self._waiting[self._number if key is None else key] = (content, droppable or key is not None)
        self._bytes += len(content)
        self._filled.set()
        return True

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._send_all(), name="one_liner outbox")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.closed.set()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._waiting.clear()
        self._bytes = 0

    def _make_room(self, size: int) -> bool:
        def full() -> bool:
            return len(self._waiting) >= self._most or self._bytes + size > self._most_bytes

        if not full():
            return True
        for key in [key for key, (_, droppable) in self._waiting.items() if droppable]:
            self._remove(key)
            self._count_dropped()
            if not full():
                return True
        return not self._waiting

    def _count_dropped(self) -> None:
        self.counts.dropped += 1
        self._total.dropped += 1

    def _remove(self, key: Hashable) -> Content:
        content, _ = self._waiting.pop(key)
        self._bytes -= len(content)
        return content

    def _give_up(self) -> None:
        self.closed.set()
        self._filled.set()

    async def _send_all(self) -> None:
        try:
            while True:
                await self._filled.wait()
                if self.closed.is_set():
                    await self._close()
                    return
                key = next(iter(self._waiting))
                content = self._remove(key)
                if not self._waiting:
                    self._filled.clear()
                if isinstance(content, str):
                    await self._websocket.send_text(content)
                else:
                    await self._websocket.send_bytes(content)
                self.counts.sent += 1
                self._total.sent += 1
        except (WebSocketDisconnect, RuntimeError, OSError):
            # It is gone; whoever reads from it hears of that.
            self.closed.set()

    async def _close(self) -> None:
        async with asyncio.timeout(1):
            await self._websocket.close(status.WS_1013_TRY_AGAIN_LATER, "too much waits for this connection")


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
