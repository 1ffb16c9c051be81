"""What waits for one WebSocket: bounded, so that a browser that stalls costs counted messages and no memory.

Nobody who has something to say waits for a browser: `put` returns at once. One task for each connection sends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Hashable
from typing import Self

from fastapi import status
from starlette.websockets import WebSocket, WebSocketDisconnect

from one_liner.gateway.settings import MIB

Content = str | bytes


class Outbox:
    """The messages for one connection, in order.

    Made, filled and closed in the event loop of its connection.

    Args:
        websocket: accepted already. Nobody else may send to it.
        most: how many messages may wait.
        most_bytes: how large they may be together. A message that is larger alone waits alone.

    Attributes:
        sent: how many were sent.
        dropped: how many were thrown away, or replaced by a newer one of the same key.
        closed: set when nothing can be sent any more.
    """

    def __init__(self, websocket: WebSocket, *, most: int = 200, most_bytes: int = 64 * MIB) -> None:
        self._websocket = websocket
        self._most, self._most_bytes = most, most_bytes
        self._waiting: OrderedDict[Hashable, tuple[Content, bool]] = OrderedDict()
        self._bytes = 0
        self._number = 0
        self._filled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.sent = self.dropped = 0
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
            self.dropped += 1
        if not self._make_room(len(content)):
            if droppable or key is not None:
                self.dropped += 1
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
            self.dropped += 1
            if not full():
                return True
        return not self._waiting

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
                self.sent += 1
        except (WebSocketDisconnect, RuntimeError, OSError):
            # It is gone; whoever reads from it hears of that.
            self.closed.set()

    async def _close(self) -> None:
        async with asyncio.timeout(1):
            await self._websocket.close(status.WS_1013_TRY_AGAIN_LATER, "too much waits for this connection")
