"""One socket that carries one call at a time, on the thread that makes the call.

A caller takes a channel, sends, waits and puts it back: no hand-over to another thread, no lock, and calls of several
threads run side by side. The waiting is done in slices, between which the caller looks whether the server still lives,
the deadline has passed or the client was closed; so nothing needs to be woken, and Ctrl-C gets through on every system.
"""

from __future__ import annotations

import itertools
import math

import zmq

from one_liner.clock import SYSTEM_CLOCK
from one_liner.errors import CallTimeoutError, OneLinerError, ServerLostError, ServerRestartedError
from one_liner.rpc.link import HEARTBEATS_TO_LOSS, Link
from one_liner.rpc.spin import AWAY_S, SPIN_S, Spin, can_look_out, offer_core
from one_liner.transport.sockets import Context, Socket, open_socket, receive, send_frames
from one_liner.wire.messages import Kind, Reply, Request, asked_of

SLICE_MS = 50
LAST_ANSWER_MS = 100
LAST_WORD_S = 0.1
_READABLE = int(zmq.POLLIN)  # `&` of a flag, which is an enum, takes as long as asking the socket
_RECONNECT_S = 1.0  # libzmq tries again after so long at most


class Channel:
    """A connection to the server for one call at a time. Has one owner, who may pass it on as a whole."""

    __slots__ = (
        "_away_since",
        "_given_up",
        "_ids",
        "_link",
        "_refusals",
        "_slice_ms",
        "_socket",
        "_spin",
        "session",
        "stale",
    )

    session: int | None
    """Of the server that it was made for; None when it is not to be used again."""

    def __init__(self, context: Context, link: Link, routing_id: bytes) -> None:
        self._link = link
        self._socket = connect(context, link, routing_id)
        self._slice_ms = 0
        self._set_slice(SLICE_MS)
        self.session = link.session
        self._refusals = link.refusals
        self._spin = Spin(enabled=can_look_out())
        self.stale = 0
        self._ids = itertools.count(1)
        self._given_up: set[int] = set()
        self._away_since = math.inf

    def next_id(self) -> int:
        """The id of the next request: they count what was asked on this connection."""
        return next(self._ids)

    def ask(self, request: Request, deadline: float) -> Reply:
        """Send a request and wait for its reply.

        Args:
            request: with an id of `next_id`.
            deadline: on `time.perf_counter()`; may be infinite.

        Raises:
            CallTimeoutError: the deadline passed; the server was told to forget the call if it had not begun.
            ServerLostError, ServerRestartedError, ClosedError: as they say.
        """
        self._away_since = math.inf
        self._send(request, deadline)
        try:
            return self._wait(request, deadline)
        except CallTimeoutError as timeout:
            self._follow_up(request, Kind.CANCEL)
            return self._last_word(request.id, timeout)
        except BaseException:
            # Also on Ctrl-C: what has not begun must not begin once nobody waits for it.
            self._given_up.add(request.id)
            self._follow_up(request, Kind.CANCEL)
            raise

    @property
    def usable(self) -> bool:
        """Whether it leads to the server that answers now; libzmq gives up a socket that was refused."""
        return self.session == self._link.session and self._refusals == self._link.refusals

    def close(self) -> None:
        """Close the socket. Only for the owner."""
        self._socket.close()

    def _send(self, request: Request, deadline: float) -> None:
        frames = request.encode()
        while True:
            try:
                send_frames(self._socket, frames)
                return
            except zmq.Again:
                self._look_around(deadline, "could not be sent")
                self._check_alive("the call could not be sent")

    def _wait(self, request: Request, deadline: float) -> Reply:
        socket, request_id = self._socket, request.id
        ask_again = math.inf  # once the first slice has passed
        if deadline != math.inf:
            self._set_slice(min(SLICE_MS, self._remaining_ms(deadline)))
        elif self._slice_ms != SLICE_MS:
            self._set_slice(SLICE_MS)
        looked_out = self._spin.pays()
        asked = SYSTEM_CLOCK.now()
        if looked_out:
            self._look_out(asked)
        while True:
            try:
                reply = Reply.decode(*receive(socket))
            except zmq.Again:
                try:
                    self._look_around(deadline, "was not answered")
                except ServerLostError:
                    # A server that closes says goodbye to the link and answers each caller: who reads first is chance.
                    if socket.poll(LAST_ANSWER_MS):
                        continue
                    raise
                now = SYSTEM_CLOCK.now()
                if now >= ask_again:
                    # The connection may have broken and come back: then the answer went nowhere.
                    self._check_alive("the call may or may not have run", self._follow_up(request, Kind.ASK_AGAIN))
                    ask_again += self._link.heartbeat_s
                ask_again = min(ask_again, now + self._link.heartbeat_s)
                continue
            if reply.id == request_id or reply.id == 0:
                if not looked_out:
                    self._spin.slept(SYSTEM_CLOCK.now() - asked)
                return reply
            self._drop(reply)

    def _look_out(self, began: float) -> None:
        """Wait for a moment without going to sleep."""
        socket, looked = self._socket, began
        while not int(socket.getsockopt(zmq.EVENTS)) & _READABLE:
            now = SYSTEM_CLOCK.now()
            if now - began > SPIN_S or now - looked > AWAY_S:
                self._spin.missed()
                return
            looked = now
            offer_core()
        self._spin.won()

    def _last_word(self, request_id: int, timeout: CallTimeoutError) -> Reply:
        """What the server says of a call that was given up: it tells waiting from running, or has just finished."""
        deadline = SYSTEM_CLOCK.now() + LAST_WORD_S
        while SYSTEM_CLOCK.now() < deadline:
            self._set_slice(self._remaining_ms(deadline))
            try:
                reply = Reply.decode(*receive(self._socket))
            except zmq.Again:
                break
            if reply.id == request_id:
                if reply.kind == Kind.CANCELLED:
                    self._given_up.add(request_id)
                return reply
            self._drop(reply)
        self._given_up.add(request_id)
        raise timeout

    def _drop(self, reply: Reply) -> None:
        # An answer that was asked for again may come twice: only the first one of a call that gave up is a late one.
        if reply.kind != Kind.CANCELLED and reply.id in self._given_up:
            self._given_up.remove(reply.id)
            self.stale += 1

    def _look_around(self, deadline: float, what: str) -> None:
        """After a slice without an answer: is there any point in waiting on?"""
        trouble = self._link.trouble()
        if trouble is not None:
            raise trouble
        if self._link.session != self.session:
            raise restarted(self._link)
        if deadline == math.inf:
            return
        remaining_ms = self._remaining_ms(deadline)
        if SYSTEM_CLOCK.now() >= deadline:
            raise CallTimeoutError(f"the call {what} in time; {self._link.endpoint} is {self._link.state}")
        self._set_slice(min(SLICE_MS, remaining_ms))

    def _check_alive(self, fate: str, sent: bool = False) -> None:
        """Give up when this connection stays away although the server answers others.

        libzmq does not connect again where it found a mistake, such as a message larger than this side takes.

        Raises:
            ServerLostError: it has been away for long enough.
        """
        now, link = SYSTEM_CLOCK.now(), self._link
        if sent or not link.ready:
            self._away_since = math.inf
            return
        self._away_since = min(self._away_since, now)
        if now - self._away_since > gone_for_good_s(link):
            raise stays_away(link, fate)

    def _follow_up(self, request: Request, kind: Kind) -> bool:
        """Say something more about a request that was sent. False while there is no connection."""
        try:
            body = asked_of(self.session) if kind == Kind.ASK_AGAIN else b"\xc0"
            message = Request(kind, request.id, request.client, request.path, body, (), request.trail)
            send_frames(self._socket, message.encode(), zmq.NOBLOCK)
        except (zmq.ZMQError, OneLinerError):
            # The connection is gone; the call's own error, or the next look around, says so.
            return False
        return True

    def _remaining_ms(self, deadline: float) -> int:
        return max(1, math.ceil(min(deadline - SYSTEM_CLOCK.now(), SLICE_MS) * 1000))

    def _set_slice(self, slice_ms: int) -> None:
        if slice_ms != self._slice_ms:
            self._slice_ms = slice_ms
            self._socket.setsockopt(zmq.RCVTIMEO, slice_ms)
            self._socket.setsockopt(zmq.SNDTIMEO, slice_ms)


def connect(context: Context, link: Link, routing_id: bytes) -> Socket:
    """A socket for calls, which connects to where the link leads.

    A request is given to a living connection or to none: nothing waits in it to be carried out after we gave up.
    """
    endpoint = link.endpoint
    socket = open_socket(
        context,
        zmq.DEALER,
        heartbeat_s=None if endpoint.protocol == "inproc" else link.heartbeat_s,
        max_message_bytes=link.limits.message_bytes,
        ipv6=endpoint.is_ipv6,
        curve=link.curve,
    )
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.setsockopt(zmq.ROUTING_ID, routing_id)
    socket.connect(str(endpoint))
    return socket


def restarted(link: Link) -> ServerRestartedError:
    """What a caller gets whose server is another one now."""
    return ServerRestartedError(
        f"{link.endpoint} was restarted during the call, which may or may not have run", endpoint=str(link.endpoint)
    )


def gone_for_good_s(link: Link) -> float:
    """For how long a connection may stay away while the server answers others."""
    return HEARTBEATS_TO_LOSS * link.heartbeat_s + _RECONNECT_S


def stays_away(link: Link, fate: str) -> ServerLostError:
    """What a caller gets whose connection stayed away for longer than that."""
    return ServerLostError(
        f"the connection of this call to {link.endpoint} broke and does not come back, while the server answers; "
        f"{fate}. An answer of more than {link.limits.message_bytes} bytes, the limit of this client, does that",
        endpoint=str(link.endpoint),
    )
