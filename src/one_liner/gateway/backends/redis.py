"""The carrier `redis://`: publish and subscribe of a Redis server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urlsplit

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from one_liner.errors import BrokerLostError

_CHANNEL = "one_liner.gateway"
_CONNECT_TIMEOUT_S = 5.0
_MOST_SILENCE_S = 10.0
"""Our own beats come back to us every 2 s."""


class RedisCarrier:
    """One channel of a Redis server, which keeps nothing.

    Args:
        url: `redis://host:6379`, `rediss://…` for TLS, with user and password if need be.
        channel: gateways on the same one are joined.
    """

    def __init__(self, url: str, channel: str = _CHANNEL) -> None:
        self._url = url
        self._channel = channel

    @property
    def name(self) -> str:
        """For people."""
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}"

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[_RedisConnection]:
        """Reach the server, and subscribe."""
        client = redis.asyncio.Redis.from_url(
            self._url,
            socket_connect_timeout=_CONNECT_TIMEOUT_S,
            socket_timeout=None,
            health_check_interval=0,
            retry=Retry(NoBackoff(), 0),  # The exchange does that, and counts.
        )
        subscriber = client.pubsub(ignore_subscribe_messages=False)
        try:
            with _redis_errors(self.name):
                await subscriber.subscribe(self._channel)
                async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                    await subscriber.parse_response(block=True)
            yield _RedisConnection(self.name, client, subscriber, self._channel)
        finally:
            await subscriber.aclose()  # type: ignore[no-untyped-call]
            await client.aclose()


class _RedisConnection:
    def __init__(self, name: str, client: Any, subscriber: Any, channel: str) -> None:
        self._name = name
        self._client = client
        self._subscriber = subscriber
        self._channel = channel

    async def send(self, messages: Sequence[bytes]) -> None:
        with _redis_errors(self._name):
            async with self._client.pipeline(transaction=False) as pipeline:
                for message in messages:
                    pipeline.publish(self._channel, message)
                async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                    await pipeline.execute()

    async def messages(self) -> AsyncIterator[bytes]:
        with _redis_errors(self._name):
            while True:
                async with asyncio.timeout(_MOST_SILENCE_S):
                    answer = await self._subscriber.parse_response(block=True)
                if answer[0] == b"message":
                    yield answer[2]


@contextmanager
def _redis_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:  # A TimeoutError is an OSError.
        raise BrokerLostError(f"{name}: {error}") from None
