"""The object's side of calls: from a request at the ROUTER, through the object's lane, to the reply.

One thread at a time, the leader of the `Crew`, owns the ROUTER and the sockets of the hops. It runs a request in place
when the object's lane is free, and goes on to the next when it is not. Answers that come from other threads are left
as errands, and the leader is woken through an inproc door of the same ROUTER: so it can wait in a plain `recv`.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Mapping
from threading import Event, Lock
from typing import Any, Final, NamedTuple

import zmq

from one_liner.clock import SYSTEM_CLOCK, Clock
from one_liner.errors import (
    BadArgumentsError,
    LoopError,
    MalformedError,
    OneLinerError,
    ServerClosedError,
    UnknownObjectError,
    VersionMismatchError,
)
from one_liner.rpc.crew import PATIENCE_S, Crew
from one_liner.rpc.exposure import Exposure
from one_liner.rpc.forwarder import Asker, Forwarder
from one_liner.rpc.job import Job, error_reply
from one_liner.rpc.lanes import Lane, Occupant
from one_liner.rpc.named import NamedCalls
from one_liner.transport.endpoints import Endpoint
from one_liner.transport.sockets import (
    BoundSocket,
    Context,
    Socket,
    closing_on_error,
    open_socket,
    receive_rest,
    send_frames,
)
from one_liner.wire.codec import Buffer, Codec
from one_liner.wire.messages import MAX_HOPS, ROUTE_SEPARATOR, Kind, Reply, Request, Stamp, version_reply

Control = Callable[..., Any]
_MAX_CLIENTS: Final = 10_000
_STOP_TIMEOUT_S: Final = 1.0
_LOOK_AFTER_MS: Final = 250  # how often requests that wait for a hop are looked after
_log = logging.getLogger("one_liner.rpc.server")


class _Client(NamedTuple):
    """Who sends heartbeats: what they call themselves, and the connection they come on."""

    name: str
    heart: bytes


class RpcServer:
    """Answers calls. The address is bound by the constructor; answering begins with `run`.

    Args:
        context: the context its sockets belong to.
        endpoint: where clients connect.
        server: random number of this server.
        name: for the messages that name it.
        exposure: what may be reached.
        named_calls: what may be called by name.
        controls: what the server itself can be asked, by word; each takes the path and keyword arguments.
        hello: what heartbeats are answered with.
        codec: turns values into bytes and back.
        heartbeat_s: how often libzmq asks a client whether it lives.
        clock: the server's clock.

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
        exposure: Exposure,
        named_calls: NamedCalls,
        controls: Mapping[str, Control],
        hello: Callable[[], dict[str, Any]],
        codec: Codec,
        heartbeat_s: float,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._server, self._name = server, name
        self._exposure, self._named_calls = exposure, named_calls
        self._controls, self._hello = controls, hello
        self._codec, self._clock = codec, clock
        self._context = context
        local = endpoint.protocol == "inproc"
        socket = open_socket(context, zmq.ROUTER, heartbeat_s=None if local else heartbeat_s, ipv6=endpoint.is_ipv6)
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
        self._active: dict[tuple[bytes, int], Job] = {}
        self._clients: dict[int, _Client] = {}
        self._poller: zmq.Poller | None = None
        self._slow: set[str] = set()
        self._crew = Crew(f"rpc {self._bound.endpoint}", self._lead)
        self._closing = False
        self._running = False
        self._released = Event()
        self._answers: dict[int, Callable[[Request, bytes, int], bool]] = {
            Kind.CALL: self._on_call,
            Kind.GET: self._on_get,
            Kind.SET: self._on_set,
            Kind.CALL_NAMED: self._on_call_named,
            Kind.CONTROL: self._on_control,
            Kind.HEARTBEAT: self._on_heartbeat,
            Kind.CANCEL: self._on_cancel,
        }

    @property
    def endpoint(self) -> Endpoint:
        """Where clients connect, with the port that was taken."""
        return self._bound.endpoint

    def run(self) -> None:
        """Start answering."""
        self._running = True
        self._crew.start()

    def resume(self, occupant: Occupant) -> None:
        """Run a job that was just given its lane by somebody who has other things to do."""
        if isinstance(occupant, Job):
            self._crew.employ(lambda: self._work(occupant))

    def add_forwarder(self, forwarder: Forwarder) -> None:
        """Open a way to another server, under `forwarder.name`."""
        forwarder.link.listen(lambda _: self._leave_errand(lambda: self._refresh(forwarder)))

        def add() -> None:
            self._forwarders[forwarder.name] = forwarder
            self._poller = None

        self._leave_errand(add)

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
        return [{"where": job.where, "who": job.who, "for_s": now - job.since} for job in tuple(self._active.values())]

    def close(self) -> None:
        """Tell everybody who waits, release the address and close the sockets, within about a second."""
        if self._closing:
            self._released.wait(2 * _STOP_TIMEOUT_S)
            return
        self._closing = True
        if self._running:
            self._leave_errand(lambda: None)
            self._released.wait(_STOP_TIMEOUT_S)
            self._crew.stop(_STOP_TIMEOUT_S)
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
        poller = self._poller
        if poller is None:
            poller = self._poller = zmq.Poller()
            poller.register(self._router, zmq.POLLIN)
            for forwarder in self._forwarders.values():
                poller.register(forwarder.socket, zmq.POLLIN)
        while not self._closing:
            ready = dict(poller.poll(_LOOK_AFTER_MS))
            for forwarder in self._forwarders.values():
                if forwarder.socket in ready:
                    self._pass_back(forwarder)
                elif not ready:
                    self._refresh(forwarder)
            if self._router in ready:
                return True
        return False

    def _receive(self, term: int) -> bool:
        """Take one request and answer it. False when this thread was overtaken meanwhile."""
        router = self._router
        peer = router.recv()
        head = router.recv()
        buffers = receive_rest(router)
        if peer == self._door_id:
            while self._errands:
                self._errands.popleft()()
            return True
        try:
            request = Request.decode(head, buffers)
            answer = self._answers.get(request.kind)
            if answer is None:
                raise MalformedError(f"there is no request of kind {request.kind}")
        except VersionMismatchError:
            self._send(peer, version_reply(head))
            return True
        except MalformedError as error:
            self._complain(peer, head, buffers, error)
            return True
        try:
            if request.trail:
                check_trail(request.trail, self._server, self._name, request.path)
            if self._forwarders and ROUTE_SEPARATOR in request.path and self._forward(peer, request):
                return True
            return answer(request, peer, term)
        except OneLinerError as error:
            self._send(peer, error_reply(request.id, error, self._codec, self._clock, request.path))
            return True

    def _complain(self, peer: bytes, head: bytes, buffers: list[Buffer], error: MalformedError) -> None:
        _log.warning("%s: a peer sent %d bytes that are no request: %s", self.endpoint, len(head), error)
        frames = error_reply(0, error, self._codec, self._clock)
        # A REQ socket starts with an empty frame and waits for one in front of the answer.
        self._send(peer, [b"", *frames] if not head and buffers else frames)

    def _send(self, peer: bytes, frames: list[Buffer]) -> None:
        """Answer a peer; one that has gone, or does not read, misses it. Only for the leader."""
        self._router.send(peer, zmq.SNDMORE)
        send_frames(self._router, frames)

    # --- kinds of requests -------------------------------------------------------------------------------------------

    def _on_call(self, request: Request, peer: bytes, term: int) -> bool:
        attr_name, args, kwargs = self._parts(request, (str, list, dict))
        return self._call(request, peer, term, request.path, attr_name, args, kwargs)

    def _on_call_named(self, request: Request, peer: bytes, term: int) -> bool:
        args, kwargs = self._parts(request, (list, dict))
        named = self._named_calls.get(request.path)
        args, kwargs = named.with_arguments(args, kwargs)
        return self._call(request, peer, term, named.obj_name, named.attr_name, args, kwargs)

    def _call(
        self,
        request: Request,
        peer: bytes,
        term: int,
        path: str,
        attr_name: str,
        args: list[Any],
        kwargs: dict[str, Any],
    ) -> bool:
        if not all(type(key) is str for key in kwargs):
            raise MalformedError("arguments by name need names that are text")
        exposure = self._exposure
        target = exposure.resolve(path, attr_name)
        return self._run(request, peer, term, target.where, target.lane, lambda: exposure.call(target, args, kwargs))

    def _on_get(self, request: Request, peer: bytes, term: int) -> bool:
        (attr_name,) = self._parts(request, (str,))
        exposure = self._exposure
        target = exposure.resolve(request.path, attr_name)
        return self._run(request, peer, term, target.where, target.lane, lambda: exposure.read(target))

    def _on_set(self, request: Request, peer: bytes, term: int) -> bool:
        attr_name, value = self._parts(request, (str, object))
        exposure = self._exposure
        target = exposure.resolve(request.path, attr_name)
        return self._run(request, peer, term, target.where, target.lane, lambda: exposure.write(target, value))

    def _on_control(self, request: Request, peer: bytes, term: int) -> bool:
        word, arguments = self._parts(request, (str, dict))
        control = self._controls.get(word)
        if control is None:
            raise UnknownObjectError(f"a server cannot be asked to {word!r}")
        trail, path = (*request.trail, self._server), request.path

        def act() -> Any:
            try:
                return control(path, trail=trail, **arguments)
            except TypeError as error:
                if error.__traceback__ is not None and error.__traceback__.tb_next is None:
                    raise BadArgumentsError(f"{word}: {error}") from None
                raise

        return self._run(request, peer, term, f"server.{word}", None, act)

    def _on_heartbeat(self, request: Request, peer: bytes, term: int) -> bool:
        name = self._codec.decode(request.body, request.buffers)
        # The one that has been silent for longest is forgotten first; all it loses is its name, and a goodbye.
        self._clients.pop(request.client, None)
        if len(self._clients) >= _MAX_CLIENTS:
            del self._clients[next(iter(self._clients))]
        self._clients[request.client] = _Client(str(name)[:200], peer)
        body, _ = self._codec.encode(self._hello())
        self._send(peer, Reply(Kind.RESULT, request.id, Stamp(self._clock.now()), body).encode())
        return True

    def _on_cancel(self, request: Request, peer: bytes, term: int) -> bool:
        job = self._active.get((peer, request.id))
        if job is not None and job.lane is not None and job.lane.withdraw(job):
            del self._active[peer, request.id]
            _log.info("%s for %s was given up before it began", job.where, job.who)
        return True

    def _parts(self, request: Request, types: tuple[type, ...]) -> Any:
        parts = self._codec.decode(request.body, request.buffers)
        if (
            not isinstance(parts, list)
            or len(parts) != len(types)
            or not all(isinstance(part, kind) for part, kind in zip(parts, types, strict=True))
        ):
            raise MalformedError("the parts of this request are not what its kind needs")
        return parts

    # --- carrying out ------------------------------------------------------------------------------------------------

    def _run(
        self, request: Request, peer: bytes, term: int, where: str, lane: Lane | None, act: Callable[[], Any]
    ) -> bool:
        """Carry a request out: in place, on a worker, or later when its lane is free."""
        key = (peer, request.id)
        if key in self._active:
            return True  # It is being carried out; asking twice does not make it two.
        client = self._clients.get(request.client)
        who = f"client {request.client:x}" if client is None else client.name
        job = Job(peer, request.id, where, who, lane, act)
        now = job.since = self._clock.now()
        self._active[key] = job
        if lane is not None and not lane.enter(job, now):
            return True
        if where in self._slow:
            self._crew.employ(lambda: self._work(job))
            return True
        self._crew.begin()
        frames = job.perform(self._codec, self._clock)
        if not self._crew.end(term):
            self._slow.add(where)
            self._hand_in(job, frames)
            following = self._leave(job)
            if following is not None:
                self._work(following)
            return False
        del self._active[key]
        following = self._leave(job)
        self._send(peer, frames)
        if following is not None:
            self._crew.employ(lambda: self._work(following))
        return True

    def _work(self, job: Job | None) -> None:
        """Carry out a job that has its lane, and those that waited behind it. On a worker."""
        while job is not None:
            began = self._clock.now()
            frames = job.perform(self._codec, self._clock)
            if self._clock.now() - began < PATIENCE_S:
                self._slow.discard(job.where)
            self._hand_in(job, frames)
            job = self._leave(job)

    def _leave(self, job: Job) -> Job | None:
        following = None if job.lane is None else job.lane.leave(self._clock.now())
        if isinstance(following, Job):
            return following
        return None

    def _hand_in(self, job: Job, frames: list[Buffer]) -> None:
        """Have the leader send an answer that was made elsewhere."""

        def send() -> None:
            if self._active.pop((job.peer, job.id), None) is not None:
                self._send(job.peer, frames)

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

    # --- the cascade -------------------------------------------------------------------------------------------------

    def _forward(self, peer: bytes, request: Request) -> bool:
        """Pass a request on if its path leads elsewhere."""
        name, _, rest = request.path.partition(ROUTE_SEPARATOR)
        forwarder = self._forwarders.get(name)
        if forwarder is None:
            return False
        forwarder.forward(Asker(peer, request.id), request._replace(path=rest, trail=(*request.trail, self._server)))
        return True

    def _pass_back(self, forwarder: Forwarder) -> None:
        answered = forwarder.collect()
        if answered is not None:
            asker, frames = answered
            self._send(asker.peer, frames)

    def _refresh(self, forwarder: Forwarder) -> None:
        if forwarder.socket.closed:
            return
        for asker, error in forwarder.refresh():
            self._send(asker.peer, error_reply(asker.id, error, self._codec, self._clock))

    def _abandon(self, forwarder: Forwarder) -> None:
        error = ServerClosedError(f"the way through router {forwarder.name!r} was closed during the call")
        for asker in forwarder.abandon():
            self._send(asker.peer, error_reply(asker.id, error, self._codec, self._clock))
        forwarder.close()

    # --- the end -----------------------------------------------------------------------------------------------------

    def _release(self) -> None:
        """Tell everybody, then close. On the thread that leads, or on the owner's if nobody leads."""
        try:
            if not self._router.closed:
                self._say_goodbye()
        except zmq.ZMQError as error:
            _log.debug("%s could not say goodbye: %s", self.endpoint, error)
        for forwarder in self._forwarders.values():
            forwarder.close()
        self._bound.release()
        self._released.set()

    def _say_goodbye(self) -> None:
        for job in tuple(self._active.values()):
            begun = job.lane is None or not job.lane.withdraw(job)
            fate = "may or may not have run to its end" if begun else "did not run"
            error = ServerClosedError(f"{self.endpoint} was closed; {job.where} {fate}")
            self._send(job.peer, error_reply(job.id, error, self._codec, self._clock, job.where))
        self._active.clear()
        for forwarder in self._forwarders.values():
            self._abandon(forwarder)
        for client in self._clients.values():
            self._send(client.heart, Reply(Kind.GOODBYE, 0, Stamp(self._clock.now()), b"\xc0").encode())


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
