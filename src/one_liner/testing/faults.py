"""What a `FaultProxy` can do to the traffic, as values: which fault, to what, how often.

A fault on messages strikes whole ZeroMQ messages with all their parts. Which ones is said by *where* (`direction`,
`port`, `traffic`, `stream`) and by *how often* (`probability`, `every`, `message`, `times`; none of them: always).
Where and how often are both counted per connection: `every=5` is every fifth message that the fault is concerned with
on each connection, so that what one client does never moves the faults of another.

The protocol's own commands (handshake, PING and PONG, subscriptions) are left alone unless `commands=True`. Under
CURVE all that a proxy sees are sealed frames: PINGs look like messages, parts look like messages, nothing can be told
by `traffic` or `stream`, and whatever is changed, repeated or exchanged there ends the connection.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from one_liner.errors import ConfigurationError

TO_CLIENT: Final = "to_client"
TO_SERVER: Final = "to_server"
RPC: Final = "rpc"
BROADCAST: Final = "broadcast"
BOTH: Final = "both"
ALL: Final = "all"

DIRECTIONS: Final = (TO_CLIENT, TO_SERVER)
PORTS: Final = (RPC, BROADCAST)
TRAFFIC: Final = ("calls", "controls", "heartbeats", "samples")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Anything that can be injected.

    Attributes:
        port: "rpc", "broadcast" or "both".
    """

    word: ClassVar[str] = ""
    port: str = BOTH

    def __post_init__(self) -> None:
        _check_choice("port", self.port, (*PORTS, BOTH))

    def concerns(self, port: str, direction: str) -> bool:
        """Whether this fault looks at messages of this port and direction at all."""
        return self.port in (port, BOTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFault(Fault):
    """A fault that strikes single messages.

    Attributes:
        direction: "to_client", "to_server" or "both".
        traffic: "calls" (and their replies), "controls" (what clients ask the server itself, and its replies),
            "heartbeats" (and their replies), "samples" or "all".
        stream: only samples of this stream.
        probability: of being struck, above 0 up to 1.
        every: strike each n-th message.
        message: strike this one message of a connection, counted from 1.
        times: strike so many messages in all, then never again.
        commands: strike the commands of ZeroMQ as well.
    """

    direction: str = BOTH
    traffic: str = ALL
    stream: str | None = None
    probability: float | None = None
    every: int | None = None
    message: int | None = None
    times: int | None = None
    commands: bool = False

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        _check_choice("direction", self.direction, (*DIRECTIONS, BOTH))
        _check_choice("traffic", self.traffic, (*TRAFFIC, ALL))
        if self.probability is not None and not 0.0 < self.probability <= 1.0:
            raise ConfigurationError(f"a probability is above 0 % and at most 100 %, not {self.probability:%}")
        for name in ("every", "message", "times"):
            _check_count(name, getattr(self, name))

    def concerns(self, port: str, direction: str) -> bool:
        """Whether this fault looks at messages of this port and direction at all."""
        return self.port in (port, BOTH) and self.direction in (direction, BOTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop(MessageFault):
    """The message does not arrive."""

    word: ClassVar[str] = "drop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay(MessageFault):
    """The message arrives later, and so does everything behind it: the order stays.

    Attributes:
        seconds: by how much, at least.
        up_to_s: by how much at most; None: always by `seconds`.
    """

    word: ClassVar[str] = "delay"
    seconds: float
    up_to_s: float | None = None

    def __post_init__(self) -> None:
        MessageFault.__post_init__(self)
        _check_duration("a delay", self.seconds)
        if self.up_to_s is not None and not self.seconds <= self.up_to_s < math.inf:
            raise ConfigurationError(f"a delay between {self.seconds} s and {self.up_to_s} s is none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate(MessageFault):
    """The message arrives several times in a row.

    Attributes:
        copies: how often more than once.
    """

    word: ClassVar[str] = "duplicate"
    copies: int = 1

    def __post_init__(self) -> None:
        MessageFault.__post_init__(self)
        _check_count("copies", self.copies)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reorder(MessageFault):
    """The message arrives behind later ones.

    Attributes:
        within: it lets at least one, and at most so many later messages of its connection and direction pass.
        hold_s: if they do not come, it goes on after this time.
    """

    word: ClassVar[str] = "reorder"
    within: int = 1
    hold_s: float = 0.5

    def __post_init__(self) -> None:
        MessageFault.__post_init__(self)
        _check_count("within", self.within)
        _check_duration("hold_s", self.hold_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncate(MessageFault):
    """The message loses the end of its last part that is not empty.

    Attributes:
        lose: how many bytes it loses; None: any number of them, by chance.
        raw: the bytes are missing in the byte stream, and not from the message: whoever receives it takes the bytes
            that follow for the missing ones, and reads nonsense from there on until the connection ends. libzmq
            notices at the latest when it misses an answer to a PING.
    """

    word: ClassVar[str] = "truncate"
    lose: int | None = None
    raw: bool = False

    def __post_init__(self) -> None:
        MessageFault.__post_init__(self)
        _check_count("lose", self.lose)


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrupt(MessageFault):
    """Some bytes of the message arrive as other ones.

    Without CURVE nothing on the way has a checksum except TCP itself: a byte of a header is noticed as a malformed
    message or as an unknown id, a byte of a value may arrive as *another value*. With CURVE every change is noticed.

    Attributes:
        bytes: how many bytes, each of them certainly changed.
        raw: the lengths and flags in front of each part may be hit as well, and the rest of the connection be nonsense.
    """

    word: ClassVar[str] = "corrupt"
    bytes: int = 1
    raw: bool = False

    def __post_init__(self) -> None:
        MessageFault.__post_init__(self)
        _check_count("bytes", self.bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sever(MessageFault):
    """The connection ends in the middle of the message, for both sides. New connections are taken at once."""

    word: ClassVar[str] = "sever"


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle(Fault):
    """A slow line: bytes of each connection arrive at a rate, also those within one message. Not in the record.

    Attributes:
        bytes_per_s: the rate.
        direction: "to_client", "to_server" or "both"; each has the whole rate.
    """

    word: ClassVar[str] = "throttle"
    bytes_per_s: float
    direction: str = BOTH

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        _check_choice("direction", self.direction, (*DIRECTIONS, BOTH))
        if not 0.0 < self.bytes_per_s < math.inf:
            raise ConfigurationError(f"a line carries some bytes per second, not {self.bytes_per_s!r}")

    def concerns(self, port: str, direction: str) -> bool:
        """Whether the line of this port and direction is slow."""
        return self.port in (port, BOTH) and self.direction in (direction, BOTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedFault(Fault):
    """A fault that comes at a time, which counts from its injection.

    Attributes:
        at_s: when.
        for_s: for how long; None: until `clear`.
        every_s: again each so many seconds.
    """

    at_s: float | None = None
    for_s: float | None = None
    every_s: float | None = None

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        for name in ("at_s", "for_s", "every_s"):
            value = getattr(self, name)
            if value is not None:
                _check_duration(name, value)
        if self.every_s is not None and (self.for_s is None or not self.for_s < self.every_s):
            raise ConfigurationError("a fault that comes again needs a duration that is shorter than its interval")

    @property
    def first_s(self) -> float:
        """When it comes first: at once unless something else was said."""
        return self.at_s if self.at_s is not None else self.every_s or 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze(TimedFault):
    """Nothing is read and nothing forwarded, and all connections stay: a server that was stopped, a cable pulled.

    Attributes:
        direction: "to_client", "to_server" or "both".
    """

    word: ClassVar[str] = "freeze"
    direction: str = BOTH

    def __post_init__(self) -> None:
        TimedFault.__post_init__(self)
        _check_choice("direction", self.direction, (*DIRECTIONS, BOTH))

    def concerns(self, port: str, direction: str) -> bool:
        """Whether this port and direction freezes."""
        return self.port in (port, BOTH) and self.direction in (direction, BOTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut(TimedFault):
    """All connections end, in the middle of what is under way, and new ones are refused: a server that died."""

    word: ClassVar[str] = "cut"


FAULTS: Final[tuple[type[Fault], ...]] = (
    Drop,
    Delay,
    Duplicate,
    Reorder,
    Truncate,
    Corrupt,
    Sever,
    Throttle,
    Freeze,
    Cut,
)


def _check_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    if value not in choices:
        raise ConfigurationError(f"{name} is one of {', '.join(choices)}, not {value!r}")


def _check_count(name: str, value: int | None) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ConfigurationError(f"{name} is a number from 1 on, not {value!r}")


def _check_duration(name: str, value: float) -> None:
    if not 0.0 <= value < math.inf:
        raise ConfigurationError(f"{name} is a number of seconds from 0 on, not {value!r}")
