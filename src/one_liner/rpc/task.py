"""One request on its way through a server: what it will do, for whom, and in which lane."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from one_liner.clock import Clock
from one_liner.rpc.lanes import Lane
from one_liner.wire.codec import Codec
from one_liner.wire.extensions import Buffer
from one_liner.wire.faults import fault_of
from one_liner.wire.messages import Kind, Reply, Stamp


class Task:
    """A request that was found permissible and waits to be carried out, once.

    Attributes:
        peer: the connection to answer; None when nobody asked.
        id: of the request.
        where: what it does, for people: `stage.move`.
        who: for whom, for people.
        lane: the lane it needs, or None when it may run beside others.
        client: random number of the client it is for; 0 when nobody asked.
        refuse_if_busy: whether it is not to wait for another call in its lane.
    """

    is_tick = False
    __slots__ = ("_act", "client", "id", "lane", "peer", "refuse_if_busy", "since", "where", "who")

    def __init__(
        self,
        peer: bytes | None,
        request_id: int,
        where: str,
        who: str,
        lane: Lane | None,
        act: Callable[[], Any],
        client: int = 0,
        refuse_if_busy: bool = False,
    ) -> None:
        self.peer = peer
        self.id = request_id
        self.where = where
        self.who = who
        self.lane = lane
        self.client = client
        self.refuse_if_busy = refuse_if_busy
        self.since = 0.0
        self._act = act

    def perform(self, codec: Codec, clock: Clock) -> list[Buffer]:
        """Do it, and give the frames of the answer. Never raises: whatever goes wrong is the answer."""
        try:
            value = self._act()
            stamp = Stamp(clock.now())
            # Encoded before the lane is given up: the next call may change what this one returned.
            body, buffers = codec.encode(value)
            return Reply(Kind.RESULT, self.id, stamp, body, buffers).encode()
        except BaseException as error:
            # Not only Exception: a driver that calls sys.exit must not take a thread of the server with it.
            return error_reply(self.id, error, codec, clock, self.where)

    def over(self) -> None:
        """It is done, and its lane free again. Called only where nobody waits for the answer."""


def error_reply(
    request_id: int, error: BaseException, codec: Codec, clock: Clock, where: str = "", kind: Kind = Kind.ERROR
) -> list[Buffer]:
    """The frames that tell a client what went wrong."""
    body, buffers = codec.encode(fault_of(error, codec, where))
    return Reply(kind, request_id, Stamp(clock.now()), body, buffers).encode()
