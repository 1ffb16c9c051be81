"""The object behind the application: what all routes share, and its life."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket

from one_liner.gateway.access import Access
from one_liner.gateway.arrays import ArrayStore
from one_liner.gateway.broadcast import Broadcast
from one_liner.gateway.outbox import Counts, Outbox
from one_liner.gateway.rigs import Rigs
from one_liner.gateway.settings import Servers, Settings, servers_of

Hook = Callable[[], Awaitable[None]]


class Gateway:
    """What the routes of one application share. It is `app.state.gateway`, and begins and ends with the application.

    Args:
        servers: one or several, as `host:port` or `name=host:port`, or a dict of addresses by name.
        settings: all else that it was told; the defaults if None.

    Raises:
        ConfigurationError: something of it cannot be.

    Attributes:
        settings: as given.
        rigs: the servers, connected once the application runs.
        access: decides by tokens.
        arrays: what was uploaded.
        broadcast: what `/ws/stream` shows.
        sockets: how many WebSockets are open.
        counts: the messages of all of them.
        calls: how many calls were made for HTTP.
        failed_calls: how many of them ended with an error.
        began: when it started, on `time.monotonic()`.
    """

    def __init__(self, servers: Servers = "localhost:5555", settings: Settings | None = None) -> None:
        settings = settings or Settings()
        self.settings = settings
        self.access = Access(settings.tokens)
        self.rigs = Rigs(servers_of(servers), settings)
        self.arrays = ArrayStore(settings)
        self.broadcast = Broadcast(self.rigs, settings)
        self.sockets = 0
        self.counts = Counts()
        self.calls = self.failed_calls = 0
        self.began = time.monotonic()
        self._starts: list[Hook] = []
        self._stops: list[Hook] = []

    def on_start(self, hook: Hook) -> None:
        """Have something done when the application begins, after the servers are being connected to."""
        self._starts.append(hook)

    def on_stop(self, hook: Hook) -> None:
        """Have something done when the application ends, before the servers are left; the last one first."""
        self._stops.append(hook)

    @asynccontextmanager
    async def outbox(self, websocket: WebSocket) -> AsyncIterator[Outbox]:
        """The outbox of an accepted WebSocket, which counts as open for as long as this lasts."""
        settings = self.settings
        self.sockets += 1
        try:
            async with Outbox(
                websocket, most=settings.outbox_messages, most_bytes=settings.outbox_bytes, total=self.counts
            ) as outbox:
                yield outbox
        finally:
            self.sockets -= 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connected to the servers, for as long as this lasts."""
        self.began = time.monotonic()
        await self.rigs.start()
        try:
            for hook in self._starts:
                await hook()
            yield
        finally:
            try:
                for hook in reversed(self._stops):
                    await hook()
            finally:
                await self.broadcast.close()
                await self.rigs.close()


def gateway_of(connection: HTTPConnection) -> Gateway:
    """The gateway behind a request or a WebSocket; also a dependency for routes."""
    gateway: Gateway = connection.app.state.gateway
    return gateway
