"""A client's sense of whether its server lives.

One background thread sends a heartbeat per interval and takes the answers, which come while any object works. It also
keeps the offset between the two clocks, learns what the server says of itself, and carries requests whose answer
nobody waits for. Two signs are told apart: heartbeats are answered by the server's Python threads, libzmq's own pings
by its I/O thread. A server whose interpreter is held by a driver answers only the second: it is *unresponsive*, which
fails nothing. A server that answers neither is *lost*.
"""

from __future__ import annotations

import itertools
import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from threading import Condition, current_thread
from typing import Any

import zmq

from one_liner.background import PAUSE_S, BackgroundThread
from one_liner.clock import SYSTEM_CLOCK, Clock, OffsetEstimator
from one_liner.errors import (
    ClosedError,
    MalformedError,
    NoServerError,
    OneLinerError,
    RefusedError,
    ServerLostError,
    VersionMismatchError,
)
from one_liner.limits import DEFAULT_LIMITS, Limits
from one_liner.rpc.hello import Hello, this_machine
from one_liner.transport.endpoints import Endpoint
from one_liner.transport.security import KNOCK_S, REFUSALS, ClientCurve, HangUps, explain_refusal
from one_liner.transport.sockets import (
    Context,
    Doorbell,
    Socket,
    close_monitored,
    is_there,
    monitored_event,
    open_socket,
    receive,
    send_frames,
    stop_trying,
)
from one_liner.wire.codec import Codec
from one_liner.wire.faults import error_of
from one_liner.wire.messages import Kind, Reply, Request

HEARTBEATS_TO_LOSS = 3
_GRACE_S = 1.0  # to read what came while this process was held
Answer = Callable[[Reply | OneLinerError], None]
_log = logging.getLogger("one_liner.rpc.link")
_EVENTS = zmq.Event.HANDSHAKE_SUCCEEDED | zmq.Event.DISCONNECTED | REFUSALS


class State(StrEnum):
    """How a client sees its server."""

    CONNECTING = "connecting"
    """It has not answered yet."""
    CONNECTED = "connected"
    """It answers."""
    UNRESPONSIVE = "unresponsive"
    """It is there, its Python is busy: something holds the interpreter. Calls wait, nothing fails."""
    LOST = "lost"
    """It answered before and does not any more."""
    REFUSED = "refused"
    """It does not want us, or speaks another version."""
    CLOSED = "closed"
    """This client was closed."""


class Link:
    """The background thread of a client, and what it knows. All methods may be called from any thread.

    Attributes:
        ready: whether a request may be sent.
        session: number of the server object that answers; it changes when the server restarts. None before it answered.
        refusals: how often the server has refused us so far. libzmq gives up sockets that were refused, so those that
            are older than the last time have to be replaced.

    Args:
        context: the context its sockets belong to.
        endpoint: the server's RPC address.
        name: what the server calls this client, in its answers to others: `who is it busy for`.
        client: random number of this client.
        heartbeat_s: interval of the heartbeats.
        codec: for what heartbeats carry.
        clock: the reader's clock.
        vouches: further clients that live, by number with their names: those whose requests we pass on.
        curve: keys, if the server asks for them; for all sockets that lead to it.
        limits: how much of anything is taken from the server.
    """

    def __init__(
        self,
        context: Context,
        endpoint: Endpoint,
        *,
        name: str,
        client: int,
        heartbeat_s: float,
        codec: Codec,
        clock: Clock = SYSTEM_CLOCK,
        vouches: Callable[[], dict[int, str]] = dict,
        curve: ClientCurve | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.endpoint = endpoint
        self.curve, self.limits = curve, limits
        self.refusals = 0
        self.heartbeat_s = heartbeat_s
        self._context = context
        self._name, self._client = name, client
        self._codec, self._clock, self._vouches = codec, clock, vouches
        self._changed = Condition()
        self._state = State.CONNECTING
        self.ready = False
        self.session: int | None = None
        self._failure: OneLinerError | None = None
        self._hang_ups = HangUps(str(endpoint), curve)
        self._hello: Hello | None = None
        self._estimator = OffsetEstimator()
        self._last_seen = self._began = clock.now()
        self._attached = endpoint.protocol == "inproc"  # whether libzmq holds a connection
        self._attached_since = self._detached_since = self._began
        self._renew_at = 0.0
        self._vouched: dict[int, str] = {}
        self._blind_until = 0.0
        self._listeners: list[Callable[[State], None]] = []
        self._greeted: Callable[[Hello], None] = lambda _: None
        self._outbox: deque[tuple[Request, Answer]] = deque()
        self._answers: dict[int, Answer] = {}
        self._beats: dict[int, float] = {}
        self._ids = itertools.count(1)
        self._socket, self._monitor = self._connect()
        self._doorbell = Doorbell(context, "link")
        self._thread = BackgroundThread(self._run, f"link {endpoint}", pause_s=PAUSE_S)

    def start(self) -> None:
        """Begin, now that it is known to whoever has to close it: Ctrl-C may come as soon as the thread runs."""
        self._thread.start()

    # --- what is known -----------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """How the server is seen now."""
        return self._state

    @property
    def hello(self) -> Hello | None:
        """What the server last said of itself; None before it answered."""
        return self._hello

    @property
    def offset(self) -> tuple[float, float]:
        """What to add to the server's timestamps to have ours, and the bound of the error, both in seconds."""
        return self._estimator.offset(), self._estimator.error(self._clock.now())

    def trouble(self, sent: bool = True) -> OneLinerError | None:
        """Why no answer will come; None while one may.

        Args:
            sent: whether a request is under way, whose fate the error has to tell.
        """
        state = self._state
        if state is State.CLOSED:
            return ClosedError(f"this client of {self.endpoint} is closed")
        failure = self._failure
        if state is State.REFUSED and failure is not None:
            return type(failure)(failure.message, **failure.details)  # Each caller raises one of its own.
        if state is State.LOST:
            silent_s = self._clock.now() - self._last_seen
            since = time.strftime("%H:%M:%S", time.localtime(self._clock.wall() - silent_s))
            fate = "the call may or may not have run" if sent else "nothing was sent to it"
            return ServerLostError(
                f"{self.endpoint} has not answered since {since} ({silent_s:.1f} s); {fate}",
                endpoint=str(self.endpoint),
                silent_s=silent_s,
            )
        return None

    def absence(self) -> OneLinerError | None:
        """Why nobody answers at all, once it had the time to appear; None while it has, or does."""
        waited = self._clock.now() - self._began
        if self._state is not State.CONNECTING or waited < HEARTBEATS_TO_LOSS * self.heartbeat_s:
            return None
        return self._nobody(waited)

    def pause(self, seconds: float) -> None:
        """Wait, unless the client is closed meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: self._state is State.CLOSED, seconds)

    def wait_ready(self, deadline: float) -> None:
        """Wait until a request may be sent.

        A server that has never answered is given `HEARTBEATS_TO_LOSS` intervals to appear, one that was lost a single
        one to come back.

        Raises:
            NoServerError: nobody answers.
            ServerLostError, RefusedError, VersionMismatchError, ClosedError: as they say.
        """
        if self.ready:
            return
        began = self._clock.now()
        with self._changed:
            while not self.ready and self.refusal(began, deadline) is None:
                self._changed.wait(min(deadline, began + self._grace_s()) - self._clock.now())
        refusal = self.refusal(began, deadline)
        if refusal is not None:
            raise refusal

    def refusal(self, began: float, deadline: float) -> OneLinerError | None:
        """Why a request that has waited since `began` will not be sent; None while it may be, see `wait_ready`."""
        state, now = self._state, self._clock.now()
        if self.ready:
            return None
        if state not in (State.CLOSED, State.REFUSED) and now - began < self._grace_s() and now < deadline:
            return None
        return self.trouble(sent=False) or self._nobody(now - began)

    def _grace_s(self) -> float:
        return (1 if self._state is State.LOST else HEARTBEATS_TO_LOSS) * self.heartbeat_s

    def _nobody(self, waited_s: float) -> OneLinerError:
        return NoServerError(
            f"nobody answers at {self.endpoint} (waited {waited_s:.1f} s); is it running, and this its RPC port?",
            endpoint=str(self.endpoint),
        )

    # --- what can be asked of it -------------------------------------------------------------------------------------

    def submit(self, kind: Kind, path: str, body: bytes, answer: Answer) -> None:
        """Send a request and have `answer` called on the link's thread with the reply, or with why there is none."""
        self._outbox.append((Request(kind, next(self._ids), self._client, path, body), answer))
        self._doorbell.ring()

    def listen(self, listener: Callable[[State], None]) -> None:
        """Have `listener` called with the state: now, at every change and at every restart, each once and in order.

        It has to return at once; changes wait for it.
        """
        with self._changed:
            self._listeners.append(listener)
            listener(self._state)

    def on_hello(self, greeted: Callable[[Hello], None]) -> None:
        """Have `greeted` called, on the link's thread, with the answer to every heartbeat."""
        self._greeted = greeted

    def unlisten(self, listener: Callable[[State], None]) -> None:
        """Undo `listen`. It is not called any more when this returns."""
        with self._changed:
            if listener in self._listeners:
                self._listeners.remove(listener)

    def close(self) -> None:
        """Stop the thread and close its sockets; every waiter gets a `ClosedError`."""
        self._enter(State.CLOSED)
        if not self._thread.is_alive():  # Not started, or so newly that it will find itself closed.
            self._release()
            return
        self._doorbell.ring()
        if self._thread is not current_thread():
            self._thread.join()

    # --- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        last_beat, before = -math.inf, self._clock.now()
        try:
            while self._state is not State.CLOSED:
                now = self._clock.now()
                held_s = now - before - self.heartbeat_s / 4
                if held_s > self.heartbeat_s / 4:
                    # Something held this whole process: that silence says nothing about the server, nor about clients.
                    self._last_seen += held_s
                    self._blind_until = now + _GRACE_S
                before = now
                if now >= last_beat + self._pause_s():
                    self._beat(now)
                    last_beat = now
                self._judge(now)
                self._wait(last_beat + self._pause_s())
        except zmq.ContextTerminated:
            self._enter(State.CLOSED)
        self._fail_answers(ClosedError(f"this client of {self.endpoint} is closed"))
        self._release()

    def _release(self) -> None:
        self._disconnect()
        self._doorbell.close()

    def _wait(self, until: float) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._doorbell.socket, zmq.POLLIN)
        if self._monitor is not None:
            poller.register(self._monitor, zmq.POLLIN)
        wait_s = min(until - self._clock.now(), self.heartbeat_s / 4)
        ready = dict(poller.poll(max(0, math.ceil(wait_s * 1000))))
        if self._doorbell.socket in ready:
            self._doorbell.answer()
        while self._outbox and self.ready:
            self._send(*self._outbox.popleft())
        if self._monitor in ready and self._monitor is not None:
            self._watch(*monitored_event(self._monitor))
        if self._socket in ready:
            self._receive()

    def _pause_s(self) -> float:
        if self._state is State.REFUSED:
            return max(KNOCK_S, self.heartbeat_s)
        if not self.ready:
            # Before the first answer, ask ten times as often: a script that starts with its server is the rule.
            return self.heartbeat_s * 0.1
        # A router behind it is down: that it is back comes with a heartbeat, and through several hops with several.
        return self.heartbeat_s * (0.25 if self._hello is not None and self._hello.down else 1.0)

    def _beat(self, now: float) -> None:
        if self.endpoint.protocol == "inproc":
            if self._state is State.LOST or not self._connected:
                # Inside one process libzmq does not connect again by itself.
                if not is_there(self._socket, str(self.endpoint)):
                    return
                self._renew()
        elif self._state is State.REFUSED or (self._state is State.LOST and now >= self._renew_at):
            # Nor does it where it was refused, and after a protocol error.
            self._renew_at = now + HEARTBEATS_TO_LOSS * self.heartbeat_s
            self._renew()
        # Who is named no longer is dead to the server, at once; heartbeats that were not read yet are no death.
        self._vouched = {**(self._vouched if now < self._blind_until else {}), **self._vouches()}
        body, _ = self._codec.encode([self._name, self.heartbeat_s, self._vouched])
        request = Request(Kind.HEARTBEAT, next(self._ids), self._client, "", body)
        try:
            send_frames(self._socket, request.encode(), zmq.NOBLOCK)
        except zmq.Again:
            return
        self._beats[request.id] = now
        if len(self._beats) > 2 * HEARTBEATS_TO_LOSS:
            del self._beats[next(iter(self._beats))]

    def _renew(self) -> None:
        self._disconnect()
        self._attached = self.endpoint.protocol == "inproc"
        self._socket, self._monitor = self._connect()

    def _send(self, request: Request, answer: Answer) -> None:
        try:
            send_frames(self._socket, request.encode(), zmq.NOBLOCK)
        except zmq.Again:
            answer(ServerLostError(f"{self.endpoint} takes no requests"))
            return
        self._answers[request.id] = answer

    def _receive(self) -> None:
        try:
            reply = Reply.decode(*receive(self._socket, zmq.NOBLOCK))
        except zmq.Again:
            return
        except VersionMismatchError as error:
            self._refuse(error)
            return
        except MalformedError as error:
            _log.warning("%s sent something else than a reply: %s", self.endpoint, error)
            return
        now = self._clock.now()
        if reply.kind == Kind.GOODBYE:
            self._lose(now)
        elif (sent := self._beats.pop(reply.id, None)) is not None:
            if reply.kind == Kind.ERROR:
                self._refuse_for(reply)
            else:
                self._greet(reply, sent, now)
        elif (answer := self._answers.pop(reply.id, None)) is not None:
            answer(reply)

    def _greet(self, reply: Reply, sent: float, now: float) -> None:
        try:
            hello = Hello.from_dict(self._codec.decode(reply.body, reply.buffers))
        except OneLinerError as error:
            _log.warning("%s: %s", self.endpoint, error)
            return
        self._last_seen = now
        restarted = self._hello is not None and self._hello.server != hello.server
        if restarted or self._hello is None:
            self._estimator.reset()
            if hello.machine == this_machine():
                self._estimator.pin()
            self._fail_answers(ServerLostError(f"{self.endpoint} was restarted"))
        self._estimator.update(sent, reply.stamp.time, now)
        self._hello = hello
        self.session = hello.server
        self._enter(State.CONNECTED, even_if_same=restarted)
        self._greeted(hello)

    def _watch(self, event: int, value: int) -> None:
        """Take note of what libzmq says of the connection."""
        if event == zmq.Event.HANDSHAKE_SUCCEEDED:
            self._attached = True
            self._attached_since = self._clock.now()
            self._hang_ups.reset()
        elif event == zmq.Event.DISCONNECTED:
            self._attached = False
            self._detached_since = self._clock.now()
        else:
            endpoint = str(self.endpoint)
            reason = explain_refusal(event, value, endpoint, self.curve) or self._hang_ups.explain()
            if reason is not None:
                self._hang_ups.reset()
                stop_trying(self._socket, endpoint)
                self._refuse(RefusedError(reason, endpoint=endpoint))

    def _judge(self, now: float) -> None:
        """Decide from the silence so far how the server is to be seen."""
        if not self.ready:
            return
        silent = now - self._last_seen
        if (
            not self._attached
            and now - self._detached_since > 0.5 * self.heartbeat_s
            and silent > 1.5 * self.heartbeat_s
        ):
            self._lose(now)
        elif silent > (HEARTBEATS_TO_LOSS - 0.5) * self.heartbeat_s:
            # Unresponsive is who has kept the connection all the time: a busy interpreter does. Inside one process
            # nobody pings, and a connection that keeps breaking is no sign of life.
            if self.endpoint.protocol != "inproc" and self._attached_since <= self._last_seen:
                self._enter(State.UNRESPONSIVE)
            else:
                self._lose(now)

    def _lose(self, now: float) -> None:
        self._renew_at = now + HEARTBEATS_TO_LOSS * self.heartbeat_s
        self._fail_answers(ServerLostError(f"{self.endpoint} does not answer any more"))
        self._beats.clear()
        self._enter(State.LOST)

    def _refuse_for(self, reply: Reply) -> None:
        """The server answers our heartbeat with an error: it does not let us in any more, or has too many clients."""
        try:
            error = error_of(self._codec.decode(reply.body, reply.buffers))
        except OneLinerError as malformed:
            _log.warning("%s: %s", self.endpoint, malformed)
            return
        self._refuse(error)

    def _refuse(self, failure: OneLinerError) -> None:
        if self._state is not State.REFUSED:
            _log.warning("%s", failure)
        self.refusals += 1
        self._failure = failure
        self._fail_answers(failure)
        self._enter(State.REFUSED)

    def _fail_answers(self, error: OneLinerError) -> None:
        answers, self._answers = self._answers, {}
        for answer in answers.values():
            answer(error)

    def _enter(self, state: State, *, even_if_same: bool = False) -> None:
        with self._changed:
            if self._state is State.CLOSED or (state is self._state and not even_if_same):
                return
            self._state = state
            self.ready = state in (State.CONNECTED, State.UNRESPONSIVE)
            self._changed.notify_all()
            # Under the lock: whoever begins to listen meanwhile hears of this change once, and of the state it ends in.
            for listener in tuple(self._listeners):
                listener(state)
        _log.debug("%s is %s", self.endpoint, state)

    def _connect(self) -> tuple[Socket, Socket | None]:
        local = self.endpoint.protocol == "inproc"
        # Pings twice per interval: libzmq has to know of a dead peer before the heartbeats give up.
        socket = open_socket(
            self._context,
            zmq.DEALER,
            heartbeat_s=None if local else self.heartbeat_s / 2,
            patience_s=self.heartbeat_s,
            max_message_bytes=self.limits.message_bytes,
            ipv6=self.endpoint.is_ipv6,
            curve=self.curve,
        )
        socket.setsockopt(zmq.ROUTING_ID, b"l" + os.urandom(12))
        monitor: Any = None if local else socket.get_monitor_socket(_EVENTS)
        self._connected = is_there(socket, str(self.endpoint))
        if self._connected:
            socket.connect(str(self.endpoint))
        return socket, monitor

    def _disconnect(self) -> None:
        close_monitored(self._socket, self._monitor)
