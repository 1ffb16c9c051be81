"""`FaultProxy`: bad weather between a real client and a real server."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from one_liner.closing import Closing
from one_liner.errors import ConfigurationError
from one_liner.testing.faults import (
    BOTH,
    BROADCAST,
    DIRECTIONS,
    PORTS,
    RPC,
    Cut,
    Delay,
    Fault,
    Freeze,
)
from one_liner.testing.relay import Gate, Relay
from one_liner.testing.script import parse, write
from one_liner.testing.way import Injection, Record, Struck
from one_liner.transport.endpoints import Endpoint

_log = logging.getLogger("one_liner.testing.proxy")


class Injected:
    """A fault at work in a proxy. As a context manager it ends with the block."""

    def __init__(self, relay: Relay, injection: Injection) -> None:
        self._relay, self._injection = relay, injection

    @property
    def fault(self) -> Fault:
        """What was injected."""
        return self._injection.fault

    @property
    def struck(self) -> int:
        """How often it struck so far."""
        return self._injection.struck

    def remove(self) -> None:
        """End it; any number of times."""
        self._relay.call(lambda: self._relay.remove(self._injection))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def __repr__(self) -> str:
        return f"<Injected {write([self.fault])!r}, struck {self.struck} times>"


class FaultProxy(Closing):
    """Sits between clients and a server, on both ports, and does to the traffic what it is told.

        with FaultProxy(server.rpc_port, server.broadcast_port, faults="drop 10% broadcast", seed=1) as proxy:
            client = RouterClient(rpc_port=proxy.rpc_port, broadcast_port=proxy.broadcast_port)

    Give the client *both* ports of the proxy. One with `broadcast_port=None` learns the server's real port from the
    server, and its streams go past the proxy.

    It relays TCP and reads the framing of ZMTP 3, so that it strikes whole messages as well as single bytes, and real
    libzmq sockets at both ends notice of it what they would notice of a bad network. The server need not be there yet,
    and may come and go: clients meanwhile see a server that is silent. All methods may be called from any thread and
    have taken effect when they return.

    The same seed and the same traffic give the same faults: each decision depends only on the seed, the port, the
    direction, the number of the connection, the number of the message in it, and the number of the fault.

    Args:
        rpc_port: the server's port of calls.
        broadcast_port: the server's port of streams.
        interface: the server's host.
        faults: a script (see `one_liner.testing.script`), or faults as objects.
        seed: of all that happens by chance.
        listen_interface: the numeric address where the proxy listens.
        listen_ports: its ports of calls and of streams; 0 takes a free one.

    Raises:
        ConfigurationError: a word of the script, a port or a host cannot be right.
        PortInUseError: somebody has one of `listen_ports`. Nothing stays bound.
    """

    def __init__(
        self,
        rpc_port: int | str,
        broadcast_port: int | str,
        *,
        interface: str = "127.0.0.1",
        faults: str | Iterable[Fault] = (),
        seed: int = 0,
        listen_interface: str = "127.0.0.1",
        listen_ports: tuple[int, int] = (0, 0),
    ) -> None:
        wanted = parse(faults) if isinstance(faults, str) else list(faults)
        for fault in wanted:
            _check_fault(fault)
        host = _address_of(interface)
        targets = {RPC: (host, _number(rpc_port)), BROADCAST: (host, _number(broadcast_port))}
        self.seed = seed
        self.interface = listen_interface
        self._record = Record()
        self._gates: dict[str, Gate] = {}
        try:
            for port, listen_port in zip(PORTS, listen_ports, strict=True):
                self._gates[port] = Gate(port, (listen_interface, listen_port), targets[port])
        except BaseException:
            for gate in self._gates.values():
                gate.close()
            raise
        self._delayed: list[Injected] = []
        self._relay = Relay(self._gates, seed, self._record)
        for fault in wanted:
            self._relay.inject(fault)
        self._relay.start()
        _log.info("%r stands before %s", self, targets)

    def close(self) -> None:
        """End all connections and give the ports back, within 2 s; from any thread, any number of times."""
        self._relay.close()

    def __repr__(self) -> str:
        return f"<FaultProxy {self.rpc_port}, {self.broadcast_port}, seed {self.seed}>"

    # --- where it is and what it did ---------------------------------------------------------------------------------

    @property
    def rpc_port(self) -> int:
        """The port to give to clients as `rpc_port`."""
        return self._gates[RPC].here[1]

    @property
    def broadcast_port(self) -> int:
        """The port to give to clients as `broadcast_port`."""
        return self._gates[BROADCAST].here[1]

    @property
    def record(self) -> list[Struck]:
        """What was done, oldest first: tuples of direction, port, connection, message and fault."""
        return self._record.entries()

    @property
    def counts(self) -> dict[str, int]:
        """How often each fault struck, by its word."""
        return self._record.counts()

    @property
    def traffic(self) -> dict[tuple[str, str], int]:
        """How many messages came to the proxy, by port and direction; those that were dropped among them."""
        return self._record.traffic()

    def connections(self, port: str) -> int:
        """How many connections through this port stand now ("rpc", "broadcast" or "both")."""
        Fault(port=port)  # which checks the word
        return int(self._relay.call(lambda: self._relay.open_pairs(port)))

    def summary(self) -> str:
        """For people: the seed, the faults at work, and what they did."""
        traffic = self.traffic
        lines = [f"fault proxy with seed {self.seed}"]
        lines += [
            f"  {write([injection.fault])}: struck {injection.struck} times"
            for injection in tuple(self._relay.injections)
        ]
        lines += [
            f"  {traffic.get((port, direction), 0)} messages {direction} at {port}"
            for port in PORTS
            for direction in DIRECTIONS
        ]
        lines.append(f"  struck in all: {self.counts or 'nothing'}")
        return "\n".join(lines)

    # --- faults ------------------------------------------------------------------------------------------------------

    def inject(self, fault: Fault) -> Injected:
        """Let a fault work from now on, beside the others.

        Faults work on each message in the order in which they were injected. Counting (`every`, `message`) begins with
        the injection.
        """
        _check_fault(fault)
        return Injected(self._relay, self._relay.call(lambda: self._relay.inject(fault)))

    def clear(self) -> None:
        """End all faults, those of the script as well, and also `freeze`, `cut` and `delay`."""

        def clear() -> None:
            for injection in tuple(self._relay.injections):
                self._relay.remove(injection)
            self._relay.thaw(0)
            self._relay.heal(0)

        self._relay.call(clear)
        self._delayed.clear()

    def freeze(self, port: str = BOTH, direction: str = BOTH) -> None:
        """Stop reading and forwarding, and keep the connections; until `thaw`."""
        Freeze(port=port, direction=direction)  # which checks the words
        self._strike(Struck(direction, port, 0, 0, Freeze.word), lambda: self._relay.freeze(port, direction, 0))

    def thaw(self) -> None:
        """Undo `freeze`. What was held back goes on; a freeze of a script has its own time."""
        self._relay.call(lambda: self._relay.thaw(0))

    def cut(self, port: str = BOTH) -> None:
        """End all connections, in mid-frame if one is under way, and refuse new ones; until `heal`."""
        Cut(port=port)
        self._strike(Struck(BOTH, port, 0, 0, Cut.word), lambda: self._relay.cut(port, 0))

    def heal(self) -> None:
        """Undo `cut`: take connections again."""
        self._relay.call(lambda: self._relay.heal(0))

    def delay(self, seconds: float, port: str = BOTH, direction: str = BOTH) -> None:
        """Delay everything, commands of ZeroMQ as well; in place of an earlier `delay`. 0 ends it."""
        fault = Delay(seconds=seconds, port=port, direction=direction, commands=True)
        while self._delayed:
            self._delayed.pop().remove()
        if seconds:
            self._delayed.append(self.inject(fault))

    def _strike(self, entry: Struck, action: Any) -> None:
        self._relay.call(action)
        self._record.struck(entry)


def _check_fault(fault: object) -> None:
    if not isinstance(fault, Fault):
        raise ConfigurationError(f"a fault is one of one_liner.testing.faults, not {fault!r}")


def _number(port: int | str) -> int:
    number = Endpoint.of("tcp", "127.0.0.1", port).port
    if not isinstance(number, int) or number == 0:
        raise ConfigurationError(f"the port of a server is a number from 1 on, not {port!r}; has the server been made?")
    return number


def _address_of(interface: str) -> str:
    if ":" in interface:
        return interface
    try:
        return socket.gethostbyname(interface)
    except OSError as error:
        raise ConfigurationError(f"the server's host {interface!r} cannot be found: {error}") from None
