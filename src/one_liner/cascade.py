"""The servers behind a server: each a hop, shown under a prefix, and all of them together.

Joins what a hop consists of: the link that knows whether the other server lives, the forwarder for calls, the relay for
streams, and a client of its own for questions about the other server as a whole.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any

from one_liner.clock import Clock
from one_liner.errors import (
    ConfigurationError,
    LoopError,
    OneLinerError,
    RouterDownError,
    TransportError,
    UnknownObjectError,
)
from one_liner.limits import DEFAULT_LIMITS, Limits
from one_liner.rpc.client import RpcClient
from one_liner.rpc.forwarder import Forwarder
from one_liner.rpc.hello import random_id
from one_liner.rpc.link import Link, State
from one_liner.streams.configuration import StreamConfiguration, StreamConfigurations
from one_liner.streams.relay import RouterRelay
from one_liner.transport.endpoints import Endpoint
from one_liner.transport.fanout import Fanout
from one_liner.transport.security import ClientCurve
from one_liner.transport.sockets import Context
from one_liner.wire.codec import Codec
from one_liner.wire.messages import MAX_HOPS, ROUTE_SEPARATOR, Kind

if TYPE_CHECKING:
    from one_liner.rpc.description import RouterState, ServerDescription

_QUESTION_TIMEOUT_S = 2.0
_TRACE_TIMEOUT_S = 0.5
_log = logging.getLogger("one_liner.cascade")


class Hop:
    """Another server under the name of a router.

    Args:
        name: the prefix.
        endpoint: the other server's RPC address.
        broadcast_port: where its streams are; None to be told.
        context: the context all sockets belong to.
        fanout: our broadcast address.
        owner: name of our server.
        heartbeat_s: interval of the heartbeats.
        codec: turns values into bytes and back.
        clock: our clock.
        vouches: our own clients that live, by number with their names.
        curve: keys for this hop, if the other server asks for them.
        limits: how much of anything is taken from the other server.
    """

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        broadcast_port: int | str | None,
        *,
        context: Context,
        fanout: Fanout,
        owner: str,
        heartbeat_s: float,
        codec: Codec,
        clock: Clock,
        vouches: Callable[[], dict[int, str]],
        curve: ClientCurve | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.name = name
        client = random_id()
        publisher = fanout.publisher(hears_subscriptions=True)
        self.link = Link(
            context,
            endpoint,
            name=f"router {owner}",
            client=client,
            heartbeat_s=heartbeat_s,
            codec=codec,
            clock=clock,
            vouches=vouches,
            curve=curve,
            limits=limits,
        )
        self._rpc = RpcClient(context, self.link, client=client, codec=codec, timeout_s=_QUESTION_TIMEOUT_S)
        self.forwarder = Forwarder(name, owner, context, self.link, clock)
        self._relay = RouterRelay(name, context, publisher, self.link, broadcast_port)
        self.link.start()

    def ask(self, word: str, trail: tuple[int, ...], timeout_s: float = _QUESTION_TIMEOUT_S) -> Any:
        """Ask the other server about itself.

        Args:
            word: what.
            trail: the servers that this question has passed, ours the last.
            timeout_s: how long to wait.

        Raises:
            RouterDownError: it cannot be reached.
            LoopError: it leads back to one of the trail.
        """
        if self.link.state not in (State.CONNECTING, State.CONNECTED) or self.link.absence() is not None:
            raise self.forwarder.down()
        try:
            return self._rpc.ask(Kind.CONTROL, "", [word, {}], timeout_s, trail)[1]
        except (LoopError, RouterDownError):
            raise
        except TransportError as error:
            raise RouterDownError(
                f"router {self.name!r} ({self.link.endpoint}) is down: {error}", router=self.name
            ) from None

    def down(self) -> dict[str, str]:
        """What cannot be reached through here, by path, and why: this hop, or those behind it as it says."""
        hello, name = self.link.hello, self.name
        if self.link.trouble(sent=False) is not None or self.link.absence() is not None:
            return {name: str(self.forwarder.down())}
        return {} if hello is None else {f"{name}{ROUTE_SEPARATOR}{path}": why for path, why in hello.down.items()}

    def refuse_loop(self, server: int) -> None:
        """Find out whether this hop leads back to our server, if the other one answers soon.

        Raises:
            LoopError: it does.
        """
        try:
            self.ask("trace", (server,), _TRACE_TIMEOUT_S)
        except LoopError as error:
            raise LoopError(f"router {self.name!r} ({self.link.endpoint}) would make a loop: {error}") from None
        except OneLinerError:
            return  # It is not there yet; a loop will be found by the first request that goes round.

    def close(self) -> None:
        """Close everything but the forwarder's socket, which belongs to the thread that leads."""
        self._relay.close()
        self._rpc.close()
        self.link.close()


class Cascade:
    """All hops of a server, by name. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._hops: dict[str, Hop] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._hops

    def __getitem__(self, name: str) -> Hop:
        return self._hops[name]

    def add(self, hop: Hop) -> None:
        """Add one.

        Raises:
            ConfigurationError: there is one of this name.
        """
        with self._lock:
            if self._hops.setdefault(hop.name, hop) is not hop:
                raise ConfigurationError(f"there is a router {hop.name!r} already; remove it first")

    def remove(self, name: str) -> Hop:
        """Take one out.

        Raises:
            UnknownObjectError: there is none of this name.
        """
        with self._lock:
            hop = self._hops.pop(name, None)
            known = ", ".join(sorted(self._hops)) or "none"
        if hop is None:
            raise UnknownObjectError(f"no router {name!r}; there are: {known}")
        return hop

    def all(self) -> list[Hop]:
        """All that there are."""
        with self._lock:
            return list(self._hops.values())

    def down(self) -> dict[str, str]:
        """The routers behind us that cannot be reached, by path, and why."""
        known = [(path, why) for hop in self.all() for path, why in hop.down().items()]
        # In a loop that was closed later they would grow without end.
        return {path: why for path, why in known if path.count(ROUTE_SEPARATOR) < MAX_HOPS}

    def descriptions(self, trail: tuple[int, ...]) -> dict[str, ServerDescription | RouterState]:
        """What each server behind us serves; for one that cannot be asked, why."""
        # Imported where it is needed: most programs never describe anything, and it costs 5 ms.
        from one_liner.rpc.description import RouterState, ServerDescription

        found: dict[str, ServerDescription | RouterState] = {}
        for hop in self.all():
            if hop.link.state is State.UNRESPONSIVE:
                found[hop.name] = RouterState(str(hop.link.state), "something holds its interpreter; calls wait")
                continue
            try:
                found[hop.name] = ServerDescription.from_dict(hop.ask("describe", trail))
            except RouterDownError as error:
                found[hop.name] = RouterState("down", str(error))
            except LoopError as error:
                found[hop.name] = RouterState("loop", str(error))
            except OneLinerError as error:
                found[hop.name] = RouterState("unclear", str(error))
        return found

    def stream_configurations(self, trail: tuple[int, ...]) -> dict[str, StreamConfiguration]:
        """The streams of all servers behind us, by the names that they have here; of one that is down, none."""
        found: dict[str, StreamConfiguration] = {}
        for hop in self.all():
            try:
                upstream = StreamConfigurations.from_dict(hop.ask("stream_configurations", trail))
            except OneLinerError as error:
                _log.info("the streams of router %s are not known: %s", hop.name, error)
                continue
            for entry in upstream.values():
                name = f"{hop.name}{ROUTE_SEPARATOR}{entry.name}"
                found[name] = StreamConfiguration.from_dict({**entry.as_dict(), "name": name})
        return found

    def jobs(self, trail: tuple[int, ...]) -> list[dict[str, Any]]:
        """The jobs of all servers behind us, by the ids that they have here; of one that is down, none."""
        found: list[dict[str, Any]] = []
        for hop in self.all():
            try:
                upstream = hop.ask("jobs", trail)
                found += [{**job, "id": f"{hop.name}{ROUTE_SEPARATOR}{job['id']}"} for job in upstream]
            except (OneLinerError, TypeError, KeyError) as error:
                _log.info("the jobs of router %s are not known: %s", hop.name, error)
        return found

    def trace(self, trail: tuple[int, ...]) -> None:
        """Go everywhere that can be reached from here.

        Raises:
            LoopError: raised by the one who is met twice.
        """
        for hop in self.all():
            try:
                hop.ask("trace", trail)
            except RouterDownError as error:
                _log.debug("not traced: %s", error)
