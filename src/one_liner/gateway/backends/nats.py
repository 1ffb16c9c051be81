"""The carrier `nats://`: a subject of a NATS server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urlsplit

import nats
from nats.errors import Error as NatsError

from one_liner.errors import BrokerLostError

_SUBJECT = "one_liner.gateway"
_CONNECT_TIMEOUT_S = 5.0
_MOST_WAITING = 10_000
_MOST_WAITING_BYTES = 64 << 20


class NatsCarrier:
    """One subject of a NATS server, which keeps nothing.

    Args:
        url: `nats://host:4222`, `tls://…` for TLS, with user and password or token if need be.
        subject: gateways on the same one are joined.
    """

    def __init__(self, url: str, subject: str = _SUBJECT) -> None:
        self._url = url
        self._subject = subject

    @property
    def name(self) -> str:
        """For people."""
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.hostname}:{parts.port or 4222}"

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[_NatsConnection]:
        """Reach the server, and subscribe."""
        ended = asyncio.Event()

        async def on_end(*_: object) -> None:
            ended.set()

        with _nats_errors(self.name):
            client = await nats.connect(
                self._url,
                allow_reconnect=False,  # The exchange does that, and counts.
                connect_timeout=int(_CONNECT_TIMEOUT_S),
                disconnected_cb=on_end,
                closed_cb=on_end,
                error_cb=_ignored,
                no_echo=True,
                ping_interval=5,
                max_outstanding_pings=2,
            )
        try:
            with _nats_errors(self.name):
                subscription = await client.subscribe(
                    self._subject, pending_msgs_limit=_MOST_WAITING, pending_bytes_limit=_MOST_WAITING_BYTES
                )
                await client.flush(int(_CONNECT_TIMEOUT_S))
            yield _NatsConnection(self.name, client, subscription, self._subject, ended)
        finally:
            await client.close()


async def _ignored(error: Exception) -> None:
    """What it says comes again as the end of the connection, or as a gap in the numbers."""


class _NatsConnection:
    def __init__(self, name: str, client: Any, subscription: Any, subject: str, ended: asyncio.Event) -> None:
        self._name = name
        self._client = client
        self._subscription = subscription
        self._subject = subject
        self._ended = ended

    async def send(self, messages: Sequence[bytes]) -> None:
        with _nats_errors(self._name):
            for message in messages:
                await self._client.publish(self._subject, message)
            await self._client.flush(int(_CONNECT_TIMEOUT_S))

    async def messages(self) -> AsyncIterator[bytes]:
        ended = asyncio.ensure_future(self._ended.wait())
        message: asyncio.Future[Any] = ended
        try:
            while True:
                message = asyncio.ensure_future(self._subscription.next_msg(timeout=None))
                await asyncio.wait([ended, message], return_when=asyncio.FIRST_COMPLETED)
                if not message.done():
                    raise BrokerLostError(f"{self._name}: the connection ended")
                with _nats_errors(self._name):
                    yield message.result().data
        finally:
            ended.cancel()
            message.cancel()


@contextmanager
def _nats_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (NatsError, OSError) as error:  # A TimeoutError is an OSError.
        raise BrokerLostError(f"{name}: {str(error) or type(error).__name__}") from None
