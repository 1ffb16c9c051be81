"""Many calls at once over one socket, for callers that cannot wait on their own thread: an event loop, or a future.

Where a `Channel` waits on the caller's thread, here one operator waits for all, and hands each answer to a function.
What is said to the server, and when a call is given up, is the same: a request is given to a living connection or to
none, asked after once per heartbeat, and withdrawn when nobody wants its answer any more.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

import zmq

from one_liner.clock import SYSTEM_CLOCK
from one_liner.errors import (
    CallTimeoutError,
    ClosedError,
    MalformedError,
    OneLinerError,
    ServerLostError,
    VersionMismatchError,
)
from one_liner.rpc.channel import LAST_ANSWER_MS, LAST_WORD_S, SLICE_MS, connect, gone_for_good_s, restarted, stays_away
from one_liner.rpc.link import Link
from one_liner.transport.sockets import Context, Socket, receive, send_frames
from one_liner.wire.extensions import Buffer
from one_liner.wire.messages import Kind, Reply, Request, asked_of

MOST_GIVEN_UP: Final = 10_000
Answer = Callable[[Reply | OneLinerError], None]
_IN, _IN_OR_OUT = int(zmq.POLLIN), int(zmq.POLLIN | zmq.POLLOUT)
_log = logging.getLogger("one_liner.rpc.switchboard")


class Operator(Protocol):
    """Whoever attends to a switchboard: a thread, or an event loop."""

    @property
    def stale(self) -> int:
        """How many replies came after their call had given up."""

    def ask(self, call: PendingCall) -> None:
        """Take a call.

        Raises:
            ClosedError: the client is closed.
        """

    def withdraw(self, call: PendingCall) -> None:
        """Take a call back; see `PendingCall.withdraw`."""

    def close(self) -> None:
        """Close the connection, from any thread; every caller gets a `ClosedError`."""


class PendingCall:
    """A call that was handed in and not answered yet. Belongs to its operator, but for `withdraw`.

    Args:
        operator: attends to it.
        kind: what is asked.
        path: of whom.
        body: encoded arguments.
        buffers: their large parts.
        deadline: on `time.perf_counter()`; may be infinite.
        answer: called once with the reply, or with why there is none, where the operator works.
        refuse_if_busy: whether the call is not to wait for another one.
    """

    __slots__ = (
        "_operator",
        "answer",
        "ask_again",
        "began",
        "body",
        "buffers",
        "deadline",
        "kind",
        "last_word",
        "path",
        "refuse_if_busy",
        "request",
    )

    def __init__(
        self,
        operator: Operator,
        kind: Kind,
        path: str,
        body: Buffer,
        buffers: Sequence[Buffer],
        deadline: float,
        answer: Answer,
        refuse_if_busy: bool = False,
    ) -> None:
        self._operator = operator
        self.refuse_if_busy = refuse_if_busy
        self.kind, self.path, self.body, self.buffers = kind, path, body, buffers
        self.deadline, self.answer = deadline, answer
        self.began = SYSTEM_CLOCK.now()
        self.request: Request | None = None
        self.ask_again = self.last_word = math.inf

    def withdraw(self) -> None:
        """Nobody wants the answer: what has not begun must not begin. `answer` is not called any more."""
        self._operator.withdraw(self)


class Switchboard:
    """One connection that carries any number of calls. Never waits, and belongs to its operator altogether.

    Args:
        context: the context its sockets belong to.
        link: tells whether the server lives.
        client: random number of this client.
        routing_id: makes the name of a new connection.
        connected: called with each new socket.
        disconnecting: called with it before it is closed.

    Attributes:
        socket: the connection; None while there is none.
        look_at: when to take the next turn at the latest, on `time.perf_counter()`.
        stale: how many replies came after their call had given up.
    """

    def __init__(
        self,
        context: Context,
        link: Link,
        client: int,
        routing_id: Callable[[], bytes],
        connected: Callable[[Socket], None] = lambda _: None,
        disconnecting: Callable[[Socket], None] = lambda _: None,
    ) -> None:
        self._context, self.link = context, link
        self._client, self._routing_id = client, routing_id
        self._connected, self._disconnecting = connected, disconnecting
        self._ids = itertools.count(1)
        self._unsent: deque[PendingCall] = deque()
        self._sent: dict[int, PendingCall] = {}
        self._given_up: dict[int, None] = {}  # in the order of their numbers
        self._session: int | None = None
        self._refusals = 0
        self._away_since = self._last_answers_by = math.inf
        self._full = False
        self.socket: Socket | None = None
        self.look_at = 0.0
        self.stale = 0

    @property
    def busy(self) -> bool:
        """Whether somebody waits for an answer."""
        return bool(self._sent or self._unsent)

    @property
    def awaited(self) -> int:
        """For what to poll the socket: where something could not be sent, the connection is awaited."""
        return _IN_OR_OUT if self._full and self._unsent else _IN

    def take(self, call: PendingCall) -> None:
        """Have a request sent in the next turn, or when it can be."""
        self._unsent.append(call)

    def take_turn(self) -> None:
        """Send and receive whatever can be, and give up whatever has no point any more."""
        self.send()
        self._receive()
        self._look_around()

    def withdraw(self, call: PendingCall) -> None:
        """Take a call back."""
        if call in self._unsent:
            self._unsent.remove(call)
        elif call.request is not None and self._sent.pop(call.request.id, None) is not None:
            self._give_up(call.request.id)
            self._follow_up(call.request, Kind.CANCEL)

    def close(self) -> None:
        """Close the connection; every caller gets a `ClosedError`."""
        self._fail_all(self.closed_error)
        self._disconnect()

    def fail(self) -> None:
        """Something nobody thought of has happened here: every caller is told, and the next has another connection."""
        self._fail_all(
            lambda: ServerLostError(
                f"the connection to {self.link.endpoint} was given up, as the log says why; "
                "the call may or may not have run"
            )
        )

    def closed_error(self) -> ClosedError:
        """What callers get when the client is closed."""
        return ClosedError(f"this client of {self.link.endpoint} is closed")

    # --- sending and receiving -------------------------------------------------------------------------------------

    def send(self) -> None:
        """Send what was taken, as far as that can be done now."""
        self._full = False
        while self._unsent and self.link.ready and self._connect():
            call = self._unsent[0]
            if call.request is None:
                call.request = self._numbered(call)
            try:
                send_frames(self.socket, call.request.encode(), zmq.NOBLOCK)  # type: ignore[arg-type]
            except zmq.Again:
                self._full = True
                return
            except OneLinerError as error:  # A name that is too long.
                self._unsent.popleft()
                call.answer(error)
                continue
            self._unsent.popleft()
            self._away_since = math.inf
            call.ask_again = SYSTEM_CLOCK.now() + self.link.heartbeat_s
            self._sent[call.request.id] = call
            self.look_at = min(self.look_at, call.deadline)

    def _numbered(self, call: PendingCall) -> Request:
        number, refuse = next(self._ids), call.refuse_if_busy
        return Request(call.kind, number, self._client, call.path, call.body, call.buffers, refuse_if_busy=refuse)

    def _receive(self) -> None:
        while self.socket is not None:
            try:
                reply = Reply.decode(*receive(self.socket, zmq.NOBLOCK))
            except zmq.Again:
                return
            except VersionMismatchError as error:
                self._fail_sent(partial(VersionMismatchError, error.message))
                return
            except MalformedError as error:
                _log.warning("%s sent something else than a reply: %s", self.link.endpoint, error)
                continue
            self._last_answers_by = math.inf  # More may come.
            call = self._sent.pop(reply.id, None)
            if call is not None:
                if reply.kind == Kind.CANCELLED:
                    self._give_up(reply.id)
                call.answer(reply)
            elif reply.kind != Kind.CANCELLED and reply.id in self._given_up:
                # An answer that was asked for again may come twice: only the first one is a late one.
                del self._given_up[reply.id]
                self.stale += 1

    def _look_around(self) -> None:
        """Once per slice: is there any point in waiting on?"""
        now = SYSTEM_CLOCK.now()
        if now < self.look_at or not (self._sent or self._unsent):
            return
        self.look_at = now + SLICE_MS / 1000
        self._look_after_unsent(now)
        trouble = self.link.trouble()
        if self._sent and trouble is not None:
            # A server that closes says goodbye to the link and answers each caller: who reads first is chance.
            self._last_answers_by = min(self._last_answers_by, now + LAST_ANSWER_MS / 1000)
            if now >= self._last_answers_by:
                self._fail_sent(lambda: self.link.trouble() or trouble)
            else:
                self.look_at = min(self.look_at, self._last_answers_by)
            return
        self._last_answers_by = math.inf
        if self._sent and self.link.session != self._session:
            self._fail_sent(lambda: restarted(self.link))
        else:
            self._look_after_sent(now)

    def _look_after_unsent(self, now: float) -> None:
        for call in tuple(self._unsent):
            refusal = self.link.refusal(call.began, call.deadline)
            if refusal is None and now >= call.deadline:
                refusal = CallTimeoutError(
                    f"the call could not be sent in time; {self.link.endpoint} is {self.link.state}"
                )
            if refusal is not None:
                self._unsent.remove(call)
                call.answer(refusal)
            else:
                self.look_at = min(self.look_at, call.deadline)
        if self._unsent and self.link.ready:
            self._away_since = min(self._away_since, now)
            self._check_alive(now, "the call could not be sent")

    def _look_after_sent(self, now: float) -> None:
        for call in tuple(self._sent.values()):
            request = call.request
            assert request is not None
            if now >= call.last_word:
                del self._sent[request.id]
                self._give_up(request.id)
                call.answer(
                    CallTimeoutError(f"the call was not answered in time; {self.link.endpoint} is {self.link.state}")
                )
            elif call.last_word < math.inf:
                self.look_at = min(self.look_at, call.last_word)
            elif now >= call.deadline:
                # The server may say whether it waits or runs, or have just finished.
                self._follow_up(request, Kind.CANCEL)
                call.last_word = now + LAST_WORD_S
            else:
                self.look_at = min(self.look_at, call.deadline)
                if now >= call.ask_again:
                    call.ask_again += self.link.heartbeat_s
                    if self._follow_up(request, Kind.ASK_AGAIN) or not self.link.ready:
                        self._away_since = math.inf
                    else:
                        self._away_since = min(self._away_since, now)
        self._check_alive(now, "the call may or may not have run")

    def _check_alive(self, now: float, fate: str) -> None:
        """Give up a connection that stays away although the server answers others."""
        if now - self._away_since > gone_for_good_s(self.link):
            self._fail_all(lambda: stays_away(self.link, fate))
            self._disconnect()

    def _follow_up(self, request: Request, kind: Kind) -> bool:
        """Say something more about a request that was sent. False while there is no connection."""
        if self.socket is None:
            return False
        body = asked_of(self._session) if kind == Kind.ASK_AGAIN else b"\xc0"
        message = Request(kind, request.id, request.client, request.path, body)
        try:
            send_frames(self.socket, message.encode(), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def _give_up(self, request_id: int) -> None:
        """Know a late reply when it comes. Most of what was withdrawn never has one, and is forgotten in time."""
        self._given_up[request_id] = None
        if len(self._given_up) > MOST_GIVEN_UP:
            del self._given_up[next(iter(self._given_up))]

    # --- the connection ----------------------------------------------------------------------------------------------

    def _connect(self) -> bool:
        """Have a socket that leads to the server that answers now. False while calls wait for another one."""
        if self._session == self.link.session and self._refusals == self.link.refusals and self.socket is not None:
            return True
        if self._sent:
            return False  # The next look around tells them.
        self._disconnect()
        self._ids = itertools.count(1)  # On each connection they count what was asked there.
        for call in self._unsent:
            call.request = None
        self._session, self._refusals = self.link.session, self.link.refusals
        self.socket = connect(self._context, self.link, self._routing_id())
        self._connected(self.socket)
        return True

    def _disconnect(self) -> None:
        self._away_since = self._last_answers_by = math.inf
        self._given_up.clear()
        if self.socket is not None:
            self._disconnecting(self.socket)
            self.socket.close()
            self.socket = None

    def _fail_sent(self, error: Callable[[], OneLinerError]) -> None:
        """Tell all that wait for an answer, each with an error of its own; the connection may be damaged for good."""
        calls, self._sent = self._sent, {}
        self._disconnect()
        for call in calls.values():
            call.answer(error())

    def _fail_all(self, error: Callable[[], OneLinerError]) -> None:
        calls, self._unsent = self._unsent, deque()
        self._fail_sent(error)
        for call in calls:
            call.answer(error())
