"""The sockets of a `FaultProxy` and the one thread that owns them all.

Connections are relayed in pairs. One that a client opens while the server is not there is held and tried again, so
that a client sees no more than silence until the server comes.
"""

from __future__ import annotations

import errno
import heapq
import itertools
import logging
import math
import os
import selectors
import socket
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread, current_thread
from typing import Any, Final

from one_liner.clock import SYSTEM_CLOCK
from one_liner.errors import ClosedError, ConfigurationError
from one_liner.testing.faults import BOTH, DIRECTIONS, TO_CLIENT, TO_SERVER, Cut, Fault, Freeze, TimedFault
from one_liner.testing.way import Dialogue, Injection, Record, Struck, Way
from one_liner.transport.endpoints import Endpoint
from one_liner.transport.tenant import port_in_use

Address = tuple[str, int]
_CHUNK: Final = 1 << 18
_MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
_RETRY_S: Final = 0.05
_CONNECT_S: Final = 1.0
_COMMAND_TIMEOUT_S: Final = 5.0
_STOP_TIMEOUT_S: Final = 2.0
_UNDER_WAY: Final = (0, errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", errno.EWOULDBLOCK))
_log = logging.getLogger("one_liner.testing.proxy")


class Gate:
    """Where clients of one port come in.

    Attributes:
        door: the listening socket; another one after each `shut`.

    Raises:
        PortInUseError: somebody has this address.
        ConfigurationError: it is no address of this machine.
    """

    def __init__(self, port: str, here: Address, server: Address) -> None:
        self.port = port
        self.server = server
        self.connections = 0
        self.cuts: set[int] = set()  # numbers of the injections that keep it shut; 0 is the user's own `cut`
        self.door = self._bound(here)
        self.here: Address = self.door.getsockname()[:2]
        self.door.listen(128)

    def shut(self) -> None:
        """Refuse connections from now on. The port stays ours: bound, and not listening."""
        self.door.close()
        self.door = self._bound(self.here)
        _share(self.door, False)

    def open(self) -> None:
        """Take connections again."""
        _share(self.door, True)
        self.door.listen(128)

    def close(self) -> None:
        """Give the port back."""
        self.door.close()

    def _bound(self, here: Address) -> socket.socket:
        family = socket.AF_INET6 if ":" in here[0] else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            bound.setblocking(False)
            _share(bound, True)
            bound.bind(here)
        except OSError as error:
            bound.close()
            if error.errno == errno.EADDRINUSE:
                raise port_in_use(Endpoint.of("tcp", *here)) from None
            raise ConfigurationError(f"{here[0]}:{here[1]} cannot be bound: {error.strerror}") from None
        return bound


class _Pair:
    """A client's connection and the one to the server in its place."""

    def __init__(self, gate: Gate, client: socket.socket, ways: dict[str, Way]) -> None:
        self.gate = gate
        self.client = client
        self.server: socket.socket | None = None
        self.connected = False
        self.retry_at = -math.inf
        self.ways = ways
        self.ended: set[str] = set()  # directions whose sender is gone

    def source(self, direction: str) -> socket.socket | None:
        return self.client if direction == TO_SERVER else self.server

    def target(self, direction: str) -> socket.socket | None:
        return self.client if direction == TO_CLIENT else self.server


class Relay:
    """Relays until it is closed. `call`, `start` and `close` are for any thread, the rest for its own.

    Args:
        gates: by port.
        seed: of all decisions.
        record: where it notes what it does.
    """

    def __init__(self, gates: dict[str, Gate], seed: int, record: Record) -> None:
        self._gates = gates
        self._seed, self._record = seed, record
        self.injections: list[Injection] = []
        self._numbers = itertools.count(1)
        self._pairs: set[_Pair] = set()
        self._frozen: dict[tuple[str, str], set[int]] = {(port, way): set() for port in gates for way in DIRECTIONS}
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._errands: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._stopping = False
        self._watched: dict[socket.socket, int] = {}
        self._selector = selectors.DefaultSelector()
        self._bell, self._ringer = socket.socketpair()
        self._bell.setblocking(False)
        self._ringer.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._thread = Thread(target=self._run, name="one_liner fault proxy", daemon=True)

    # --- any thread --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def call(self, action: Callable[[], Any]) -> Any:
        """Have the relay's thread do something; it is done when this returns, with what it gave.

        Raises:
            ClosedError: the relay is closed.
        """
        if current_thread() is self._thread:
            return action()
        future: Future[Any] = Future()
        self._errands.append((future, action))
        self._ring()
        if self._stopping:
            self._refuse_errands()
        return future.result(_COMMAND_TIMEOUT_S)

    def close(self) -> None:
        """End all connections and give the ports back, within 2 s; any number of times."""
        self._stopping = True
        self._ring()
        self._thread.join(_STOP_TIMEOUT_S)

    def _ring(self) -> None:
        try:
            self._ringer.send(b"\0")
        except OSError:
            return  # Rung often enough, or closed: `_stopping` says the rest.

    def _refuse_errands(self) -> None:
        while True:
            try:
                future, _ = self._errands.popleft()
            except IndexError:  # Perhaps taken by another thread in this very moment.
                return
            future.set_exception(ClosedError("this fault proxy is closed"))

    # --- what may be called ------------------------------------------------------------------------------------------

    def inject(self, fault: Fault) -> Injection:
        """Let a fault work from now on."""
        injection = Injection(fault, next(self._numbers))
        self.injections.append(injection)
        if isinstance(fault, TimedFault):
            self._plan(SYSTEM_CLOCK.now() + fault.first_s, lambda: self._begin(injection, fault))
        return injection

    def remove(self, injection: Injection) -> None:
        """Let it work no longer; what it did is undone if it can be."""
        if injection in self.injections:
            self.injections.remove(injection)
            self._undo(injection)

    def freeze(self, port: str, direction: str, reason: int) -> None:
        """Stop reading and forwarding."""
        for (its_port, its_direction), reasons in self._frozen.items():
            if port in (its_port, BOTH) and direction in (its_direction, BOTH):
                reasons.add(reason)

    def thaw(self, reason: int) -> None:
        """Undo `freeze`."""
        for reasons in self._frozen.values():
            reasons.discard(reason)

    def cut(self, port: str, reason: int) -> None:
        """End all connections and refuse new ones."""
        for gate in self._gates.values():
            if port in (gate.port, BOTH):
                if not gate.cuts:
                    self._watch(gate.door, 0)
                    gate.shut()
                    for pair in [pair for pair in self._pairs if pair.gate is gate]:
                        self._close_pair(pair)
                gate.cuts.add(reason)

    def heal(self, reason: int) -> None:
        """Undo `cut`."""
        for gate in self._gates.values():
            if reason in gate.cuts:
                gate.cuts.discard(reason)
                if not gate.cuts:
                    gate.open()

    def open_pairs(self, port: str) -> int:
        """How many connections of a port there are."""
        return sum(pair.connected for pair in self._pairs if port in (pair.gate.port, BOTH))

    # --- faults that have their time ---------------------------------------------------------------------------------

    def _plan(self, at: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (at, next(self._order), action))

    def _begin(self, injection: Injection, fault: TimedFault) -> None:
        if injection not in self.injections:
            return
        now = SYSTEM_CLOCK.now()
        injection.struck += 1
        direction = fault.direction if isinstance(fault, Freeze) else BOTH
        self._record.struck(Struck(direction, fault.port, 0, 0, fault.word))
        if isinstance(fault, Freeze):
            self.freeze(fault.port, direction, injection.number)
        elif isinstance(fault, Cut):
            self.cut(fault.port, injection.number)
        if fault.for_s is not None:
            self._plan(now + fault.for_s, lambda: self._undo(injection))
        if fault.every_s is not None:
            self._plan(now + fault.every_s, lambda: self._begin(injection, fault))

    def _undo(self, injection: Injection) -> None:
        self.thaw(injection.number)
        self.heal(injection.number)

    # --- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._turn()
        except Exception:
            _log.exception("the fault proxy broke down")
            raise
        finally:
            self._stopping = True
            for pair in tuple(self._pairs):
                self._close_pair(pair)
            for gate in self._gates.values():
                gate.close()
            self._selector.close()
            self._bell.close()
            self._ringer.close()
            self._refuse_errands()

    def _turn(self) -> None:
        now = SYSTEM_CLOCK.now()
        while self._agenda and self._agenda[0][0] <= now:
            heapq.heappop(self._agenda)[2]()
        for pair in tuple(self._pairs):
            self._tend(pair, now)
        for gate in self._gates.values():
            frozen = all(self._frozen[gate.port, direction] for direction in DIRECTIONS)
            self._watch(gate.door, 0 if gate.cuts or frozen else selectors.EVENT_READ, gate)
        wait_s = self._patience(now)
        for key, events in self._selector.select(wait_s):
            if key.fileobj is self._bell:
                self._answer_bell()
            elif isinstance(key.data, Gate):
                self._accept(key.data)
            elif events & selectors.EVENT_READ:
                self._receive(*key.data)

    def _patience(self, now: float) -> float | None:
        """How long there is nothing to do, for one who has done all that was due at `now`; None without end."""
        instants = [self._agenda[0][0]] if self._agenda else []
        for pair in self._pairs:
            if not pair.connected:
                instants.append(pair.retry_at if pair.server is None else pair.retry_at + _CONNECT_S)
            for direction, way in pair.ways.items():
                # What is due and not sent waits for the socket, which the selector watches.
                if not self._frozen[pair.gate.port, direction] and way.next_due > now:
                    instants.append(way.next_due)
        first = min(instants, default=math.inf)
        return None if first == math.inf else max(0.0, first - SYSTEM_CLOCK.now())

    def _answer_bell(self) -> None:
        try:
            while self._bell.recv(4096):
                pass
        except BlockingIOError:
            pass
        while self._errands:
            future, action = self._errands.popleft()
            try:
                future.set_result(action())
            except Exception as error:
                future.set_exception(error)

    def _watch(self, watched: socket.socket, events: int, data: Any = None) -> None:
        before = self._watched.get(watched, 0)
        if events == before:
            return
        if not events:
            self._selector.unregister(watched)
            del self._watched[watched]
            return
        if before:
            self._selector.modify(watched, events, data)
        else:
            self._selector.register(watched, events, data)
        self._watched[watched] = events

    # --- connections -------------------------------------------------------------------------------------------------

    def _accept(self, gate: Gate) -> None:
        try:
            client, _ = gate.door.accept()
        except OSError:
            return  # It has gone again.
        _tune(client)
        gate.connections += 1
        dialogue = Dialogue()
        ways = {
            direction: Way(
                gate.port,
                direction,
                gate.connections,
                dialogue,
                seed=self._seed,
                injections=self.injections,
                record=self._record,
            )
            for direction in DIRECTIONS
        }
        self._pairs.add(_Pair(gate, client, ways))

    def _connect(self, pair: _Pair, now: float) -> None:
        host, port = pair.gate.server
        pair.retry_at = now + _RETRY_S
        server = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        _tune(server)
        if server.connect_ex((host, port)) in _UNDER_WAY:
            pair.server = server
        else:
            server.close()

    def _look_after(self, pair: _Pair, server: socket.socket, now: float) -> None:
        """See whether the connection to the server stands by now; one that failed is tried again later."""
        try:
            # A port that nobody listens at may be given to our own end: then we would speak to ourselves.
            pair.connected = server.getpeername() != server.getsockname()
            failed = not pair.connected
        except OSError:
            failed = server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0 or now >= pair.retry_at + _CONNECT_S
        if failed:
            self._watch(server, 0)
            server.close()
            pair.server = None
        elif not pair.connected:
            self._watch(server, selectors.EVENT_WRITE, (pair, TO_CLIENT))

    def _close_pair(self, pair: _Pair) -> None:
        self._pairs.discard(pair)
        for end in (pair.client, pair.server):
            if end is not None:
                self._watch(end, 0)
                end.close()

    def _receive(self, pair: _Pair, direction: str) -> None:
        source = pair.source(direction)
        if source is None or pair not in self._pairs or direction in pair.ended:
            return
        if source is pair.server and not pair.connected:
            return  # It could not be connected, which `_tend` finds out.
        try:
            data = source.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        now = SYSTEM_CLOCK.now()
        if data:
            pair.ways[direction].feed(data, now)
        else:
            self._end(pair, direction, now)

    def _end(self, pair: _Pair, direction: str, now: float) -> None:
        """The side that sends in this direction is gone."""
        pair.ended.add(direction)
        if pair.connected:
            pair.ways[direction].end(now)
        else:
            self._close_pair(pair)

    def _tend(self, pair: _Pair, now: float) -> None:
        """Send what is due and watch for what can be done next."""
        if pair.server is None and now >= pair.retry_at:
            self._connect(pair, now)
        if pair.server is not None and not pair.connected:
            self._look_after(pair, pair.server, now)
        wanted = dict.fromkeys((TO_CLIENT, TO_SERVER), 0)  # by the direction in which the socket is the source
        for direction in DIRECTIONS:
            if self._frozen[pair.gate.port, direction]:
                continue
            way = pair.ways[direction]
            if pair.connected:
                way.release_due(now)
                if self._send(pair, direction, now):
                    return
                if way.queue and way.queue[0][0] <= now:
                    wanted[_opposite(direction)] |= selectors.EVENT_WRITE
            if direction not in pair.ended and way.waiting_bytes < _MAX_WAITING_BYTES:
                wanted[direction] |= selectors.EVENT_READ
        self._watch(pair.client, wanted[TO_SERVER], (pair, TO_SERVER))
        if pair.server is not None and pair.connected:
            self._watch(pair.server, wanted[TO_CLIENT], (pair, TO_CLIENT))

    def _send(self, pair: _Pair, direction: str, now: float) -> bool:
        """Send what is due. True when the connection has come to its end."""
        way, target = pair.ways[direction], pair.target(direction)
        queue = way.queue
        while queue and queue[0][0] <= now and target is not None:
            due, data = queue[0]
            if data is None:
                self._close_pair(pair)
                return True
            try:
                sent = target.send(data)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError:
                # The receiver is gone. What it said before that may still be on its way to the other side.
                queue.clear()
                way.waiting_bytes = 0
                pair.ended.add(direction)
                self._end(pair, _opposite(direction), now)
                if not pair.ways[_opposite(direction)].queue:
                    self._close_pair(pair)
                return pair not in self._pairs
            way.waiting_bytes -= sent
            if sent == len(data):
                queue.popleft()
            else:
                queue[0] = (due, data[sent:])
        return False


def _opposite(direction: str) -> str:
    return TO_SERVER if direction == TO_CLIENT else TO_CLIENT


def _tune(connection: socket.socket) -> None:
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _share(bound: socket.socket, shared: bool) -> None:
    """Say whether others may bind the port while nobody listens; what remains of old connections counts as others."""
    # On other systems old connections are no obstacle, and the option would let us take the port of somebody else.
    if os.name == "posix":
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(shared))
