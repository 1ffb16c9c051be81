"""Many calls at once over one socket, for callers that cannot wait on their own thread: an event loop, or a future.

Where a `Channel` waits on the caller's thread, here one thread waits for all, and hands each answer to a function. What
is said to the server, and when a call is given up, is the same: a request is given to a living connection or to none,
asked after once per heartbeat, and withdrawn when nobody wants its answer any more.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock, Thread, current_thread

import zmq

from one_liner.clock import SYSTEM_CLOCK
from one_liner.errors import CallTimeoutError, ClosedError, MalformedError, OneLinerError, VersionMismatchError
from one_liner.rpc.channel import LAST_ANSWER_MS, LAST_WORD_S, SLICE_MS, connect, gone_for_good_s, restarted, stays_away
from one_liner.rpc.link import Link, State
from one_liner.transport.sockets import Context, Doorbell, Socket, receive, send_frames
from one_liner.wire.extensions import Buffer
from one_liner.wire.messages import Kind, Reply, Request, asked_of

Answer = Callable[[Reply | OneLinerError], None]
_log = logging.getLogger("one_liner.rpc.switchboard")


class PendingCall:
    """A call that was handed in and not answered yet. Belongs to the switchboard's thread, but for `withdraw`."""

    __slots__ = (
        "_board",
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
        board: Switchboard,
        kind: Kind,
        path: str,
        body: Buffer,
        buffers: Sequence[Buffer],
        deadline: float,
        answer: Answer,
        refuse_if_busy: bool,
    ) -> None:
        self._board = board
        self.refuse_if_busy = refuse_if_busy
        self.kind, self.path, self.body, self.buffers = kind, path, body, buffers
        self.deadline, self.answer = deadline, answer
        self.began = SYSTEM_CLOCK.now()
        self.request: Request | None = None
        self.ask_again = self.last_word = math.inf

    def withdraw(self) -> None:
        """Nobody wants the answer: what has not begun must not begin. `answer` is not called any more."""
        self._board.withdraw(self)


class Switchboard:
    """One thread with one connection that carries any number of calls.

    Calls may be handed in and withdrawn from any thread. Answers are given on the switchboard's thread, which waits for
    the function that takes them.

    Args:
        context: the context its sockets belong to.
        link: tells whether the server lives.
        client: random number of this client.
        routing_id: makes the name of a new connection.
    """

    def __init__(self, context: Context, link: Link, *, client: int, routing_id: Callable[[], bytes]) -> None:
        self._context, self._link = context, link
        self._client, self._routing_id = client, routing_id
        self._ids = itertools.count(1)
        self._orders: deque[Callable[[], None]] = deque()
        self._unsent: deque[PendingCall] = deque()
        self._sent: dict[int, PendingCall] = {}
        self._given_up: set[int] = set()
        self._socket: Socket | None = None
        self._session: int | None = None
        self._refusals = 0
        self._away_since = math.inf
        self._look_at = 0.0
        self.stale = 0
        """Replies that came after their call had given up."""
        self._lock = Lock()
        self._rung = self._closed = False
        self._doorbell = Doorbell(context, "switchboard")
        self._thread = Thread(target=self._run, name=f"one_liner calls {link.endpoint}", daemon=True)
        link.listen(self._on_state)
        self._thread.start()

    # --- from any thread ---------------------------------------------------------------------------------------------

    def ask(
        self,
        kind: Kind,
        path: str,
        body: Buffer,
        buffers: Sequence[Buffer],
        deadline: float,
        answer: Answer,
        *,
        refuse_if_busy: bool = False,
    ) -> PendingCall:
        """Hand in a request.

        Args:
            kind: what is asked.
            path: of whom.
            body: encoded arguments.
            buffers: their large parts.
            deadline: on `time.perf_counter()`; may be infinite.
            answer: called once with the reply, or with why there is none; on the switchboard's thread.
            refuse_if_busy: whether the call is not to wait for another one.

        Raises:
            ClosedError: the client is closed.
        """
        call = PendingCall(self, kind, path, body, buffers, deadline, answer, refuse_if_busy)
        self._order(lambda: self._unsent.append(call))
        return call

    def withdraw(self, call: PendingCall) -> None:
        """Take a call back; see `PendingCall.withdraw`."""
        try:
            self._order(lambda: self._withdraw(call))
        except ClosedError:
            return  # Its answer was that.

    def close(self) -> None:
        """Stop the thread and close its socket; every caller gets a `ClosedError`."""
        with self._lock:
            self._closed = True
        self._doorbell.ring()
        if self._thread is not current_thread():
            self._thread.join()

    def _order(self, order: Callable[[], None]) -> None:
        with self._lock:
            if self._closed:
                raise ClosedError(f"this client of {self._link.endpoint} is closed")
            self._orders.append(order)
            if self._rung:
                return
            self._rung = True
        self._doorbell.ring()

    def _on_state(self, _: State) -> None:
        self._look_at = 0.0
        self._doorbell.ring()

    # --- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._closed:
                self._wait()
                self._take_orders()
                self._send_all()
                self._receive()
                self._look_around()
        except zmq.ContextTerminated:
            with self._lock:
                self._closed = True
        self._link.unlisten(self._on_state)
        self._take_orders()
        self._fail_all(lambda: ClosedError(f"this client of {self._link.endpoint} is closed"))
        self._disconnect()
        self._doorbell.close()

    def _wait(self) -> None:
        poller = zmq.Poller()
        poller.register(self._doorbell.socket, zmq.POLLIN)
        if self._socket is not None:
            # Where something could not be sent, the connection is awaited.
            poller.register(self._socket, zmq.POLLIN | (zmq.POLLOUT if self._unsent else 0))
        wait_ms: int | None = None
        if self._unsent or self._sent:
            wait_ms = max(0, math.ceil((self._look_at - SYSTEM_CLOCK.now()) * 1000))
        if dict(poller.poll(wait_ms)).get(self._doorbell.socket):
            self._doorbell.answer()

    def _take_orders(self) -> None:
        with self._lock:
            self._rung = False
        while self._orders:
            self._orders.popleft()()

    def _send_all(self) -> None:
        while self._unsent and self._link.ready and self._connect():
            call = self._unsent[0]
            if call.request is None:
                call.request = self._numbered(call)
            try:
                send_frames(self._socket, call.request.encode(), zmq.NOBLOCK)  # type: ignore[arg-type]
            except zmq.Again:
                return
            except OneLinerError as error:  # A name that is too long.
                self._unsent.popleft()
                call.answer(error)
                continue
            self._unsent.popleft()
            self._away_since = math.inf
            call.ask_again = SYSTEM_CLOCK.now() + self._link.heartbeat_s
            self._sent[call.request.id] = call
            self._look_at = min(self._look_at, call.deadline)

    def _numbered(self, call: PendingCall) -> Request:
        number, refuse = next(self._ids), call.refuse_if_busy
        return Request(call.kind, number, self._client, call.path, call.body, call.buffers, refuse_if_busy=refuse)

    def _receive(self) -> None:
        while self._socket is not None:
            try:
                reply = Reply.decode(*receive(self._socket, zmq.NOBLOCK))
            except zmq.Again:
                return
            except VersionMismatchError as error:
                self._fail_sent(partial(VersionMismatchError, error.message))
                return
            except MalformedError as error:
                _log.warning("%s sent something else than a reply: %s", self._link.endpoint, error)
                continue
            call = self._sent.pop(reply.id, None)
            if call is not None:
                if reply.kind == Kind.CANCELLED:
                    self._given_up.add(reply.id)
                call.answer(reply)
            elif reply.kind != Kind.CANCELLED and reply.id in self._given_up:
                # An answer that was asked for again may come twice: only the first one is a late one.
                self._given_up.remove(reply.id)
                self.stale += 1

    def _look_around(self) -> None:
        """Once per slice: is there any point in waiting on?"""
        now = SYSTEM_CLOCK.now()
        if now < self._look_at or not (self._sent or self._unsent):
            return
        self._look_at = now + SLICE_MS / 1000
        self._look_after_unsent(now)
        trouble = self._link.trouble()
        if self._sent and trouble is not None:
            # A server that closes says goodbye to the link and answers each caller: who reads first is chance.
            while self._sent and self._socket is not None and self._socket.poll(LAST_ANSWER_MS):
                self._receive()
            self._fail_sent(lambda: self._link.trouble() or trouble)
        elif self._sent and self._link.session != self._session:
            self._fail_sent(lambda: restarted(self._link))
        else:
            self._look_after_sent(now)

    def _look_after_unsent(self, now: float) -> None:
        for call in tuple(self._unsent):
            refusal = self._link.refusal(call.began, call.deadline)
            if refusal is None and now >= call.deadline:
                refusal = CallTimeoutError(
                    f"the call could not be sent in time; {self._link.endpoint} is {self._link.state}"
                )
            if refusal is not None:
                self._unsent.remove(call)
                call.answer(refusal)
            else:
                self._look_at = min(self._look_at, call.deadline)
        if self._unsent and self._link.ready:
            self._away_since = min(self._away_since, now)
            self._check_alive(now, "the call could not be sent")

    def _look_after_sent(self, now: float) -> None:
        for call in tuple(self._sent.values()):
            request = call.request
            assert request is not None
            if now >= call.last_word:
                del self._sent[request.id]
                self._given_up.add(request.id)
                call.answer(
                    CallTimeoutError(f"the call was not answered in time; {self._link.endpoint} is {self._link.state}")
                )
            elif call.last_word < math.inf:
                self._look_at = min(self._look_at, call.last_word)
            elif now >= call.deadline:
                # The server may say whether it waits or runs, or have just finished.
                self._follow_up(request, Kind.CANCEL)
                call.last_word = now + LAST_WORD_S
            else:
                self._look_at = min(self._look_at, call.deadline)
                if now >= call.ask_again:
                    call.ask_again += self._link.heartbeat_s
                    if self._follow_up(request, Kind.ASK_AGAIN) or not self._link.ready:
                        self._away_since = math.inf
                    else:
                        self._away_since = min(self._away_since, now)
        self._check_alive(now, "the call may or may not have run")

    def _check_alive(self, now: float, fate: str) -> None:
        """Give up a connection that stays away although the server answers others."""
        if now - self._away_since > gone_for_good_s(self._link):
            self._fail_all(lambda: stays_away(self._link, fate))
            self._disconnect()

    def _follow_up(self, request: Request, kind: Kind) -> bool:
        """Say something more about a request that was sent. False while there is no connection."""
        if self._socket is None:
            return False
        body = asked_of(self._session) if kind == Kind.ASK_AGAIN else b"\xc0"
        message = Request(kind, request.id, request.client, request.path, body)
        try:
            send_frames(self._socket, message.encode(), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def _withdraw(self, call: PendingCall) -> None:
        if call in self._unsent:
            self._unsent.remove(call)
        elif call.request is not None and self._sent.pop(call.request.id, None) is not None:
            self._given_up.add(call.request.id)
            self._follow_up(call.request, Kind.CANCEL)

    # --- the connection ----------------------------------------------------------------------------------------------

    def _connect(self) -> bool:
        """Have a socket that leads to the server that answers now. False while calls wait for another one."""
        if self._session == self._link.session and self._refusals == self._link.refusals and self._socket is not None:
            return True
        if self._sent:
            return False  # The next look around tells them.
        self._disconnect()
        self._ids = itertools.count(1)  # On each connection they count what was asked there.
        for call in self._unsent:
            call.request = None
        self._session, self._refusals = self._link.session, self._link.refusals
        self._socket = connect(self._context, self._link, self._routing_id())
        return True

    def _disconnect(self) -> None:
        self._away_since = math.inf
        self._given_up.clear()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

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
