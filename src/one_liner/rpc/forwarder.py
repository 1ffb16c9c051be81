"""One hop of a cascade: requests on to another server, its replies back, undecoded.

The thread that holds the server's ROUTER also holds the sockets of its hops, so that a request passes through without
a change of thread. A hop that is not reachable yet is given the time that a client would give it; what waits is kept
here. Whether it lives is the `Link`'s business.
"""

from __future__ import annotations

import itertools
import logging
import math
import os
from typing import NamedTuple

import zmq

from one_liner.clock import Clock
from one_liner.errors import LimitError, MalformedError, OneLinerError, RouterDownError, ServerLostError
from one_liner.rpc.link import HEARTBEATS_TO_LOSS, Link, State
from one_liner.transport.sockets import Context, Socket, open_socket, receive, send_frames
from one_liner.wire.extensions import Buffer
from one_liner.wire.messages import Kind, Request, asked_of, check_prefix, readdressed

_CONNECT_MS = 100
_log = logging.getLogger("one_liner.rpc.forwarder")


class Asker(NamedTuple):
    """Whom to give an answer to, and under which id they wait for it."""

    peer: bytes
    id: int


class Forwarder:
    """The RPC side of `add_router`. Everything but `link` belongs to the thread that leads.

    Args:
        name: prefix under which the upstream server appears.
        owner: name of the server that it appears at, for messages.
        context: the context its socket belongs to.
        link: tells whether the upstream server lives.
        clock: for how long to wait.
    """

    def __init__(self, name: str, owner: str, context: Context, link: Link, clock: Clock) -> None:
        self.name = name
        self._title = f"router {name!r} of {owner!r} ({link.endpoint})"
        self.link = link
        self._clock = clock
        self._ids = itertools.count(1)
        self._asked: dict[int, Asker] = {}
        self._parked: list[tuple[float, Asker, Request]] = []
        self._session: int | None = None
        self._context = context
        self._local = link.endpoint.protocol == "inproc"
        # The same name after a reconnect, so that an answer that was under way finds us.
        self._routing_id = b"h" + os.urandom(12)
        self._refusals = link.refusals
        self._stuck_since = math.inf
        self._tried_again: set[int] = set()
        self._hopeless: set[int] = set()
        self.socket = self._connect()

    def forward(self, asker: Asker, request: Request) -> None:
        """Pass a request on, its path already without our name.

        Raises:
            RouterDownError: the hop cannot be reached.
            LimitError: too many calls are under way there.
        """
        if request.kind in (Kind.CANCEL, Kind.ASK_AGAIN):
            self._follow_up(asker, request)
            return
        if len(self._asked) + len(self._parked) >= self.link.limits.calls:
            raise LimitError(f"{self._title} has {len(self._asked)} calls under way, which is the limit")
        if self.link.ready and self._send(asker, request):
            return
        if not self.link.ready and self.link.state is not State.CONNECTING:
            raise self.down()
        patience_s = HEARTBEATS_TO_LOSS * self.link.heartbeat_s
        self._parked.append((self._clock.now() + patience_s, asker, request))

    def knows(self, asker: Asker) -> bool:
        """Whether somebody waits for an answer from there."""
        return asker in self._asked.values() or any(item[1] == asker for item in self._parked)

    @property
    def is_asked(self) -> bool:
        """Whether anybody waits for an answer from there."""
        return bool(self._asked or self._parked)

    def collect(self) -> tuple[Asker, list[Buffer]] | None:
        """The next reply that came back, addressed to whom it is for; None when it is for nobody (any more)."""
        head, buffers = receive(self.socket, zmq.NOBLOCK)
        try:
            _, reply_id = check_prefix(head)
        except OneLinerError as error:
            _log.warning("router %s sent something else than a reply: %s", self.name, error)
            return None
        asker = self._asked.pop(reply_id, None)
        if asker is None:
            return None
        try:
            return asker, [readdressed(head, asker.id, *self.link.offset), *buffers]
        except MalformedError as error:
            _log.warning("router %s sent a reply that cannot be read: %s", self.name, error)
            return None

    def renew(self) -> bool:
        """Replace the socket where libzmq does not connect again by itself. True when it is another one now.

        That is after the hop had refused us meanwhile, and, inside one process, after it was restarted. The link need
        not have seen the refusal that our connection met: so also when nothing could be sent for a heartbeat although
        the hop answers.
        """
        restarted = self._local and self._session not in (None, self.link.session)
        stuck = self._clock.now() - self._stuck_since > self.link.heartbeat_s
        if not self.link.ready or not (restarted or stuck or self._refusals != self.link.refusals):
            return False
        self._refusals = self.link.refusals
        if stuck:
            # Calls are asked after on the new connection. One that breaks it again, because its answer is larger than
            # this side takes, is given up.
            self._hopeless |= self._tried_again & self._asked.keys()
            self._tried_again = set(self._asked)
        self._stuck_since = math.inf
        before, self.socket = self.socket, self._connect()
        before.close()
        self.socket.poll(_CONNECT_MS, zmq.POLLOUT)
        return True

    def _connect(self) -> Socket:
        link, endpoint = self.link, self.link.endpoint
        socket = open_socket(
            self._context,
            zmq.DEALER,
            heartbeat_s=None if endpoint.protocol == "inproc" else link.heartbeat_s,
            max_message_bytes=link.limits.message_bytes,
            ipv6=endpoint.is_ipv6,
            curve=link.curve,
        )
        socket.setsockopt(zmq.IMMEDIATE, 1)
        socket.setsockopt(zmq.ROUTING_ID, self._routing_id)
        socket.connect(str(endpoint))
        return socket

    def refresh(self) -> list[tuple[Asker, OneLinerError]]:
        """Send what was parked if the hop is there now; give back whoever will get no answer, and why."""
        failed: list[tuple[Asker, OneLinerError]] = []
        if self.link.ready:
            if self.link.session != self._session:
                failed += [(asker, self._interrupted()) for asker in self._asked.values()]
                self._asked.clear()
                self._session = self.link.session
            failed += [(self._asked.pop(number), self._interrupted()) for number in self._hopeless & self._asked.keys()]
            self._hopeless.clear()
            # The link may be back before our own connection is: what cannot leave yet is given its time.
            self._parked = [item for item in self._parked if not self._send(item[1], item[2])]
        elif self.link.state is not State.CONNECTING:
            failed += [(asker, self._interrupted()) for asker in self._asked.values()]
            self._asked.clear()
        now = self._clock.now()
        hopeless = not self.link.ready and self.link.state is not State.CONNECTING
        for item in tuple(self._parked):
            if hopeless or now >= item[0]:
                self._parked.remove(item)
                failed.append((item[1], self.down()))
        return failed

    def abandon(self) -> list[Asker]:
        """Everybody who still waits, for the day the hop is removed or the server closes."""
        askers = [*self._asked.values(), *(asker for _, asker, _ in self._parked)]
        self._asked.clear()
        self._parked.clear()
        return askers

    def down(self) -> RouterDownError:
        """The error of a request that did not leave."""
        trouble = self.link.trouble(sent=False)
        held = self.link.state is State.UNRESPONSIVE
        why = f"{trouble}" if trouble is not None else "it does not answer" if held else "it has not answered yet"
        return RouterDownError(f"{self._title} is down: {why}", router=self.name)

    def close(self) -> None:
        """Close the socket. Only for the thread that leads."""
        self.socket.close()

    def _send(self, asker: Asker, request: Request) -> bool:
        """Pass it on. False while our connection is not there, or who asked the server before it is not told yet."""
        session = self.link.session
        if self._asked and session != self._session:
            return False
        forward_id = next(self._ids)
        try:
            send_frames(self.socket, request.encode(forward_id), zmq.NOBLOCK)
        except zmq.Again:
            self._stuck_since = min(self._stuck_since, self._clock.now())
            return False
        self._stuck_since = math.inf
        self._session = session
        self._asked[forward_id] = asker
        return True

    def _follow_up(self, asker: Asker, request: Request) -> None:
        """Something about a request that was passed on: under the id that it has there."""
        if request.kind == Kind.ASK_AGAIN:
            request = request._replace(body=asked_of(self._session))
        if request.kind == Kind.CANCEL:
            self._parked = [item for item in self._parked if item[1] != asker]
        for forward_id, other in self._asked.items():
            if other == asker:
                try:
                    send_frames(self.socket, request.encode(forward_id), zmq.NOBLOCK)
                    self._stuck_since = math.inf
                except zmq.Again:
                    self._stuck_since = min(self._stuck_since, self._clock.now())
                    _log.debug("router %s is not there to hear of a call it has", self.name)
                return

    def _interrupted(self) -> OneLinerError:
        return ServerLostError(
            f"{self._title} was lost during the call, which may or may not have run",
            router=self.name,
        )
