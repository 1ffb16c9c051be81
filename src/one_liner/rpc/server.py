"""The object's side of calls: from a request at the ROUTER, through the object's lane, to the reply.

One thread at a time, the leader of the `Crew`, owns the ROUTER and the sockets of the hops. It runs a request in place
when the object's lane is free, and goes on to the next when it is not. Answers that come from other threads are left
as errands, and the leader is woken through an inproc door of the same ROUTER: so it can wait in a plain `recv`.
"""

from __future__ import annotations

import logging
import math
import os
from collections import deque
from collections.abc import Callable
from threading import Event, Lock
from typing import Any, Final

import zmq

from one_liner.clock import SYSTEM_CLOCK, Clock
from one_liner.errors import (
    AnswerLostError,
    BusyError,
    BusyTimeoutError,
    CallTimeoutError,
    LeaseLostError,
    LimitError,
    LoopError,
    MalformedError,
    NotReceivedError,
    OneLinerError,
    ServerClosedError,
    ServerRestartedError,
    VersionMismatchError,
)
from one_liner.limits import DEFAULT_LIMITS, Limits
from one_liner.rpc.dispatch import Dispatcher
from one_liner.rpc.exposure import Exposure
from one_liner.rpc.forwarder import Asker, Forwarder
from one_liner.rpc.journal import Journal, Verdict
from one_liner.rpc.lanes import Lane, Occupant
from one_liner.rpc.nuisance import Nuisances
from one_liner.rpc.permission import AllowList
from one_liner.rpc.sessions import Sessions
from one_liner.rpc.task import Task, error_reply
from one_liner.rpc.workshop import Workshop
from one_liner.transport.endpoints import Endpoint
from one_liner.transport.sockets import (
    BoundSocket,
    Context,
    Curve,
    Socket,
    closing_on_error,
    open_socket,
    receive,
    receive_with_key,
    send_frames,
)
from one_liner.wire.codec import Codec
from one_liner.wire.extensions import Buffer
from one_liner.wire.messages import MAX_HOPS, ROUTE_SEPARATOR, Kind, Reply, Request, Stamp, version_reply

Notice = Callable[[Request, bytes], None]
_STOP_TIMEOUT_S: Final = 1.0
_RELEASE_TIMEOUT_S: Final = 5.0  # No driver is in the way of that, only a processor that has no time.
_LAST_WORDS_S: Final = 0.3  # how long a closing server's last answers may take to be read
_LOOK_AFTER_MS: Final = 250  # how often requests that wait for a hop are looked after
MAX_VOUCHED: Final = 1000
MAX_HEARTBEAT_S: Final = 60.0
_log = logging.getLogger("one_liner.rpc.server")


class RpcServer:
    """Answers calls. The address is bound by the constructor; answering begins with `run`.

    Args:
        context: the context its sockets belong to.
        endpoint: where clients connect.
        server: random number of this server.
        name: for the messages that name it.
        dispatcher: tells what a request means.
        exposure: what may be reached.
        sessions: who the clients are.
        hello: what heartbeats are answered with.
        codec: turns values into bytes and back.
        heartbeat_s: how often libzmq asks a client whether it lives.
        clock: the server's clock.
        curve: keys, if not everybody who can reach the address may come in; then `clients` decides.
        clients: who may do what, by public key.
        limits: how much of anything is taken from clients.

    Raises:
        PortInUseError: somebody has this address.
    """

    def __init__(
        self,
        context: Context,
        endpoint: Endpoint,
        *,
        server: int,
        name: str,
        dispatcher: Dispatcher,
        exposure: Exposure,
        sessions: Sessions,
        hello: Callable[[], dict[str, Any]],
        codec: Codec,
        heartbeat_s: float,
        clock: Clock = SYSTEM_CLOCK,
        curve: Curve | None = None,
        clients: AllowList | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._server, self._name = server, name
        self._clients, self._limits = clients, limits
        self._nuisances = Nuisances(limits)
        self._dispatcher, self._exposure, self._sessions = dispatcher, exposure, sessions
        self._hello = hello
        self._codec, self._clock = codec, clock
        self._context = context
        local = endpoint.protocol == "inproc"
        socket = open_socket(
            context,
            zmq.ROUTER,
            heartbeat_s=None if local else heartbeat_s,
            max_message_bytes=limits.message_bytes,
            ipv6=endpoint.is_ipv6,
            curve=curve,
        )
        socket.setsockopt(zmq.ROUTER_HANDOVER, 1)  # A client that connects again takes its identity with it.
        self._router: Socket = socket
        self._bound = BoundSocket(socket, endpoint)
        with closing_on_error(socket):
            door = f"inproc://one_liner-door-{os.urandom(8).hex()}"
            socket.bind(door)
            self._door_id = b"d" + os.urandom(16)
            self._door = open_socket(context, zmq.DEALER)
            self._door.setsockopt(zmq.ROUTING_ID, self._door_id)
            self._door.connect(door)
        self._door_lock = Lock()
        self._errands: deque[Callable[[], None]] = deque()
        self._forwarders: dict[str, Forwarder] = {}
        self._active: dict[tuple[bytes, int], Task] = {}
        self._journal = Journal()
        self._poller: zmq.Poller | None = None
        self._hops: dict[Socket, Forwarder] = {}
        self._look_after = 0.0
        self._workshop = Workshop(f"rpc {self._bound.endpoint}", self._lead, self._hand_in, codec, clock)
        self._closing = False  # the leader is to stop, because of `close` or because the context is terminated
        self._leaving = False  # nothing is begun any more; the last answers are on their way
        self._running = False
        self._released = Event()
        self._notices: dict[int, Notice] = {
            Kind.HEARTBEAT: self._on_heartbeat,
            Kind.CANCEL: self._on_cancel,
            Kind.ASK_AGAIN: self._on_ask_again,
        }

    @property
    def endpoint(self) -> Endpoint:
        """Where clients connect, with the port that was taken."""
        return self._bound.endpoint

    def run(self) -> None:
        """Start answering."""
        self._running = True
        self._workshop.start()

    def resume(self, lane: Lane, occupant: Occupant) -> None:
        """Carry out what was just given its lane by somebody who has other things to do."""
        self._workshop.resume(lane, occupant)

    def at_home(self, lane: Lane, duty: Callable[[], None]) -> None:
        """Do something on the one thread that an object has to be used on, for whoever has its lane."""
        self._workshop.at_home(lane, duty)

    def add_forwarder(self, forwarder: Forwarder) -> None:
        """Open a way to another server, under `forwarder.name`."""

        def add() -> None:
            self._forwarders[forwarder.name] = forwarder
            self._poller = None

        self._leave_errand(add)
        forwarder.link.listen(lambda _: self._leave_errand(lambda: self._refresh(forwarder)))

    def remove_forwarder(self, forwarder: Forwarder) -> None:
        """Close the way; whoever waits for an answer from there is told. Waits until it is closed."""
        done = Event()

        def remove() -> None:
            self._forwarders.pop(forwarder.name, None)
            self._poller = None
            self._abandon(forwarder)
            done.set()

        self._leave_errand(remove)
        done.wait(_STOP_TIMEOUT_S)

    def running_calls(self) -> list[dict[str, Any]]:
        """What runs or waits now: `where`, `who`, and since how many seconds it has been here."""
        now = self._clock.now()
        return [
            {"where": task.where, "who": task.who, "for_s": now - task.since} for task in tuple(self._active.values())
        ]

    def close(self) -> None:
        """Tell everybody who waits, release the address and close the sockets, within about a second.

        By one thread; again when it was interrupted.
        """
        self._closing = True
        if self._running:
            deadline = SYSTEM_CLOCK.now() + _STOP_TIMEOUT_S
            self._leave_errand(lambda: None)
            self._released.wait(_RELEASE_TIMEOUT_S)
            self._workshop.stop(max(0.0, deadline - SYSTEM_CLOCK.now()))
        else:
            self._release()
        with self._door_lock:
            self._door.close()

    # --- the leader --------------------------------------------------------------------------------------------------

    def _lead(self, term: int) -> None:
        try:
            while not self._closing:
                if self._forwarders and not self._poll():
                    continue
                if not self._receive(term):
                    return
            self._release()
        except zmq.ContextTerminated:
            _log.debug("context terminated under the calls of %s", self.endpoint)
            self._closing = True
            self._release()

    def _poll(self) -> bool:
        """Pass replies of hops on until there is a request, an errand or nothing to do. True: receive."""
        poller = self._poller or self._register()
        while not self._closing:
            requested = False
            for socket, _ in poller.poll(_LOOK_AFTER_MS):
                if socket is self._router:
                    requested = True
                else:
                    self._pass_back(self._hops[socket])
            now = self._clock.now()
            if now >= self._look_after:
                self._look_after = now + _LOOK_AFTER_MS / 1000
                for forwarder in self._forwarders.values():
                    self._refresh(forwarder)
                if self._poller is None:
                    return False  # A forwarder has another socket now.
            if requested:
                return True
        return False

    def _register(self) -> zmq.Poller:
        """Wait at the sockets that there are now."""
        self._hops = {forwarder.socket: forwarder for forwarder in self._forwarders.values()}
        self._poller = zmq.Poller()
        for socket in (self._router, *self._hops):
            self._poller.register(socket, zmq.POLLIN)
        return self._poller

    def _receive(self, term: int) -> bool:
        """Take one request and answer it. False when this thread was overtaken meanwhile."""
        router = self._router
        key = None
        if self._clients is None:
            peer = router.recv()
        else:
            peer, key = receive_with_key(router)
        head, buffers = receive(router)
        if peer == self._door_id:
            while self._errands:
                self._errands.popleft()()
            return True
        if self._nuisances.ignored and self._nuisances.ignores(peer, self._clock.now()):
            return True
        try:
            request = Request.decode(head, buffers)
            notice = self._notices.get(request.kind)
            if notice is None and request.kind not in self._dispatcher.kinds:
                raise MalformedError(f"there is no request of kind {request.kind}")
        except VersionMismatchError:
            self._send(peer, version_reply(head))
            return True
        except MalformedError as error:
            self._complain(peer, head, buffers, error)
            return True
        return self._handle(request, notice, peer, key, term)

    def _handle(self, request: Request, notice: Notice | None, peer: bytes, key: str | None, term: int) -> bool:
        """Answer a request, or have it answered. False when this thread was overtaken meanwhile."""
        try:
            if self._clients is not None:
                self._dispatcher.permit(request, self._clients.find(key))
            if notice is None:
                return self._take(request, peer, term)
            if not self._forwarders or not self._forward(peer, request):
                notice(request, peer)
        except OneLinerError as error:
            self._refuse(peer, request, error, keep=notice is None)
        except Exception as error:
            # A bug of ours, that a peer has found: it must not cost the others their server.
            _log.exception("%s: a request of kind %d could not be handled", self.endpoint, request.kind)
            bug = MalformedError(f"this request cannot be handled: {type(error).__name__}")
            self._refuse(peer, request, bug, keep=notice is None)
        return True

    def _refuse(self, peer: bytes, request: Request, error: OneLinerError, *, keep: bool = False) -> None:
        frames = error_reply(request.id, error, self._codec, self._clock, request.path)
        if keep:
            self._answer(peer, request.id, frames)
        else:
            self._send(peer, frames)

    def _take(self, request: Request, peer: bytes, term: int) -> bool:
        """Have a request carried out, here or elsewhere, once. False when this thread was overtaken meanwhile."""
        if peer[0] == 0:
            # Libzmq has named this connection: it has no name of its own, or has just lost it to the one that follows
            # it. What is asked here could not be asked after there.
            raise MalformedError("a request that acts needs a connection with a routing id")
        if self._leaving:
            raise ServerClosedError(f"{self.endpoint} was closed; the call did not run")
        verdict = self._journal.admit(peer, request.id)
        if verdict is not Verdict.NEW:
            asker = Asker(peer, request.id)
            if asker not in self._active and not any(hop.knows(asker) for hop in self._forwarders.values()):
                self._answer_again(peer, request.id, verdict)
            return True
        if len(self._active) >= self._limits.calls_per_client:
            self._check_room(request.client)
        if request.trail:
            check_trail(request.trail, self._server, self._name, request.path)
        if self._forwarders and self._forward(peer, request):
            return True
        now = self._clock.now()
        return self._run(self._dispatcher.task(request, peer, now), peer, term, now)

    def _check_room(self, client: int) -> None:
        """Refuse one more call where too many run or wait.

        Raises:
            LimitError: says how many.
        """
        own = sum(task.client == client for task in self._active.values())
        if own >= self._limits.calls_per_client:
            raise LimitError(f"this client has {own} calls that run or wait at {self.endpoint}, which is the limit")
        if len(self._active) >= self._limits.calls:
            raise LimitError(f"{self.endpoint} has {len(self._active)} calls that run or wait, which is the limit")

    def _complain(self, peer: bytes, head: bytes, buffers: list[Buffer], error: MalformedError) -> None:
        times = self._nuisances.note(peer, self._clock.now())
        if times == 1:
            _log.warning("%s: a peer sent %d bytes that are no request: %s", self.endpoint, len(head), error)
        elif times >= self._limits.malformed:
            _log.warning(
                "%s: a peer sent %d messages that cannot be read; it is ignored for %g s",
                self.endpoint,
                times,
                self._limits.ignored_s,
            )
        frames = error_reply(0, error, self._codec, self._clock)
        # A REQ socket starts with an empty frame and waits for one in front of the answer.
        self._send(peer, [b"", *frames] if not head and buffers else frames)

    def _send(self, peer: bytes, frames: list[Buffer]) -> None:
        """Answer a peer; one that has gone, or does not read, misses it. Only for the leader."""
        self._router.send(peer, zmq.SNDMORE)
        send_frames(self._router, frames)

    # --- requests that ask for nothing to be done ---------------------------------------------------------------------

    def _on_heartbeat(self, request: Request, peer: bytes) -> None:
        name, heartbeat_s, vouched = read_heartbeat(self._codec.decode(request.body, request.buffers))
        now = self._clock.now()
        self._sessions.heard(request.client, name, peer, heartbeat_s, now)
        try:
            for client, title in vouched.items():
                self._sessions.heard(client, title, peer, heartbeat_s, now)
        except LimitError as error:
            # The router itself goes on; those of its clients that found no room cannot hold a lease here.
            _log.debug("%s: of %d clients of a router: %s", self.endpoint, len(vouched), error)
        self._sessions.vouches(request.client, vouched)
        body, _ = self._codec.encode(self._hello())
        self._send(peer, Reply(Kind.RESULT, request.id, Stamp(now), body).encode())

    def _on_cancel(self, request: Request, peer: bytes) -> None:
        """Withdraw a task that waits; say in any case what it waits for, or that it runs."""
        task = self._active.get((peer, request.id))
        if task is None:
            return  # It was answered; the answer is on its way.
        now = self._clock.now()
        holder = None if task.lane is None else task.lane.holder
        error: OneLinerError
        if task.lane is not None and task.lane.withdraw(task):
            del self._active[peer, request.id]
            error = BusyTimeoutError(
                f"{task.where} did not run, it was withdrawn: {task.lane.at_work(holder, now)}"
                if holder is not None
                else f"{task.where} did not run",
                **({} if holder is None else holder.facts(now)),
            )
        else:
            error = CallTimeoutError(f"{task.where} still runs, for {now - task.since:.1f} s now", where=task.where)
        self._send(peer, error_reply(request.id, error, self._codec, self._clock, task.where, Kind.CANCELLED))

    def _on_ask_again(self, request: Request, peer: bytes) -> None:
        """Somebody waits for an answer that may have been lost: give it again, and do nothing again."""
        if (peer, request.id) in self._active:
            return  # It is being carried out; the answer will come.
        asked = self._codec.decode(request.body, request.buffers)
        if asked is not None and asked != self._server:
            raise ServerRestartedError("the server was restarted during the call, which may or may not have run")
        self._answer_again(peer, request.id, self._journal.asked(peer, request.id))

    def _answer_again(self, peer: bytes, request_id: int, verdict: Verdict) -> None:
        frames = self._journal.answer(peer, request_id)
        error: OneLinerError
        if frames is not None:
            self._send(peer, list(frames))
            return
        if verdict is Verdict.NEW:
            # Admitted by having been asked after: should it still arrive, it will not be carried out.
            error = NotReceivedError("the call was lost on the way; it did not run, and will not")
        else:
            error = AnswerLostError(
                "the call was received before and its answer is not kept any more, "
                "or its id is below that of a later one; it may or may not have run"
            )
        self._send(peer, error_reply(request_id, error, self._codec, self._clock))

    # --- carrying out ------------------------------------------------------------------------------------------------

    def perform(self, path: str, attr_name: str, who: str) -> None:
        """Call something of a served object on nobody's behalf; what it raises goes to the log. From any thread."""
        target = self._exposure.resolve(path, attr_name)

        def act() -> None:
            try:
                self._exposure.call(target, [], {})
            except BaseException:
                _log.exception("%s, called for %s, raised", target.where, who)

        self.employ(Task(None, 0, target.where, who, target.lane, act))

    def employ(self, task: Task) -> None:
        """Have a task that nobody waits for carried out, now or when its lane is free. From any thread."""
        self._workshop.perform(task)

    def drop_calls(self, client: int) -> None:
        """Withdraw all calls of a client that wait for their object: it is dead. From any thread."""
        for task in tuple(self._active.values()):
            if task.client == client and task.lane is not None and task.lane.withdraw(task):
                _log.warning("%s did not run: %s, who asked for it, is gone", task.where, task.who)
                error = LeaseLostError(f"{task.where} did not run: {task.who}, who had control, was taken for dead")
                self._hand_in(task, error_reply(task.id, error, self._codec, self._clock, task.where))

    def _run(self, task: Task, peer: bytes, term: int, now: float) -> bool:
        """Carry a task out. False when this thread was overtaken meanwhile."""
        key = (peer, task.id)
        task.since = now
        self._active[key] = task
        try:
            frames = self._workshop.carry_out(task, term)
        except BusyError:
            del self._active[key]
            raise
        if frames is None:
            return self._workshop.leads(term)
        del self._active[key]
        self._answer(peer, task.id, frames)
        return True

    def _answer(self, peer: bytes, request_id: int, frames: list[Buffer], *, shared: bool = True) -> None:
        """Give an answer, and keep it in case it gets lost."""
        self._send(peer, frames)
        self._journal.record(peer, request_id, frames, self._clock.now(), shared=shared)

    def _hand_in(self, task: Task, frames: list[Buffer]) -> None:
        """Have the leader send an answer that was made elsewhere."""
        peer = task.peer
        if peer is None:
            task.over()
            return

        def send() -> None:
            if self._active.pop((peer, task.id), None) is not None:
                self._answer(peer, task.id, frames)

        self._leave_errand(send)

    def _leave_errand(self, errand: Callable[[], None]) -> None:
        """Have the leader do something on its thread; nothing happens any more once the server is closed."""
        self._errands.append(errand)
        with self._door_lock:
            if not self._door.closed:
                try:
                    self._door.send(b"", zmq.NOBLOCK)
                except zmq.Again:
                    _log.debug("%d errands wait already; the leader will find this one too", len(self._errands))
                except zmq.ContextTerminated:
                    _log.debug("context terminated under the calls of %s", self.endpoint)

    # --- the cascade -------------------------------------------------------------------------------------------------

    def _forward(self, peer: bytes, request: Request) -> bool:
        """Pass a request on if its path leads elsewhere."""
        name, separator, rest = request.path.partition(ROUTE_SEPARATOR)
        forwarder = self._forwarders.get(name) if separator else None
        if forwarder is None:
            return False
        asker = Asker(peer, request.id)
        request = request.passed_on(self._server, rest)
        if request.kind == Kind.ASK_AGAIN and not forwarder.knows(asker):
            return False  # It was answered from there, and the answer is in our own journal.
        forwarder.forward(asker, request)
        return True

    def _pass_back(self, forwarder: Forwarder) -> None:
        answered = forwarder.collect()
        if answered is not None:
            asker, frames = answered
            if frames[0][3] == Kind.CANCELLED:
                self._send(asker.peer, frames)
            else:
                self._answer(asker.peer, asker.id, frames, shared=False)

    def _refresh(self, forwarder: Forwarder) -> None:
        if forwarder.socket.closed:
            return
        try:
            if forwarder.renew():
                self._poller = None
        except zmq.ContextTerminated:
            raise
        except zmq.ZMQError as trouble:
            # This process has no more sockets or files. The others are not to lose their server over it.
            _log.error("router %s could not be connected anew: %s", forwarder.name, trouble)
        for asker, error in forwarder.refresh():
            self._answer(asker.peer, asker.id, error_reply(asker.id, error, self._codec, self._clock))

    def _abandon(self, forwarder: Forwarder) -> None:
        error = ServerClosedError(f"the way through router {forwarder.name!r} was closed during the call")
        for asker in forwarder.abandon():
            self._answer(asker.peer, asker.id, error_reply(asker.id, error, self._codec, self._clock))
        forwarder.close()

    # --- the end -----------------------------------------------------------------------------------------------------

    def _release(self) -> None:
        """Tell everybody, then close. On the thread that leads, or on the owner's if nobody leads."""
        try:
            while self._errands:
                self._errands.popleft()()
            if not self._router.closed:
                self._say_goodbye()
        except zmq.ZMQError as error:
            _log.debug("%s could not say goodbye: %s", self.endpoint, error)
        for forwarder in self._forwarders.values():
            forwarder.close()
        self._bound.release()
        self._released.set()

    def _say_goodbye(self) -> None:
        asked = any(forwarder.is_asked for forwarder in self._forwarders.values())
        somebody_waits = bool(self._active) or asked or bool(self._router.poll(0))
        for (peer, _), task in tuple(self._active.items()):
            begun = task.lane is None or not task.lane.withdraw(task)
            fate = "may or may not have run to its end" if begun else "did not run"
            error = ServerClosedError(f"{self.endpoint} was closed; {task.where} {fate}")
            self._answer(peer, task.id, error_reply(task.id, error, self._codec, self._clock, task.where))
        self._active.clear()
        while self._forwarders:
            self._abandon(self._forwarders.popitem()[1])
        for heart in self._sessions.hearts() - {b""}:
            self._send(heart, Reply(Kind.GOODBYE, 0, Stamp(self._clock.now()), b"\xc0").encode())
        if somebody_waits:
            self._linger()

    def _linger(self) -> None:
        """Keep the connections a little longer, and turn away what still comes.

        A caller's socket forgets what it has received, and nobody has read yet, as soon as its connection ends.
        """
        self._leaving = True
        self._notices[Kind.HEARTBEAT] = lambda request, peer: None  # So that nobody takes this server for alive.
        deadline = SYSTEM_CLOCK.now() + _LAST_WORDS_S
        while (left_s := deadline - SYSTEM_CLOCK.now()) > 0 and self._router.poll(math.ceil(1000 * left_s)):
            self._receive(0)


def read_heartbeat(parts: Any) -> tuple[str, float, dict[int, str]]:
    """What a heartbeat says: the client's name, how often it beats, and for whom it vouches.

    Raises:
        MalformedError: it is something else, or vouches for more clients than `MAX_VOUCHED`.
    """
    try:
        name, heartbeat_s, vouched = parts
        sound = (
            type(name) is str
            and type(heartbeat_s) in (int, float)
            and heartbeat_s > 0
            and type(vouched) is dict
            and len(vouched) <= MAX_VOUCHED
            and all(type(client) is int and type(title) is str for client, title in vouched.items())
        )
    except (TypeError, ValueError):
        sound = False
    if not sound:
        raise MalformedError("this heartbeat cannot be read")
    return name, min(heartbeat_s, MAX_HEARTBEAT_S), vouched


def check_trail(trail: tuple[int, ...], server: int, name: str, path: str) -> None:
    """Refuse a request that has been here before, or that went through too many servers.

    Raises:
        LoopError: naming this server and the way.
    """
    if server in trail:
        raise LoopError(
            f"loop: this request has come back to server {name!r} after {len(trail)} hops, with {path!r} left to go",
            server=name,
        )
    if len(trail) >= MAX_HOPS:
        raise LoopError(f"a request has passed {len(trail)} servers, the limit is {MAX_HOPS}; {path!r} was left to go")
