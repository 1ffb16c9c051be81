"""The carrier `zmq://`: the gateways themselves, each a server to the others, and no broker.

`zmq://HOST:PORT?peer=OTHER:PORT&peer=…`: every gateway serves one stream, with its events, and reads those of its
peers; all of them are named to each. It is the machinery that instruments use, by the front doors.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import parse_qs, urlsplit

from one_liner.address import Address
from one_liner.aio import AsyncRouterClient, anew, in_background
from one_liner.errors import BrokerLostError, ConfigurationError, OneLinerError, SourceFailedError, TransportError
from one_liner.server import RouterServer

_STREAM = "gateway_events"
_AGAIN_S = 0.25
_MOST_WAITING = 10_000


class ZmqCarrier:
    """A mesh of gateways.

    Args:
        url: `zmq://HOST:PORT?peer=HOST:PORT&peer=HOST:PORT`, our own address first. The port is that of calls, and the
            one of streams is told by it.

    Raises:
        ConfigurationError: it is no such URL.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        query = parse_qs(parts.query, strict_parsing=bool(parts.query))
        try:
            port = parts.port
        except ValueError:
            port = None
        if parts.hostname is None or port is None or parts.path or set(query) - {"peer"}:
            raise ConfigurationError(f"a mesh is written zmq://HOST:PORT?peer=HOST:PORT&peer=HOST:PORT, not {url!r}")
        self._own = Address("tcp", parts.hostname, str(port))
        self._peers = [Address.read(peer) for peer in query.get("peer", [])]

    @property
    def name(self) -> str:
        """For people."""
        return f"zmq://{self._own.interface}:{self._own.rpc_port} and {len(self._peers)} peer(s)"

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[_Mesh]:
        """Serve our events, and read those of the peers that are there, whenever they are."""
        server = RouterServer("tcp", self._own.interface, self._own.rpc_port, 0)
        try:
            try:
                await asyncio.to_thread(server.run)
            except OneLinerError as error:
                raise BrokerLostError(f"{self.name}: {error}") from None
            async with contextlib.AsyncExitStack() as clients:
                mesh = _Mesh(server)
                for peer in self._peers:
                    await clients.enter_async_context(mesh.reading(peer))
                yield mesh
        finally:
            await asyncio.to_thread(server.close)


class _Mesh:
    def __init__(self, server: RouterServer) -> None:
        self._send = server.get_stream_fn(_STREAM, serializer=None)
        self._came: asyncio.Queue[bytes] = asyncio.Queue(_MOST_WAITING)

    async def send(self, messages: Sequence[bytes]) -> None:
        for message in messages:
            self._send(message)

    async def messages(self) -> AsyncIterator[bytes]:
        while True:
            yield await self._came.get()

    @asynccontextmanager
    async def reading(self, peer: Address) -> AsyncIterator[None]:
        """Read the events of one peer, for as long as this lasts."""
        client = AsyncRouterClient(peer.protocol, peer.interface, peer.rpc_port, None, name="gateway")
        task = in_background(anew(partial(self._read, client)), f"one_liner mesh {peer.interface}:{peer.rpc_port}")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            await client.close()

    async def _read(self, client: AsyncRouterClient) -> None:
        # The client bounds what waits for us; its losses show in the numbers of the events.
        await client.configure_stream(_STREAM, "queue", last_sample=False, max_samples=_MOST_WAITING)
        while True:
            try:
                _, message = await client.get_stream(_STREAM, block=True)
            except (TransportError, SourceFailedError):
                await asyncio.sleep(_AGAIN_S)  # It is away, and is expected back.
                continue
            await self._came.put(bytes(message))
