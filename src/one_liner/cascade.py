"""One hop of a cascade: another server, shown under a prefix.

Joins what a hop consists of: the link that knows whether the other server lives, the forwarder for calls, the relay for
streams, and a client of its own for questions about the other server as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from one_liner.clock import Clock
from one_liner.errors import LoopError, OneLinerError, RouterDownError, TransportError
from one_liner.limits import DEFAULT_LIMITS, Limits
from one_liner.rpc.client import RpcClient
from one_liner.rpc.forwarder import Forwarder
from one_liner.rpc.hello import random_id
from one_liner.rpc.link import Link, State
from one_liner.streams.relay import RouterRelay
from one_liner.transport.endpoints import Endpoint
from one_liner.transport.fanout import Fanout
from one_liner.transport.security import ClientCurve
from one_liner.transport.sockets import Context
from one_liner.wire.codec import Codec
from one_liner.wire.messages import Kind

_QUESTION_TIMEOUT_S = 2.0
_TRACE_TIMEOUT_S = 0.5


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
