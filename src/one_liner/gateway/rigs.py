"""The servers behind a gateway: a client of each, what each serves, and who watches its streams.

Servers come and go as they like: a rig is always there, and says what is known of its server.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence

from one_liner.address import Address
from one_liner.aio import AsyncRouterClient, ObjectDescription, ServerDescription, anew, in_background
from one_liner.errors import OneLinerError, UnknownJobError, UnknownObjectError, UnknownStreamError
from one_liner.gateway.settings import Server, Settings
from one_liner.gateway.watch import Channel, Watch

_LOOK_EVERY_S = 0.2
_ROUTE = "/"
_log = logging.getLogger("one_liner.gateway.rigs")


class Rig:
    """One server, as a gateway sees it.

    Args:
        server: where it is.
        settings: of the gateway.
        on_change: called when it serves something else than before.

    Attributes:
        name: what stands in front of its objects and streams; "" for nothing.
        address: where it is.
        client: connected to it, whether it is there or not.
        description: what it served when it was last seen; None before that.
    """

    def __init__(self, server: Server, settings: Settings, on_change: Callable[[], None]) -> None:
        self.name = server.name
        self._on_change = on_change
        self.address = Address.read(server.address)
        self.client = AsyncRouterClient(
            self.address.protocol,
            self.address.interface,
            self.address.rpc_port,
            None,
            name=f"gateway{f' {server.name}' if server.name else ''}",
            timeout_s=settings.timeout_s,
            keys=server.keys,
            server_key=server.server_key,
        )
        self.description: ServerDescription | None = None
        self.changes = 0
        """How often something else was served than before."""
        self._seen: tuple[int, int] | None = None
        self._channels: dict[str, Channel] = {}
        self._asking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    # --- what it serves ----------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether its server answers now."""
        return self.client.state in ("connected", "unresponsive")

    async def described(self) -> ServerDescription:
        """What it serves now.

        Raises:
            NoServerError, ServerLostError, …: nobody answers.
        """
        if self.connected and self.description is not None and self._seen == self.client.revision:
            return self.description
        async with self._asking:
            await self.client.wait_until_connected()
            revision = self.client.revision
            if self.description is None or self._seen != revision:
                self.description = await self.client.describe()
                self._seen = revision
                self.changes += 1
                self._on_change()
            return self.description

    async def known(self) -> ServerDescription | None:
        """What it serves, or served when it was last seen; None where it was not seen yet. Does not wait for it."""
        if self.connected:
            with contextlib.suppress(OneLinerError):
                return await self.described()
        return self.description

    async def object(self, name: str) -> ObjectDescription:
        """One of its objects, which may be nested (`rig.stage`) or behind a router (`north/laser`).

        Raises:
            UnknownObjectError: it has none of this name. And as `described`.
        """
        found = find_object(await self.described(), name)
        # What only the object's own code can find is not in the description of the server.
        return found if found is not None else await self.client.describe_object(name)

    # --- its streams -------------------------------------------------------------------------------------------------

    def channel(self, name: str) -> Channel:
        """A stream, received once for all that watch it."""
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = Channel(self.client, name)
        return channel

    def watch(self, name: str, most: int = 1, filled: asyncio.Event | None = None) -> Watch:
        """Watch a stream, which need not be there yet; `async with` what this gives. Arguments as of `Watch`."""
        return Watch(self.channel(name), most, filled)

    async def check_stream(self, name: str) -> None:
        """Raise if there is no such stream.

        Raises:
            UnknownStreamError: there is none. And as `described`.
        """
        description = await self.described()
        if name not in streams_of(description) and name not in await self.client.get_stream_configurations():
            known = ", ".join(sorted(streams_of(description))) or "none"
            raise UnknownStreamError(f"there is no stream {name!r} at {self.address}; there are: {known}")

    def watched(self) -> Iterator[Channel]:
        """The streams that somebody has watched."""
        yield from self._channels.values()

    # --- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to look what is served."""
        self._task = in_background(anew(self._look), f"one_liner rig {self.name or self.address}")

    async def close(self) -> None:
        """Leave the server."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for channel in self._channels.values():
            await channel.close()
        await self.client.close()

    async def _look(self) -> None:
        while True:
            if self.connected and self._seen != self.client.revision:
                try:
                    await self.described()
                except OneLinerError as error:
                    _log.debug("%s cannot be described now: %s", self.address, error)
            await asyncio.sleep(_LOOK_EVERY_S)


class Rigs:
    """All servers of a gateway.

    Names are looked up in the rigs without a name, or in all if there is none, unless they begin with that of a rig:
    `rig2/laser`.

    Args:
        servers: where they are.
        settings: of the gateway.
    """

    def __init__(self, servers: Sequence[Server], settings: Settings) -> None:
        self._servers, self._settings = servers, settings
        self._rigs: list[Rig] = []
        self._listeners: list[Callable[[], None]] = []

    def all(self) -> list[Rig]:
        """Each of them."""
        return list(self._rigs)

    def __getitem__(self, name: str) -> Rig:
        for rig in self._rigs:
            if rig.name == name:
                return rig
        raise UnknownObjectError(f"there is no server {name!r} behind this gateway")

    async def locate(self, path: str) -> tuple[Rig, str]:
        """The rig that a name leads to, and the name there.

        Raises:
            UnknownObjectError: no rig that answers has it.
        """
        first, _, rest = path.partition(_ROUTE)
        for rig in self._rigs:
            if rest and rig.name == first:
                return rig, rest
        candidates = [rig for rig in self._rigs if not rig.name] or self._rigs
        if len(candidates) == 1:
            return candidates[0], path
        found = await self._that_serve(candidates, lambda description: _serves(description, path))
        if not found:
            raise UnknownObjectError(f"no server behind this gateway serves {path!r}")
        return found[0][0], path

    async def _that_serve(
        self, rigs: Sequence[Rig], wanted: Callable[[ServerDescription], object]
    ) -> list[tuple[Rig, ServerDescription]]:
        """Those of some rigs that serve something, by what is known of them.

        Who is away and was seen before is not waited for; who was never seen, only where no other has it.

        Raises:
            NoServerError, …: no other has it, and one of them was never seen.
        """
        descriptions = await asyncio.gather(*(rig.known() for rig in rigs))
        found = [(rig, one) for rig, one in zip(rigs, descriptions, strict=True) if one is not None and wanted(one)]
        unseen = [rig for rig, one in zip(rigs, descriptions, strict=True) if one is None]
        if found or not unseen:
            return found
        answers = await asyncio.gather(*(rig.described() for rig in unseen), return_exceptions=True)
        for rig, answer in zip(unseen, answers, strict=True):
            if not isinstance(answer, BaseException) and wanted(answer):
                found.append((rig, answer))
        for answer in answers:
            if isinstance(answer, BaseException) and not found:
                raise answer
        return found

    async def locate_job(self, path: str) -> tuple[Rig, str]:
        """The rig that has a job, and its id there.

        Raises:
            UnknownJobError: none that answers has it.
        """
        first, _, rest = path.partition(_ROUTE)
        candidates = [rig for rig in self._rigs if rest and rig.name == first]
        own_id = rest if candidates else path
        candidates = candidates or [rig for rig in self._rigs if not rig.name] or self._rigs
        if len(candidates) > 1:
            for rig in candidates:
                if rig.connected and any(info.id == own_id for info in await rig.client.jobs()):
                    return rig, own_id
            raise UnknownJobError(f"no server behind this gateway has a job {path!r}")
        return candidates[0], own_id

    async def sole_object(self, attr_name: str = "") -> tuple[Rig, str]:
        """The one instrument, where none is named: the only object, or the only one that has this attribute.

        Raises:
            UnknownObjectError: there are several, or none.
        """
        if self._settings.instrument is not None:
            return await self.locate(self._settings.instrument)

        def has_it(description: ServerDescription) -> bool:
            return any(one.find(attr_name) is not None for one in description.objects)

        rigs = await self._that_serve(self._rigs, has_it) or await self._that_serve(self._rigs, _has_objects)
        found = [(rig, one) for rig, description in rigs for one in description.objects]
        if len(found) > 1:
            found = [(rig, one) for rig, one in found if one.find(attr_name) is not None] or found
        if len(found) != 1:
            names = ", ".join(self.full_name(rig, one.name) for rig, one in found) or "none"
            raise UnknownObjectError(f"{attr_name!r} of which object? There are: {names}")
        rig, one = found[0]
        return rig, one.name

    def with_named_call(self, name: str) -> Rig | None:
        """The first that has a named call of this name; None if none has."""
        for rig in self._rigs:
            if rig.description is not None and any(one.name == name for one in rig.description.named_calls):
                return rig
        return None

    def full_name(self, rig: Rig, name: str) -> str:
        """The name by which something of a rig is known at the gateway."""
        return f"{rig.name}{_ROUTE}{name}" if rig.name else name

    def on_change(self, listener: Callable[[], None]) -> None:
        """Have a function called whenever one of them serves something else than before."""
        self._listeners.append(listener)

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()

    async def start(self) -> None:
        """Connect to all."""
        self._rigs = []
        try:
            for server in self._servers:
                self._rigs.append(Rig(server, self._settings, self._changed))
        except BaseException:
            await self.close()
            raise
        for rig in self._rigs:
            await rig.start()

    async def close(self) -> None:
        """Leave them all."""
        await asyncio.gather(*(rig.close() for rig in self._rigs))


def _has_objects(description: ServerDescription) -> bool:
    return bool(description.objects)


def _serves(description: ServerDescription, path: str) -> bool:
    """Whether this is the name of an object, a stream or a named call."""
    if find_object(description, path) is not None or path in streams_of(description):
        return True
    return any(path == call.name for call in description.named_calls)


def find_object(description: ServerDescription, name: str) -> ObjectDescription | None:
    """What a description says of an object, of one nested in another, or of one behind a router."""
    first, slash, rest = name.partition(_ROUTE)
    if slash:
        behind = description.routers.get(first)
        return find_object(behind, rest) if isinstance(behind, ServerDescription) else None
    head, *steps = name.split(".")
    found = next((one for one in description.objects if one.name == head), None)
    for step in steps:
        found = None if found is None else next((one for one in found.objects if one.name == step), None)
    return found


def streams_of(description: ServerDescription) -> dict[str, dict[str, object]]:
    """All streams by name, those behind routers too."""
    streams = {name: dict(stream) for name, stream in description.streams.items()}
    for prefix, behind in description.routers.items():
        if isinstance(behind, ServerDescription):
            streams |= {f"{prefix}{_ROUTE}{name}": stream for name, stream in streams_of(behind).items()}
    return streams
