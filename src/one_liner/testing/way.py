"""One direction of one connection through a `FaultProxy`: bytes in, faults applied, bytes out when they are due.

Pure: no sockets, and time is an argument. Every decision is drawn from a generator of its own, seeded by the proxy's
seed, port, direction, number of the connection, number of the message and number of the fault. So the same seed and
the same traffic give the same faults, whatever else goes on at the same time.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from random import Random
from threading import Lock
from typing import Any, Final, NamedTuple

from one_liner.errors import OneLinerError
from one_liner.testing.faults import (
    ALL,
    RPC,
    TO_SERVER,
    Corrupt,
    Delay,
    Drop,
    Duplicate,
    Fault,
    MessageFault,
    Reorder,
    Sever,
    Throttle,
    Truncate,
)
from one_liner.testing.zmtp import Splitter, Unit
from one_liner.wire.messages import MARKER, ROUTE_SEPARATOR, TOPIC_END, Kind, check_prefix, topic_of

_MAX_RECORD: Final = 100_000
_MAX_REMEMBERED: Final = 10_000
_PACE_S: Final = 0.01
_TRAFFIC: Final[dict[int, str]] = {
    **dict.fromkeys((Kind.CALL, Kind.GET, Kind.SET, Kind.CALL_NAMED), "calls"),
    Kind.CONTROL: "controls",
    Kind.HEARTBEAT: "heartbeats",
}


class Struck(NamedTuple):
    """One thing that a proxy did.

    Attributes:
        direction: "to_client", "to_server" or "both".
        port: "rpc", "broadcast" or "both".
        connection: number of the connection on its port, from 1 in the order they came; 0 for all of them.
        message: number of the message in its direction on this connection, from 1; 0 for none.
        fault: the fault's word: "drop", "delay", …
    """

    direction: str
    port: str
    connection: int
    message: int
    fault: str


class Record:
    """What a proxy did so far. Safe from any thread; of more than 100 000 entries the oldest are forgotten."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: deque[Struck] = deque(maxlen=_MAX_RECORD)
        self._counts: Counter[str] = Counter()
        self._traffic: Counter[tuple[str, str]] = Counter()

    def struck(self, entry: Struck) -> None:
        """Note a fault."""
        with self._lock:
            self._entries.append(entry)
            self._counts[entry.fault] += 1

    def passed(self, port: str, direction: str) -> None:
        """Note a message that came to the proxy, whatever becomes of it."""
        with self._lock:
            self._traffic[port, direction] += 1

    def entries(self) -> list[Struck]:
        """What was done, oldest first."""
        with self._lock:
            return list(self._entries)

    def counts(self) -> dict[str, int]:
        """How often each fault struck."""
        with self._lock:
            return dict(self._counts)

    def traffic(self) -> dict[tuple[str, str], int]:
        """How many messages came, by port and direction."""
        with self._lock:
            return dict(self._traffic)


class Injection:
    """One injected fault and how often it struck."""

    def __init__(self, fault: Fault, number: int) -> None:
        self.fault = fault
        self.number = number
        self.struck = 0


class Dialogue:
    """What both directions of one connection know together: which ids are those of heartbeats, of calls, …"""

    def __init__(self) -> None:
        self._asked: dict[int, str] = {}

    def traffic_of(self, port: str, direction: str, parts: Sequence[bytes]) -> str:
        """The kind of traffic that a message is part of; empty when it cannot be told."""
        head = parts[0]
        if port != RPC:
            topic, end, _ = head.partition(TOPIC_END)
            hidden = topic.decode(errors="replace").rpartition(ROUTE_SEPARATOR)[2].startswith(MARKER)
            return "samples" if end and not hidden and direction != TO_SERVER else ""
        try:
            kind, number = check_prefix(head)
        except OneLinerError:
            return ""
        if direction != TO_SERVER:
            return self._asked.get(number, "")
        traffic = _TRAFFIC.get(kind, "")
        if traffic:
            self._asked[number] = traffic
            if len(self._asked) > _MAX_REMEMBERED:
                del self._asked[next(iter(self._asked))]
        return traffic


class _Held:
    """A message that lets others pass."""

    __slots__ = ("data", "to_pass", "until")

    def __init__(self, data: bytes, to_pass: int, until: float) -> None:
        self.data, self.to_pass, self.until = data, to_pass, until


class _Fate:
    """What becomes of one message."""

    __slots__ = ("_raw", "copies", "delay_s", "hold", "severed", "unit")

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self._raw: bytes | None = None  # set once the bytes on the wire are no frames any more
        self.copies = 1
        self.delay_s = 0.0
        self.hold: tuple[int, float] | None = None
        self.severed = False

    @property
    def data(self) -> bytes:
        """The bytes on the wire."""
        return self.unit.encode() if self._raw is None else self._raw

    @property
    def ended(self) -> bool:
        """Whether nothing more can happen to it."""
        return self.severed or not self.copies

    def suffer(self, fault: MessageFault, random: Random) -> bool:
        """Have a fault strike. False when there was nothing to strike: an empty message cannot be shortened."""
        match fault:
            case Drop():
                self.copies = 0
            case Sever():
                self.severed = True
            case Delay():
                self.delay_s += random.uniform(fault.seconds, fault.seconds if fault.up_to_s is None else fault.up_to_s)
            case Duplicate():
                self.copies += fault.copies
            case Reorder():
                self.hold = (random.randint(1, fault.within), fault.hold_s)
            case Truncate() | Corrupt():
                return self._change(fault, random)
        return True

    def _change(self, fault: Truncate | Corrupt, random: Random) -> bool:
        change = _shortened if isinstance(fault, Truncate) else _altered
        if fault.raw or self._raw is not None:
            self._raw = change(self.data, fault, random)
            return True
        parts = list(self.unit.parts)
        if not any(parts):
            return False
        if isinstance(fault, Truncate):
            last = max(index for index, part in enumerate(parts) if part)
            parts[last] = change(parts[last], fault, random)
        else:
            whole = change(b"".join(parts), fault, random)
            for index, part in enumerate(parts):
                parts[index], whole = whole[: len(part)], whole[len(part) :]
        self.unit = Unit(tuple(parts), self.unit.is_command)
        return True


class Way:
    """One direction of one connection. Belongs to the proxy's thread.

    Args:
        port: "rpc" or "broadcast".
        direction: "to_client" or "to_server".
        connection: number of the connection on its port.
        dialogue: shared with the other direction.
        seed: the proxy's.
        injections: what is injected now; the proxy changes the list.
        record: where faults are noted.

    Attributes:
        queue: what is to be sent, each with the instant from which on it may be; None in place of bytes ends the
            connection.
        waiting_bytes: how much of it there is.
    """

    def __init__(
        self,
        port: str,
        direction: str,
        connection: int,
        dialogue: Dialogue,
        *,
        seed: int,
        injections: list[Injection],
        record: Record,
    ) -> None:
        self.port, self.direction, self._connection = port, direction, connection
        self._dialogue = dialogue
        self._seed, self._injections, self._record = seed, injections, record
        self._splitter = Splitter()
        self._held: list[_Held] = []
        self._seen: Counter[int] = Counter()
        self._index = 0
        self._last_due = -math.inf
        self._severed = False
        self.queue: deque[tuple[float, bytes | None]] = deque()
        self.waiting_bytes = 0

    def feed(self, data: bytes, now: float) -> None:
        """Take in what one side sent."""
        for piece in self._splitter.feed(data):
            if self._severed:
                return
            if isinstance(piece, bytes):
                self._put(piece, now)
            else:
                self._pass_unit(piece, now)

    def end(self, now: float) -> None:
        """The side that sends is gone: end the connection behind what is still under way."""
        if not self._severed:
            self._release(now, all_of_them=True)
            self._put(None, now)
            self._severed = True

    def release_due(self, now: float) -> None:
        """Send what was held back for later messages that did not come."""
        self._release(now)

    @property
    def next_due(self) -> float:
        """When there will be something to do; infinite if only new bytes can give some."""
        instants = [held.until for held in self._held]
        if self.queue:
            instants.append(self.queue[0][0])
        return min(instants, default=math.inf)

    # --- faults ------------------------------------------------------------------------------------------------------

    def _pass_unit(self, unit: Unit, now: float) -> None:
        traffic = ""
        if not unit.is_command:
            self._index += 1
            self._record.passed(self.port, self.direction)
            if not self._splitter.sealed:
                traffic = self._dialogue.traffic_of(self.port, self.direction, unit.parts)
        fate = _Fate(unit)
        for injection in self._injections:
            fault = injection.fault
            if not isinstance(fault, MessageFault) or not self._concerns(fault, unit, traffic):
                continue
            random = Random(
                f"{self._seed}/{self.port}/{self.direction}/{self._connection}/{self._index}/{injection.number}"
            )
            if self._strikes(injection, fault, random) and fate.suffer(fault, random):
                self._note(injection)
                if fate.ended:
                    break
        self._carry_out(fate, now)

    def _carry_out(self, fate: _Fate, now: float) -> None:
        if fate.severed:
            data = fate.data
            self._put(data[: max(1, len(data) // 2)], now)
            self._put(None, now)
            self._severed = True
        elif fate.hold is not None:
            to_pass, hold_s = fate.hold
            self._held.append(_Held(fate.data * fate.copies, to_pass, now + hold_s))
        elif fate.copies:
            self._put(fate.data * fate.copies, now + fate.delay_s)
            if not fate.unit.is_command:
                self._overtaken(now)

    def _concerns(self, fault: MessageFault, unit: Unit, traffic: str) -> bool:
        if not fault.concerns(self.port, self.direction):
            return False
        if unit.is_command:
            return fault.commands and fault.traffic == ALL and fault.stream is None
        if fault.stream is not None and (traffic != "samples" or not unit.parts[0].startswith(topic_of(fault.stream))):
            return False
        return fault.traffic in (ALL, traffic)

    def _strikes(self, injection: Injection, fault: MessageFault, random: Random) -> bool:
        self._seen[injection.number] += 1
        count = self._seen[injection.number]
        if fault.times is not None and injection.struck >= fault.times:
            return False
        if fault.message is not None and count != fault.message:
            return False
        if fault.every is not None and count % fault.every:
            return False
        return fault.probability is None or random.random() < fault.probability

    def _note(self, injection: Injection) -> None:
        injection.struck += 1
        self._record.struck(Struck(self.direction, self.port, self._connection, self._index, injection.fault.word))

    # --- the queue ---------------------------------------------------------------------------------------------------

    def _put(self, data: bytes | None, due: float) -> None:
        self._last_due = max(self._last_due, due)
        rate = min((fault.bytes_per_s for fault in self._throttles()), default=math.inf)
        if data is None or rate == math.inf:
            self.queue.append((self._last_due, data))
        else:
            size = max(1, int(rate * _PACE_S))
            for at in range(0, len(data), size):
                chunk = data[at : at + size]
                self.queue.append((self._last_due, chunk))
                self._last_due += len(chunk) / rate
        self.waiting_bytes += 0 if data is None else len(data)

    def _throttles(self) -> Iterator[Throttle]:
        for injection in self._injections:
            fault = injection.fault
            if isinstance(fault, Throttle) and fault.concerns(self.port, self.direction):
                yield fault

    def _overtaken(self, now: float) -> None:
        """One message went by those that are held back."""
        for held in self._held:
            held.to_pass -= 1
        self._release(now)

    def _release(self, now: float, *, all_of_them: bool = False) -> None:
        kept: list[_Held] = []
        for held in self._held:
            if all_of_them or held.to_pass <= 0 or held.until <= now:
                self._put(held.data, now)
            else:
                kept.append(held)
        self._held = kept


def _shortened(data: bytes, fault: Any, random: Random) -> bytes:
    lost = random.randint(1, len(data)) if fault.lose is None else min(fault.lose, len(data))
    return data[: len(data) - lost]


def _altered(data: bytes, fault: Any, random: Random) -> bytes:
    altered = bytearray(data)
    for at in random.sample(range(len(data)), min(fault.bytes, len(data))):
        altered[at] ^= random.randint(1, 255)
    return bytes(altered)
